//! Periodicity of the height profile of porosity: layers leave bands of pores.

use std::f64::consts::TAU;

/// Periods looked for, in µm.
const BAND_UM: [f64; 2] = [15.0, 120.0];
/// Candidate periods, equally spaced in frequency.
const CANDIDATES: usize = 120;
/// Strength and echo a period must have to be reported; the strength of white noise falls with
/// the number of slices n as about 3 / n per frequency, and the strongest of many is taken.
const REPORTED_STRENGTH: f64 = 0.3;
const REPORTED_NOISE: f64 = 25.0;
const REPORTED_ECHO: f64 = 0.25;
/// Periods the scan must hold.
const REPORTED_PERIODS: f64 = 3.0;

/// The strongest period of a profile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerPeriod {
    /// Length of the period.
    pub period_um: f64,
    /// Share of the profile's variance at the period, about 1 for a sinusoid.
    pub strength: f64,
    /// Autocorrelation at the period.
    pub echo: f64,
    /// Whether it stands out enough to be called a layer period.
    pub reported: bool,
}

/// Finds the strongest period of a profile sampled every `voxel_um`; none if the profile is flat
/// or too short for two periods of the band.
pub fn layer_period(profile: &[f64], voxel_um: f64) -> Option<LayerPeriod> {
    let n = profile.len();
    let longest = BAND_UM[1].min(n as f64 * voxel_um / 2.0);
    let shortest = BAND_UM[0].max(2.5 * voxel_um);
    let centred = without_line(profile);
    let variance: f64 = centred.iter().map(|d| d * d).sum();
    if longest <= shortest || variance < 1e-14 {
        return None;
    }
    let window: Vec<f64> =
        (0..n).map(|i| 0.5 - 0.5 * (TAU * (i as f64 + 0.5) / n as f64).cos()).collect();
    let window_sum: f64 = window.iter().sum();
    let energy: f64 = window.iter().zip(&centred).map(|(w, d)| w * d * d).sum();
    let (first, last) = (1.0 / longest, 1.0 / shortest);
    let power: Vec<f64> = (0..CANDIDATES)
        .map(|k| {
            let frequency = first + (last - first) * k as f64 / (CANDIDATES - 1) as f64;
            let step = TAU * frequency * voxel_um;
            let (mut re, mut im) = (0.0, 0.0);
            for (i, (w, d)) in window.iter().zip(&centred).enumerate() {
                let (sin, cos) = (step * i as f64).sin_cos();
                re += w * d * cos;
                im += w * d * sin;
            }
            2.0 * (re * re + im * im) / (window_sum * energy.max(1e-300))
        })
        .collect();
    let best = (0..CANDIDATES).max_by(|&a, &b| power[a].total_cmp(&power[b]))?;
    let offset = parabola(&power, best);
    let frequency = first + (last - first) * (best as f64 + offset) / (CANDIDATES - 1) as f64;
    let period_um = 1.0 / frequency;
    let strength = power[best].min(1.0);
    let echo = autocorrelation(&centred, period_um / voxel_um);
    let reported = period_um * REPORTED_PERIODS <= n as f64 * voxel_um
        && strength > REPORTED_STRENGTH.max(REPORTED_NOISE / n as f64)
        && echo > REPORTED_ECHO
        && best > 0;
    Some(LayerPeriod { period_um, strength, echo, reported })
}

fn without_line(profile: &[f64]) -> Vec<f64> {
    let n = profile.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let mean = profile.iter().sum::<f64>() / n;
    let (mut up, mut spread) = (0.0, 0.0);
    for (i, p) in profile.iter().enumerate() {
        up += (i as f64 - middle) * (p - mean);
        spread += (i as f64 - middle).powi(2);
    }
    let slope = if spread > 0.0 { up / spread } else { 0.0 };
    profile.iter().enumerate().map(|(i, p)| p - mean - slope * (i as f64 - middle)).collect()
}

/// Place of the top of the parabola through a maximum and its neighbours, from -0.5 to 0.5.
pub(crate) fn parabola(values: &[f64], at: usize) -> f64 {
    if at == 0 || at + 1 >= values.len() {
        return 0.0;
    }
    let (a, b, c) = (values[at - 1], values[at], values[at + 1]);
    let bend = a - 2.0 * b + c;
    if bend < 0.0 { (0.5 * (a - c) / bend).clamp(-0.5, 0.5) } else { 0.0 }
}

fn autocorrelation(centred: &[f64], lag: f64) -> f64 {
    let at = |lag: usize| {
        let n = centred.len().saturating_sub(lag);
        let sum: f64 = centred.iter().zip(centred.iter().skip(lag)).map(|(a, b)| a * b).sum();
        if n == 0 { 0.0 } else { sum / n as f64 }
    };
    let variance = at(0);
    if variance <= 0.0 {
        return 0.0;
    }
    let (whole, rest) = (lag.floor() as usize, lag.fract());
    let value = at(whole) * (1.0 - rest) + at(whole + 1) * rest;
    (value / variance).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_found_with_its_period() {
        for period in [30.0, 47.0, 80.0] {
            let profile: Vec<f64> =
                (0..96).map(|i| 0.1 + 0.02 * (TAU * i as f64 * 4.0 / period).sin()).collect();
            let found = layer_period(&profile, 4.0).unwrap();
            assert!((found.period_um / period - 1.0).abs() < 0.03, "{found:?}");
            assert!(found.strength > 0.8 && found.echo > 0.7 && found.reported, "{found:?}");
        }
    }

    #[test]
    fn flat_and_short_profiles_have_none() {
        assert_eq!(layer_period(&[0.1; 50], 5.0), None);
        assert_eq!(layer_period(&[0.1, 0.2, 0.1, 0.3], 5.0), None);
    }
}

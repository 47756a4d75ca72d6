//! Samplers of the probability-flow ODE as plain functions: (denoiser, noise levels, x) → x.
//!
//! A denoiser is `denoise(level, sigma, x, out)`: it writes E[x₀ | x₀ + σ·noise = x] into `out`;
//! `level` is the index of σ in the grid, so that what depends on the level alone can be prepared
//! once. `x` may hold any number of draws; samplers treat its elements alike.

/// Noise levels of Karras et al. 2022 (eq. 5), ρ = 7, from `SIGMA_MAX` down to `SIGMA_MIN` in
/// `steps` levels, and then 0. The ends suit posteriors of unit prior scale: a narrower end than
/// the image default, because a posterior may be 200 times narrower than its prior, and a wider
/// start would waste steps (measured on a perfect denoiser, see the tests).
pub fn karras_levels(steps: usize) -> Vec<f64> {
    const RHO: f64 = 7.0;
    let (top, bottom) = (SIGMA_MAX.powf(1.0 / RHO), SIGMA_MIN.powf(1.0 / RHO));
    let last = steps.saturating_sub(1).max(1) as f64;
    let level = |i: usize| (top + i as f64 / last * (bottom - top)).powf(RHO);
    (0..steps).map(level).chain([0.0]).collect()
}

/// Largest noise level, in units of the prior's standard deviation.
pub const SIGMA_MAX: f64 = 10.0;
/// Smallest noise level above zero.
pub const SIGMA_MIN: f64 = 5e-4;
/// Standard deviation of a draw at the largest level: that of the noise and of the data.
pub fn initial_scale() -> f64 {
    (SIGMA_MAX * SIGMA_MAX + 1.0).sqrt()
}

/// DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095) in the EDM parametrisation: second order
/// with one evaluation a step, the previous one extrapolated in ln σ. `levels` falls to 0.
pub fn sample_dpmpp_2m(
    mut denoise: impl FnMut(usize, f64, &[f64], &mut [f64]),
    levels: &[f64],
    x: &mut [f64],
) {
    let mut now = vec![0.0; x.len()];
    let mut before = vec![0.0; x.len()];
    let mut last_step = None;
    for (level, pair) in levels.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        denoise(level, sigma, x, &mut now);
        // In t = -ln σ; the step to σ = 0 is infinite and lands on the denoised value.
        let step = (sigma / next).ln();
        let extrapolation = match last_step {
            Some(last) if next > 0.0 => step / (2.0 * last),
            _ => 0.0,
        };
        let keep = next / sigma;
        for ((x, now), before) in x.iter_mut().zip(&now).zip(&before) {
            let denoised = now + extrapolation * (now - before);
            *x = keep * *x + (1.0 - keep) * denoised;
        }
        std::mem::swap(&mut now, &mut before);
        last_step = Some(step);
    }
}

/// Heun's method (Karras et al. 2022, algorithm 1 without churn): second order, two evaluations a
/// step. Kept as an independent check of [`sample_dpmpp_2m`].
pub fn sample_heun(
    mut denoise: impl FnMut(usize, f64, &[f64], &mut [f64]),
    levels: &[f64],
    x: &mut [f64],
) {
    let mut denoised = vec![0.0; x.len()];
    let mut again = vec![0.0; x.len()];
    for (level, pair) in levels.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        denoise(level, sigma, x, &mut denoised);
        let slope = |x: f64, denoised: f64, sigma: f64| (x - denoised) / sigma;
        let euler: Vec<f64> = x
            .iter()
            .zip(&denoised)
            .map(|(x, d)| x + (next - sigma) * slope(*x, *d, sigma))
            .collect();
        if next == 0.0 {
            x.copy_from_slice(&euler);
            continue;
        }
        denoise(level + 1, next, &euler, &mut again);
        for (((x, d), e), a) in x.iter_mut().zip(&denoised).zip(&euler).zip(&again) {
            *x += (next - sigma) * 0.5 * (slope(*x, *d, sigma) + slope(*e, *a, next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::normal;

    /// A mixture of two normals as the exact posterior: (weight, mean, standard deviation).
    const MIXTURE: [(f64, f64, f64); 2] = [(0.5, 0.2, 0.173), (0.5, 0.2, 0.0173)];
    const NARROW: [(f64, f64, f64); 2] = [(0.5, 0.2, 0.05), (0.5, 0.2, 0.005)];
    type Mixture = [(f64, f64, f64); 2];

    fn perfect(mixture: Mixture) -> impl Fn(usize, f64, &[f64], &mut [f64]) {
        move |_, sigma, x, out| {
            for (x, out) in x.iter().zip(out) {
                let terms = mixture.map(|(weight, mean, sd)| {
                    let variance = sd * sd + sigma * sigma;
                    let log =
                        weight.ln() - 0.5 * (x - mean).powi(2) / variance - 0.5 * variance.ln();
                    (log, mean + sd * sd / variance * (x - mean))
                });
                let top = terms[0].0.max(terms[1].0);
                let (mut mass, mut sum) = (0.0, 0.0);
                for (log, value) in terms {
                    mass += (log - top).exp();
                    sum += (log - top).exp() * value;
                }
                *out = sum / mass;
            }
        }
    }

    /// Largest gap between the sample's and the mixture's distribution function. The noise is a
    /// stratified normal sample, so the figure is the sampler's error alone.
    fn distance(mixture: Mixture, sampled: impl FnOnce(&mut [f64])) -> f64 {
        const COUNT: usize = 4001;
        let start = |i: usize| normal::quantile((i as f64 + 0.5) / COUNT as f64) * initial_scale();
        let mut x: Vec<f64> = (0..COUNT).map(start).collect();
        sampled(&mut x);
        x.sort_by(f64::total_cmp);
        let gap = |(i, x): (usize, &f64)| {
            let exact: f64 = mixture.iter().map(|(w, m, s)| w * normal::cdf((x - m) / s)).sum();
            (exact - (i as f64 + 0.5) / COUNT as f64).abs()
        };
        x.iter().enumerate().map(gap).fold(0.0, f64::max)
    }

    #[test]
    fn grid_ends_as_stated() {
        let levels = karras_levels(32);
        assert_eq!((levels.len(), levels[32]), (33, 0.0));
        assert!((levels[0] - SIGMA_MAX).abs() < 1e-12 && (levels[31] - SIGMA_MIN).abs() < 1e-12);
        assert!(levels.windows(2).all(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn both_samplers_reach_the_closed_form_and_so_agree() {
        for mixture in [MIXTURE, NARROW] {
            let fast =
                distance(mixture, |x| sample_dpmpp_2m(perfect(mixture), &karras_levels(32), x));
            let heun = distance(mixture, |x| sample_heun(perfect(mixture), &karras_levels(64), x));
            assert!(fast < 0.012, "DPM-Solver++ {fast}");
            assert!(heun < 0.012, "Heun {heun}");
        }
    }

    #[test]
    fn error_falls_with_the_number_of_steps() {
        let error = |steps| {
            distance(MIXTURE, |x| sample_dpmpp_2m(perfect(MIXTURE), &karras_levels(steps), x))
        };
        let (coarse, middle, fine) = (error(8), error(16), error(64));
        assert!(coarse > middle && middle > fine, "{coarse} {middle} {fine}");
    }

    #[test]
    fn the_prior_comes_back_from_a_denoiser_that_knows_nothing() {
        let prior = [(0.5, 0.0, 1.0), (0.5, 0.0, 1.0)];
        let gap = distance(prior, |x| sample_dpmpp_2m(perfect(prior), &karras_levels(32), x));
        assert!(gap < 0.005, "{gap}");
    }
}

//! Dimensionless numbers → width and depth of a laser track, with the error to expect on a
//! machine that was not measured; and measured tracks → that law.
//!
//! This is not the simulator's law ([`crate::melt_pool`]): that one weighs every track alike and so
//! belongs to the source with most of them. A prediction is asked of a machine nobody measured, so
//! here every source weighs alike, keyhole depths seen by X-rays (Gan 2021) count as one more
//! source, and the depth's exponent falls in conduction mode. The simulator keeps its own, because
//! the bundled model was trained on it. Reasons and figures: `docs/adr/0015-prediction-law.md`.

use crate::alloy::properties;
use crate::beam::{Beam, Numbers};
use crate::melt_pool::LEAST_ENTHALPY;
use microdiff_domain::Alloy;

/// Normalised enthalpy below which depth falls more slowly: where a vapour depression begins.
/// Chosen; 2 and 3 fit nearly as well.
const CONDUCTION_BELOW: f64 = 2.5;

/// Part of the depth's dependence on enthalpy that acts on preheating: IN718 from 100 to 500 °C
/// gained 0.27 in ln depth where the plain law gives 0.41 (Chen 2020, measured).
const PREHEAT_SHARE: f64 = 0.65;

/// Largest extent the law is followed to, µm.
const LARGEST_EXTENT_UM: f64 = 1500.0;

/// Numbers in the width law and in the depth law.
const WIDTH_TERMS: usize = 3;
const DEPTH_TERMS: usize = 4;

/// `ln(W/r) = w · (1, ln K, ln L)` and
/// `ln(D/r) = d · (1, ln K', ln L, max(0, ln 2.5/K'))`, with K the normalised enthalpy, L the
/// diffusion length, K' the enthalpy with 0.65 of its dependence on the bed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackLaw {
    /// Coefficients of the width.
    pub width: [f64; WIDTH_TERMS],
    /// Coefficients of the depth.
    pub depth: [f64; DEPTH_TERMS],
}

/// Fitted on 589 tracks that did not ball (Hofmann 2026, KU Leuven 2021, Chen 2020) and, for depth,
/// 52 X-ray keyhole depths of Ti-6Al-4V and 316L (Gan 2021, keyhole number above 6).
/// `microdiff validate-physics` prints the fit again.
pub const MEASURED_LAW: TrackLaw =
    TrackLaw { width: [1.0981, 0.3341, 0.4596], depth: [-1.0658, 1.5620, 0.4276, 0.4757] };

/// Standard deviation of ln width and of ln depth on a machine and at a setting not measured.
///
/// From the scatter between sources (0.08, 0.27) and within them (0.10, 0.21), then set so that 90 %
/// intervals cover near 90 % of the tracks of a source left out, on average over sources.
pub const LN_WIDTH_SD: f64 = 0.155;
/// See [`LN_WIDTH_SD`].
pub const LN_DEPTH_SD: f64 = 0.38;

/// The same for an alloy without tracks of its own in the fit: 29 published AlSi10Mg rows of
/// mixed quality scatter by 0.5 in ln depth. Chosen, unvalidated.
pub const UNMEASURED_ALLOY_LN_SD: [f64; 2] = [0.33, 0.65];

/// A measured track with the name of where it was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Machine and study.
    pub source: String,
    /// How much of a source's say its tracks have together.
    pub say: f64,
    /// Alloy.
    pub alloy: Alloy,
    /// Laser power, W. Of a track whose absorbed power alone is known, the power that gives it.
    pub power_w: f64,
    /// Scan speed, mm/s.
    pub speed_mm_s: f64,
    /// Spot diameter (1/e²), µm.
    pub spot_um: f64,
    /// Bed temperature, °C.
    pub bed_c: f64,
    /// Width, µm, if measured.
    pub width_um: Option<f64>,
    /// Depth, µm, if measured.
    pub depth_um: Option<f64>,
}

impl Track {
    pub(crate) fn beam(&self) -> Beam {
        let Self { alloy, power_w, speed_mm_s, spot_um, bed_c, .. } = *self;
        Beam { material: properties(alloy), power_w, speed_mm_s, spot_um, bed_c }
    }

    /// The track whose absorbed power is what `power_w` says now.
    pub fn from_absorbed_power(mut self) -> Self {
        self.power_w = self.beam().with_absorbed_power(self.power_w).power_w;
        self
    }

    /// Keyhole number of Gan 2021.
    pub fn keyhole_number(&self) -> f64 {
        self.beam().numbers().keyhole
    }
}

fn width_terms(numbers: &Numbers) -> [f64; WIDTH_TERMS] {
    [1.0, numbers.enthalpy.ln(), numbers.diffusion_length.ln()]
}

fn depth_terms(numbers: &Numbers) -> [f64; DEPTH_TERMS] {
    let cold = numbers.cold_enthalpy.ln();
    let enthalpy = cold + PREHEAT_SHARE * (numbers.enthalpy.ln() - cold);
    let conduction = (CONDUCTION_BELOW.ln() - enthalpy).max(0.0);
    [1.0, enthalpy, numbers.diffusion_length.ln(), conduction]
}

fn dot<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl TrackLaw {
    /// Width and depth, µm; zero where no track forms (normalised enthalpy below 0.5).
    pub(crate) fn extent_um(&self, beam: &Beam, numbers: &Numbers) -> [f64; 2] {
        if numbers.enthalpy < LEAST_ENTHALPY {
            return [0.0, 0.0];
        }
        let logs =
            [dot(&self.width, &width_terms(numbers)), dot(&self.depth, &depth_terms(numbers))];
        logs.map(|ln| (beam.radius_um() * ln.exp()).min(LARGEST_EXTENT_UM))
    }

    /// Width and depth of a measured track's setting, µm.
    pub fn of(&self, track: &Track) -> [f64; 2] {
        let beam = track.beam();
        self.extent_um(&beam, &beam.numbers())
    }

    /// Weighted least squares in the logarithms: the tracks of a source share its say.
    /// `None` when the tracks do not determine the law.
    pub fn fit(tracks: &[&Track]) -> Option<TrackLaw> {
        let rows: Vec<(&Track, Numbers)> =
            tracks.iter().map(|track| (*track, track.beam().numbers())).collect();
        let mut widths = NormalEquations::<WIDTH_TERMS>::default();
        let mut depths = NormalEquations::<DEPTH_TERMS>::default();
        let peers = |track: &Track, has: fn(&Track) -> bool| {
            let count = tracks.iter().filter(|t| t.source == track.source && has(t)).count();
            track.say / count.max(1) as f64
        };
        for (track, numbers) in &rows {
            let radius = track.beam().radius_um();
            if let Some(width) = track.width_um {
                let weight = peers(track, |t| t.width_um.is_some());
                widths.add(&width_terms(numbers), (width / radius).ln(), weight);
            }
            if let Some(depth) = track.depth_um {
                let weight = peers(track, |t| t.depth_um.is_some());
                depths.add(&depth_terms(numbers), (depth / radius).ln(), weight);
            }
        }
        Some(TrackLaw { width: widths.solve()?, depth: depths.solve()? })
    }
}

/// Sums of weighted least squares in N unknowns.
struct NormalEquations<const N: usize> {
    matrix: [[f64; N]; N],
    right: [f64; N],
}

impl<const N: usize> Default for NormalEquations<N> {
    fn default() -> Self {
        Self { matrix: [[0.0; N]; N], right: [0.0; N] }
    }
}

impl<const N: usize> NormalEquations<N> {
    fn add(&mut self, terms: &[f64; N], value: f64, weight: f64) {
        for i in 0..N {
            for j in 0..N {
                self.matrix[i][j] += weight * terms[i] * terms[j];
            }
            self.right[i] += weight * terms[i] * value;
        }
    }

    /// By Cholesky; `None` when the matrix is not positive definite.
    fn solve(&self) -> Option<[f64; N]> {
        let mut lower = [[0.0; N]; N];
        for i in 0..N {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                let rest = self.matrix[i][j] - known;
                if i == j {
                    if rest <= 1e-10 * self.matrix[i][i] {
                        return None;
                    }
                    lower[i][i] = rest.sqrt();
                } else {
                    lower[i][j] = rest / lower[j][j];
                }
            }
        }
        let mut solution = self.right;
        for i in 0..N {
            let known: f64 = (0..i).map(|k| lower[i][k] * solution[k]).sum();
            solution[i] = (solution[i] - known) / lower[i][i];
        }
        for i in (0..N).rev() {
            let known: f64 = (i + 1..N).map(|k| lower[k][i] * solution[k]).sum();
            solution[i] = (solution[i] - known) / lower[i][i];
        }
        Some(solution)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn track(source: &str, power_w: f64, speed_mm_s: f64, spot_um: f64) -> Track {
        Track {
            source: source.to_owned(),
            say: 1.0,
            alloy: Alloy::Ss316L,
            power_w,
            speed_mm_s,
            spot_um,
            bed_c: 25.0,
            width_um: None,
            depth_um: None,
        }
    }

    fn exact(law: &TrackLaw, scale: f64, source: &str) -> Vec<Track> {
        let mut tracks = Vec::new();
        for power in [60.0, 100.0, 200.0, 350.0] {
            for speed in [300.0, 800.0, 1500.0] {
                for spot in [60.0, 100.0] {
                    let mut one = track(source, power, speed, spot);
                    let [width, depth] = law.of(&one);
                    if width > 0.0 {
                        (one.width_um, one.depth_um) = (Some(scale * width), Some(scale * depth));
                        tracks.push(one);
                    }
                }
            }
        }
        tracks
    }

    #[test]
    fn the_fit_gives_back_the_law_that_made_the_tracks() {
        let tracks = exact(&MEASURED_LAW, 1.0, "a");
        let fitted = TrackLaw::fit(&tracks.iter().collect::<Vec<_>>()).unwrap();
        for (found, made) in fitted.width.iter().zip(MEASURED_LAW.width) {
            assert!((found - made).abs() < 1e-6, "{fitted:?}");
        }
        for (found, made) in fitted.depth.iter().zip(MEASURED_LAW.depth) {
            assert!((found - made).abs() < 1e-6, "{fitted:?}");
        }
        assert!(TrackLaw::fit(&[]).is_none());
        assert!(TrackLaw::fit(&[&tracks[0]; 20]).is_none());
    }

    #[test]
    fn a_source_of_many_tracks_says_no_more_than_one_of_few() {
        let mut tracks: Vec<Track> =
            (0..20).flat_map(|_| exact(&MEASURED_LAW, 1.0, "many")).collect();
        tracks.extend(exact(&MEASURED_LAW, 2.0, "few"));
        let fitted = TrackLaw::fit(&tracks.iter().collect::<Vec<_>>()).unwrap();
        let halfway = MEASURED_LAW.width[0] + 0.5 * 2f64.ln();
        assert!((fitted.width[0] - halfway).abs() < 1e-6, "{fitted:?}");
    }

    proptest! {
        #[test]
        fn more_power_or_less_speed_melts_more_and_a_hot_bed_helps(
            alloy in 0..4usize, power in 40.0..900.0f64, speed in 100.0..4000.0f64,
            spot in 40.0..200.0f64, bed in 20.0..500.0f64,
        ) {
            let alloy = Alloy::ALL[alloy];
            let at = |power_w, speed_mm_s, bed_c| {
                MEASURED_LAW.of(&Track { alloy, bed_c, ..track("", power_w, speed_mm_s, spot) })
            };
            let here = at(power, speed, bed);
            for other in [at(1.1 * power, speed, bed), at(power, speed / 1.1, bed),
                at(power, speed, bed + 40.0)] {
                prop_assert!(other[0] >= here[0] && other[1] >= here[1], "{here:?} {other:?}");
            }
        }
    }
}

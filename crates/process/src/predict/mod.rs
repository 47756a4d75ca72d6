//! One setting → what its tracks, its pores and its metal are expected to be, each with an
//! interval.
//!
//! The forward question, beside the posterior's inverse one. Width and depth of laser tracks come
//! from a law fitted for machines nobody measured ([`TrackLaw`]); electron beams and directed energy
//! from the Eagar–Tsai integral, whose error there is a guess. Everything else is pushed through
//! the same imperfections for every setting, so that a table of settings can be ranked.
//!
//! Deliberately absent: any claim that a number is right on a given machine, and any optimum.

mod condition;
mod draws;
pub mod evidence;
mod law;
pub mod map;
mod porosity;
mod reference;
pub mod score;
mod strength;

pub use condition::{Condition, ConditionError, Quantity, Setting, measured_bed_c, usual_bed_c};
pub use evidence::{Evidence, Support};
pub use law::{LN_DEPTH_SD, LN_WIDTH_SD, MEASURED_LAW, Track, TrackLaw, UNMEASURED_ALLOY_LN_SD};
pub use reference::{Reference, reference_extent_um};

use crate::alloy::properties;
use crate::beam::{Beam, ELECTRON_LN_DEPTH, fixed_absorptivity};
use crate::boundaries::has_balling_criterion;
use draws::{Imperfection, imperfections, normal_quantile};
use microdiff_domain::{Alloy, Process};
use porosity::{KEYHOLE_ONSET, PoreSource};
use rayon::prelude::*;
use serde::Serialize;

/// Standard deviations of ln width and ln depth of electron-beam tracks by the Eagar–Tsai integral:
/// on 9 tracks the width was right within 1 % and depth 0.77 of the measured, which is put right;
/// chosen wide.
const EBM_LN_SD: [f64; 2] = [0.25, 0.50];
/// Of directed energy: bias 0.15 to 1.5 from study to study; 0.6 chosen, with absorptivity between
/// 0.25 and 0.5.
const DED_LN_SD: [f64; 2] = [0.63, 0.63];
/// Share of the volume from which lack of fusion is called one: what weighing a part can tell.
/// Chosen.
const LACKING_ABOVE: f64 = 5e-3;
/// Spots an unknown spot is averaged over.
const SPOT_NODES: usize = 8;

/// Median and 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 5 % of the probability lies below.
    pub p05: f64,
    /// Median.
    pub p50: f64,
    /// 5 % of the probability lies above.
    pub p95: f64,
}

/// What the width and depth of a prediction rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Validity {
    /// A law checked on measured tracks of this alloy and process, source by source.
    Tracks,
    /// Nothing measured supports it.
    Unvalidated,
}

impl Validity {
    /// Word in tables and documents.
    pub fn name(self) -> &'static str {
        match self {
            Validity::Tracks => "tracks",
            Validity::Unvalidated => "unvalidated",
        }
    }
}

/// The answer for one condition. What needs a hatch and a layer is absent without them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prediction {
    /// Width of a continuous track, µm.
    pub width_um: Interval,
    /// Depth of a continuous track below the plate or the powder layer's floor, µm.
    pub depth_um: Interval,
    /// Relative density, %.
    pub relative_density_pct: Option<Interval>,
    /// Probability that lack-of-fusion pores take more than 0.5 % of the volume.
    pub p_lack_of_fusion: Option<f64>,
    /// Probability that the keyhole number is above the onset of keyhole pores.
    pub p_keyhole: f64,
    /// Probability that a track balls. `None` for electron beams and directed energy: the criterion
    /// was measured on laser tracks in powder beds and says nothing of them.
    pub p_balling: Option<f64>,
    /// Cooling rate at solidification, K/s.
    pub cooling_rate_k_s: f64,
    /// Cell, dendrite or lath spacing, µm.
    pub spacing_um: f64,
    /// Yield strength, MPa.
    pub yield_mpa: Option<Interval>,
    /// Elongation at fracture, %.
    pub elongation_pct: Option<Interval>,
    /// What width and depth rest on; nothing else is validated on any process.
    pub validity: Validity,
}

impl Interval {
    /// Of a log-normal value with this median and standard deviation of its logarithm.
    pub fn log_normal(median: f64, ln_sd: f64) -> Self {
        let factor = (ln_sd * normal_quantile(0.95)).exp();
        Self { p05: median / factor, p50: median, p95: median * factor }
    }
}

impl Prediction {
    /// Names of [`Prediction::values`], with their units.
    pub const COLUMNS: [&'static str; 20] = [
        "width_um_p05",
        "width_um_p50",
        "width_um_p95",
        "depth_um_p05",
        "depth_um_p50",
        "depth_um_p95",
        "relative_density_pct_p05",
        "relative_density_pct_p50",
        "relative_density_pct_p95",
        "p_lack_of_fusion",
        "p_keyhole",
        "p_balling",
        "cooling_rate_k_s",
        "spacing_um",
        "yield_mpa_p05",
        "yield_mpa_p50",
        "yield_mpa_p95",
        "elongation_pct_p05",
        "elongation_pct_p50",
        "elongation_pct_p95",
    ];

    /// Every number, in the order of [`Prediction::COLUMNS`].
    pub fn values(&self) -> [Option<f64>; 20] {
        let all = |interval: Option<Interval>| {
            let interval = interval.as_ref();
            [interval.map(|i| i.p05), interval.map(|i| i.p50), interval.map(|i| i.p95)]
        };
        let [w05, w50, w95] = all(Some(self.width_um));
        let [d05, d50, d95] = all(Some(self.depth_um));
        let [r05, r50, r95] = all(self.relative_density_pct);
        let [y05, y50, y95] = all(self.yield_mpa);
        let [e05, e50, e95] = all(self.elongation_pct);
        let keyhole = Some(self.p_keyhole);
        let (cooling, spacing) = (Some(self.cooling_rate_k_s), Some(self.spacing_um));
        [
            w05,
            w50,
            w95,
            d05,
            d50,
            d95,
            r05,
            r50,
            r95,
            self.p_lack_of_fusion,
            keyhole,
            self.p_balling,
            cooling,
            spacing,
            y05,
            y50,
            y95,
            e05,
            e50,
            e95,
        ]
    }
}

/// Predicts conditions; holds the imperfections of its seed.
#[derive(Debug, Clone)]
pub struct Predictor {
    draws: Vec<Imperfection>,
}

/// What one draw of imperfections makes of a condition: the values whose quantiles a prediction
/// holds, still together, so that what must hold at once can be counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) extent_um: [f64; 2],
    pub(crate) part: Option<DrawnPart>,
}

/// What needs a hatch and a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct DrawnPart {
    pub(crate) relative_density_pct: f64,
    lacks_fusion: bool,
    pub(crate) yield_mpa: f64,
    pub(crate) elongation_pct: f64,
}

/// The track of a condition at one spot.
#[derive(Debug, Clone, Copy)]
struct MeanTrack {
    spot_um: f64,
    extent_um: [f64; 2],
    keyhole_number: f64,
    /// Where the balling criterion says anything.
    length_to_width: Option<f64>,
}

impl Predictor {
    /// The same seed gives the same predictions.
    pub fn new(seed: u64) -> Self {
        Self { draws: imperfections(seed, 0) }
    }

    /// Holds the imperfections of `sets` sets that are not those of [`Predictor::new`]: for
    /// judging what was found with those.
    pub(crate) fn apart(seed: u64, sets: u64) -> Self {
        Self { draws: (1..=sets).flat_map(|set| imperfections(seed, set)).collect() }
    }

    /// The prediction for one condition.
    pub fn predict(&self, condition: &Condition) -> Prediction {
        self.predict_drawn(condition).0
    }

    /// The predictions for many conditions, in their order, on all cores.
    pub fn predict_all(&self, conditions: &[Condition]) -> Vec<Prediction> {
        conditions.par_iter().map(|condition| self.predict(condition)).collect()
    }

    /// What each draw makes of a condition.
    pub(crate) fn drawn(&self, condition: &Condition) -> Vec<Drawn> {
        let tracks = mean_tracks(condition);
        let ln_sd = extent_ln_sd(condition);
        let cooling_rate = strength::cooling_rate(condition);
        let spacing_um = strength::spacing_um(condition.alloy, condition.process, cooling_rate);
        let sound_mpa = strength::sound_yield_mpa(condition.alloy, spacing_um);
        let one = |draw: &Imperfection| {
            let track = draw.track(&tracks);
            let [width, depth] = track.extent_um;
            let extent_um =
                [width * (ln_sd[0] * draw.width).exp(), depth * (ln_sd[1] * draw.depth).exp()];
            Drawn { extent_um, part: drawn_part(condition, track, extent_um, sound_mpa, draw) }
        };
        self.draws.iter().map(one).collect()
    }

    fn p_balling(&self, alloy: Alloy, tracks: &[MeanTrack]) -> Option<f64> {
        let of = |draw: &Imperfection| {
            porosity::balling(alloy, draw.track(tracks).length_to_width, draw)
        };
        let sum: Option<f64> = self.draws.iter().map(of).sum();
        sum.map(|sum| sum / self.draws.len() as f64)
    }

    /// The prediction for one condition with the draws behind it.
    pub(crate) fn predict_drawn(&self, condition: &Condition) -> (Prediction, Vec<Drawn>) {
        let tracks = mean_tracks(condition);
        let ln_sd = extent_ln_sd(condition);
        let place = |draw: &Imperfection| *draw.track(&tracks);
        let mean = |value: &dyn Fn(&Imperfection) -> f64| {
            self.draws.iter().map(value).sum::<f64>() / self.draws.len() as f64
        };
        let alloy = condition.alloy;
        let cooling_rate_k_s = strength::cooling_rate(condition);
        let spacing_um = strength::spacing_um(alloy, condition.process, cooling_rate_k_s);
        let drawn = self.drawn(condition);
        let [width_um, depth_um] = match tracks.as_slice() {
            [only] => [0, 1].map(|k| Interval::log_normal(only.extent_um[k], ln_sd[k])),
            _ => [0, 1].map(|k| quantiles(drawn.iter().map(|one| one.extent_um[k]).collect())),
        };
        let parts: Option<Vec<DrawnPart>> = drawn.iter().map(|one| one.part).collect();
        let of_parts = |value: fn(&DrawnPart) -> f64| {
            parts.as_ref().map(|parts| quantiles(parts.iter().map(value).collect()))
        };
        let lacking = |parts: &Vec<DrawnPart>| {
            parts.iter().filter(|part| part.lacks_fusion).count() as f64 / parts.len() as f64
        };
        let prediction = Prediction {
            width_um,
            depth_um,
            relative_density_pct: of_parts(|part| part.relative_density_pct),
            p_lack_of_fusion: parts.as_ref().map(lacking),
            p_keyhole: mean(&|draw| above_onset(place(draw).keyhole_number, draw)),
            p_balling: self.p_balling(alloy, &tracks),
            cooling_rate_k_s,
            spacing_um,
            yield_mpa: of_parts(|part| part.yield_mpa),
            elongation_pct: of_parts(|part| part.elongation_pct),
            validity: validity(condition),
        };
        (prediction, drawn)
    }
}

impl Imperfection {
    /// The track at this draw's spot.
    fn track<'a>(&self, tracks: &'a [MeanTrack]) -> &'a MeanTrack {
        &tracks[((self.spot * tracks.len() as f64) as usize).min(tracks.len() - 1)]
    }
}

fn drawn_part(
    condition: &Condition,
    track: &MeanTrack,
    extent_um: [f64; 2],
    sound_mpa: f64,
    draw: &Imperfection,
) -> Option<DrawnPart> {
    let alloy = condition.alloy;
    let source = PoreSource {
        alloy,
        spot_um: track.spot_um,
        keyhole_number: track.keyhole_number,
        length_to_width: track.length_to_width,
        hatch_um: condition.hatch_um?,
        layer_um: condition.layer_um?,
    };
    let shares = porosity::shares(&source, extent_um, draw);
    let porosity = shares.total();
    Some(DrawnPart {
        relative_density_pct: 100.0 * (1.0 - porosity),
        lacks_fusion: shares.lack_of_fusion > LACKING_ABOVE,
        yield_mpa: strength::yield_mpa(sound_mpa, porosity, draw.strength),
        elongation_pct: strength::elongation_pct(alloy, porosity, draw.stretch),
    })
}

fn validity(condition: &Condition) -> Validity {
    match condition.process {
        Process::Lpbf if properties(condition.alloy).validated => Validity::Tracks,
        _ => Validity::Unvalidated,
    }
}

/// Standard deviations of ln width and ln depth.
fn extent_ln_sd(condition: &Condition) -> [f64; 2] {
    match condition.process {
        Process::Lpbf if properties(condition.alloy).validated => [LN_WIDTH_SD, LN_DEPTH_SD],
        Process::Lpbf => UNMEASURED_ALLOY_LN_SD,
        Process::Ebm => EBM_LN_SD,
        Process::Ded => DED_LN_SD,
    }
}

/// Spots of a condition: the one given, or even steps through what the process is run with.
fn spots_um(condition: &Condition) -> Vec<f64> {
    if let Some(spot) = condition.spot_um {
        return vec![spot];
    }
    let [low, high] = condition.process.spot_um();
    let middle = |i: usize| (i as f64 + 0.5) / SPOT_NODES as f64;
    (0..SPOT_NODES)
        .map(|i| match condition.process {
            Process::Lpbf => low + (high - low) * middle(i),
            Process::Ebm | Process::Ded => low * (high / low).powf(middle(i)),
        })
        .collect()
}

fn mean_tracks(condition: &Condition) -> Vec<MeanTrack> {
    spots_um(condition).into_iter().map(|spot_um| mean_track(condition, spot_um)).collect()
}

fn mean_track(condition: &Condition, spot_um: f64) -> MeanTrack {
    let Condition { alloy, process, power_w, speed_mm_s, bed_c, .. } = *condition;
    let beam = Beam { material: properties(alloy), power_w, speed_mm_s, spot_um, bed_c };
    let numbers = beam.numbers();
    let fixed = fixed_absorptivity(process, alloy);
    let length_to_width = has_balling_criterion(process)
        .then(|| beam.length_to_width(beam.material.length_absorptivity));
    match process {
        Process::Lpbf => MeanTrack {
            spot_um,
            extent_um: MEASURED_LAW.extent_um(&beam, &numbers),
            keyhole_number: numbers.keyhole,
            length_to_width,
        },
        Process::Ebm | Process::Ded => {
            let ln_depth = if process == Process::Ebm { ELECTRON_LN_DEPTH } else { 0.0 };
            let [width, depth] = beam.conduction_extent_um(fixed, 0.0);
            MeanTrack {
                spot_um,
                extent_um: [width, depth * ln_depth.exp()],
                keyhole_number: beam.conduction_keyhole_number(&numbers, fixed),
                length_to_width,
            }
        }
    }
}

/// Probability that this draw's keyhole number is above the onset, the onset's own scatter smooth.
fn above_onset(keyhole_number: f64, draw: &Imperfection) -> f64 {
    let [onset, onset_sd] = KEYHOLE_ONSET;
    let number = porosity::drawn_keyhole_number(keyhole_number, draw);
    1.0 - crate::expected::above((number - onset) / onset_sd)
}

fn quantiles(mut values: Vec<f64>) -> Interval {
    values.sort_unstable_by(f64::total_cmp);
    let at = |part: f64| {
        let place = part * (values.len() - 1) as f64;
        let index = (place as usize).min(values.len() - 2);
        values[index] + (values[index + 1] - values[index]) * (place - index as f64)
    };
    Interval { p05: at(0.05), p50: at(0.50), p95: at(0.95) }
}

#[cfg(test)]
mod tests;

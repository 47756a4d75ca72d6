//! Bounds on what a setting should give → settings that are likely to give it.
//!
//! The design question without a scan. The forward model of [`crate::predict`] is asked at settings
//! spread over what process and machine allow and at better ones near the best of these; each is
//! worth the share of the model's imperfections under which every bound is kept at once. What is
//! found is judged again with other draws of the imperfections, so that a setting is not praised
//! for the luck it was chosen by.
//!
//! A separate optimisation, not a posterior: nothing here is calibrated against parts. Deliberately
//! absent: guidance of the diffusion model, which has seen no target, and a search over bed and
//! spot.

mod bound;
mod candidate;
mod error;
mod fit;
mod search;
mod space;

pub use bound::{Bound, Property, Sense, Target};
pub use candidate::{Candidate, FromUsual};
pub use error::TargetError;
pub use fit::{BoundFit, Fit};
pub use space::SEARCHED;

use crate::predict::evidence::fitted_tracks;
use crate::predict::map::{self, Grid, Plane};
use crate::predict::{Setting, Validity};
use candidate::Judge;
use microdiff_domain::{Alloy, KnownParameters, Machine, Process, SpotDiameter};
use search::{Look, Scout};
use serde::Serialize;
use space::{AXES, Place, Space};

/// Settings spread over the space.
const SPREAD: usize = 4096;
/// Probability from which a target counts as reached.
pub const REACHED: f64 = 0.9;
/// Probability below which it is out of reach. Chosen.
const OUT_OF_REACH: f64 = 0.1;
/// Largest number of candidates.
pub const MOST_CANDIDATES: usize = 50;
/// Fewest and most settings that are bettered.
const STARTS: [usize; 2] = [24, 60];

/// What is asked.
#[derive(Debug, Clone)]
pub struct TargetRequest {
    /// Alloy.
    pub alloy: Alloy,
    /// Process.
    pub process: Process,
    /// Machine whose limits hold, and whose spot and bed stand in for those not given.
    pub machine: Option<Machine>,
    /// Spot; without it and without a machine all usual spots are averaged over.
    pub spot: Option<SpotDiameter>,
    /// Parameters that must be as they are.
    pub known: KnownParameters,
    /// What the setting should give.
    pub target: Target,
    /// Number of candidates, at most.
    pub top: usize,
    /// The same seed gives the same answer.
    pub seed: u64,
}

/// Whether the target can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Some setting keeps every bound with a probability of at least [`REACHED`].
    Reached,
    /// No setting that was tried does, but some may keep them.
    Uncertain,
    /// None that was tried has as much as one chance in ten.
    OutOfReach,
}

/// The settings that were tried and are acceptable.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Their share of the settings spread over the space.
    pub share: f64,
    /// Smallest and largest value of each searched parameter among them, in the order of
    /// [`SEARCHED`]; not every combination within is acceptable. `None` when none is.
    pub ranges: Option<[[f64; 2]; AXES]>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetAnswer {
    /// Whether the target can be had.
    pub outcome: Outcome,
    /// Probability from which a setting is acceptable: [`REACHED`], or nine tenths of the best when
    /// none has that.
    pub level: f64,
    /// Acceptable settings in distinct regions, best first; none when the target is out of reach.
    pub candidates: Vec<Candidate>,
    /// The likeliest setting of all.
    pub best: Candidate,
    /// The machine's usual setting, where there is one among what may be tried.
    pub usual: Option<Candidate>,
    /// Of each bound by itself, the largest probability at any setting judged.
    pub reach: Vec<f64>,
    /// Acceptable settings all over the space.
    pub window: Window,
    /// Smallest and largest value tried of each searched parameter.
    pub searched: [[f64; 2]; AXES],
    /// Spot and bed.
    pub fixed: Setting,
    /// Settings tried.
    pub tried: usize,
    /// Whether width and depth rest on measured tracks.
    pub validity: Validity,
    /// Tracks the law was fitted on: of this alloy, and of all. None for a process without a law.
    pub fitted_tracks: Option<[u32; 2]>,
}

impl TargetAnswer {
    /// The bound that keeps the target from being reached, by its place among the bounds: the one
    /// least likely kept at the best setting. `None` when it is reached.
    pub fn binding(&self) -> Option<usize> {
        let bounds = self.best.fit.bounds.iter().enumerate();
        let least = bounds.min_by(|(_, a), (_, b)| {
            a.probability.total_cmp(&b.probability).then(a.margin.total_cmp(&b.margin))
        });
        least.map(|(place, _)| place).filter(|_| self.outcome != Outcome::Reached)
    }

    /// Whether each bound can be kept by some setting, yet not all by one.
    pub fn is_contradictory(&self) -> bool {
        self.outcome != Outcome::Reached && self.reach.iter().all(|reach| *reach >= REACHED)
    }
}

impl TargetRequest {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// When process and alloy, machine, spot or known values contradict each other, a bound is on
    /// what is not predicted for the process, or the number of candidates is none that is searched
    /// for.
    pub fn check(&self) -> Result<(), TargetError> {
        self.process.check(self.alloy)?;
        if let Some(machine) = self.machine {
            machine.check(self.process, &self.known, self.spot)?;
        }
        if let Some(spot) = self.spot {
            self.process.check_spot(spot)?;
        }
        let process = self.process;
        let mut properties = self.target.bounds().iter().map(|bound| bound.property);
        if let Some(property) = properties.find(|one| !one.is_known_of(process)) {
            return Err(TargetError::NotPredicted { property, process });
        }
        if !(1..=MOST_CANDIDATES).contains(&self.top) {
            return Err(TargetError::Count(self.top));
        }
        Ok(())
    }
}

/// Searches, in work that is bounded whatever the target: a few seconds of one core.
///
/// # Errors
/// As [`TargetRequest::check`].
pub fn search(request: &TargetRequest) -> Result<TargetAnswer, TargetError> {
    request.check()?;
    let space = Space::new(request)?;
    let scout = Scout::new(&space, &request.target, request.seed);
    let looks = scout.look_at(space.spread(request.seed, SPREAD))?;
    let usual = usual(request).filter(|place| space.holds(place));
    let [fewest, most] = STARTS;
    let starts = search::distinct(&space, &looks, (2 * request.top).clamp(fewest, most));
    let (bettered, moves) = scout.better(&starts)?;
    let mut pool: Vec<Place> = starts.iter().map(|look| look.place).chain(bettered).collect();
    pool.extend(search::likeliest_of_each(&looks, request.target.bounds().len()));
    pool.extend(usual);
    let judge = Judge::new(request, &space);
    let (judged, best) = judge.rank(pool)?;
    let likeliest = best.fit.probability;
    let (outcome, level) = match likeliest {
        REACHED.. => (Outcome::Reached, REACHED),
        OUT_OF_REACH.. => (Outcome::Uncertain, REACHED * likeliest),
        _ => (Outcome::OutOfReach, REACHED),
    };
    let acceptable = judged.iter().filter(|one| one.fit.probability >= level).cloned().collect();
    let mut candidates = search::apart(&space, acceptable, request.top);
    judge.widen(&mut candidates, level)?;
    let reach =
        |k: usize| judged.iter().map(|one| one.fit.bounds[k].probability).fold(0.0, f64::max);
    let usual = usual.and_then(|place| judged.iter().find(|one| one.place() == place).cloned());
    Ok(TargetAnswer {
        outcome,
        level,
        candidates,
        usual,
        reach: (0..request.target.bounds().len()).map(reach).collect(),
        window: window(&looks, level),
        searched: space.ranges(),
        fixed: space.rest(),
        tried: looks.len() + moves,
        validity: best.prediction.validity,
        fitted_tracks: (request.process == Process::Lpbf).then(|| fitted_tracks(request.alloy)),
        best,
    })
}

/// Probability that every bound is kept over the plane of power and speed, with the layer and hatch
/// of a candidate, spot and bed as in the search.
///
/// # Errors
/// As [`TargetRequest::check`], and when the plane leaves what the process accepts.
pub fn over_plane(
    request: &TargetRequest,
    candidate: &Candidate,
    plane: Plane,
) -> Result<Grid, TargetError> {
    request.check()?;
    let space = Space::new(request)?;
    let scout = Scout::new(&space, &request.target, request.seed);
    let [_, _, layer, hatch] = candidate.place();
    let values = map::over(plane, |power, speed| scout.probability([power, speed, layer, hatch]));
    Ok(map::grid(values?))
}

/// The machine's usual setting of the alloy.
fn usual(request: &TargetRequest) -> Option<Place> {
    let usual = request.machine?.usual(request.alloy)?;
    Some([usual.power_w, usual.speed_mm_s, usual.layer_um, usual.hatch_um])
}

fn window(looks: &[Look], level: f64) -> Window {
    let inside: Vec<&Look> = looks.iter().filter(|look| look.probability >= level).collect();
    let range = |k: usize| {
        inside
            .iter()
            .map(|look| look.place[k])
            .fold([f64::INFINITY, f64::NEG_INFINITY], |r, x| [r[0].min(x), r[1].max(x)])
    };
    Window {
        share: inside.len() as f64 / looks.len().max(1) as f64,
        ranges: (!inside.is_empty()).then(|| std::array::from_fn(range)),
    }
}

#[cfg(test)]
mod tests;

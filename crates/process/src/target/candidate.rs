//! Settings that a search found → what is told of each, judged with draws the search did not use.

use super::TargetRequest;
use super::error::TargetError;
use super::fit::{Fit, fit};
use super::search::{Standing, build_rate_cm3_h};
use super::space::{AXES, Place, SEARCHED, Space, each_once};
use crate::predict::{Evidence, Prediction, Predictor, Setting, evidence::evidence};
use microdiff_domain::Parameter;
use rayon::prelude::*;

/// Sets of draws that judge: 1024 draws, which move a probability by 0.016 at most.
const JUDGES: u64 = 8;
/// Parts of a range in which the window around a candidate is told.
const WINDOW_PARTS: f64 = 24.0;

/// The searched parameter that lies farthest from the machine's usual setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FromUsual {
    /// The parameter.
    pub parameter: Parameter,
    /// Its value over the usual one.
    pub ratio: f64,
}

/// One setting with what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The setting, as [`Predictor::predict`] of the request's seed takes it.
    pub setting: Setting,
    /// What that predicts.
    pub prediction: Prediction,
    /// How it stands to the target: probabilities by other draws than those it was found with.
    pub fit: Fit,
    /// What width and depth rest on.
    pub evidence: Evidence,
    /// Volume consolidated, cm³/h: speed times hatch times layer.
    pub build_rate_cm3_h: f64,
    /// How far from the machine's usual setting, where it has one.
    pub from_usual: Option<FromUsual>,
    /// Of each searched parameter, the values around its own at which the setting stays acceptable
    /// while the others stay as they are; empty before that was looked for, and for a setting that
    /// is not acceptable.
    pub window: Option<[[f64; 2]; AXES]>,
    place: Place,
}

impl Candidate {
    /// Values of the searched parameters, in the order of [`SEARCHED`].
    pub fn place(&self) -> [f64; AXES] {
        self.place
    }

    fn standing(&self) -> Standing {
        Standing::new(self.fit.probability, self.evidence.support, self.fit.margin)
    }
}

/// Judges settings.
pub(super) struct Judge<'a> {
    request: &'a TargetRequest,
    space: &'a Space,
    predictor: Predictor,
    draws: Predictor,
}

impl<'a> Judge<'a> {
    pub(super) fn new(request: &'a TargetRequest, space: &'a Space) -> Self {
        let draws = Predictor::apart(request.seed, JUDGES);
        Self { request, space, predictor: Predictor::new(request.seed), draws }
    }

    /// Every setting once, best first, and the likeliest of all.
    pub(super) fn rank(
        &self,
        mut places: Vec<Place>,
    ) -> Result<(Vec<Candidate>, Candidate), TargetError> {
        each_once(&mut places);
        let mut judged: Vec<Candidate> =
            places.into_par_iter().map(|place| self.judge(place)).collect::<Result<_, _>>()?;
        judged.sort_by(|a, b| a.standing().order(&b.standing()));
        let likeliest = judged.iter().max_by(|a, b| {
            let key = |one: &Candidate| (one.fit.probability, one.fit.margin);
            let ((p, m), (q, n)) = (key(a), key(b));
            p.total_cmp(&q).then(m.total_cmp(&n))
        });
        let likeliest = likeliest.cloned().ok_or(TargetError::Count(0))?;
        Ok((judged, likeliest))
    }

    fn judge(&self, place: Place) -> Result<Candidate, TargetError> {
        let (prediction, fit) = self.fit(place)?;
        Ok(Candidate {
            setting: self.space.setting(place),
            evidence: evidence(&self.space.condition(place)?, &prediction),
            prediction,
            fit,
            build_rate_cm3_h: build_rate_cm3_h(&place),
            from_usual: self.distance(&place),
            window: None,
            place,
        })
    }

    /// Single numbers and margins are those of the prediction that is shown.
    fn fit(&self, place: Place) -> Result<(Prediction, Fit), TargetError> {
        let condition = self.space.condition(place)?;
        let prediction = self.predictor.predict(&condition);
        let drawn = self.draws.drawn(&condition);
        let fit = fit(&self.request.target, &prediction, build_rate_cm3_h(&place), &drawn);
        Ok((prediction, fit))
    }

    fn distance(&self, place: &Place) -> Option<FromUsual> {
        let usual = super::usual(self.request)?;
        let ratios = SEARCHED.into_iter().zip(place.iter().zip(usual));
        ratios
            .map(|(parameter, (value, usual))| FromUsual { parameter, ratio: value / usual })
            .max_by(|a, b| a.ratio.ln().abs().total_cmp(&b.ratio.ln().abs()))
    }

    /// Finds the window of each candidate.
    pub(super) fn widen(
        &self,
        candidates: &mut [Candidate],
        level: f64,
    ) -> Result<(), TargetError> {
        candidates.par_iter_mut().try_for_each(|candidate| {
            let mut window = candidate.place.map(|value| [value; 2]);
            for (axis, ends) in window.iter_mut().enumerate() {
                if self.space.is_free(axis) {
                    for (end, way) in ends.iter_mut().zip([-1.0, 1.0]) {
                        *end = self.end(candidate.place, axis, way / WINDOW_PARTS, level)?;
                    }
                }
            }
            candidate.window = Some(window);
            Ok(())
        })
    }

    /// The last value on the way that is acceptable.
    fn end(&self, from: Place, axis: usize, step: f64, level: f64) -> Result<f64, TargetError> {
        let mut here = from;
        while let Some(next) = self.space.neighbour(&here, axis, step) {
            if self.fit(next)?.1.probability < level {
                break;
            }
            here = next;
        }
        Ok(here[axis])
    }
}

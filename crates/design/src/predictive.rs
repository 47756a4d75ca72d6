//! Posterior draws and a scan's descriptors → whether the posterior's own draws predict what was
//! measured.
//!
//! A few draws go through the physics of `process` with freshly drawn nuisance values, and what
//! they predict is compared with the scan: porosity always, the layer and hatch periods where they
//! stand out. Each signed discrepancy becomes a two-sided conformal p-value against the same
//! discrepancy of held-out simulations (Vovk et al. 2005), which absorbs what the quick forward
//! model leaves out (blur, threshold, merging pores). A scan like the simulations therefore has a
//! p-value that is about uniform; a small one says that posterior and measurement do not belong
//! together. It deliberately does not build and scan a part for each draw (seconds, not
//! milliseconds), and says nothing of power, speed and temperature beyond what porosity tells.

use crate::DesignError;
use microdiff_domain::{
    Alloy, Descriptors, PARAMETER_COUNT, Parameter, Process, ProcessParameters, SpotDiameter,
};
use microdiff_process::{Case, Nuisance, View, visible_porosity};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// p-value below which posterior and measurement are said not to belong together; so many
/// ordinary scans are called so, too.
pub const PREDICTIVE_FALSE_ALARM_RATE: f64 = 0.05;
/// Draws pushed through the forward model: enough for a mean and a spread, few enough to cost
/// about a millisecond.
const FORWARD_DRAWS: usize = 48;
/// Draws behind the predicted periods, which cost next to nothing.
const PERIOD_DRAWS: usize = 256;
/// Least measurement error: of log10 porosity, and of a period's logarithm. A choice; it only
/// keeps a very narrow prediction from dividing by nothing, the calibration does the rest.
const LEAST_ERROR: f64 = 0.05;
/// Fewer held-out discrepancies than this calibrate nothing.
const LEAST_CALIBRATION: usize = 50;
/// Porosity where its descriptor ends, log10.
const POROSITY_FLOOR: f64 = -6.0;

/// What the scan and the forward model both tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observable {
    /// Pore volume over part volume.
    Porosity,
    /// Period of missing metal along the build direction, predicted to be the layer thickness.
    LayerPeriod,
    /// Period of the pore lattice within layers, predicted to be the hatch spacing.
    HatchPeriod,
}

impl Observable {
    /// Every observable.
    pub const ALL: [Observable; 3] =
        [Observable::Porosity, Observable::LayerPeriod, Observable::HatchPeriod];

    /// Name, as in JSON and in labels.
    pub fn name(self) -> &'static str {
        match self {
            Observable::Porosity => "porosity",
            Observable::LayerPeriod => "layer_period",
            Observable::HatchPeriod => "hatch_period",
        }
    }

    /// Back from the scale of comparison: log10 of a fraction, ln of a length in µm.
    fn natural(self, value: f64) -> f64 {
        match self {
            Observable::Porosity => 10f64.powf(value),
            Observable::LayerPeriod | Observable::HatchPeriod => value.exp(),
        }
    }
}

/// Signed discrepancies of held-out simulations, rising, by observable.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Calibration {
    porosity: Vec<f32>,
    layer_period: Vec<f32>,
    hatch_period: Vec<f32>,
}

/// Whether the posterior's draws predict what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PredictiveSummary {
    /// About uniform for scans like the simulations: the smallest of the p-values below, corrected
    /// for their number (Šidák).
    pub p_value: f64,
    /// `p_value` below [`PREDICTIVE_FALSE_ALARM_RATE`].
    pub flagged: bool,
    /// What was compared; only what the scan shows.
    pub observables: Vec<ObservableCheck>,
    /// Posterior draws pushed through the forward model.
    pub draws: usize,
}

/// One measured quantity beside its prediction. Porosity as a fraction, periods in µm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObservableCheck {
    /// What it is.
    pub name: Observable,
    /// As measured on the scan.
    pub measured: f64,
    /// 5 % quantile of the calibrated prediction.
    pub predicted_p05: f64,
    /// Median of the calibrated prediction.
    pub predicted_median: f64,
    /// 95 % quantile of the calibrated prediction.
    pub predicted_p95: f64,
    /// Measured less predicted mean over predicted spread, before calibration; positive when more
    /// was measured.
    pub discrepancy: f64,
    /// Two-sided conformal p-value.
    pub p_value: f64,
}

/// What is compared with a scan.
pub(crate) struct Question<'a> {
    pub process: Process,
    pub alloy: Alloy,
    /// Where the spot diameter may lie, µm.
    pub spots: [f64; 2],
    pub descriptors: &'a Descriptors,
    pub draws: &'a [[f64; PARAMETER_COUNT]],
    pub seed: u64,
}

/// A prediction on the scale of comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Predicted {
    pub observable: Observable,
    measured: f64,
    mean: f64,
    sd: f64,
}

impl Predicted {
    /// In predicted standard deviations.
    pub(crate) fn discrepancy(&self) -> f64 {
        (self.measured - self.mean) / self.sd
    }
}

impl Question<'_> {
    /// What can be compared on this scan, porosity first. The same question gives the same
    /// predictions, whatever the number of threads.
    pub(crate) fn predict(&self) -> Result<Vec<Predicted>, DesignError> {
        let mut all = vec![self.porosity()?];
        all.extend(self.period(Observable::LayerPeriod));
        all.extend(self.period(Observable::HatchPeriod));
        Ok(all)
    }

    fn porosity(&self) -> Result<Predicted, DesignError> {
        let used = &self.draws[..self.draws.len().min(FORWARD_DRAWS)];
        let floor_um = (48.0 / std::f64::consts::PI).cbrt() * self.exp("ln_voxel_size");
        let volume_um3 = ["ln_extent_z", "ln_extent_y", "ln_extent_x"]
            .map(|name| self.exp(name))
            .iter()
            .product();
        let view = View { detection_floor_um: floor_um, volume_um3 };
        let logs: Result<Vec<f64>, DesignError> = used
            .par_iter()
            .enumerate()
            .map(|(index, theta)| self.draw_porosity(index, theta, view))
            .collect();
        let measured = self.value("log_porosity");
        Ok(predicted(Observable::Porosity, measured, &logs?))
    }

    fn draw_porosity(
        &self,
        index: usize,
        theta: &[f64; PARAMETER_COUNT],
        view: View,
    ) -> Result<f64, DesignError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index as u64);
        let [low, high] = self.spots;
        let spot = SpotDiameter::micrometres(low + (high - low) * rng.random::<f64>())?;
        let nuisance = Nuisance::draw(self.process, self.alloy, &mut rng);
        let parameters = ProcessParameters::from_array(*theta)?;
        let case = Case { process: self.process, alloy: self.alloy, parameters, spot };
        let seen = visible_porosity(&case, &nuisance, view, &mut rng);
        Ok(seen.log10().max(POROSITY_FLOOR))
    }

    /// A period and its prediction, where the period stands out by the descriptors alone: the
    /// calibration has nothing else.
    fn period(&self, observable: Observable) -> Option<Predicted> {
        let (period, parameter, told) = match observable {
            Observable::Porosity => return None,
            Observable::LayerPeriod => {
                let period = self.value("ln_layer_period");
                let told = self.value("layer_strength") > 0.3
                    && self.value("layer_echo") > 0.25
                    && 3.0 * period.exp() <= self.exp("ln_extent_z");
                (period, Parameter::LayerThickness, told)
            }
            Observable::HatchPeriod => {
                let told = self.value("hatch_strength") > 0.08;
                (self.value("ln_hatch_period"), Parameter::HatchSpacing, told)
            }
        };
        let used = &self.draws[..self.draws.len().min(PERIOD_DRAWS)];
        let logs: Vec<f64> = used.iter().map(|draw| draw[parameter.index()].ln()).collect();
        told.then(|| predicted(observable, period, &logs))
    }

    fn value(&self, name: &str) -> f64 {
        self.descriptors.get(name).unwrap_or(0.0)
    }

    fn exp(&self, name: &str) -> f64 {
        self.value(name).exp()
    }
}

fn predicted(observable: Observable, measured: f64, sample: &[f64]) -> Predicted {
    let count = sample.len().max(1) as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let variance = sample.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    Predicted { observable, measured, mean, sd: variance.sqrt().hypot(LEAST_ERROR) }
}

impl Calibration {
    /// From the predictions of held-out simulations, at most `kept` of each observable.
    pub(crate) fn fit(all: &[Vec<Predicted>], kept: usize) -> Self {
        let of = |observable: Observable| {
            let chosen = all.iter().flatten().filter(|p| p.observable == observable);
            let mut list: Vec<f64> = chosen.map(Predicted::discrepancy).collect();
            list.sort_by(f64::total_cmp);
            let kept = list.len().min(kept);
            // Three decimals: the tenth of a percent of a deviation decides nothing.
            let round = |value: f64| (value * 1e3).round() / 1e3;
            (0..kept).map(|i| round(list[i * list.len() / kept]) as f32).collect()
        };
        Self {
            porosity: of(Observable::Porosity),
            layer_period: of(Observable::LayerPeriod),
            hatch_period: of(Observable::HatchPeriod),
        }
    }

    /// Whether every list is finite and rising.
    pub(crate) fn is_sound(&self) -> bool {
        Observable::ALL.into_iter().all(|observable| {
            let list = self.list(observable);
            list.iter().all(|value| value.is_finite())
                && list.windows(2).all(|pair| pair[0] <= pair[1])
        })
    }

    /// Judges a scan's predictions; `None` when none of them can be calibrated.
    pub(crate) fn judge(&self, all: &[Predicted], draws: usize) -> Option<PredictiveSummary> {
        let checks: Vec<ObservableCheck> =
            all.iter().filter_map(|predicted| self.check(predicted)).collect();
        let least = checks.iter().map(|check| check.p_value).reduce(f64::min)?;
        let p_value = 1.0 - (1.0 - least).powi(checks.len() as i32);
        Some(PredictiveSummary {
            p_value,
            flagged: p_value < PREDICTIVE_FALSE_ALARM_RATE,
            observables: checks,
            draws: draws.min(FORWARD_DRAWS),
        })
    }

    fn list(&self, observable: Observable) -> &[f32] {
        match observable {
            Observable::Porosity => &self.porosity,
            Observable::LayerPeriod => &self.layer_period,
            Observable::HatchPeriod => &self.hatch_period,
        }
    }

    fn check(&self, predicted: &Predicted) -> Option<ObservableCheck> {
        let held = self.list(predicted.observable);
        if held.len() < LEAST_CALIBRATION {
            return None;
        }
        let at = |share: f64| {
            let index = (share * (held.len() - 1) as f64).round() as usize;
            let scaled = predicted.mean + predicted.sd * f64::from(held[index]);
            predicted.observable.natural(scaled)
        };
        let discrepancy = predicted.discrepancy();
        Some(ObservableCheck {
            name: predicted.observable,
            measured: predicted.observable.natural(predicted.measured),
            predicted_p05: at(0.05),
            predicted_median: at(0.5),
            predicted_p95: at(0.95),
            discrepancy,
            p_value: two_sided(discrepancy, held),
        })
    }
}

/// Twice the smaller of the shares at least as low and at least as high, the scan itself counted
/// among them.
fn two_sided(value: f64, held: &[f32]) -> f64 {
    let below = held.partition_point(|other| f64::from(*other) < value);
    let up_to = held.partition_point(|other| f64::from(*other) <= value);
    let (low, high) = (up_to + 1, held.len() - below + 1);
    (2.0 * low.min(high) as f64 / (held.len() + 1) as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::DESCRIPTOR_COUNT;

    fn calibration() -> Calibration {
        let list: Vec<f32> = (-50..=50).map(|i| i as f32 / 25.0).collect();
        Calibration { porosity: list.clone(), layer_period: list, hatch_period: Vec::new() }
    }

    fn predicted_at(observable: Observable, discrepancy: f64) -> Predicted {
        Predicted { observable, measured: -2.0 + 0.5 * discrepancy, mean: -2.0, sd: 0.5 }
    }

    #[test]
    fn p_values_by_eye() {
        let held: Vec<f32> = (1..=99).map(|i| i as f32).collect();
        assert_eq!(two_sided(50.0, &held), 1.0);
        assert_eq!(two_sided(0.0, &held), 0.02);
        assert_eq!(two_sided(1e9, &held), 0.02);
        assert_eq!(two_sided(5.0, &held), 0.12);
    }

    #[test]
    fn what_is_far_off_is_flagged_and_what_has_no_calibration_is_left_out() {
        let calm = calibration().judge(&[predicted_at(Observable::Porosity, 0.1)], 500).unwrap();
        assert!(!calm.flagged && calm.p_value > 0.8, "{calm:?}");
        assert_eq!(calm.draws, FORWARD_DRAWS);
        let check = &calm.observables[0];
        assert!((check.predicted_median - 0.01).abs() < 1e-4, "{check:?}");
        assert!(check.predicted_p05 < check.measured && check.measured < check.predicted_p95);
        let far = [
            predicted_at(Observable::Porosity, 0.1),
            predicted_at(Observable::LayerPeriod, 30.0),
            predicted_at(Observable::HatchPeriod, 30.0),
        ];
        let far = calibration().judge(&far, 20).unwrap();
        assert!(far.flagged && far.observables.len() == 2 && far.draws == 20, "{far:?}");
        assert_eq!(Calibration::default().judge(&[], 20), None);
    }

    #[test]
    fn a_question_has_one_answer_and_a_part_of_gaps_predicts_more_than_a_dense_one() {
        let mut values = [0.0; DESCRIPTOR_COUNT];
        for (name, value) in [
            ("ln_voxel_size", 5f64.ln()),
            ("ln_extent_z", 500f64.ln()),
            ("ln_extent_y", 500f64.ln()),
            ("ln_extent_x", 500f64.ln()),
            ("log_porosity", -2.0),
            ("ln_layer_period", 60f64.ln()),
            ("layer_strength", 0.8),
            ("layer_echo", 0.8),
        ] {
            let index = microdiff_domain::descriptor::DESCRIPTORS
                .iter()
                .position(|spec| spec.name == name)
                .unwrap();
            values[index] = value;
        }
        let descriptors = Descriptors::new(values).unwrap();
        let ask = |theta: [f64; PARAMETER_COUNT]| {
            let draws = vec![theta; 40];
            let question = Question {
                process: Process::Lpbf,
                alloy: Alloy::Ti6Al4V,
                spots: Process::Lpbf.spot_um(),
                descriptors: &descriptors,
                draws: &draws,
                seed: 3,
            };
            assert_eq!(question.predict().unwrap(), question.predict().unwrap());
            question.predict().unwrap()
        };
        let dense = ask([280.0, 1200.0, 30.0, 80.0, 80.0]);
        let gaps = ask([100.0, 2000.0, 60.0, 180.0, 80.0]);
        assert!(gaps[0].mean > dense[0].mean + 0.5, "{gaps:?} {dense:?}");
        // Measured is a layer period of 60 um: right for the second, twice the first.
        assert!(gaps[1].discrepancy().abs() < 1e-6 && dense[1].discrepancy() > 10.0);
        assert_eq!(gaps.len(), 2);
    }
}

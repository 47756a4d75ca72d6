//! Scores of rows → an evaluation's tables.

use super::given::Given;
use super::score::{GivenScores, MarginalScore, RowScore};
use super::uniform::Uniformity;
use super::{CalibrationTest, ClassifierQuality, Evaluation, Marginal};
use microdiff_domain::{DefectClass, Parameter, Process};

pub(super) fn evaluation(rows: &[RowScore], samples: usize) -> Evaluation {
    let mut marginals = Vec::new();
    let mut calibration = Vec::new();
    for (index, given) in Given::ALL.iter().enumerate() {
        for process in Process::ALL {
            let of = rows.iter().filter(|row| row.process == process);
            let scored: Vec<(DefectClass, &GivenScores)> = of
                .filter_map(|row| row.given[index].as_ref().map(|scores| (row.class, scores)))
                .collect();
            marginals.extend(by_regime(given, process, &scored));
            if !scored.is_empty() {
                calibration.push(test(given, process, &scored));
            }
        }
    }
    let share = |count: usize| count as f64 / rows.len() as f64;
    Evaluation {
        rows: rows.len(),
        samples,
        marginals,
        calibration,
        classifier: ClassifierQuality {
            log_loss: rows.iter().map(|row| row.log_loss).sum::<f64>() / rows.len() as f64,
            accuracy: share(rows.iter().filter(|row| row.correct).count()),
        },
        false_alarm_rate: share(rows.iter().filter(|row| row.flagged).count()),
    }
}

fn by_regime(
    given: &Given,
    process: Process,
    rows: &[(DefectClass, &GivenScores)],
) -> Vec<Marginal> {
    let mut found = Vec::new();
    for regime in std::iter::once(None).chain(DefectClass::ALL.map(Some)) {
        for parameter in Parameter::ALL {
            let scores: Vec<MarginalScore> = rows
                .iter()
                .filter(|(class, _)| regime.is_none_or(|regime| *class == regime))
                .filter_map(|(_, scores)| scores.marginals[parameter.index()])
                .collect();
            if !scores.is_empty() {
                found.push(marginal(given, process, regime, parameter, &scores));
            }
        }
    }
    found
}

fn marginal(
    given: &Given,
    process: Process,
    regime: Option<DefectClass>,
    parameter: Parameter,
    scores: &[MarginalScore],
) -> Marginal {
    let mean = |value: fn(&MarginalScore) -> f64| {
        scores.iter().map(value).sum::<f64>() / scores.len() as f64
    };
    let ratio = |above: f64, below: f64| if below > 0.0 { above / below } else { 1.0 };
    Marginal {
        given: given.names(),
        process,
        regime: regime.map_or("all", DefectClass::name).to_owned(),
        parameter: parameter.name().to_owned(),
        rows: scores.len(),
        skill: 1.0 - ratio(mean(|s| s.crps), mean(|s| s.prior_crps)),
        mean_absolute_error: mean(|s| s.error),
        coverage_50: mean(|s| s.inside_50),
        coverage_90: mean(|s| s.inside_90),
        relative_width: ratio(mean(|s| s.width), mean(|s| s.prior_width)),
    }
}

fn test(given: &Given, process: Process, rows: &[(DefectClass, &GivenScores)]) -> CalibrationTest {
    let ranks = |parameter: Parameter| {
        let ranks: Vec<f64> = rows
            .iter()
            .filter_map(|(_, scores)| scores.marginals[parameter.index()])
            .map(|score| score.rank)
            .collect();
        (!ranks.is_empty()).then(|| (parameter.name().to_owned(), Uniformity::of(ranks)))
    };
    CalibrationTest {
        given: given.names(),
        process,
        ranks: Parameter::ALL.into_iter().filter_map(ranks).collect(),
        tarp: Uniformity::of(rows.iter().map(|(_, scores)| scores.distance_rank).collect()),
    }
}

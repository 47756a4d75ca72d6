//! The model beside what anyone could do with the same simulations: believe the prior, or look up
//! the nearest of them. All three are scored on the same rows by the same score.

use super::EvaluateOptions;
use super::neighbours::Neighbours;
use super::score::{bare_scores, crps};
use crate::error::within;
use crate::rows::Row;
use crate::{DiffusionError, Model, space};
use microdiff_domain::{DefectClass, PARAMETER_COUNT, Parameter, Process};
use rayon::prelude::*;
use serde::Serialize;

/// Numbers of neighbours tried. The number that does best on the very rows it is judged on is
/// taken: the rival gets what the model does not.
const COUNTS: [usize; 6] = [10, 25, 50, 100, 200, 400];

/// Continuous ranked probability scores, in the position within the prior's range; 0 is exact.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Simulations the neighbours were looked up in.
    pub simulations: usize,
    /// Number of neighbours taken.
    pub neighbours: usize,
    /// One entry for each process, regime (all, then each class present) and parameter.
    pub scores: Vec<Compared>,
}

/// Mean scores of one parameter, nothing but scan, alloy and process given.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    /// The process.
    pub process: Process,
    /// `all` or a defect class.
    pub regime: String,
    /// The parameter, by name.
    pub parameter: String,
    /// Rows averaged.
    pub rows: usize,
    /// Of the model.
    pub posterior: f64,
    /// Of the prior.
    pub prior: f64,
    /// Of the nearest simulations.
    pub nearest: f64,
}

struct RowScores {
    process: Process,
    class: DefectClass,
    posterior: [f64; PARAMETER_COUNT],
    prior: [f64; PARAMETER_COUNT],
    nearest: [[f64; PARAMETER_COUNT]; COUNTS.len()],
}

/// Compares on held-out rows; `simulations` are those the model was trained on. `progress` hears
/// (done, total) from time to time.
pub fn compare(
    model: &Model,
    rows: &[Row],
    simulations: &[Row],
    options: &EvaluateOptions,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Comparison, DiffusionError> {
    within("rows", rows.len(), 1..=10_000_000)?;
    within("simulations", simulations.len(), 100..=10_000_000)?;
    let neighbours = Neighbours::new(simulations);
    let mut scored = Vec::with_capacity(rows.len());
    for (chunk, first) in rows.chunks(64).zip((0..).step_by(64)) {
        let scores: Result<Vec<RowScores>, DiffusionError> = chunk
            .par_iter()
            .enumerate()
            .map(|(i, row)| score(model, &neighbours, row, options, first + i as u64))
            .collect();
        scored.extend(scores?);
        progress(scored.len(), rows.len());
    }
    let total = |index: usize| -> f64 { scored.iter().flat_map(|row| row.nearest[index]).sum() };
    let best = (0..COUNTS.len()).min_by(|a, b| total(*a).total_cmp(&total(*b))).unwrap_or(0);
    Ok(Comparison {
        simulations: simulations.len(),
        neighbours: COUNTS[best],
        scores: table(&scored, best),
    })
}

fn score(
    model: &Model,
    neighbours: &Neighbours<'_>,
    row: &Row,
    options: &EvaluateOptions,
    index: u64,
) -> Result<RowScores, DiffusionError> {
    let marginals = bare_scores(model, row, options, index)?;
    let truth = space::to_unit(&row.theta, row.process, row.alloy);
    let found = neighbours.nearest(row, COUNTS[COUNTS.len() - 1]);
    let nearest = COUNTS.map(|count| {
        std::array::from_fn(|p| {
            let mut column: Vec<f64> = found.iter().take(count).map(|unit| unit[p]).collect();
            column.sort_by(f64::total_cmp);
            crps(&column, truth[p])
        })
    });
    Ok(RowScores {
        process: row.process,
        class: row.class,
        posterior: marginals.map(|score| score.crps),
        prior: marginals.map(|score| score.prior_crps),
        nearest,
    })
}

fn table(rows: &[RowScores], best: usize) -> Vec<Compared> {
    let mut table = Vec::new();
    for process in Process::ALL {
        for regime in std::iter::once(None).chain(DefectClass::ALL.map(Some)) {
            let of: Vec<&RowScores> = rows
                .iter()
                .filter(|row| row.process == process)
                .filter(|row| regime.is_none_or(|class| row.class == class))
                .collect();
            let mean = |value: &dyn Fn(&RowScores) -> f64| {
                of.iter().map(|row| value(row)).sum::<f64>() / of.len() as f64
            };
            for p in Parameter::ALL.into_iter().filter(|_| !of.is_empty()) {
                table.push(Compared {
                    process,
                    regime: regime.map_or("all", DefectClass::name).to_owned(),
                    parameter: p.name().to_owned(),
                    rows: of.len(),
                    posterior: mean(&|row| row.posterior[p.index()]),
                    prior: mean(&|row| row.prior[p.index()]),
                    nearest: mean(&|row| row.nearest[best][p.index()]),
                });
            }
        }
    }
    table
}

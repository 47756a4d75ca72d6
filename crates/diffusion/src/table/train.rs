//! Rows → a trained table model.
//!
//! Two candidates are trained side by side: one on the rows alone, one on the rows and on what the
//! emulator draws. Whichever loses less on held-out rows says how the rest of the ensemble learns.

use super::bundle::{self, Column, Observable, TableManifest, TableTraining};
use super::prepared::Prepared;
use super::run::{Member, Run};
use super::space::Prior;
use super::{Table, TableModel};
use crate::DiffusionError;
use crate::bundle::BundleFiles;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Fewest rows a model is trained on.
pub const FEWEST_ROWS: usize = 100;
const MOST_PARAMETERS: usize = 64;
const MOST_OBSERVABLES: usize = 1024;
/// Draws of the ensemble's members are mixed.
const MEMBERS: usize = 3;

/// What may be chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct TableOptions {
    /// Seed of everything random.
    pub seed: u64,
    /// Optimiser steps for each member; by the number of rows if `None`.
    pub steps: Option<usize>,
    /// Declared priors by parameter; the others are taken from the rows.
    pub priors: BTreeMap<String, Prior>,
}

/// A trained model and its files.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedTable {
    /// The bundle's files, ready to be written and opened.
    pub files: BundleFiles,
    /// The manifest in them.
    pub manifest: TableManifest,
}

impl TrainedTable {
    /// Opens it.
    pub fn open(&self) -> Result<TableModel, DiffusionError> {
        TableModel::from_files(&self.files)
    }
}

/// Trains on rows of `parameters` and `observables`, two tables of equal length. Refuses fewer than
/// [`FEWEST_ROWS`] rows, constant columns, a prior for a parameter there is not and rows outside a
/// declared prior. The same rows and options give the same weights whatever the number of threads.
pub fn train(
    parameters: &Table,
    observables: &Table,
    options: &TableOptions,
) -> Result<TrainedTable, DiffusionError> {
    check(parameters, observables, options)?;
    let prepared = Prepared::new(parameters, observables, options);
    let steps = options.steps.unwrap_or_else(|| steps(parameters.rows.len()));
    let start = |member: usize| Run::new(&prepared, steps, (options.seed, member as u64));
    // Each candidate is trained half-way; the better one is the first member and goes on.
    let half = steps.div_ceil(2);
    let (alone, emulated) = rayon::join(
        || start(0).until(half, None),
        || {
            let emulator = prepared.emulator(2 * steps, options.seed)?;
            let run = start(1).until(half, Some(&emulator));
            Some((emulator, run))
        },
    );
    let losses = [Some(alone.best.loss), emulated.as_ref().map(|(_, run)| run.best.loss)];
    let (emulator, first) = match emulated {
        Some((emulator, run)) if run.best.loss < alone.best.loss => (Some(emulator), run),
        _ => (None, alone),
    };
    let runs: Vec<Run<'_>> = std::iter::once(first).chain((2..=MEMBERS).map(start)).collect();
    let members: Vec<Member> =
        runs.into_par_iter().map(|run| run.until(steps, emulator.as_ref()).best).collect();
    if members.iter().any(|member| !member.loss.is_finite()) {
        let reason = "the loss is not finite".to_owned();
        return Err(DiffusionError::Training { reason });
    }
    let training = TableTraining {
        rows: prepared.train.rows(),
        held_out_rows: prepared.held.rows(),
        steps,
        seed: options.seed,
        best_steps: members.iter().map(|member| member.step).collect(),
        losses: members.iter().map(|member| member.loss).collect(),
        loss_rows_alone: losses[0],
        loss_with_emulator: losses[1],
        emulator: emulator.is_some(),
        fresh_parameters: emulator.is_some() && prepared.fresh,
    };
    bundle(&prepared, parameters, observables, (training, members))
}

/// Steps by rows: 8,000 at 10,000 rows, with the root of their number.
fn steps(rows: usize) -> usize {
    let steps = 8000.0 * (rows as f64 / 10_000.0).sqrt();
    steps.clamp(800.0, 20_000.0) as usize
}

fn check(
    parameters: &Table,
    observables: &Table,
    options: &TableOptions,
) -> Result<(), DiffusionError> {
    let refuse = |reason: String| Err(DiffusionError::table(reason));
    let rows = parameters.rows.len();
    if rows < FEWEST_ROWS {
        return refuse(format!("{rows} rows are too few: at least {FEWEST_ROWS} are needed"));
    }
    if rows != observables.rows.len() {
        return refuse("parameters and observables differ in their number of rows".into());
    }
    for (table, what, most) in [
        (parameters, "parameters", MOST_PARAMETERS),
        (observables, "observables", MOST_OBSERVABLES),
    ] {
        let count = table.columns.len();
        if !(1..=most).contains(&count) {
            return refuse(format!("{count} {what}: 1 to {most} are accepted"));
        }
        for (index, name) in table.columns.iter().enumerate() {
            if table.rows.iter().all(|row| row[index] == table.rows[0][index]) {
                return refuse(format!("column `{name}` is constant: nothing can be learnt of it"));
            }
        }
    }
    for (name, prior) in &options.priors {
        let Some(index) = parameters.columns.iter().position(|column| column == name) else {
            return refuse(format!("prior: `{name}` is not among the parameters"));
        };
        let Prior::Box { low, high } = prior else { continue };
        let outside = |row: &Vec<f64>| !(*low..=*high).contains(&row[index]);
        if let Some(row) = parameters.rows.iter().position(outside) {
            return refuse(format!(
                "row {}, column `{name}`: {} is outside the declared prior {low} to {high}",
                row + 1,
                parameters.rows[row][index]
            ));
        }
    }
    Ok(())
}

/// The bundle of trained members.
fn bundle(
    prepared: &Prepared,
    parameters: &Table,
    observables: &Table,
    (training, members): (TableTraining, Vec<Member>),
) -> Result<TrainedTable, DiffusionError> {
    let columns = parameters.columns.iter().zip(&prepared.transforms);
    let observable = |(index, name): (usize, &String)| {
        let values = observables.rows.iter().map(|row| row[index]);
        Observable {
            name: name.clone(),
            low: values.clone().fold(f64::INFINITY, f64::min),
            high: values.fold(f64::NEG_INFINITY, f64::max),
        }
    };
    let manifest = TableManifest {
        format: bundle::FORMAT.to_owned(),
        parameters: columns
            .map(|(name, t)| Column { name: name.clone(), transform: t.clone() })
            .collect(),
        observables: observables.columns.iter().enumerate().map(observable).collect(),
        features: prepared.features.clone(),
        frame: prepared.frame.clone(),
        architecture: prepared.architecture,
        members: members.len(),
        training,
        weights_sha256: String::new(),
    };
    let weights: Vec<Vec<f32>> = members.into_iter().map(|m| m.parameters).collect();
    bundle::files(manifest, &weights)
}

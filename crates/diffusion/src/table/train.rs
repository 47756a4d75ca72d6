//! Rows → a trained table model.
//!
//! Two candidates are trained side by side: one on the rows alone, one on the rows and on what the
//! emulator draws. Whichever loses less on held-out rows says how the rest of the ensemble learns.

use super::bundle::{self, Column, Observable, TableManifest, TableTraining};
use super::emulator::{self, Emulator, Pairs};
use super::features::Features;
use super::network::{Batch, Shape, TableArchitecture};
use super::optimiser::{Optimiser, Schedule};
use super::space::{Prior, Transform};
use super::{Table, TableModel};
use crate::DiffusionError;
use crate::bundle::BundleFiles;
use crate::kernels::InstructionSet;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Fewest rows a model is trained on.
pub const FEWEST_ROWS: usize = 100;
const MOST_PARAMETERS: usize = 64;
const MOST_OBSERVABLES: usize = 1024;
/// Draws of the ensemble's members are mixed.
const MEMBERS: usize = 3;
const BATCH: usize = 256;
/// Share of a batch that the emulator draws, where it is used.
const EMULATED: f64 = 0.8;
const EVALUATE: usize = 250;
/// Noise draws for each held-out row.
const HELD_DRAWS: usize = 8;
/// ln σ of the training noise: as for the scan model.
const LOG_SIGMA: (f64, f64) = (-1.2, 1.8);
const SIGMA_RANGE: (f64, f64) = (2e-4, 20.0);

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
    let run = |emulator: Option<&Emulator>, member: usize| {
        prepared.fit(emulator, steps, (options.seed, member as u64))
    };
    let (alone, emulated) = rayon::join(
        || run(None, 0),
        || {
            let emulator = prepared.emulator(2 * steps, options.seed)?;
            let member = run(Some(&emulator), 1);
            Some((emulator, member))
        },
    );
    let losses = [Some(alone.loss), emulated.as_ref().map(|(_, member)| member.loss)];
    let (emulator, first) = match emulated {
        Some((emulator, member)) if member.loss < alone.loss => (Some(emulator), member),
        _ => (None, alone),
    };
    let rest: Vec<Member> =
        (2..MEMBERS + 1).into_par_iter().map(|member| run(emulator.as_ref(), member)).collect();
    let members: Vec<Member> = std::iter::once(first).chain(rest).collect();
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
    prepared.bundle(parameters, observables, training, members)
}

/// Steps by rows: 6,000 at 10,000 rows, with the root of their number.
fn steps(rows: usize) -> usize {
    let steps = 6000.0 * (rows as f64 / 10_000.0).sqrt();
    steps.clamp(400.0, 12_000.0) as usize
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

/// Rows as the networks see them, row-major.
struct Rows {
    latent: Vec<f32>,
    scaled: Vec<f32>,
    features: Vec<f32>,
    width: usize,
}

impl Rows {
    fn rows(&self) -> usize {
        self.latent.len() / self.width
    }

    fn pairs(&self) -> Pairs<'_> {
        Pairs { latent: &self.latent, scaled: &self.scaled }
    }
}

struct Prepared {
    architecture: TableArchitecture,
    transforms: Vec<Transform>,
    features: Features,
    /// Whether the transforms describe the parameters, so that further ones can be drawn.
    fresh: bool,
    train: Rows,
    held: Rows,
}

struct Member {
    parameters: Vec<f32>,
    step: usize,
    loss: f64,
}

impl Prepared {
    fn new(parameters: &Table, observables: &Table, options: &TableOptions) -> Self {
        let column = |index: usize| parameters.rows.iter().map(|row| row[index]).collect();
        let columns: Vec<Vec<f64>> = (0..parameters.columns.len()).map(column).collect();
        let transforms: Vec<Transform> = parameters
            .columns
            .iter()
            .zip(&columns)
            .map(|(name, column)| Transform::choose(options.priors.get(name).copied(), column))
            .collect();
        let count = parameters.rows.len();
        let mut order: Vec<usize> = (0..count).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream(SPLIT_STREAM);
        order.shuffle(&mut rng);
        let (held, kept) = order.split_at((count / 10).clamp(20, 2000));
        let train: Vec<Vec<f64>> = kept.iter().map(|row| observables.rows[*row].clone()).collect();
        let mut features = Features::fit(&train);
        // A column that varies only in the held-out rows.
        features.sd.iter_mut().filter(|sd| **sd == 0.0).for_each(|sd| *sd = 1.0);
        let select = |chosen: &[usize]| {
            let mut rows = Rows {
                latent: Vec::new(),
                scaled: Vec::new(),
                features: Vec::new(),
                width: transforms.len(),
            };
            for row in chosen {
                let values = parameters.rows[*row].iter().zip(&transforms);
                rows.latent.extend(values.map(|(value, t)| t.to_latent(*value) as f32));
                let scaled = features.scale(&observables.rows[*row]);
                rows.scaled.extend(scaled.iter().map(|value| *value as f32));
                rows.features.extend(features.of_scaled(&scaled));
            }
            rows
        };
        let (train, held) = (select(kept), select(held));
        let described = transforms.iter().zip(&columns).all(|(t, column)| t.describes(column));
        Self {
            architecture: TableArchitecture {
                features: Features::count(observables.columns.len()),
                parameters: transforms.len(),
                width: if count < 2000 { 64 } else { 128 },
                embedding: 64,
                blocks: if count < 2000 { 3 } else { 4 },
            },
            fresh: described && uncorrelated(&train),
            transforms,
            features,
            train,
            held,
        }
    }

    fn emulator(&self, steps: usize, seed: u64) -> Option<Emulator> {
        let sizes = [self.transforms.len(), self.features.mean.len()];
        (sizes[1] <= emulator::MOST_OBSERVABLES)
            .then(|| Emulator::fit(&self.train.pairs(), &self.held.pairs(), sizes, (steps, seed)))
    }

    /// One member, from random weights and batches of its own.
    fn fit(&self, emulator: Option<&Emulator>, steps: usize, seed: (u64, u64)) -> Member {
        let shape = Shape::new(self.architecture);
        let set = InstructionSet::detect();
        let held = self.held_out(seed.0);
        let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
        rng.set_stream(seed.1);
        let schedule = Schedule { rate: 1e-3, steps, decay: 0.01, clip: 1.0, average: 0.999 };
        let mut optimiser = Optimiser::new(shape.initialise(&mut rng), schedule);
        let mut best =
            Member { parameters: optimiser.averaged.clone(), step: 0, loss: f64::INFINITY };
        for step in 1..=steps {
            let batch = self.batch(emulator, &mut rng);
            let gradient = shape.gradient(set, &optimiser.parameters, &batch);
            optimiser.step(set, &gradient);
            if step % EVALUATE == 0 || step == steps {
                let losses = held.iter().map(|batch| shape.loss(set, &optimiser.averaged, batch));
                let loss = losses.sum::<f64>() / held.len() as f64;
                if loss < best.loss {
                    best = Member { parameters: optimiser.averaged.clone(), step, loss };
                }
            }
        }
        best
    }

    fn batch(&self, emulator: Option<&Emulator>, rng: &mut ChaCha8Rng) -> Batch {
        let (width, inputs) = (self.transforms.len(), self.architecture.features);
        let mut batch = Batch::default();
        let mut drawn = Vec::new();
        for _ in 0..BATCH {
            let row = rng.random_range(0..self.train.rows());
            let latent = &self.train.latent[row * width..][..width];
            if emulator.is_some() && rng.random::<f64>() < EMULATED {
                if self.fresh {
                    drawn.extend(self.transforms.iter().map(|t| t.draw(rng) as f32));
                } else {
                    drawn.extend(latent);
                }
            } else {
                noised(&mut batch, latent, &self.train.features[row * inputs..][..inputs], rng);
            }
        }
        if let Some(emulator) = emulator {
            let observables = emulator.draw(&drawn, rng);
            let rows = drawn.chunks_exact(width);
            for (latent, scaled) in rows.zip(observables.chunks_exact(self.features.mean.len())) {
                let features = self.features.of_scaled(scaled);
                if features.iter().all(|value| value.is_finite()) {
                    noised(&mut batch, latent, &features, rng);
                }
            }
        }
        batch
    }

    /// Held-out rows with noise drawn once: the same yardstick for every member.
    fn held_out(&self, seed: u64) -> Vec<Batch> {
        let (width, inputs) = (self.transforms.len(), self.architecture.features);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(HELD_STREAM);
        let mut batches = vec![];
        for _ in 0..HELD_DRAWS {
            let mut batch = Batch::default();
            for row in 0..self.held.rows() {
                let latent = &self.held.latent[row * width..][..width];
                let features = &self.held.features[row * inputs..][..inputs];
                noised(&mut batch, latent, features, &mut rng);
            }
            batches.push(batch);
        }
        batches
    }

    fn bundle(
        &self,
        parameters: &Table,
        observables: &Table,
        training: TableTraining,
        members: Vec<Member>,
    ) -> Result<TrainedTable, DiffusionError> {
        let columns = parameters.columns.iter().zip(&self.transforms);
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
            features: self.features.clone(),
            architecture: self.architecture,
            members: members.len(),
            training,
            weights_sha256: String::new(),
        };
        let weights: Vec<Vec<f32>> = members.into_iter().map(|m| m.parameters).collect();
        bundle::files(manifest, &weights)
    }
}

/// Streams of random numbers apart from those of the members.
const SPLIT_STREAM: u64 = 1 << 33;
const HELD_STREAM: u64 = 1 << 34;

fn noised(batch: &mut Batch, latent: &[f32], features: &[f32], rng: &mut ChaCha8Rng) {
    let level: f64 = StandardNormal.sample(rng);
    let sigma = (LOG_SIGMA.0 + LOG_SIGMA.1 * level).exp().clamp(SIGMA_RANGE.0, SIGMA_RANGE.1);
    let noise: Vec<f64> = latent.iter().map(|_| StandardNormal.sample(rng)).collect();
    batch.push(latent, &noise, sigma, features);
}

/// Whether no two parameters are correlated beyond four standard errors.
fn uncorrelated(rows: &Rows) -> bool {
    let count = rows.rows() as f64;
    let width = rows.width;
    let latent: Vec<Vec<f64>> = rows
        .latent
        .chunks_exact(width)
        .map(|row| row.iter().map(|v| f64::from(*v)).collect())
        .collect();
    let (mean, sd) = super::features::moments(&latent);
    (0..width).all(|i| {
        (0..i).all(|j| {
            let product = |row: &Vec<f64>| (row[i] - mean[i]) * (row[j] - mean[j]);
            let covariance = latent.iter().map(product).sum::<f64>() / count;
            (covariance / (sd[i] * sd[j])).abs() < 4.0 / count.sqrt()
        })
    })
}

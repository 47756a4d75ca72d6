//! From simulated rows to a bundle.
//!
//! Denoising score matching in the EDM parametrisation (Karras et al. 2022) on θ given the
//! descriptors, with random subsets of θ given clean (Gloeckler et al. 2024, "Simformer"), so that
//! one network answers whatever the user already knows. The defect-class head is trained beside it
//! by cross-entropy. The weights kept are the moving average that did best on held-out rows with
//! fixed noise. Gradients come from `burn`; the optimiser is ours, because defaults differ between
//! libraries and its state is two vectors. Knows no clock: the caller times the log lines.

mod batch;
mod graph;
mod optimiser;

use crate::bundle::{
    AlloyPrior, BundleFiles, FORMAT, MODEL_TYPE, Manifest, Tensors, TrainingRecord, weights,
};
use crate::condition::Normaliser;
use crate::digest::sha256_hex;
use crate::error::within;
use crate::evaluate::Evaluation;
use crate::network::Parameters;
use crate::outlier::{Detectors, Seen};
use crate::rows::{Row, RowSet};
use crate::{Architecture, Canary, DiffusionError, Model, SampleOptions, space};
use batch::{Batch, Examples};
use graph::Losses;
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{Parameter, Process};
use optimiser::{Average, Optimiser};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Weight of the class head's cross-entropy beside the denoising loss. A choice.
const CLASS_WEIGHT: f64 = 0.2;
/// Fewest rows held out: what the out-of-distribution check needs to flag one in twenty.
const FEWEST_HELD_OUT: usize = 100;
/// Rows held out that the validation loss is measured on, and noise draws of each.
const VALIDATION_ROWS: usize = 1024;
const VALIDATION_DRAWS: usize = 4;
/// Training θ kept for each process and alloy as their prior.
const PRIOR_ROWS: usize = 2048;
/// Difference allowed between the canary's answer here and elsewhere, as a share of the range.
const CANARY_TOLERANCE: f64 = 1e-3;

/// How to train.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingOptions {
    /// Name of the model.
    pub name: String,
    /// Optimiser steps.
    pub steps: usize,
    /// Rows per step.
    pub batch: usize,
    /// Largest learning rate, reached after a short warm-up and then falling to zero as a cosine.
    pub learning_rate: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// Share of rows held out, 0.01 to 0.5.
    pub validation_share: f64,
    /// Shape of the network.
    pub architecture: Architecture,
}

impl Default for TrainingOptions {
    fn default() -> Self {
        Self {
            name: "microdiff-lpbf".to_owned(),
            steps: 8000,
            batch: 512,
            learning_rate: 1e-3,
            seed: 1,
            validation_share: 0.1,
            architecture: Architecture::default(),
        }
    }
}

/// Progress, forty times over a training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LogLine {
    /// Steps done.
    pub step: usize,
    /// Learning rate of the last of them.
    pub learning_rate: f64,
    /// Mean denoising loss since the last line; 1 is a network that knows nothing.
    pub loss: f64,
    /// Mean cross-entropy of the class head since the last line, nats.
    pub class_loss: f64,
    /// Denoising loss of the averaged weights on held-out rows with fixed noise.
    pub validation_loss: f64,
    /// Cross-entropy of the averaged weights on held-out rows, nats.
    pub validation_class_loss: f64,
    /// Whether these are the best averaged weights so far.
    pub best: bool,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedBundle {
    /// The bundle's files, ready to be written and opened.
    pub files: BundleFiles,
    /// The manifest in them.
    pub manifest: Manifest,
    /// The training log, one JSON line each; its digest is in the manifest.
    pub log: Vec<LogLine>,
}

impl TrainedBundle {
    /// The same model with its evaluation recorded.
    pub fn with_evaluation(self, evaluation: Evaluation) -> Result<Self, DiffusionError> {
        self.with_manifest(|manifest| manifest.evaluation = Some(evaluation))
    }

    /// Opens it.
    pub fn open(&self) -> Result<Model, DiffusionError> {
        Model::from_files(&self.files)
    }

    /// The log as the JSON lines whose SHA-256 the manifest holds.
    pub fn log_text(&self) -> Result<String, DiffusionError> {
        log_text(&self.log)
    }

    fn with_manifest(mut self, change: impl FnOnce(&mut Manifest)) -> Result<Self, DiffusionError> {
        change(&mut self.manifest);
        self.files = BundleFiles::with_manifest(self.files.weights, self.manifest.clone())?;
        Ok(self)
    }
}

/// Trains a model on simulated rows. `log` hears each line as it is made. Refuses too few rows,
/// true parameters outside the prior, and a loss that is not finite. Same rows and options, same
/// weights on the same machine; across machines only nearly, because the tensor library picks its
/// kernels by machine.
///
/// `shown` are foreign scans, for the out-of-distribution check alone; without any it knows the
/// ordinary alone.
pub fn train(
    set: &RowSet,
    shown: &[Row],
    options: &TrainingOptions,
    log: &mut dyn FnMut(&LogLine),
) -> Result<TrainedBundle, DiffusionError> {
    check(set, options)?;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let mut order: Vec<usize> = (0..set.rows.len()).collect();
    order.shuffle(&mut rng);
    let share = (set.rows.len() as f64 * options.validation_share) as usize;
    let (held, fitted) = order.split_at(share.max(FEWEST_HELD_OUT));
    let pick = |indices: &[usize]| indices.iter().map(|i| &set.rows[*i]).collect::<Vec<&Row>>();
    let (held, fitted) = (pick(held), pick(fitted));
    let normaliser = Normaliser::fit(fitted.iter().map(|row| &row.descriptors));
    let examples = Examples::new(&fitted, &normaliser);
    let validation = Examples::new(&held[..held.len().min(VALIDATION_ROWS)], &normaliser);
    let fit = fit(&examples, &validation, options, log)?;
    let shown: Vec<&Row> = shown.iter().collect();
    let processes: Vec<Process> = Process::ALL
        .into_iter()
        .filter(|process| fitted.iter().any(|row| row.process == *process))
        .collect();
    let detectors = Detectors::fit(
        &processes,
        FEWEST_HELD_OUT,
        [
            &|process| seen(&fitted, &normaliser, process),
            &|process| seen(&held, &normaliser, process),
            &|process| seen(&shown, &normaliser, process),
        ],
    );
    let (alloys, priors) = priors(&fitted);
    let tensors = Tensors { parameters: fit.parameters, detectors, priors };
    let best = fit.log.iter().rev().find(|line| line.best);
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        name: options.name.clone(),
        model_type: MODEL_TYPE.to_owned(),
        architecture: options.architecture,
        descriptors: DESCRIPTORS.map(|spec| spec.name.to_owned()).to_vec(),
        normaliser,
        alloys: alloys.clone(),
        training: TrainingRecord {
            simulator_version: set.simulator_version.clone(),
            rows: fitted.len(),
            validation_rows: held.len(),
            steps: options.steps,
            best_step: best.map_or(0, |line| line.step),
            validation_loss: best.map_or(1.0, |line| line.validation_loss),
            seed: options.seed,
            log_sha256: sha256_hex(&[log_text(&fit.log)?.as_bytes()]),
        },
        evaluation: None,
        canary: None,
        weights_sha256: String::new(),
    };
    let weights = weights(&options.architecture, &alloys, &tensors)?;
    let files = BundleFiles::with_manifest(weights, manifest.clone())?;
    with_canary(TrainedBundle { files, manifest, log: fit.log })
}

/// Rows of a process, or of all, as the out-of-distribution check sees them.
fn seen<'a>(rows: &[&'a Row], normaliser: &Normaliser, process: Option<Process>) -> Vec<Seen<'a>> {
    rows.iter()
        .filter(|row| process.is_none_or(|process| process == row.process))
        .map(|row| (normaliser.apply(&row.descriptors), row.appearance.as_ref()))
        .collect()
}

fn check(set: &RowSet, options: &TrainingOptions) -> Result<(), DiffusionError> {
    within("rows", set.rows.len(), 4 * FEWEST_HELD_OUT..=10_000_000)?;
    within("steps", options.steps, 1..=10_000_000)?;
    within("batch", options.batch, 1..=65_536)?;
    options.architecture.check()?;
    let refuse = |reason: String| Err(DiffusionError::Training { reason });
    if !(options.learning_rate > 0.0 && options.learning_rate < 1.0) {
        return refuse(format!("learning rate {} is outside 0 to 1", options.learning_rate));
    }
    if !(0.01..=0.5).contains(&options.validation_share) {
        return refuse(format!(
            "validation share {} is outside 0.01 to 0.5",
            options.validation_share
        ));
    }
    for (index, row) in set.rows.iter().enumerate() {
        for p in Parameter::ALL {
            let unit = p.range(row.process, row.alloy).to_unit(row.theta[p.index()]);
            if !(-1e-6..=1.0 + 1e-6).contains(&unit) {
                let value = row.theta[p.index()];
                let (process, alloy) = (row.process, row.alloy);
                return refuse(format!(
                    "row {index}: {p} {value} is outside the prior of {process} {alloy}"
                ));
            }
        }
    }
    Ok(())
}

struct Fit {
    parameters: Parameters,
    log: Vec<LogLine>,
}

fn fit(
    examples: &Examples,
    validation: &Examples,
    options: &TrainingOptions,
    log: &mut dyn FnMut(&LogLine),
) -> Result<Fit, DiffusionError> {
    let architecture = &options.architecture;
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    rng.set_stream(1);
    let mut values = initial(architecture, &mut rng);
    let mut optimiser = Optimiser::new(options.learning_rate, options.steps, &values);
    let mut average = Average::new(&values);
    let mut held_rng = ChaCha8Rng::seed_from_u64(options.seed);
    held_rng.set_stream(2);
    let held = validation.fixed(VALIDATION_DRAWS, options.batch, architecture, &mut held_rng);
    let every = options.steps.div_ceil(40);
    let mut best: Option<(f64, Parameters)> = None;
    let mut lines = Vec::new();
    let mut sums = (0.0, 0.0, 0usize);
    let mut order = batch::Epochs::new(examples.len());
    for step in 1..=options.steps {
        let indices = order.next(options.batch, &mut rng);
        let batch = examples.batch(&indices, architecture, &mut rng);
        let (losses, gradients) = graph::step(architecture, &values, &batch);
        if !losses.denoising.is_finite() || !losses.class.is_finite() {
            let reason = format!("the loss is not finite at step {step}");
            return Err(DiffusionError::Training { reason });
        }
        let learning_rate = optimiser.step(&mut values, &gradients);
        average.update(&values);
        sums = (sums.0 + losses.denoising, sums.1 + losses.class, sums.2 + 1);
        if step % every != 0 && step != options.steps {
            continue;
        }
        let found = validate(architecture, average.values(), &held);
        let total = found.denoising + CLASS_WEIGHT * found.class;
        let is_best = best.as_ref().is_none_or(|(least, _)| total < *least);
        if is_best {
            best = Some((total, average.values().clone()));
        }
        let line = LogLine {
            step,
            learning_rate,
            loss: sums.0 / sums.2 as f64,
            class_loss: sums.1 / sums.2 as f64,
            validation_loss: found.denoising,
            validation_class_loss: found.class,
            best: is_best,
        };
        sums = (0.0, 0.0, 0);
        log(&line);
        lines.push(line);
    }
    let parameters = best.map_or(values, |(_, parameters)| parameters);
    Ok(Fit { parameters, log: lines })
}

fn validate(architecture: &Architecture, values: &Parameters, held: &[Batch]) -> Losses {
    let mut mean = Losses { denoising: 0.0, class: 0.0 };
    let rows: usize = held.iter().map(Batch::rows).sum();
    for batch in held {
        let losses = graph::losses(architecture, values, batch);
        let weight = batch.rows() as f64 / rows.max(1) as f64;
        mean.denoising += weight * losses.denoising;
        mean.class += weight * losses.class;
    }
    mean
}

/// Uniform values of variance 1/inputs; zero where a zero makes the block an identity at first
/// and the output the prior's.
fn initial(architecture: &Architecture, rng: &mut ChaCha8Rng) -> Parameters {
    let entries = architecture.parameters().into_iter().map(|(name, [inputs, outputs])| {
        let second = name.starts_with("block.") && name.ends_with(".1.weight");
        let zero = second || name.ends_with(".bias") || name == "output.weight";
        let size = (3.0 / inputs as f32).sqrt();
        let mut draw = || if zero { 0.0 } else { rng.random_range(-size..size) };
        let values = (0..inputs * outputs).map(|_| draw()).collect();
        (name, values)
    });
    entries.collect()
}

fn priors(rows: &[&Row]) -> (Vec<AlloyPrior>, Vec<Vec<f32>>) {
    let mut alloys = Vec::new();
    let mut priors = Vec::new();
    for (process, alloy) in Process::pairs() {
        let of_pair = rows.iter().filter(|row| (row.process, row.alloy) == (process, alloy));
        let units: Vec<f32> = of_pair
            .take(PRIOR_ROWS)
            .flat_map(|row| space::to_unit(&row.theta, process, alloy).map(|unit| unit as f32))
            .collect();
        if !units.is_empty() {
            alloys.push(AlloyPrior::current(process, alloy));
            priors.push(units);
        }
    }
    (alloys, priors)
}

fn with_canary(bundle: TrainedBundle) -> Result<TrainedBundle, DiffusionError> {
    let model = bundle.open()?;
    let Some(prior) = bundle.manifest.alloys.first() else { return Ok(bundle) };
    let (process, alloy) = (prior.process, prior.alloy);
    let options = SampleOptions { samples: 256, steps: 16, seed: 7 };
    let quantiles = model.canary_quantiles((process, alloy), &options, &mut ())?;
    let SampleOptions { samples, steps, seed } = options;
    let tolerance = CANARY_TOLERANCE;
    let canary = Canary { process, alloy, seed, samples, steps, quantiles, tolerance };
    bundle.with_manifest(|manifest| manifest.canary = Some(canary))
}

fn log_text(lines: &[LogLine]) -> Result<String, DiffusionError> {
    let mut text = String::new();
    for line in lines {
        let json = serde_json::to_string(line)
            .map_err(|error| DiffusionError::Training { reason: format!("log: {error}") })?;
        text.push_str(&json);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests;

//! The model on disk: a directory of `manifest.json` and `weights.safetensors`.
//!
//! The manifest says all that the weights mean and holds their SHA-256; the model's digest is the
//! SHA-256 of both files. Whatever does not match exactly is refused with the reason; a damaged
//! file is an error, never a panic. Signing by key is deliberately absent: the digest is compared
//! by whoever distributes the bundle.

use crate::condition::Normaliser;
use crate::digest::sha256_hex;
use crate::error::one_line;
use crate::evaluate::Evaluation;
use crate::network::{Network, Parameters};
use crate::outlier::{Detector, Detectors, Distance, prefix};
use crate::posterior::Canary;
use crate::{Architecture, DiffusionError};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{
    APPEARANCE_COUNT, Alloy, DESCRIPTOR_COUNT, PARAMETER_COUNT, Parameter, ParameterRange, Process,
};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The only format this version reads and writes.
pub const FORMAT: &str = "microdiff.bundle/1";
/// The only kind of model this version runs.
pub const MODEL_TYPE: &str = "conditional_diffusion";
/// Name of the training log beside a bundle: one JSON object a line; the manifest holds its SHA-256.
pub const TRAINING_LOG: &str = "training.jsonl";
/// Largest manifest read.
const MANIFEST_BYTES: u64 = 4 << 20;
/// Largest weights read.
const WEIGHTS_BYTES: u64 = 64 << 20;

/// Everything about a model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// Name of the model.
    pub name: String,
    /// [`MODEL_TYPE`].
    pub model_type: String,
    /// Shape of the network.
    pub architecture: Architecture,
    /// Names of the descriptors, in the order of the input.
    pub descriptors: Vec<String>,
    /// Scaling of the descriptors.
    pub normaliser: Normaliser,
    /// Processes and alloys the model was trained on, with the prior range of each parameter.
    pub alloys: Vec<AlloyPrior>,
    /// Where the training rows came from and how training went.
    pub training: TrainingRecord,
    /// Quality on held-out simulations, once evaluated.
    pub evaluation: Option<Evaluation>,
    /// A known answer.
    pub canary: Option<Canary>,
    /// SHA-256 of the weights file, hexadecimal.
    pub weights_sha256: String,
}

impl Manifest {
    /// The processes and alloys that the model was trained on, and can be asked about.
    pub fn pairs(&self) -> impl Iterator<Item = (Process, Alloy)> + Clone {
        self.alloys.iter().map(|prior| (prior.process, prior.alloy))
    }
}

/// The prior of one process and alloy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlloyPrior {
    /// The process.
    pub process: Process,
    /// The alloy.
    pub alloy: Alloy,
    /// Prior range by parameter key.
    pub ranges: BTreeMap<String, ParameterRange>,
}

impl AlloyPrior {
    /// The prior this version of the domain gives an alloy of a process.
    pub fn current(process: Process, alloy: Alloy) -> Self {
        let ranges = Parameter::ALL.map(|p| (p.key().to_owned(), p.range(process, alloy)));
        Self { process, alloy, ranges: ranges.into() }
    }

    /// Name of its tensor of training rows; laser powder bed fusion goes without saying.
    fn tensor(&self) -> String {
        match self.process {
            Process::Lpbf => format!("prior.{}", self.alloy),
            process => format!("prior.{process}.{}", self.alloy),
        }
    }
}

/// Where the weights came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingRecord {
    /// Version of the simulator that made the rows.
    pub simulator_version: String,
    /// Rows the weights were fitted to.
    pub rows: usize,
    /// Rows held out to choose the weights and to calibrate the out-of-distribution check.
    pub validation_rows: usize,
    /// Optimiser steps planned.
    pub steps: usize,
    /// Step whose averaged weights were kept.
    pub best_step: usize,
    /// Validation loss of the kept weights.
    pub validation_loss: f64,
    /// Seed of everything random.
    pub seed: u64,
    /// SHA-256 of the training log as JSON lines, hexadecimal.
    pub log_sha256: String,
}

impl TrainingRecord {
    /// Whether `log` is the log of this training.
    pub fn is_log(&self, log: &[u8]) -> bool {
        sha256_hex(&[log]) == self.log_sha256
    }
}

/// What the weights file holds.
pub(crate) struct Tensors {
    pub(crate) parameters: Parameters,
    pub(crate) detectors: Detectors,
    /// For each prior of the manifest, positions of training rows in the prior's ranges, (any, 5).
    pub(crate) priors: Vec<Vec<f32>>,
}

/// A bundle in memory, checked.
pub(crate) struct Parts {
    pub(crate) manifest: Manifest,
    pub(crate) network: Network,
    pub(crate) detectors: Detectors,
    pub(crate) priors: Vec<Vec<f32>>,
    pub(crate) digest: String,
}

/// The two files of a bundle as bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct BundleFiles {
    /// `manifest.json`.
    pub manifest: Vec<u8>,
    /// `weights.safetensors`.
    pub weights: Vec<u8>,
}

impl BundleFiles {
    /// Reads both files of a directory; refuses files larger than a bundle can be.
    pub fn read(dir: &Path) -> Result<Self, DiffusionError> {
        let manifest = dir.join("manifest.json");
        if !manifest.exists() {
            return Err(DiffusionError::bundle(format!(
                "{} holds no manifest.json; name a folder that `microdiff train` wrote",
                dir.display()
            )));
        }
        Ok(Self {
            manifest: read_limited(&manifest, MANIFEST_BYTES)?,
            weights: read_limited(&dir.join("weights.safetensors"), WEIGHTS_BYTES)?,
        })
    }

    /// The digest of the model these bytes are, whether or not they can be opened.
    pub fn digest(&self) -> String {
        sha256_hex(&[&self.manifest, &self.weights])
    }

    /// Writes both files, the manifest last, so that an interrupted write leaves no bundle that
    /// would be accepted. Creates the directory.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        std::fs::create_dir_all(dir).map_err(|error| DiffusionError::file(dir, error))?;
        let files = [("weights.safetensors", &self.weights), ("manifest.json", &self.manifest)];
        for (name, bytes) in files {
            let path = dir.join(name);
            std::fs::write(&path, bytes).map_err(|error| DiffusionError::file(&path, error))?;
        }
        Ok(())
    }

    /// The same weights under a changed manifest, as when an evaluation is added.
    #[cfg(any(test, feature = "train"))]
    pub(crate) fn with_manifest(
        weights: Vec<u8>,
        mut manifest: Manifest,
    ) -> Result<Self, DiffusionError> {
        manifest.weights_sha256 = sha256_hex(&[&weights]);
        let mut text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| DiffusionError::bundle(format!("manifest: {error}")))?;
        text.push(b'\n');
        Ok(Self { manifest: text, weights })
    }

    /// Checks everything and packs the network.
    pub(crate) fn open(&self) -> Result<Parts, DiffusionError> {
        let manifest = manifest(&self.manifest)?;
        if sha256_hex(&[&self.weights]) != manifest.weights_sha256 {
            return Err(DiffusionError::bundle("weights do not have the manifest's SHA-256"));
        }
        let tensors = tensors(&self.weights, &manifest)?;
        Ok(Parts {
            network: Network::new(manifest.architecture, &tensors.parameters)?,
            manifest,
            detectors: tensors.detectors,
            priors: tensors.priors,
            digest: self.digest(),
        })
    }
}

fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, DiffusionError> {
    use std::io::Read;
    let file = std::fs::File::open(path).map_err(|error| DiffusionError::file(path, error))?;
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DiffusionError::file(path, error))?;
    if bytes.len() as u64 > limit {
        let text = format!("{} is larger than {limit} bytes", path.display());
        return Err(DiffusionError::bundle(text));
    }
    Ok(bytes)
}

fn manifest(bytes: &[u8]) -> Result<Manifest, DiffusionError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    let unreadable = |error| DiffusionError::bundle(format!("manifest unreadable: {error}"));
    // The format first: another format's fields would be reported as nonsense.
    let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
    if head.format != FORMAT {
        let text = format!("format is \"{}\", not \"{FORMAT}\"", one_line(&head.format));
        return Err(DiffusionError::bundle(text));
    }
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(unreadable)?;
    if manifest.model_type != MODEL_TYPE {
        let text = format!("model type is \"{}\", not \"{MODEL_TYPE}\"", manifest.model_type);
        return Err(DiffusionError::bundle(text));
    }
    let names: Vec<&str> = manifest.descriptors.iter().map(String::as_str).collect();
    if names != DESCRIPTORS.map(|spec| spec.name) {
        let text = format!(
            "trained on another descriptor schema ({} descriptors; this version has \
             {DESCRIPTOR_COUNT}, the first difference is at {})",
            names.len(),
            names.iter().zip(DESCRIPTORS).take_while(|(name, spec)| **name == spec.name).count()
        );
        return Err(DiffusionError::bundle(text));
    }
    if !manifest.normaliser.is_valid() {
        return Err(DiffusionError::bundle("normaliser does not fit the descriptors"));
    }
    for prior in &manifest.alloys {
        if *prior != AlloyPrior::current(prior.process, prior.alloy) {
            let text = format!("trained on another prior for {} {}", prior.process, prior.alloy);
            return Err(DiffusionError::bundle(text));
        }
    }
    manifest.architecture.check()?;
    Ok(manifest)
}

fn tensors(bytes: &[u8], manifest: &Manifest) -> Result<Tensors, DiffusionError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| DiffusionError::bundle(format!("weights unreadable: {error}")))?;
    let mut all = Named::new();
    for (name, view) in file.iter() {
        if view.dtype() != safetensors::Dtype::F32 {
            let text = format!("tensor {} is {:?}, not F32", one_line(name), view.dtype());
            return Err(DiffusionError::bundle(text));
        }
        let values: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        all.insert(name.to_owned(), (view.shape().to_vec(), values));
    }
    let detectors = detectors(&mut all, manifest)?;
    let mut priors = Vec::new();
    for prior in &manifest.alloys {
        let values = take(&mut all, &prior.tensor(), PARAMETER_COUNT)?;
        if values.is_empty() || !values.iter().all(|value| (0.0..=1.0).contains(value)) {
            return Err(DiffusionError::bundle(format!("{} is damaged", prior.tensor())));
        }
        priors.push(values);
    }
    let mut parameters = Parameters::new();
    for (name, [inputs, outputs]) in manifest.architecture.parameters() {
        let values = take(&mut all, &name, outputs)?;
        if values.len() != inputs * outputs {
            let text = format!("{name} does not have {inputs} rows");
            return Err(DiffusionError::bundle(text));
        }
        parameters.insert(name, values);
    }
    match all.keys().next() {
        None => Ok(Tensors { parameters, detectors, priors }),
        Some(name) => {
            Err(DiffusionError::bundle(format!("unknown tensor {} in the weights", one_line(name))))
        }
    }
}

/// Weights of the networks that serve the detectors of all processes.
const CLASSIFIER: &str = "ood.classifier";

/// Named tensors with their shapes.
type Named = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Takes a tensor out of the file where it has it.
fn optional(all: &mut Named, name: &str, columns: usize) -> Result<Vec<f32>, DiffusionError> {
    if all.contains_key(name) { take(all, name, columns) } else { Ok(Vec::new()) }
}

/// Takes a tensor of so many columns out of the file.
fn take(all: &mut Named, name: &str, columns: usize) -> Result<Vec<f32>, DiffusionError> {
    let (shape, values) =
        all.remove(name).ok_or_else(|| DiffusionError::bundle(format!("weights lack {name}")))?;
    if shape.len() != 2 || shape[1] != columns || shape[0] * columns != values.len() {
        let text = format!("{name} has shape {shape:?}, not (any, {columns})");
        return Err(DiffusionError::bundle(text));
    }
    Ok(values)
}

/// Takes the out-of-distribution references: one for all processes, or one for each.
fn detectors(all: &mut Named, manifest: &Manifest) -> Result<Detectors, DiffusionError> {
    let has = |process: Option<Process>| all.contains_key(&format!("{}factor", prefix(process)));
    let each = Process::ALL.into_iter().map(Some).filter(|process| has(*process));
    let found: Vec<Option<Process>> = if has(None) { vec![None] } else { each.collect() };
    let list = found.into_iter().map(|process| Ok((process, detector(all, &prefix(process))?)));
    let list = list.collect::<Result<Vec<_>, DiffusionError>>()?;
    let classifier = optional(all, CLASSIFIER, 1)?;
    Detectors::new(list, classifier, manifest.pairs().map(|(process, _)| process))
}

/// Takes one of them. What its training rows lacked is absent: appearance, foreign scans.
fn detector(all: &mut Named, prefix: &str) -> Result<Detector, DiffusionError> {
    let mut optional =
        |name: &str, columns: usize| optional(all, &format!("{prefix}{name}"), columns);
    let scaling = optional("scaling", APPEARANCE_COUNT)?;
    let mut detector = Detector { scaling, ..Detector::default() };
    let columns = detector.columns();
    detector.bounds = optional("bounds", columns)?;
    for (distance, held) in Distance::ALL.into_iter().zip(&mut detector.held) {
        *held = optional(distance.tensor(), 1)?;
    }
    detector.factor = take(all, &format!("{prefix}factor"), DESCRIPTOR_COUNT)?;
    detector.reference = take(all, &format!("{prefix}reference"), columns)?;
    Ok(detector)
}

/// The weights file of a trained model.
#[cfg(any(test, feature = "train"))]
pub(crate) fn weights(
    architecture: &Architecture,
    priors: &[AlloyPrior],
    tensors: &Tensors,
) -> Result<Vec<u8>, DiffusionError> {
    let mut list: Vec<(String, [usize; 2], &[f32])> = Vec::new();
    for (name, shape) in architecture.parameters() {
        let values = tensors.parameters.get(&name).map_or(&[][..], Vec::as_slice);
        list.push((name, shape, values));
    }
    let mut add = |name: String, columns: usize, values| {
        let values: &Vec<f32> = values;
        list.push((name, [values.len() / columns, columns], values));
    };
    for (prefix, detector) in tensors.detectors.iter() {
        let columns = detector.columns();
        let mut arrays = vec![
            ("factor", DESCRIPTOR_COUNT, &detector.factor),
            ("reference", columns, &detector.reference),
            ("bounds", columns, &detector.bounds),
            ("scaling", APPEARANCE_COUNT, &detector.scaling),
        ];
        let held = Distance::ALL.into_iter().zip(&detector.held);
        arrays.extend(held.map(|(distance, held)| (distance.tensor(), 1, held)));
        // An array that is not there has no tensor.
        for (name, columns, values) in arrays.into_iter().filter(|(.., v)| !v.is_empty()) {
            add(format!("{prefix}{name}"), columns, values);
        }
    }
    if !tensors.detectors.classifier.is_empty() {
        add(CLASSIFIER.to_owned(), 1, &tensors.detectors.classifier);
    }
    for (prior, values) in priors.iter().zip(&tensors.priors) {
        add(prior.tensor(), PARAMETER_COUNT, values);
    }
    let bytes: Vec<Vec<u8>> = list
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let unwritable = |error| DiffusionError::bundle(format!("weights unwritable: {error}"));
    let mut views = Vec::new();
    for ((name, shape, _), bytes) in list.iter().zip(&bytes) {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes);
        views.push((name.as_str(), view.map_err(unwritable)?));
    }
    safetensors::serialize(views, None).map_err(unwritable)
}

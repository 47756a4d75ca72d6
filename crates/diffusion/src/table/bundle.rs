//! The table model on disk: `manifest.json` and `weights.safetensors`, as for the scan model, under
//! a format of its own. Whatever does not match exactly is refused with the reason.

use super::features::Features;
use super::frame::Frame;
use super::network::{Shape, TableArchitecture};
use super::space::Transform;
use crate::DiffusionError;
use crate::bundle::BundleFiles;
use crate::digest::sha256_hex;
use crate::error::one_line;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The only format of table models this version reads and writes.
pub const FORMAT: &str = "microdiff.table/2";
/// What the formats of all versions begin with.
const FAMILY: &str = "microdiff.table/";
const MOST_MEMBERS: usize = 16;

/// Everything about a table model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableManifest {
    /// [`FORMAT`].
    pub format: String,
    /// Parameters, in the order of the draws.
    pub parameters: Vec<Column>,
    /// Observables, in the order of the input.
    pub observables: Vec<Observable>,
    /// Scaling of the input.
    pub features: Features,
    /// The space the diffusion runs in.
    pub frame: Frame,
    /// Shape of each member.
    pub architecture: TableArchitecture,
    /// Members of the ensemble.
    pub members: usize,
    /// How training went.
    pub training: TableTraining,
    /// SHA-256 of the weights file, hexadecimal.
    pub weights_sha256: String,
}

/// A parameter and how it is transformed; says whether its prior was declared or taken from the
/// rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Transform.
    pub transform: Transform,
}

/// An observable and its range in the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observable {
    /// Name.
    pub name: String,
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
}

/// How training went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableTraining {
    /// Rows the weights were fitted to.
    pub rows: usize,
    /// Rows held out to choose the weights.
    pub held_out_rows: usize,
    /// Optimiser steps of each member.
    pub steps: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Step whose averaged weights were kept, for each member.
    pub best_steps: Vec<usize>,
    /// Held-out loss of each member.
    pub losses: Vec<f64>,
    /// Held-out loss of the candidate that saw the rows alone.
    pub loss_rows_alone: Option<f64>,
    /// Held-out loss of the candidate that saw the emulator's draws too; none if there are too
    /// many observables for an emulator.
    pub loss_with_emulator: Option<f64>,
    /// Whether the members learnt from the emulator's draws.
    pub emulator: bool,
    /// Whether those had parameters drawn from the prior; else the rows' own.
    pub fresh_parameters: bool,
}

/// Whether a directory holds a table model of whatever version, going by its manifest's format alone.
pub fn is_table_bundle(directory: &Path) -> bool {
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    BundleFiles::read(directory)
        .ok()
        .and_then(|files| serde_json::from_slice::<Head>(&files.manifest).ok())
        .is_some_and(|head| head.format.starts_with(FAMILY))
}

/// The files of a model; writes the digest of the weights into the manifest.
pub(super) fn files(
    mut manifest: TableManifest,
    members: &[Vec<f32>],
) -> Result<super::TrainedTable, DiffusionError> {
    let shape = Shape::new(manifest.architecture);
    let mut list = Vec::new();
    for (index, values) in members.iter().enumerate() {
        for layer in shape.layers() {
            let mut add = |kind: &str, shape: [usize; 2], range: std::ops::Range<usize>| {
                let bytes: Vec<u8> = values[range].iter().flat_map(|v| v.to_le_bytes()).collect();
                list.push((format!("member.{index}.{}.{kind}", layer.name), shape, bytes));
            };
            add("weight", [layer.inputs, layer.outputs], layer.weights());
            add("bias", [1, layer.outputs], layer.bias());
        }
    }
    let unwritable = |error| DiffusionError::bundle(format!("weights unwritable: {error}"));
    let mut views = Vec::new();
    for (name, shape, bytes) in &list {
        let view = TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes);
        views.push((name.as_str(), view.map_err(unwritable)?));
    }
    let weights = safetensors::serialize(views, None).map_err(unwritable)?;
    manifest.weights_sha256 = sha256_hex(&[&weights]);
    let mut text = serde_json::to_vec_pretty(&manifest)
        .map_err(|error| DiffusionError::bundle(format!("manifest: {error}")))?;
    text.push(b'\n');
    Ok(super::TrainedTable { files: BundleFiles { manifest: text, weights }, manifest })
}

/// Checks everything; gives the manifest and each member's parameters.
pub(super) fn open(files: &BundleFiles) -> Result<(TableManifest, Vec<Vec<f32>>), DiffusionError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
    }
    let unreadable = |error| DiffusionError::bundle(format!("manifest unreadable: {error}"));
    let head: Head = serde_json::from_slice(&files.manifest).map_err(unreadable)?;
    if head.format != FORMAT {
        let text = format!("format is \"{}\", not \"{FORMAT}\"", one_line(&head.format));
        return Err(DiffusionError::bundle(text));
    }
    let manifest: TableManifest = serde_json::from_slice(&files.manifest).map_err(unreadable)?;
    manifest.architecture.check()?;
    if !fits(&manifest) {
        return Err(DiffusionError::bundle("the manifest's parts do not fit each other"));
    }
    if sha256_hex(&[&files.weights]) != manifest.weights_sha256 {
        return Err(DiffusionError::bundle("weights do not have the manifest's SHA-256"));
    }
    let members = members(&files.weights, &manifest)?;
    Ok((manifest, members))
}

fn fits(manifest: &TableManifest) -> bool {
    let observables = manifest.observables.len();
    manifest.architecture.parameters == manifest.parameters.len()
        && manifest.architecture.features == Features::count(observables)
        && manifest.features.is_valid(observables)
        && manifest.frame.is_valid([manifest.parameters.len(), observables])
        && manifest.parameters.iter().all(|column| column.transform.is_valid())
        && (1..=MOST_MEMBERS).contains(&manifest.members)
}

fn members(bytes: &[u8], manifest: &TableManifest) -> Result<Vec<Vec<f32>>, DiffusionError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| DiffusionError::bundle(format!("weights unreadable: {error}")))?;
    let shape = Shape::new(manifest.architecture);
    let mut all = Vec::new();
    for index in 0..manifest.members {
        let mut values = vec![0.0f32; shape.length];
        for layer in shape.layers() {
            let pairs = [
                ("weight", [layer.inputs, layer.outputs], layer.weights()),
                ("bias", [1, layer.outputs], layer.bias()),
            ];
            for (kind, size, range) in pairs {
                let name = format!("member.{index}.{}.{kind}", layer.name);
                let view = file
                    .tensor(&name)
                    .map_err(|_| DiffusionError::bundle(format!("weights lack {name}")))?;
                if view.dtype() != safetensors::Dtype::F32 || view.shape() != size {
                    let text = format!("{name} is {:?}, not F32 {size:?}", view.shape());
                    return Err(DiffusionError::bundle(text));
                }
                let numbers = view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
                for (value, number) in values[range].iter_mut().zip(numbers) {
                    if !number.is_finite() {
                        let text = format!("{name} holds values not finite");
                        return Err(DiffusionError::bundle(text));
                    }
                    *value = number;
                }
            }
        }
        all.push(values);
    }
    let expected = manifest.members * 2 * shape.layers().len();
    if file.len() != expected {
        let text = format!("the weights hold {} tensors, not {expected}", file.len());
        return Err(DiffusionError::bundle(text));
    }
    Ok(all)
}

//! The network once more, on differentiable tensors. A test holds it equal to the serving engine.

use super::CLASS_WEIGHT;
use super::batch::Batch;
use crate::Architecture;
use crate::condition::CONTEXT;
use crate::network::{KNOWN, Parameters, TRUNK_INPUTS};
use burn::tensor::activation::{log_softmax, silu};
use burn::tensor::{Device, Tensor, TensorData};
use microdiff_domain::{DefectClass, PARAMETER_COUNT};
use std::collections::BTreeMap;

const EPSILON: f32 = 1e-5;

/// Mean losses of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Losses {
    pub(super) denoising: f64,
    pub(super) class: f64,
}

/// The parameters as tensors of one device.
struct Graph<'a> {
    architecture: &'a Architecture,
    tensors: BTreeMap<String, Tensor<2>>,
    device: Device,
}

/// Raw outputs of the network.
pub(super) struct Outputs {
    /// F, (rows, parameters).
    pub(super) raw: Tensor<2>,
    /// Class logits, (rows, classes).
    pub(super) logits: Tensor<2>,
}

impl<'a> Graph<'a> {
    fn new(architecture: &'a Architecture, values: &Parameters, device: Device) -> Self {
        let tracked = device.is_autodiff();
        let mut tensors = BTreeMap::new();
        for (name, shape) in architecture.parameters() {
            let list = values.get(&name).cloned().unwrap_or_default();
            let tensor = Tensor::<2>::from_data(TensorData::new(list, shape), &device);
            tensors.insert(name, if tracked { tensor.require_grad() } else { tensor });
        }
        Self { architecture, tensors, device }
    }

    fn tensor(&self, values: &[f32], columns: usize) -> Tensor<2> {
        let data = TensorData::new(values.to_vec(), [values.len() / columns, columns]);
        Tensor::from_data(data, &self.device)
    }

    fn affine(&self, name: &str, x: Tensor<2>) -> Tensor<2> {
        let weight = self.tensors[&format!("{name}.weight")].clone();
        let bias = self.tensors[&format!("{name}.bias")].clone();
        x.matmul(weight) + bias
    }

    fn outputs(&self, batch: &Batch) -> Outputs {
        let width = self.architecture.width;
        let code = silu(self.affine("embed.0", self.tensor(&batch.context, CONTEXT)));
        let embedding = self.affine("embed.2", silu(self.affine("embed.1", code)));
        let logits = self.affine("class.1", silu(self.affine("class.0", embedding.clone())));
        let noise = self.tensor(&batch.noise, 2 * self.architecture.frequencies);
        let joined = Tensor::cat(vec![embedding, noise, self.tensor(&batch.known, KNOWN)], 1);
        let code = silu(self.affine("condition", joined));
        let mut state = self.affine("input", self.tensor(&batch.input, TRUNK_INPUTS));
        for block in 0..self.architecture.blocks {
            let film = self.affine(&format!("block.{block}.film"), code.clone());
            let scale = film.clone().narrow(1, 0, width);
            let shift = film.narrow(1, width, width);
            let normal = normalise(state.clone()) * (scale + 1.0) + shift;
            let hidden = silu(self.affine(&format!("block.{block}.0"), normal));
            state = state + self.affine(&format!("block.{block}.1"), hidden);
        }
        Outputs { raw: self.affine("output", normalise(state)), logits }
    }

    /// Denoising and class losses as one-element tensors.
    fn losses(&self, batch: &Batch) -> (Tensor<1>, Tensor<1>) {
        let outputs = self.outputs(batch);
        let target = self.tensor(&batch.target, PARAMETER_COUNT);
        let hidden = self.tensor(&batch.hidden, PARAMETER_COUNT);
        let latent = batch.hidden.iter().sum::<f32>().max(1.0);
        let error = (outputs.raw - target) * hidden;
        let denoising = error.square().sum() / latent;
        let class = self.tensor(&batch.class, DefectClass::ALL.len());
        let rows = batch.rows().max(1) as f32;
        let entropy = (log_softmax(outputs.logits, 1) * class).sum() / -rows;
        (denoising, entropy)
    }
}

fn normalise(x: Tensor<2>) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = centred.clone().square().mean_dim(1);
    centred / (variance + EPSILON).sqrt()
}

fn number(tensor: Tensor<1>) -> f64 {
    f64::from(tensor.into_scalar::<f32>())
}

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// Losses and the gradients of their weighted sum.
pub(super) fn step(
    architecture: &Architecture,
    values: &Parameters,
    batch: &Batch,
) -> (Losses, Parameters) {
    let graph = Graph::new(architecture, values, Device::flex().autodiff());
    let (denoising, class) = graph.losses(batch);
    let total = denoising.clone() + class.clone() * CLASS_WEIGHT as f32;
    let mut gradients = total.backward();
    let mut found = Parameters::new();
    for (name, tensor) in &graph.tensors {
        if let Some(gradient) = tensor.grad_remove(&mut gradients) {
            found.insert(name.clone(), numbers(gradient));
        }
    }
    (Losses { denoising: number(denoising), class: number(class) }, found)
}

/// Losses alone.
pub(super) fn losses(architecture: &Architecture, values: &Parameters, batch: &Batch) -> Losses {
    let graph = Graph::new(architecture, values, Device::flex());
    let (denoising, class) = graph.losses(batch);
    Losses { denoising: number(denoising), class: number(class) }
}

/// Raw outputs and class logits, row-major.
#[cfg(test)]
pub(super) fn outputs(
    architecture: &Architecture,
    values: &Parameters,
    batch: &Batch,
) -> (Vec<f32>, Vec<f32>) {
    let outputs = Graph::new(architecture, values, Device::flex()).outputs(batch);
    (numbers(outputs.raw), numbers(outputs.logits))
}

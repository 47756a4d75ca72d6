//! The denoiser of table mode: pre-norm residual blocks over θ, scaled and shifted (FiLM) by a code
//! of the observation and the noise level. Forward for serving, forward and gradient for training.

use crate::DiffusionError;
use crate::affine::Affine;
use crate::kernels::{InstructionSet, LANES, silu_gradient};
use crate::layers::{self, Dense, Layout, Normal, Tools, activate};
use crate::network::noise_features;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Sines and cosines of the noise level, each.
pub(super) const FREQUENCIES: usize = 16;
/// Octaves in which the trunk sees each parameter as a wave, beside its value.
pub(super) const OCTAVES: usize = 5;
/// Angular frequency of the first, in standard deviations of a parameter.
const LOWEST: f32 = 1.5;

/// Shape of the denoiser. Widths are multiples of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableArchitecture {
    /// Features of an observation.
    pub features: usize,
    /// Parameters.
    pub parameters: usize,
    /// Width of the residual trunk.
    pub width: usize,
    /// Width of the observation's code.
    pub embedding: usize,
    /// Residual blocks.
    pub blocks: usize,
}

impl TableArchitecture {
    /// Refuses shapes the engine cannot run or that would take absurd memory.
    pub(super) fn check(&self) -> Result<(), DiffusionError> {
        let wide = |width: usize| (16..=512).contains(&width) && width.is_multiple_of(LANES);
        let small = (1..=4096).contains(&self.features) && (1..=64).contains(&self.parameters);
        if small && wide(self.width) && wide(self.embedding) && (1..=8).contains(&self.blocks) {
            return Ok(());
        }
        Err(DiffusionError::bundle(format!("architecture {self:?} is not one this version runs")))
    }
}

/// Inputs of the trunk for so many parameters.
pub(super) fn inputs(parameters: usize) -> usize {
    parameters * (1 + 2 * OCTAVES)
}

/// How much of each octave is seen at a noise level: what its noise leaves of a wave on average.
pub(super) fn damping(sigma: f64) -> [f32; OCTAVES] {
    let share = sigma * sigma / (sigma * sigma + 1.0);
    std::array::from_fn(|octave| {
        let frequency = f64::from(LOWEST) * f64::from(1u32 << octave);
        (-0.5 * frequency * frequency * share).exp() as f32
    })
}

/// A noisy scaled parameter as the trunk sees it.
pub(super) fn push_waves(value: f32, damping: &[f32; OCTAVES], out: &mut Vec<f32>) {
    out.push(value);
    let (mut sine, mut cosine) = (LOWEST * value).sin_cos();
    for damping in damping {
        out.extend([damping * sine, damping * cosine]);
        // The next octave by the formulae of the double angle.
        (sine, cosine) = (2.0 * sine * cosine, 1.0 - 2.0 * sine * sine);
    }
}

pub(super) struct Block {
    pub(super) film: Dense,
    pub(super) first: Dense,
    pub(super) second: Dense,
}

/// The layers and where their parameters lie.
pub(super) struct Shape {
    architecture: TableArchitecture,
    pub(super) embed: [Dense; 2],
    pub(super) condition: Dense,
    /// The observation straight into the trunk: what is a difference of θ and an observable is
    /// then a sum of two affine layers.
    pub(super) observe: Dense,
    pub(super) input: Dense,
    pub(super) blocks: Vec<Block>,
    pub(super) output: Dense,
    pub(super) length: usize,
}

/// Rows to learn from: the network's inputs and its ideal output.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// (rows, features).
    pub(super) features: Vec<f32>,
    /// (rows, 2 × frequencies).
    pub(super) noise: Vec<f32>,
    /// (rows, inputs): θ noisy and scaled, and its waves.
    pub(super) input: Vec<f32>,
    /// (rows, parameters).
    pub(super) target: Vec<f32>,
}

impl Batch {
    /// Empties it and keeps its memory.
    pub(super) fn clear(&mut self) {
        for list in [&mut self.features, &mut self.noise, &mut self.input, &mut self.target] {
            list.clear();
        }
    }

    /// Adds a row: clean latent θ, its noise, the noise level and the observation.
    pub(super) fn push(&mut self, latent: &[f32], noise: &[f64], sigma: f64, features: &[f32]) {
        self.features.extend(features);
        self.noise.extend(noise_features(sigma, FREQUENCIES));
        let scale = (sigma * sigma + 1.0).sqrt();
        let damping = damping(sigma);
        for (clean, noise) in latent.iter().zip(noise) {
            let clean = f64::from(*clean);
            push_waves(((clean + sigma * noise) / scale) as f32, &damping, &mut self.input);
            // (clean − c_skip · noisy) / c_out, without the cancellation at small σ.
            self.target.push(((sigma * clean - noise) / scale) as f32);
        }
    }
}

/// What the forward pass keeps for the gradient, and the gradients on their way; kept from step to
/// step.
#[derive(Default)]
pub(super) struct Workspace {
    packed: Affine,
    embedded: [Vec<f32>; 2],
    code: Vec<f32>,
    joined: Vec<f32>,
    coded: [Vec<f32>; 2],
    state: Vec<f32>,
    change: Vec<f32>,
    blocks: Vec<BlockTape>,
    last: Normal,
    output: Vec<f32>,
    flow: Flow,
    /// By parameter.
    pub(super) gradient: Vec<f32>,
}

#[derive(Default)]
struct BlockTape {
    film: Vec<f32>,
    normal: Normal,
    input: Vec<f32>,
    hidden: [Vec<f32>; 2],
}

/// Gradients that flow back: of the output, the residual state, a block's inside and the code.
#[derive(Default)]
struct Flow {
    output: Vec<f32>,
    state: Vec<f32>,
    hidden: Vec<f32>,
    change: Vec<f32>,
    film: Vec<f32>,
    code: Vec<f32>,
    part: Vec<f32>,
}

impl Shape {
    pub(super) fn new(architecture: TableArchitecture) -> Self {
        let TableArchitecture { features, parameters, width, embedding, blocks } = architecture;
        let mut layout = Layout::default();
        let embed =
            [layout.dense("embed.0", features, width), layout.dense("embed.1", width, embedding)];
        let condition = layout.dense("condition", embedding + 2 * FREQUENCIES, width);
        let observe = layout.dense("observe", features, width);
        let input = layout.dense("input", inputs(parameters), width);
        let blocks = (0..blocks)
            .map(|block| Block {
                film: layout.dense(&format!("block.{block}.film"), width, 2 * width),
                first: layout.dense(&format!("block.{block}.0"), width, width),
                second: layout.dense(&format!("block.{block}.1"), width, width),
            })
            .collect();
        let output = layout.dense("output", width, parameters);
        Self {
            architecture,
            embed,
            condition,
            observe,
            input,
            blocks,
            output,
            length: layout.length,
        }
    }

    /// Every layer, in the order of the parameters.
    pub(super) fn layers(&self) -> Vec<&Dense> {
        let mut list = self.entries().to_vec();
        for block in &self.blocks {
            list.extend([&block.film, &block.first, &block.second]);
        }
        list.push(&self.output);
        list
    }

    fn entries(&self) -> [&Dense; 5] {
        [&self.embed[0], &self.embed[1], &self.condition, &self.observe, &self.input]
    }

    /// Random parameters; FiLM and output begin at zero, so that the first guess is a
    /// normal in the frame.
    pub(super) fn initialise(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.length];
        for layer in self.entries() {
            layer.initialise(&mut values, 1.0, rng);
        }
        for block in &self.blocks {
            block.first.initialise(&mut values, 1.0, rng);
            block.second.initialise(&mut values, 0.3, rng);
        }
        values
    }

    fn forward(&self, set: InstructionSet, p: &[f32], batch: &Batch, space: &mut Workspace) {
        let width = self.architecture.width;
        let tools = &mut Tools { set, parameters: p, packed: &mut space.packed };
        self.embed[0].forward(tools, &batch.features, &mut space.embedded[0]);
        let [before, after] = &mut space.embedded;
        activate(set, before, after);
        self.embed[1].forward(tools, after, &mut space.code);
        join(&space.code, &batch.noise, self.architecture.embedding, &mut space.joined);
        let [before, after] = &mut space.coded;
        self.condition.forward(tools, &space.joined, before);
        activate(set, before, after);
        self.input.forward(tools, &batch.input, &mut space.state);
        self.observe.forward(tools, &batch.features, &mut space.change);
        layers::add(&mut space.state, &space.change);
        space.blocks.resize_with(self.blocks.len(), BlockTape::default);
        for (block, kept) in self.blocks.iter().zip(&mut space.blocks) {
            block.film.forward(tools, after, &mut kept.film);
            kept.normal.forward(set, &space.state, width);
            layers::modulate(set, &kept.normal.values, &kept.film, width, &mut kept.input);
            let [before, active] = &mut kept.hidden;
            block.first.forward(tools, &kept.input, before);
            activate(set, before, active);
            block.second.forward(tools, active, &mut space.change);
            layers::add(&mut space.state, &space.change);
        }
        space.last.forward(set, &space.state, width);
        self.output.forward(tools, &space.last.values, &mut space.output);
    }

    /// Mean squared error of the network's output over rows and parameters.
    pub(super) fn loss(
        &self,
        set: InstructionSet,
        p: &[f32],
        batch: &Batch,
        space: &mut Workspace,
    ) -> f64 {
        self.forward(set, p, batch, space);
        let count = self.architecture.parameters;
        let rows = space.output.chunks_exact(self.output.outputs);
        let mut sum = 0.0;
        for (out, target) in rows.zip(batch.target.chunks_exact(count)) {
            for (out, target) in out.iter().zip(target) {
                sum += f64::from((out - target) * (out - target));
            }
        }
        sum / batch.target.len().max(1) as f64
    }

    /// Leaves the gradient of [`Shape::loss`] by every parameter in `space`.
    pub(super) fn gradient(
        &self,
        set: InstructionSet,
        p: &[f32],
        batch: &Batch,
        space: &mut Workspace,
    ) {
        self.forward(set, p, batch, space);
        let g = &mut space.gradient;
        g.resize(self.length, 0.0);
        let width = self.architecture.width;
        let tools = &mut Tools { set, parameters: p, packed: &mut space.packed };
        let flow = &mut space.flow;
        self.error(&space.output, &batch.target, &mut flow.output);
        self.output.gradient(tools, &space.last.values, &flow.output, g);
        self.output.backward(tools, &flow.output, &mut flow.state);
        space.last.backward(set, width, &mut flow.state);
        let code = &space.coded[1];
        flow.code.clear();
        flow.code.resize(code.len(), 0.0);
        for (block, kept) in self.blocks.iter().zip(&space.blocks).rev() {
            block.second.gradient(tools, &kept.hidden[1], &flow.state, g);
            block.second.backward(tools, &flow.state, &mut flow.hidden);
            silu_gradient(set, &kept.hidden[0], &mut flow.hidden);
            block.first.gradient(tools, &kept.input, &flow.hidden, g);
            block.first.backward(tools, &flow.hidden, &mut flow.change);
            let change = (width, &mut flow.change[..]);
            layers::modulate_gradient(set, &kept.normal.values, &kept.film, change, &mut flow.film);
            kept.normal.backward(set, width, &mut flow.change);
            layers::add(&mut flow.state, &flow.change);
            block.film.gradient(tools, code, &flow.film, g);
            block.film.backward(tools, &flow.film, &mut flow.part);
            layers::add(&mut flow.code, &flow.part);
        }
        self.input.gradient(tools, &batch.input, &flow.state, g);
        self.observe.gradient(tools, &batch.features, &flow.state, g);
        silu_gradient(set, &space.coded[0], &mut flow.code);
        self.condition.gradient(tools, &space.joined, &flow.code, g);
        self.condition.backward(tools, &flow.code, &mut flow.part);
        let embedding = self.architecture.embedding;
        let rows = flow.part.chunks_exact(embedding + 2 * FREQUENCIES);
        flow.change.clear();
        flow.change.extend(rows.flat_map(|row| &row[..embedding]));
        self.embed[1].gradient(tools, &space.embedded[1], &flow.change, g);
        self.embed[1].backward(tools, &flow.change, &mut flow.hidden);
        silu_gradient(set, &space.embedded[0], &mut flow.hidden);
        self.embed[0].gradient(tools, &batch.features, &flow.hidden, g);
    }

    /// The gradient of the mean squared error by the output, whose padding has none.
    fn error(&self, output: &[f32], target: &[f32], out: &mut Vec<f32>) {
        let (count, padded) = (self.architecture.parameters, self.output.outputs);
        let scale = 2.0 / target.len() as f32;
        out.clear();
        out.resize(output.len(), 0.0);
        let rows = output.chunks_exact(padded).zip(target.chunks_exact(count));
        for (dy, (output, target)) in out.chunks_exact_mut(padded).zip(rows) {
            for (dy, (output, target)) in dy.iter_mut().zip(output.iter().zip(target)) {
                *dy = scale * (output - target);
            }
        }
    }
}

/// Rows of codes and rows of noise features side by side.
pub(super) fn join(code: &[f32], noise: &[f32], embedding: usize, out: &mut Vec<f32>) {
    out.clear();
    for (code, noise) in code.chunks_exact(embedding).zip(noise.chunks_exact(2 * FREQUENCIES)) {
        out.extend_from_slice(code);
        out.extend_from_slice(noise);
    }
}

#[cfg(test)]
mod tests {
    use super::super::denoiser::{Denoiser, Scratch};
    use super::*;
    use rand::{RngExt, SeedableRng};

    const SMALL: TableArchitecture =
        TableArchitecture { features: 5, parameters: 3, width: 16, embedding: 16, blocks: 2 };

    fn batch(rows: usize, rng: &mut ChaCha8Rng) -> Batch {
        let mut batch = Batch::default();
        for row in 0..rows {
            let latent: [f32; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            let noise: [f64; 3] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            let features: [f32; 5] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
            batch.push(&latent, &noise, 0.1 + row as f64 * 0.2, &features);
        }
        batch
    }

    fn random(rng: &mut ChaCha8Rng) -> Vec<f32> {
        let shape = Shape::new(SMALL);
        let mut values = vec![0.0; shape.length];
        shape.layers().iter().for_each(|layer| layer.initialise(&mut values, 1.0, rng));
        values
    }

    #[test]
    fn gradient_is_that_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (shape, values) = (Shape::new(SMALL), random(&mut rng));
        let batch = batch(7, &mut rng);
        for set in InstructionSet::available() {
            let mut space = Workspace::default();
            shape.gradient(set, &values, &batch, &mut space);
            let gradient = space.gradient.clone();
            for layer in shape.layers() {
                for index in [layer.weights().start, layer.weights().end - 16, layer.bias().start] {
                    let mut loss = |change: f32| {
                        let mut moved = values.clone();
                        moved[index] += change;
                        shape.loss(set, &moved, &batch, &mut space)
                    };
                    let slope = (loss(5e-3) - loss(-5e-3)) / 1e-2;
                    let found = f64::from(gradient[index]);
                    let gap = (slope - found).abs();
                    assert!(gap < 2e-4 + 0.02 * slope.abs(), "{}: {slope} {found}", layer.name);
                }
            }
        }
    }

    #[test]
    fn gradient_is_the_same_bits_on_every_instruction_set() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (shape, values) = (Shape::new(SMALL), random(&mut rng));
        let batch = batch(19, &mut rng);
        let all: Vec<Vec<f32>> = InstructionSet::available()
            .into_iter()
            .map(|set| {
                let mut space = Workspace::default();
                shape.gradient(set, &values, &batch, &mut space);
                space.gradient
            })
            .collect();
        assert!(all.iter().all(|gradient| gradient == &all[0]));
    }

    #[test]
    fn serving_gives_what_training_saw() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (shape, values) = (Shape::new(SMALL), random(&mut rng));
        let mut batch = Batch::default();
        batch.push(&[0.3, -0.2, 0.9], &[0.1, 0.5, -1.0], 0.7, &[0.1, 0.2, -0.3, 0.4, 0.5]);
        let mut space = Workspace::default();
        shape.forward(InstructionSet::Portable, &values, &batch, &mut space);
        let denoiser = Denoiser::new(SMALL, &values);
        let conditioned = denoiser.condition(&batch.features, &[0.7]);
        let noisy: Vec<f32> = batch.input.iter().step_by(inputs(1)).copied().collect();
        let mut out = [0.0; 3];
        denoiser.forward(&conditioned, 0, (&noisy, &mut out), &mut Scratch::default());
        for (seen, served) in space.output.iter().zip(out) {
            assert!((seen - served).abs() < 1e-5, "{seen} {served}");
        }
    }
}

//! The denoiser of table mode: pre-norm residual blocks over θ, scaled and shifted (FiLM) by a code
//! of the observation and the noise level. Forward for serving, forward and gradient for training.

use super::layers::{self, Dense, Layout, Normal};
use crate::DiffusionError;
use crate::kernels::{self, Affine, InstructionSet, LANES, silu, silu_gradient};
use crate::network::noise_features;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Sines and cosines of the noise level, each.
const FREQUENCIES: usize = 16;

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

struct Block {
    film: Dense,
    first: Dense,
    second: Dense,
}

/// The layers and where their parameters lie.
pub(super) struct Shape {
    architecture: TableArchitecture,
    embed: [Dense; 2],
    condition: Dense,
    input: Dense,
    blocks: Vec<Block>,
    output: Dense,
    pub(super) length: usize,
}

/// Rows to learn from: the network's inputs and its ideal output.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// (rows, features).
    pub(super) features: Vec<f32>,
    /// (rows, 2 × frequencies).
    pub(super) noise: Vec<f32>,
    /// (rows, parameters): θ noisy and scaled.
    pub(super) input: Vec<f32>,
    /// (rows, parameters).
    pub(super) target: Vec<f32>,
}

impl Batch {
    /// Adds a row: clean latent θ, its noise, the noise level and the observation.
    pub(super) fn push(&mut self, latent: &[f32], noise: &[f64], sigma: f64, features: &[f32]) {
        self.features.extend(features);
        self.noise.extend(noise_features(sigma, FREQUENCIES));
        let scale = (sigma * sigma + 1.0).sqrt();
        for (clean, noise) in latent.iter().zip(noise) {
            let clean = f64::from(*clean);
            self.input.push(((clean + sigma * noise) / scale) as f32);
            // (clean − c_skip · noisy) / c_out, without the cancellation at small σ.
            self.target.push(((sigma * clean - noise) / scale) as f32);
        }
    }
}

/// What the forward pass keeps for the gradient.
struct Tape {
    embedded: [Vec<f32>; 2],
    joined: Vec<f32>,
    coded: [Vec<f32>; 2],
    blocks: Vec<BlockTape>,
    last: (Vec<f32>, Normal),
    output: Vec<f32>,
}

struct BlockTape {
    film: Vec<f32>,
    normal: Normal,
    input: Vec<f32>,
    hidden: [Vec<f32>; 2],
}

impl Shape {
    pub(super) fn new(architecture: TableArchitecture) -> Self {
        let TableArchitecture { features, parameters, width, embedding, blocks } = architecture;
        let mut layout = Layout::default();
        let embed =
            [layout.dense("embed.0", features, width), layout.dense("embed.1", width, embedding)];
        let condition = layout.dense("condition", embedding + 2 * FREQUENCIES, width);
        let input = layout.dense("input", parameters, width);
        let blocks = (0..blocks)
            .map(|block| Block {
                film: layout.dense(&format!("block.{block}.film"), width, 2 * width),
                first: layout.dense(&format!("block.{block}.0"), width, width),
                second: layout.dense(&format!("block.{block}.1"), width, width),
            })
            .collect();
        let output = layout.dense("output", width, parameters);
        Self { architecture, embed, condition, input, blocks, output, length: layout.length }
    }

    /// Every layer, in the order of the parameters.
    pub(super) fn layers(&self) -> Vec<&Dense> {
        let mut list = vec![&self.embed[0], &self.embed[1], &self.condition, &self.input];
        for block in &self.blocks {
            list.extend([&block.film, &block.first, &block.second]);
        }
        list.push(&self.output);
        list
    }

    /// Random parameters; FiLM and output begin at zero, so that the first guess is the prior.
    pub(super) fn initialise(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.length];
        for layer in [&self.embed[0], &self.embed[1], &self.condition, &self.input] {
            layer.initialise(&mut values, 1.0, rng);
        }
        for block in &self.blocks {
            block.first.initialise(&mut values, 1.0, rng);
            block.second.initialise(&mut values, 0.3, rng);
        }
        values
    }

    fn forward(&self, set: InstructionSet, p: &[f32], batch: &Batch) -> Tape {
        let width = self.architecture.width;
        let first = self.embed[0].forward(set, p, &batch.features);
        let mut active = first.clone();
        silu(set, &mut active);
        let code = self.embed[1].forward(set, p, &active);
        let joined = join(&code, &batch.noise, self.architecture.embedding);
        let before = self.condition.forward(set, p, &joined);
        let mut coded = before.clone();
        silu(set, &mut coded);
        let mut state = self.input.forward(set, p, &batch.input);
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let film = block.film.forward(set, p, &coded);
            let (input, normal) = layers::normalise(set, &state, width, Some(&film));
            let before = block.first.forward(set, p, &input);
            let mut after = before.clone();
            silu(set, &mut after);
            layers::add(&mut state, &block.second.forward(set, p, &after));
            blocks.push(BlockTape { film, normal, input, hidden: [before, after] });
        }
        let last = layers::normalise(set, &state, width, None);
        let output = self.output.forward(set, p, &last.0);
        Tape { embedded: [first, active], joined, coded: [before, coded], blocks, last, output }
    }

    /// Mean squared error of the network's output over rows and parameters.
    pub(super) fn loss(&self, set: InstructionSet, p: &[f32], batch: &Batch) -> f64 {
        let output = self.forward(set, p, batch).output;
        let count = self.architecture.parameters;
        let mut sum = 0.0;
        for (out, target) in
            output.chunks_exact(self.output.outputs).zip(batch.target.chunks_exact(count))
        {
            for (out, target) in out.iter().zip(target) {
                sum += f64::from((out - target) * (out - target));
            }
        }
        sum / batch.target.len().max(1) as f64
    }

    /// The gradient of [`Shape::loss`] by every parameter.
    pub(super) fn gradient(&self, set: InstructionSet, p: &[f32], batch: &Batch) -> Vec<f32> {
        let tape = self.forward(set, p, batch);
        let mut g = vec![0.0; self.length];
        let count = self.architecture.parameters;
        let scale = 2.0 / batch.target.len() as f32;
        let mut dy = vec![0.0; tape.output.len()];
        let rows = tape.output.chunks_exact(self.output.outputs);
        for ((dy, out), target) in
            dy.chunks_exact_mut(self.output.outputs).zip(rows).zip(batch.target.chunks_exact(count))
        {
            for i in 0..count {
                dy[i] = scale * (out[i] - target[i]);
            }
        }
        self.output.gradient(set, &tape.last.0, &dy, &mut g);
        let mut state = self.output.backward(set, p, &dy);
        tape.last.1.backward(set, None, &mut state);
        let mut dcode = vec![0.0; tape.coded[1].len()];
        for (block, kept) in self.blocks.iter().zip(&tape.blocks).rev() {
            block.second.gradient(set, &kept.hidden[1], &state, &mut g);
            let mut hidden = block.second.backward(set, p, &state);
            silu_gradient(set, &kept.hidden[0], &mut hidden);
            block.first.gradient(set, &kept.input, &hidden, &mut g);
            let mut change = block.first.backward(set, p, &hidden);
            let dfilm = kept.normal.backward(set, Some(&kept.film), &mut change);
            layers::add(&mut state, &change);
            block.film.gradient(set, &tape.coded[1], &dfilm, &mut g);
            layers::add(&mut dcode, &block.film.backward(set, p, &dfilm));
        }
        self.input.gradient(set, &batch.input, &state, &mut g);
        silu_gradient(set, &tape.coded[0], &mut dcode);
        self.condition.gradient(set, &tape.joined, &dcode, &mut g);
        let djoined = self.condition.backward(set, p, &dcode);
        let embedding = self.architecture.embedding;
        let width = embedding + 2 * FREQUENCIES;
        let de: Vec<f32> =
            djoined.chunks_exact(width).flat_map(|row| &row[..embedding]).copied().collect();
        self.embed[1].gradient(set, &tape.embedded[1], &de, &mut g);
        let mut dactive = self.embed[1].backward(set, p, &de);
        silu_gradient(set, &tape.embedded[0], &mut dactive);
        self.embed[0].gradient(set, &batch.features, &dactive, &mut g);
        g
    }
}

/// Rows of codes and rows of noise features side by side.
fn join(code: &[f32], noise: &[f32], embedding: usize) -> Vec<f32> {
    let rows = code.chunks_exact(embedding).zip(noise.chunks_exact(2 * FREQUENCIES));
    rows.flat_map(|(code, noise)| code.iter().chain(noise)).copied().collect()
}

/// The denoiser packed for serving.
pub(super) struct Denoiser {
    set: InstructionSet,
    architecture: TableArchitecture,
    embed: [Affine; 2],
    condition: Affine,
    input: Affine,
    blocks: Vec<[Affine; 3]>,
    output: Affine,
    plain: Vec<f32>,
}

/// Buffers of the trunk, reused between steps.
#[derive(Default)]
pub(super) struct Scratch {
    state: Vec<f32>,
    normal: Vec<f32>,
    hidden: Vec<f32>,
    padded: Vec<f32>,
}

impl Denoiser {
    pub(super) fn new(architecture: TableArchitecture, parameters: &[f32]) -> Self {
        let shape = Shape::new(architecture);
        let pack = |layer: &Dense| layer.pack(parameters);
        Self {
            set: InstructionSet::detect(),
            embed: [pack(&shape.embed[0]), pack(&shape.embed[1])],
            condition: pack(&shape.condition),
            input: pack(&shape.input),
            blocks: shape
                .blocks
                .iter()
                .map(|block| [pack(&block.film), pack(&block.first), pack(&block.second)])
                .collect(),
            output: pack(&shape.output),
            plain: vec![0.0; 2 * architecture.width],
            architecture,
        }
    }

    /// Scales and shifts of each block, for an observation's features at each noise level.
    pub(super) fn films(&self, features: &[f32], levels: &[f64]) -> Vec<Vec<Vec<f32>>> {
        let row = |layer: &Affine, x: &[f32]| {
            let mut out = vec![0.0; layer.outputs()];
            layer.apply(self.set, x, &mut out);
            out
        };
        let mut hidden = row(&self.embed[0], features);
        silu(self.set, &mut hidden);
        let code = row(&self.embed[1], &hidden);
        let at = |sigma: &f64| {
            let noise = noise_features(*sigma, FREQUENCIES);
            let mut joint = row(&self.condition, &join(&code, &noise, code.len()));
            silu(self.set, &mut joint);
            self.blocks.iter().map(|block| row(&block[0], &joint)).collect()
        };
        levels.iter().map(at).collect()
    }

    /// The raw output for rows of scaled noisy θ; `out` is (rows, parameters).
    pub(super) fn forward(
        &self,
        films: &[Vec<f32>],
        input: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let count = self.architecture.parameters;
        let rows = input.len() / count;
        let size = rows * self.architecture.width;
        for buffer in [&mut scratch.state, &mut scratch.normal, &mut scratch.hidden] {
            buffer.resize(size, 0.0);
        }
        scratch.padded.resize(rows * self.output.outputs(), 0.0);
        self.input.apply(self.set, input, &mut scratch.state);
        for (block, film) in self.blocks.iter().zip(films) {
            kernels::normalise(self.set, &scratch.state, film, &mut scratch.normal);
            block[1].apply(self.set, &scratch.normal, &mut scratch.hidden);
            silu(self.set, &mut scratch.hidden);
            block[2].apply(self.set, &scratch.hidden, &mut scratch.normal);
            layers::add(&mut scratch.state, &scratch.normal);
        }
        kernels::normalise(self.set, &scratch.state, &self.plain, &mut scratch.normal);
        self.output.apply(self.set, &scratch.normal, &mut scratch.padded);
        let padded = scratch.padded.chunks_exact(self.output.outputs());
        for (out, row) in out.chunks_exact_mut(count).zip(padded) {
            out.copy_from_slice(&row[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
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
            let gradient = shape.gradient(set, &values, &batch);
            for layer in shape.layers() {
                for index in [layer.weights().start, layer.weights().end - 16, layer.bias().start] {
                    let loss = |change: f32| {
                        let mut moved = values.clone();
                        moved[index] += change;
                        shape.loss(set, &moved, &batch)
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
            .map(|set| shape.gradient(set, &values, &batch))
            .collect();
        assert!(all.iter().all(|gradient| gradient == &all[0]));
    }

    #[test]
    fn serving_gives_what_training_saw() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (shape, values) = (Shape::new(SMALL), random(&mut rng));
        let mut batch = Batch::default();
        batch.push(&[0.3, -0.2, 0.9], &[0.1, 0.5, -1.0], 0.7, &[0.1, 0.2, -0.3, 0.4, 0.5]);
        let seen = shape.forward(InstructionSet::Portable, &values, &batch).output;
        let denoiser = Denoiser::new(SMALL, &values);
        let films = denoiser.films(&batch.features, &[0.7]);
        let mut out = [0.0; 3];
        denoiser.forward(&films[0], &batch.input, &mut out, &mut Scratch::default());
        for (seen, served) in seen.iter().zip(out) {
            assert!((seen - served).abs() < 1e-5, "{seen} {served}");
        }
    }
}

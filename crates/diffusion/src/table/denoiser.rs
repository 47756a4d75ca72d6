//! The denoiser of table mode packed for serving.

use super::network::{
    Block, FREQUENCIES, OCTAVES, Shape, TableArchitecture, damping, join, push_waves,
};
use crate::affine::Affine;
use crate::kernels::{self, InstructionSet, silu};
use crate::layers::{self, Dense};
use crate::network::noise_features;

/// One member of the ensemble, ready to draw.
pub(super) struct Denoiser {
    set: InstructionSet,
    architecture: TableArchitecture,
    embed: [Affine; 2],
    condition: Affine,
    observe: Affine,
    input: Affine,
    input_bias: Vec<f32>,
    blocks: Vec<[Affine; 3]>,
    output: Affine,
    plain: Vec<f32>,
}

/// What an observation makes of a member, computed once for all its draws.
pub(super) struct Conditioned {
    input: Affine,
    levels: Vec<Level>,
}

struct Level {
    damping: [f32; OCTAVES],
    /// Scales and shifts of each block.
    films: Vec<Vec<f32>>,
}

/// Buffers of the trunk, reused between steps.
#[derive(Default)]
pub(super) struct Scratch {
    waves: Vec<f32>,
    state: Vec<f32>,
    normal: Vec<f32>,
    hidden: Vec<f32>,
    padded: Vec<f32>,
}

impl Denoiser {
    pub(super) fn new(architecture: TableArchitecture, parameters: &[f32]) -> Self {
        let shape = Shape::new(architecture);
        let pack = |layer: &Dense| layer.pack(parameters);
        let block = |block: &Block| [pack(&block.film), pack(&block.first), pack(&block.second)];
        Self {
            set: InstructionSet::detect(),
            embed: [pack(&shape.embed[0]), pack(&shape.embed[1])],
            condition: pack(&shape.condition),
            observe: pack(&shape.observe),
            input: pack(&shape.input),
            input_bias: parameters[shape.input.bias()].to_vec(),
            blocks: shape.blocks.iter().map(block).collect(),
            output: pack(&shape.output),
            plain: vec![0.0; 2 * architecture.width],
            architecture,
        }
    }

    /// For an observation's features and the noise levels that will be asked for.
    pub(super) fn condition(&self, features: &[f32], levels: &[f64]) -> Conditioned {
        let row = |layer: &Affine, x: &[f32]| {
            let mut out = vec![0.0; layer.outputs()];
            layer.apply(self.set, x, &mut out);
            out
        };
        let mut hidden = row(&self.embed[0], features);
        silu(self.set, &mut hidden);
        let code = row(&self.embed[1], &hidden);
        let at = |sigma: &f64| {
            let mut joined = Vec::new();
            join(&code, &noise_features(*sigma, FREQUENCIES), code.len(), &mut joined);
            let mut joint = row(&self.condition, &joined);
            silu(self.set, &mut joint);
            let films = self.blocks.iter().map(|block| row(&block[0], &joint)).collect();
            Level { damping: damping(*sigma), films }
        };
        let mut bias = row(&self.observe, features);
        layers::add(&mut bias, &self.input_bias);
        let mut input = self.input.clone();
        input.set_bias(&bias);
        Conditioned { input, levels: levels.iter().map(at).collect() }
    }

    /// The raw output for rows of scaled noisy θ at a level of those conditioned on; `out` is
    /// (rows, parameters).
    pub(super) fn forward(
        &self,
        conditioned: &Conditioned,
        level: usize,
        (input, out): (&[f32], &mut [f32]),
        scratch: &mut Scratch,
    ) {
        // A solver asks at the levels of its grid only.
        let Some(level) = conditioned.levels.get(level) else { return };
        let count = self.architecture.parameters;
        let rows = input.len() / count;
        let size = rows * self.architecture.width;
        for buffer in [&mut scratch.state, &mut scratch.normal, &mut scratch.hidden] {
            buffer.resize(size, 0.0);
        }
        scratch.padded.resize(rows * self.output.outputs(), 0.0);
        scratch.waves.clear();
        for value in input {
            push_waves(*value, &level.damping, &mut scratch.waves);
        }
        conditioned.input.apply(self.set, &scratch.waves, &mut scratch.state);
        for (block, film) in self.blocks.iter().zip(&level.films) {
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

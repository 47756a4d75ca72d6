//! The conditional denoiser: its parameters by name and shape, and its forward pass for serving.
//!
//! The observation is embedded once per scan. The embedding, the noise level and the known
//! parameters give, by FiLM (Perez et al. 2018), a scale and a shift for each block of a pre-norm
//! residual network over θ. (Known parameters also enter the trunk; without FiLM it learns only
//! slowly how they change the reading of a scan.)
//!
//! Scales and shifts are equal for every draw of a scan, so they are computed once per step and not per draw.
//! A second head reads the defect class from the embedding alone and never sees θ.

use crate::DiffusionError;
use crate::affine::Affine;
use crate::kernels::{InstructionSet, LANES, normalise, silu};
use microdiff_domain::{DefectClass, PARAMETER_COUNT};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values per row of the trunk's input: θ (noisy or known) and the mask of what is known.
pub(crate) const TRUNK_INPUTS: usize = 2 * PARAMETER_COUNT;
/// Values that say which parameters are known: each known one or zero, then the mask.
pub(crate) const KNOWN: usize = 2 * PARAMETER_COUNT;
const CLASS_HIDDEN: usize = 64;
const CLASSES: usize = DefectClass::ALL.len();

/// Shape of the network. All widths are multiples of 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Values of the normalised observation and its context.
    pub context: usize,
    /// Width of the two hidden layers of the embedding.
    pub embedding_hidden: usize,
    /// Width of the embedding.
    pub embedding: usize,
    /// Width of the joint code of embedding and noise level that drives the FiLM layers.
    pub conditioning: usize,
    /// Sines and cosines of the noise level, each.
    pub frequencies: usize,
    /// Width of the residual trunk.
    pub width: usize,
    /// Residual blocks.
    pub blocks: usize,
}

impl Default for Architecture {
    /// The bundled model's shape.
    fn default() -> Self {
        Self {
            context: crate::condition::CONTEXT,
            embedding_hidden: 256,
            embedding: 128,
            conditioning: 128,
            frequencies: 16,
            width: 96,
            blocks: 4,
        }
    }
}

impl Architecture {
    /// Refuses shapes the engine cannot run or that would take absurd memory.
    pub(crate) fn check(&self) -> Result<(), DiffusionError> {
        let widths = [self.embedding_hidden, self.embedding, self.conditioning, self.width];
        let wide = widths.iter().all(|width| (16..=1024).contains(width) && width % LANES == 0);
        let rest = (1..=16).contains(&self.blocks) && (1..=64).contains(&self.frequencies);
        if wide && rest && self.context == crate::condition::CONTEXT {
            return Ok(());
        }
        Err(DiffusionError::bundle(format!(
            "architecture {self:?} is not one this version runs (context {}, widths multiples of \
             {LANES} up to 1024, at most 16 blocks)",
            crate::condition::CONTEXT
        )))
    }

    /// Every parameter's name and shape (inputs, outputs), in a fixed order; a bias is one row.
    pub(crate) fn parameters(&self) -> Vec<(String, [usize; 2])> {
        let mut list = Vec::new();
        let mut affine = |name: String, inputs: usize, outputs: usize| {
            list.push((format!("{name}.weight"), [inputs, outputs]));
            list.push((format!("{name}.bias"), [1, outputs]));
        };
        affine("embed.0".into(), self.context, self.embedding_hidden);
        affine("embed.1".into(), self.embedding_hidden, self.embedding_hidden);
        affine("embed.2".into(), self.embedding_hidden, self.embedding);
        affine("class.0".into(), self.embedding, CLASS_HIDDEN);
        affine("class.1".into(), CLASS_HIDDEN, CLASSES);
        let condition = self.embedding + 2 * self.frequencies + KNOWN;
        affine("condition".into(), condition, self.conditioning);
        affine("input".into(), TRUNK_INPUTS, self.width);
        for block in 0..self.blocks {
            affine(format!("block.{block}.film"), self.conditioning, 2 * self.width);
            affine(format!("block.{block}.0"), self.width, self.width);
            affine(format!("block.{block}.1"), self.width, self.width);
        }
        affine("output".into(), self.width, PARAMETER_COUNT);
        list
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.parameters().iter().map(|(_, [inputs, outputs])| inputs * outputs).sum()
    }
}

/// Parameters by name, each row-major in the shape [`Architecture::parameters`] gives.
pub(crate) type Parameters = BTreeMap<String, Vec<f32>>;

/// Sines and cosines of the noise level `c_noise = ln σ / 4`, at angular frequencies spaced
/// evenly in the logarithm from 0.5 to 50: from one slow turn over the whole range of noise to
/// about the spacing of two sampling steps.
pub(crate) fn noise_features(sigma: f64, frequencies: usize) -> Vec<f32> {
    let c_noise = sigma.ln() / 4.0;
    let angle = |index: usize| {
        let position = index as f64 / (frequencies.max(2) - 1) as f64;
        c_noise * 0.5 * 100f64.powf(position)
    };
    let sines = (0..frequencies).map(|index| angle(index).sin() as f32);
    let cosines = (0..frequencies).map(|index| angle(index).cos() as f32);
    sines.chain(cosines).collect()
}

struct Block {
    film: Affine,
    first: Affine,
    second: Affine,
}

/// The network, packed for serving.
pub(crate) struct Network {
    architecture: Architecture,
    set: InstructionSet,
    embed: [Affine; 3],
    class: [Affine; 2],
    condition: Affine,
    input: Affine,
    blocks: Vec<Block>,
    output: Affine,
    plain: Vec<f32>,
}

/// What the blocks need for one scan at one noise level: a scale and shift for each of them.
pub(crate) struct Film(Vec<Vec<f32>>);

/// Buffers of the trunk, reused between steps.
#[derive(Default)]
pub(crate) struct Scratch {
    state: Vec<f32>,
    normal: Vec<f32>,
    hidden: Vec<f32>,
    padded: Vec<f32>,
}

impl Network {
    /// Packs the parameters; refuses missing or surplus names, wrong lengths and values that are
    /// not finite.
    pub(crate) fn new(
        architecture: Architecture,
        parameters: &Parameters,
    ) -> Result<Self, DiffusionError> {
        architecture.check()?;
        let expected = architecture.parameters();
        for (name, [inputs, outputs]) in &expected {
            let values = parameters
                .get(name)
                .ok_or_else(|| DiffusionError::bundle(format!("weights lack {name}")))?;
            if values.len() != inputs * outputs {
                let text = format!("{name} has {} values, not {inputs} x {outputs}", values.len());
                return Err(DiffusionError::bundle(text));
            }
            if values.iter().any(|value| !value.is_finite()) {
                return Err(DiffusionError::bundle(format!("{name} holds values not finite")));
            }
        }
        if parameters.len() != expected.len() {
            return Err(DiffusionError::bundle("weights hold tensors this version does not know"));
        }
        let affine = |name: &str| {
            let weight = parameters.get(&format!("{name}.weight")).map_or(&[][..], Vec::as_slice);
            let bias = parameters.get(&format!("{name}.bias")).map_or(&[][..], Vec::as_slice);
            Affine::pack(weight, weight.len() / bias.len().max(1), bias)
        };
        Ok(Self {
            set: InstructionSet::detect(),
            embed: [affine("embed.0"), affine("embed.1"), affine("embed.2")],
            class: [affine("class.0"), affine("class.1")],
            condition: affine("condition"),
            input: affine("input"),
            blocks: (0..architecture.blocks)
                .map(|block| Block {
                    film: affine(&format!("block.{block}.film")),
                    first: affine(&format!("block.{block}.0")),
                    second: affine(&format!("block.{block}.1")),
                })
                .collect(),
            output: affine("output"),
            plain: vec![0.0; 2 * architecture.width],
            architecture,
        })
    }

    /// The embedding of one context.
    pub(crate) fn embed(&self, context: &[f32]) -> Vec<f32> {
        let mut code = self.row(&self.embed[0], context);
        silu(self.set, &mut code);
        let mut code = self.row(&self.embed[1], &code);
        silu(self.set, &mut code);
        self.row(&self.embed[2], &code)
    }

    /// Probabilities of the defect classes, in the order of [`DefectClass::ALL`].
    pub(crate) fn classify(&self, embedding: &[f32]) -> [f64; CLASSES] {
        let mut hidden = self.row(&self.class[0], embedding);
        silu(self.set, &mut hidden);
        let logits = self.row(&self.class[1], &hidden);
        let top = logits[..CLASSES].iter().fold(f32::NEG_INFINITY, |top, v| top.max(*v));
        let mut shares = [0.0; CLASSES];
        for (share, logit) in shares.iter_mut().zip(&logits) {
            *share = f64::from(logit - top).exp();
        }
        let sum: f64 = shares.iter().sum();
        shares.map(|share| share / sum)
    }

    /// Scales and shifts of every block for one scan at one noise level.
    pub(crate) fn film(&self, embedding: &[f32], sigma: f64, known: &[f32; KNOWN]) -> Film {
        let features = noise_features(sigma, self.architecture.frequencies);
        self.film_of_features(embedding, &features, known)
    }

    /// The same from the noise level's features.
    pub(crate) fn film_of_features(
        &self,
        embedding: &[f32],
        features: &[f32],
        known: &[f32; KNOWN],
    ) -> Film {
        let joined = [embedding, features, known].concat();
        let mut code = self.row(&self.condition, &joined);
        silu(self.set, &mut code);
        Film(self.blocks.iter().map(|block| self.row(&block.film, &code)).collect())
    }

    /// The network's raw output F for rows of (θ, mask); `out` is (rows, PARAMETER_COUNT).
    pub(crate) fn forward(
        &self,
        film: &Film,
        input: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let rows = input.len() / TRUNK_INPUTS;
        let size = rows * self.architecture.width;
        for buffer in [&mut scratch.state, &mut scratch.normal, &mut scratch.hidden] {
            buffer.resize(size, 0.0);
        }
        scratch.padded.resize(rows * self.output.outputs(), 0.0);
        self.input.apply(self.set, input, &mut scratch.state);
        for (block, film) in self.blocks.iter().zip(&film.0) {
            normalise(self.set, &scratch.state, film, &mut scratch.normal);
            block.first.apply(self.set, &scratch.normal, &mut scratch.hidden);
            silu(self.set, &mut scratch.hidden);
            block.second.apply(self.set, &scratch.hidden, &mut scratch.normal);
            for (state, change) in scratch.state.iter_mut().zip(&scratch.normal) {
                *state += change;
            }
        }
        normalise(self.set, &scratch.state, &self.plain, &mut scratch.normal);
        self.output.apply(self.set, &scratch.normal, &mut scratch.padded);
        let padded = scratch.padded.chunks_exact(self.output.outputs());
        for (out, row) in out.chunks_exact_mut(PARAMETER_COUNT).zip(padded) {
            out.copy_from_slice(&row[..PARAMETER_COUNT]);
        }
    }

    /// One row through one layer, padding dropped only where widths are no multiple of 16.
    fn row(&self, layer: &Affine, x: &[f32]) -> Vec<f32> {
        debug_assert_eq!(x.len(), layer.inputs());
        let mut out = vec![0.0; layer.outputs()];
        layer.apply(self.set, x, &mut out);
        out
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A small shape for tests.
    pub(crate) fn small() -> Architecture {
        Architecture {
            embedding_hidden: 32,
            embedding: 16,
            conditioning: 32,
            frequencies: 8,
            width: 32,
            blocks: 2,
            ..Architecture::default()
        }
    }

    /// Random values of a size that keeps activations near one, none of them zero.
    pub(crate) fn random_parameters(architecture: &Architecture, seed: u64) -> Parameters {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let entries = architecture.parameters().into_iter().map(|(name, [inputs, outputs])| {
            let size = (3.0 / inputs as f32).sqrt().min(0.5);
            let values =
                (0..inputs * outputs).map(|_| rng.random_range(-size..size)).collect::<Vec<_>>();
            (name, values)
        });
        entries.collect()
    }

    #[test]
    fn default_size_is_as_documented() {
        let count = Architecture::default().parameter_count();
        assert!((300_000..1_000_000).contains(&count), "{count}");
    }

    #[test]
    fn rows_do_not_see_each_other() {
        let network = Network::new(small(), &random_parameters(&small(), 1)).unwrap();
        let context = vec![0.3; small().context];
        let film = network.film(&network.embed(&context), 0.7, &[0.0; KNOWN]);
        let input: Vec<f32> = (0..37 * TRUNK_INPUTS).map(|i| (i as f32).sin()).collect();
        let mut all = vec![0.0; 37 * PARAMETER_COUNT];
        network.forward(&film, &input, &mut all, &mut Scratch::default());
        for row in [0, 11, 36] {
            let mut one = [0.0; PARAMETER_COUNT];
            let input = &input[row * TRUNK_INPUTS..][..TRUNK_INPUTS];
            network.forward(&film, input, &mut one, &mut Scratch::default());
            assert_eq!(one, all[row * PARAMETER_COUNT..][..PARAMETER_COUNT]);
        }
    }

    #[test]
    fn damaged_parameters_are_refused() {
        let good = random_parameters(&small(), 2);
        let refusal = |bad: &Parameters| Network::new(small(), bad).err().unwrap().to_string();
        let mut bad = good.clone();
        bad.remove("input.bias");
        assert!(refusal(&bad).contains("lack input.bias"));
        let mut bad = good.clone();
        bad.get_mut("output.weight").unwrap()[3] = f32::NAN;
        assert!(refusal(&bad).contains("not finite"));
        let mut bad = good.clone();
        bad.insert("more".into(), vec![]);
        assert!(refusal(&bad).contains("does not know"));
        let mut bad = good;
        bad.get_mut("class.0.bias").unwrap().pop();
        assert!(refusal(&bad).contains("63 values"));
    }
}

//! One member's training, which can be halted and taken up again.

use super::emulator::{self, Emulator};
use super::network::{Batch, Shape, Workspace};
use super::prepared::{Prepared, Stratum, noised};
use crate::kernels::InstructionSet;
use crate::optimiser::{Optimiser, Schedule};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 256;
/// Share of a batch that the emulator draws, where it is used.
const EMULATED: f64 = 0.8;
/// Steps between two looks at the held-out rows.
const EVALUATE: usize = 250;
/// Share of all steps without a gain after which training ends.
const PATIENCE: usize = 3;

/// Weights that did best on the held-out rows.
pub(super) struct Member {
    pub(super) parameters: Vec<f32>,
    pub(super) step: usize,
    pub(super) loss: f64,
}

/// A training under way.
pub(super) struct Run<'a> {
    prepared: &'a Prepared,
    shape: Shape,
    set: InstructionSet,
    held: Vec<Batch>,
    rng: ChaCha8Rng,
    optimiser: Optimiser,
    pub(super) best: Member,
    step: usize,
    steps: usize,
}

/// Buffers of the steps.
#[derive(Default)]
struct Buffers {
    batch: Batch,
    drawn: Vec<f32>,
    /// Which strata of the noise levels the emulator's rows take.
    places: Vec<usize>,
    emulator: emulator::Workspace,
    network: Workspace,
}

impl<'a> Run<'a> {
    /// From random weights and batches of its own; `seed` is that of the training and a number
    /// that tells the members apart.
    pub(super) fn new(prepared: &'a Prepared, steps: usize, seed: (u64, u64)) -> Self {
        let shape = Shape::new(prepared.architecture);
        let mut rng = ChaCha8Rng::seed_from_u64(seed.0);
        rng.set_stream(seed.1);
        let schedule = Schedule { rate: 1e-3, steps, decay: 0.01, clip: 1.0, average: 0.999 };
        let optimiser = Optimiser::new(shape.initialise(&mut rng), schedule);
        let parameters = optimiser.averaged.clone();
        let mut run = Self {
            prepared,
            shape,
            set: InstructionSet::detect(),
            held: prepared.held_out(seed.0),
            rng,
            optimiser,
            best: Member { parameters, step: 0, loss: f64::INFINITY },
            step: 0,
            steps,
        };
        // Untrained, the network adds nothing to the frame: where that is all there is to learn,
        // it stays the best.
        run.judge(&mut Workspace::default());
        run
    }

    /// Trains up to a step, or until nothing has been gained for long.
    pub(super) fn until(mut self, step: usize, emulator: Option<&Emulator>) -> Self {
        let mut buffers = Buffers::default();
        let patience = self.steps.div_ceil(PATIENCE).max(2 * EVALUATE);
        while self.step < step && self.step - self.best.step < patience {
            self.step += 1;
            self.fill(emulator, &mut buffers);
            let Buffers { batch, network, .. } = &mut buffers;
            self.shape.gradient(self.set, &self.optimiser.parameters, batch, network);
            self.optimiser.step(self.set, &network.gradient);
            if self.step.is_multiple_of(EVALUATE) || self.step == step {
                self.judge(network);
            }
        }
        self
    }

    /// Keeps the averaged weights if they do better on the held-out rows than any before.
    fn judge(&mut self, space: &mut Workspace) {
        let weights = &self.optimiser.averaged;
        let losses = self.held.iter().map(|batch| self.shape.loss(self.set, weights, batch, space));
        let loss = losses.sum::<f64>() / self.held.len() as f64;
        if loss < self.best.loss {
            self.best = Member { parameters: weights.clone(), step: self.step, loss };
        }
    }

    /// Draws the next batch.
    fn fill(&mut self, emulator: Option<&Emulator>, buffers: &mut Buffers) {
        let (prepared, rng) = (self.prepared, &mut self.rng);
        let Buffers { batch, drawn, places, .. } = buffers;
        batch.clear();
        drawn.clear();
        places.clear();
        for place in 0..BATCH {
            let row = rng.random_range(0..prepared.train.rows());
            if emulator.is_some() && rng.random::<f64>() < EMULATED {
                places.push(place);
                if prepared.fresh {
                    drawn.extend(prepared.transforms.iter().map(|t| t.draw(rng) as f32));
                } else {
                    drawn.extend(prepared.train.latent(row));
                }
            } else {
                let (inside, features) = (prepared.train.inside(row), prepared.train.features(row));
                noised(batch, inside, features, Stratum { place, of: BATCH }, rng);
            }
        }
        let Some(emulator) = emulator else { return };
        let [parameters, observables] = prepared.sizes();
        let observed = emulator.draw(drawn, rng, &mut buffers.emulator);
        let rows = drawn.chunks_exact(parameters).zip(observed.chunks_exact(observables));
        for ((latent, scaled), place) in rows.zip(places.iter().copied()) {
            let features = prepared.features.of_scaled(scaled);
            if features.iter().all(|value| value.is_finite()) {
                let inside = prepared.frame.inside_of(latent, scaled);
                noised(batch, &inside, &features, Stratum { place, of: BATCH }, rng);
            }
        }
    }
}

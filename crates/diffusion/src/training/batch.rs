//! Rows as the network sees them: noised, masked and scaled.

use crate::Architecture;
use crate::condition::{CONTEXT, Metadata, Normaliser, context};
use crate::network::{TRUNK_INPUTS, noise_features};
use crate::posterior::known_features;
use crate::rows::Row;
use crate::space;
use microdiff_domain::{
    Alloy, DESCRIPTOR_COUNT, DefectClass, Machine, PARAMETER_COUNT, Process, SpotDiameter,
};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// What users commonly know, as (layer, hatch, bed) subsets in the order of θ.
const PRESETS: [[bool; PARAMETER_COUNT]; 3] = [
    [false, false, true, true, false],
    [false, false, true, false, false],
    [false, false, true, true, true],
];
/// ln σ of the training noise: mean as Karras et al. 2022, wider because posterior widths span
/// decades (measured on benchmark tasks); limits beyond the sampler's grid.
const LOG_SIGMA: (f64, f64) = (-1.2, 1.8);
const SIGMA_RANGE: (f64, f64) = (2e-4, 20.0);
/// Share of rows whose spot diameter is hidden.
const SPOT_HIDDEN: f64 = 0.5;

/// Share of rows whose machine is given.
const MACHINE_GIVEN: f64 = 0.3;

/// Rows ready to be noised.
pub(super) struct Examples {
    rows: Vec<Example>,
    /// For each machine, the rows that it could have printed.
    of_machine: [Vec<usize>; Machine::ALL.len()],
}

struct Example {
    normal: [f64; DESCRIPTOR_COUNT],
    alloy: Alloy,
    process: Process,
    spot: Option<SpotDiameter>,
    latent: [f64; PARAMETER_COUNT],
    class: DefectClass,
}

/// Inputs and targets of one step; all row-major.
#[derive(Default)]
pub(super) struct Batch {
    /// (rows, context).
    pub(super) context: Vec<f32>,
    /// (rows, 2 × frequencies).
    pub(super) noise: Vec<f32>,
    /// (rows, 2 × parameters): known values or zero; then the mask.
    pub(super) known: Vec<f32>,
    /// (rows, 2 × parameters): θ noisy and scaled, or clean where known; then the mask.
    pub(super) input: Vec<f32>,
    /// (rows, parameters): the network's ideal output.
    pub(super) target: Vec<f32>,
    /// (rows, parameters): 1 where the parameter is to be inferred, 0 where known.
    pub(super) hidden: Vec<f32>,
    /// (rows, classes), one-hot.
    pub(super) class: Vec<f32>,
}

impl Batch {
    pub(super) fn rows(&self) -> usize {
        self.target.len() / PARAMETER_COUNT
    }
}

impl Examples {
    pub(super) fn new(rows: &[&Row], normaliser: &Normaliser) -> Self {
        let example = |row: &&Row| Example {
            normal: normaliser.apply(&row.descriptors),
            alloy: row.alloy,
            process: row.process,
            spot: row.spot,
            latent: space::to_latent(&row.theta, row.process, row.alloy),
            class: row.class,
        };
        let could = |machine| {
            let from = |(index, row): (usize, &&Row)| row.could_come_from(machine).then_some(index);
            rows.iter().enumerate().filter_map(from).collect()
        };
        Self { rows: rows.iter().map(example).collect(), of_machine: Machine::ALL.map(could) }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of an index with no machine, or with one of its process's machines and then another
    /// row, one that this machine could have printed. So a machine means no more and no less than
    /// its limits: its rows are those within, and rows without a machine are all rows. (A machine
    /// picked to suit the row would leave its mark on the rows that none suits.)
    fn with_machine(&self, index: usize, rng: &mut ChaCha8Rng) -> (&Example, Option<Machine>) {
        let example = &self.rows[index];
        if rng.random::<f64>() >= MACHINE_GIVEN {
            return (example, None);
        }
        let machines: Vec<Machine> = Machine::of(example.process).collect();
        let machine = machines[rng.random_range(0..machines.len())];
        let rows = &self.of_machine[machine.index()];
        if rows.is_empty() {
            return (example, None);
        }
        (&self.rows[rows[rng.random_range(0..rows.len())]], Some(machine))
    }

    /// The rows of `indices` with fresh noise, masks, machines and hidden spots.
    pub(super) fn batch(
        &self,
        indices: &[usize],
        architecture: &Architecture,
        rng: &mut ChaCha8Rng,
    ) -> Batch {
        let mut batch = Batch::default();
        batch.context.reserve(indices.len() * CONTEXT);
        batch.input.reserve(indices.len() * TRUNK_INPUTS);
        for index in indices {
            let (example, machine) = self.with_machine(*index, rng);
            let spot = example.spot.filter(|_| rng.random::<f64>() >= SPOT_HIDDEN);
            let Example { alloy, process, .. } = *example;
            let metadata = Metadata { alloy, process, machine, spot };
            batch.context.extend(context(&example.normal, &metadata));
            let class = |class| if class == example.class { 1.0 } else { 0.0 };
            batch.class.extend(DefectClass::ALL.map(class));
            let known = mask(rng);
            let values = std::array::from_fn(|i| known[i].then_some(example.latent[i]));
            batch.known.extend(known_features(&values));
            let level: f64 = StandardNormal.sample(rng);
            let sigma = (LOG_SIGMA.0 + LOG_SIGMA.1 * level).exp();
            let sigma = sigma.clamp(SIGMA_RANGE.0, SIGMA_RANGE.1);
            batch.noise.extend(noise_features(sigma, architecture.frequencies));
            let scale = (sigma * sigma + 1.0).sqrt();
            for (clean, known) in example.latent.iter().zip(known) {
                let noise: f64 = StandardNormal.sample(rng);
                let noisy = clean + sigma * noise;
                batch.input.push(if known { *clean } else { noisy / scale } as f32);
                // (clean − c_skip · noisy) / c_out, without the cancellation at small σ.
                let target = (sigma * clean - noise) / scale;
                batch.target.push(target as f32);
                batch.hidden.push(if known { 0.0 } else { 1.0 });
            }
            batch.input.extend(known.map(|known| if known { 1.0 } else { 0.0 }));
        }
        batch
    }

    /// Every row several times, with noise drawn once: the yardstick of a whole training.
    pub(super) fn fixed(
        &self,
        draws: usize,
        size: usize,
        architecture: &Architecture,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Batch> {
        let indices: Vec<usize> = (0..self.len() * draws).map(|i| i % self.len()).collect();
        indices.chunks(size.max(1)).map(|chunk| self.batch(chunk, architecture, rng)).collect()
    }
}

/// Half of the rows know nothing, three in ten know each parameter with probability 0.3, two in
/// ten know what users commonly do.
fn mask(rng: &mut ChaCha8Rng) -> [bool; PARAMETER_COUNT] {
    let kind: f64 = rng.random();
    if kind < 0.5 {
        [false; PARAMETER_COUNT]
    } else if kind < 0.8 {
        std::array::from_fn(|_| rng.random::<f64>() < 0.3)
    } else {
        PRESETS[rng.random_range(0..PRESETS.len())]
    }
}

/// Row indices in random order, each once before any twice.
pub(super) struct Epochs {
    order: Vec<usize>,
    next: usize,
}

impl Epochs {
    pub(super) fn new(rows: usize) -> Self {
        Self { order: (0..rows).collect(), next: rows }
    }

    pub(super) fn next(&mut self, count: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count && !self.order.is_empty() {
            if self.next == self.order.len() {
                self.order.shuffle(rng);
                self.next = 0;
            }
            taken.push(self.order[self.next]);
            self.next += 1;
        }
        taken
    }
}

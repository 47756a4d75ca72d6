//! A density of the observables given the parameters, learnt from the same rows: a mixture of
//! normals with full covariance whose parameters a small network gives (Bishop 1994).
//!
//! Drawing from it makes further rows to train the denoiser on. Whether that helps is decided by
//! the loss on held-out real rows; nothing else sees the emulator, and it is not kept.

use super::columns::Pairs;
use crate::affine::Affine;
use crate::kernels::{InstructionSet, silu_gradient};
use crate::layers::{self, Dense, Layout, Tools, activate};
use crate::optimiser::{Optimiser, Schedule};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// More observables than this have too many covariances to learn.
pub(super) const MOST_OBSERVABLES: usize = 16;
const COMPONENTS: usize = 2;
const WIDTH: usize = 96;
const BATCH: usize = 256;
const EVALUATE: usize = 250;

/// A trained emulator.
pub(super) struct Emulator {
    shape: Shape,
    set: InstructionSet,
    parameters: Vec<f32>,
}

struct Shape {
    parameters: usize,
    observables: usize,
    input: Dense,
    hidden: [Dense; 2],
    output: Dense,
    length: usize,
}

/// What the forward pass keeps and the gradients on their way; kept from step to step.
#[derive(Default)]
pub(super) struct Workspace {
    packed: Affine,
    before: [Vec<f32>; 3],
    states: [Vec<f32>; 3],
    joined: Vec<f32>,
    output: Vec<f32>,
    dy: Vec<f32>,
    flow: [Vec<f32>; 3],
    row: Scores,
    /// By parameter.
    gradient: Vec<f32>,
}

/// What one row's density is computed with.
#[derive(Default)]
struct Scores {
    e: Vec<f32>,
    u: Vec<f32>,
    de: Vec<f32>,
}

impl Emulator {
    /// Fits to `train`, keeping the averaged weights that do best on `held`.
    pub(super) fn fit(
        train: Pairs<'_>,
        held: Pairs<'_>,
        sizes: [usize; 2],
        options: (usize, u64),
    ) -> Self {
        let shape = Shape::new(sizes);
        let set = InstructionSet::detect();
        let mut rng = ChaCha8Rng::seed_from_u64(options.1);
        rng.set_stream(EMULATOR_STREAM);
        let schedule =
            Schedule { rate: 3e-3, steps: options.0, decay: 0.01, clip: 5.0, average: 0.998 };
        let mut optimiser = Optimiser::new(shape.initialise(&mut rng), schedule);
        let rows = train.latent.len() / shape.parameters;
        let mut best = (f64::INFINITY, optimiser.averaged.clone());
        let mut space = Workspace::default();
        let (mut latent, mut scaled) = (Vec::new(), Vec::new());
        for step in 1..=options.0 {
            latent.clear();
            scaled.clear();
            for _ in 0..BATCH {
                let row = rng.random_range(0..rows);
                latent.extend(&train.latent[row * shape.parameters..][..shape.parameters]);
                scaled.extend(&train.scaled[row * shape.observables..][..shape.observables]);
            }
            let batch = Pairs { latent: &latent, scaled: &scaled };
            shape.gradient(set, &optimiser.parameters, batch, &mut space);
            optimiser.step(set, &space.gradient);
            if step % EVALUATE == 0 || step == options.0 {
                let loss = shape.loss(set, &optimiser.averaged, held, &mut space);
                if loss < best.0 {
                    best = (loss, optimiser.averaged.clone());
                }
            }
        }
        Self { shape, set, parameters: best.1 }
    }

    /// One draw of the scaled observables for each row of latent parameters.
    pub(super) fn draw(
        &self,
        latent: &[f32],
        rng: &mut ChaCha8Rng,
        space: &mut Workspace,
    ) -> Vec<f64> {
        self.shape.forward(self.set, &self.parameters, latent, space);
        let mut all =
            Vec::with_capacity(latent.len() / self.shape.parameters * self.shape.observables);
        for row in space.output.chunks_exact(self.shape.output.outputs) {
            all.extend(self.shape.draw_row(row, rng));
        }
        all
    }
}

/// Stream of random numbers of the emulator, apart from those of the denoisers.
const EMULATOR_STREAM: u64 = 1 << 32;

impl Shape {
    fn new([parameters, observables]: [usize; 2]) -> Self {
        let mut layout = Layout::default();
        let input = layout.dense("input", parameters, WIDTH);
        let hidden =
            [layout.dense("hidden.0", WIDTH, WIDTH), layout.dense("hidden.1", WIDTH, WIDTH)];
        // The parameters enter the last layer too: means are often close to linear in them.
        let joined = WIDTH + parameters.next_multiple_of(crate::kernels::LANES);
        let size = COMPONENTS * component(observables);
        let output = layout.dense("output", joined, size);
        Self { parameters, observables, input, hidden, output, length: layout.length }
    }

    fn initialise(&self, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let mut values = vec![0.0; self.length];
        self.input.initialise(&mut values, 1.0, rng);
        self.hidden.iter().for_each(|layer| layer.initialise(&mut values, 1.0, rng));
        self.output.initialise(&mut values, 0.1, rng);
        // Components begin apart, so that they can come to differ.
        let bias = &mut values[self.output.bias()];
        for part in 0..COMPONENTS {
            for mean in &mut bias[part * component(self.observables) + 1..][..self.observables] {
                let draw: f64 = StandardNormal.sample(rng);
                *mean = 0.5 * draw as f32;
            }
        }
        values
    }

    fn forward(&self, set: InstructionSet, p: &[f32], latent: &[f32], space: &mut Workspace) {
        let tools = &mut Tools { set, parameters: p, packed: &mut space.packed };
        self.input.forward(tools, latent, &mut space.before[0]);
        activate(set, &space.before[0], &mut space.states[0]);
        for (index, layer) in self.hidden.iter().enumerate() {
            let (done, next) = space.states.split_at_mut(index + 1);
            layer.forward(tools, &done[index], &mut space.before[index + 1]);
            activate(set, &space.before[index + 1], &mut next[0]);
            layers::add(&mut next[0], &done[index]);
        }
        space.joined.clear();
        space.joined.resize(space.states[2].len() / WIDTH * self.output.inputs, 0.0);
        let rows = space.states[2].chunks_exact(WIDTH).zip(latent.chunks_exact(self.parameters));
        for (out, (state, latent)) in space.joined.chunks_exact_mut(self.output.inputs).zip(rows) {
            out[..WIDTH].copy_from_slice(state);
            out[WIDTH..][..latent.len()].copy_from_slice(latent);
        }
        self.output.forward(tools, &space.joined, &mut space.output);
    }

    /// Mean negative log density.
    fn loss(&self, set: InstructionSet, p: &[f32], rows: Pairs<'_>, space: &mut Workspace) -> f64 {
        self.forward(set, p, rows.latent, space);
        let outputs = space.output.chunks_exact(self.output.outputs);
        let count = rows.scaled.len() / self.observables;
        outputs
            .zip(rows.scaled.chunks_exact(self.observables))
            .map(|(row, x)| self.score(row, x, None, &mut space.row))
            .sum::<f64>()
            / count.max(1) as f64
    }

    /// Leaves the gradient of [`Shape::loss`] by every parameter in `space`.
    fn gradient(&self, set: InstructionSet, p: &[f32], rows: Pairs<'_>, space: &mut Workspace) {
        self.forward(set, p, rows.latent, space);
        let g = &mut space.gradient;
        g.resize(self.length, 0.0);
        let size = self.output.outputs;
        space.dy.clear();
        space.dy.resize(space.output.len(), 0.0);
        let scale = self.observables as f32 / rows.scaled.len() as f32;
        let pairs = space.output.chunks_exact(size).zip(rows.scaled.chunks_exact(self.observables));
        for ((row, x), dy) in pairs.zip(space.dy.chunks_exact_mut(size)) {
            self.score(row, x, Some((scale, dy)), &mut space.row);
        }
        let tools = &mut Tools { set, parameters: p, packed: &mut space.packed };
        let [state, change, joined] = &mut space.flow;
        self.output.gradient(tools, &space.joined, &space.dy, g);
        self.output.backward(tools, &space.dy, joined);
        state.clear();
        state.extend(joined.chunks_exact(self.output.inputs).flat_map(|row| &row[..WIDTH]));
        for (index, layer) in self.hidden.iter().enumerate().rev() {
            change.clone_from(state);
            silu_gradient(set, &space.before[index + 1], change);
            layer.gradient(tools, &space.states[index], change, g);
            layer.backward(tools, change, joined);
            layers::add(state, joined);
        }
        silu_gradient(set, &space.before[0], state);
        self.input.gradient(tools, rows.latent, state, g);
    }

    /// Negative log density of `x` and, where asked for, its gradient by the network's output,
    /// times a scale.
    ///
    /// A component is a logit, means, logarithms of the scales of u = L·diag(eˡ)·(x - m), and the
    /// entries of the unit lower triangle L below its diagonal, row by row; u is standard normal.
    fn score(
        &self,
        row: &[f32],
        x: &[f32],
        gradient: Option<(f32, &mut [f32])>,
        kept: &mut Scores,
    ) -> f64 {
        let (d, size) = (self.observables, component(self.observables));
        let Scores { e, u, de } = kept;
        e.resize(COMPONENTS * d, 0.0);
        u.resize(COMPONENTS * d, 0.0);
        let (mut joint, mut prior) = ([0.0f64; COMPONENTS], [0.0f64; COMPONENTS]);
        for part in 0..COMPONENTS {
            let out = &row[part * size..][..size];
            let (e, u) = (&mut e[part * d..][..d], &mut u[part * d..][..d]);
            prior[part] = f64::from(out[0]);
            joint[part] = prior[part] - 0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln();
            for i in 0..d {
                e[i] = (x[i] - out[1 + i]) * out[1 + d + i].exp();
                let lower = &out[1 + 2 * d + i * i.saturating_sub(1) / 2..][..i];
                u[i] = e[i] + lower.iter().zip(&e[..i]).map(|(l, e)| l * e).sum::<f32>();
                joint[part] += f64::from(out[1 + d + i]) - 0.5 * f64::from(u[i]) * f64::from(u[i]);
            }
        }
        let (all, weights) = softmax(joint);
        let (total, shares) = softmax(prior);
        let Some((scale, dy)) = gradient else { return total - all };
        for part in 0..COMPONENTS {
            let weight = weights[part] as f32;
            let out = &row[part * size..][..size];
            let (e, u) = (&e[part * d..][..d], &u[part * d..][..d]);
            let dy = &mut dy[part * size..][..size];
            dy[0] = scale * (shares[part] as f32 - weight);
            de.clear();
            de.extend(u.iter().map(|u| weight * u));
            for (i, u) in u.iter().enumerate() {
                let start = 1 + 2 * d + i * i.saturating_sub(1) / 2;
                for j in 0..i {
                    de[j] += weight * u * out[start + j];
                    dy[start + j] = scale * weight * u * e[j];
                }
            }
            for i in 0..d {
                dy[1 + i] = -scale * de[i] * out[1 + d + i].exp();
                dy[1 + d + i] = scale * (de[i] * e[i] - weight);
            }
        }
        total - all
    }

    fn draw_row(&self, row: &[f32], rng: &mut ChaCha8Rng) -> Vec<f64> {
        let (d, size) = (self.observables, component(self.observables));
        let logits = std::array::from_fn(|part| f64::from(row[part * size]));
        let (_, shares) = softmax::<COMPONENTS>(logits);
        let mut left: f64 = rng.random();
        let mut part = 0;
        while part + 1 < COMPONENTS && left >= shares[part] {
            left -= shares[part];
            part += 1;
        }
        let out = &row[part * size..][..size];
        let mut e = vec![0.0f64; d];
        for i in 0..d {
            let lower = &out[1 + 2 * d + i * i.saturating_sub(1) / 2..][..i];
            let known: f64 = lower.iter().zip(&e).map(|(l, e)| f64::from(*l) * e).sum();
            let noise: f64 = StandardNormal.sample(rng);
            e[i] = noise - known;
        }
        (0..d).map(|i| f64::from(out[1 + i]) + e[i] * f64::from(-out[1 + d + i]).exp()).collect()
    }
}

/// Outputs for one component.
fn component(observables: usize) -> usize {
    1 + 2 * observables + observables * (observables - 1) / 2
}

/// Logarithm of the sum of exponentials, and each one's share of it.
fn softmax<const N: usize>(values: [f64; N]) -> (f64, [f64; N]) {
    let top = values.iter().fold(f64::NEG_INFINITY, |top, v| top.max(*v));
    let sum: f64 = values.iter().map(|v| (v - top).exp()).sum();
    (top + sum.ln(), values.map(|v| (v - top).exp() / sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    #[test]
    fn gradient_is_that_of_finite_differences() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let shape = Shape::new([2, 3]);
        let values = shape.initialise(&mut rng);
        let (latent, scaled) = (numbers(2 * 6, &mut rng), numbers(3 * 6, &mut rng));
        let set = InstructionSet::detect();
        let mut space = Workspace::default();
        let rows = Pairs { latent: &latent, scaled: &scaled };
        shape.gradient(set, &values, rows, &mut space);
        let gradient = space.gradient.clone();
        let output = shape.output.bias();
        let starts = [&shape.input, &shape.hidden[0], &shape.hidden[1], &shape.output]
            .map(|layer| layer.weights().start + 3);
        for index in starts.into_iter().chain(output.start..output.start + 20) {
            let mut loss = |change: f32| {
                let mut moved = values.clone();
                moved[index] += change;
                shape.loss(set, &moved, rows, &mut space)
            };
            let slope = (loss(5e-3) - loss(-5e-3)) / 1e-2;
            let found = f64::from(gradient[index]);
            assert!((slope - found).abs() < 1e-4 + 0.02 * slope.abs(), "{index}: {slope} {found}");
        }
    }

    #[test]
    fn draws_have_the_moments_the_rows_had() {
        // x1 = θ + noise/2 and x2 = x1 + noise/4.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let rows = |rng: &mut ChaCha8Rng, count| {
            let latent = numbers(count, rng);
            let mut scaled = Vec::new();
            for theta in &latent {
                let noise: [f64; 2] = std::array::from_fn(|_| StandardNormal.sample(rng));
                let first = theta + 0.5 * noise[0] as f32;
                scaled.extend([first, first + 0.25 * noise[1] as f32]);
            }
            (latent, scaled)
        };
        let (train, held) = (rows(&mut rng, 2000), rows(&mut rng, 500));
        let pair = |rows: &'_ (Vec<f32>, Vec<f32>)| (rows.0.clone(), rows.1.clone());
        let (a, b) = (pair(&train), pair(&held));
        let emulator = Emulator::fit(
            Pairs { latent: &a.0, scaled: &a.1 },
            Pairs { latent: &b.0, scaled: &b.1 },
            [1, 2],
            (600, 1),
        );
        let drawn = emulator.draw(&vec![0.5; 4000], &mut rng, &mut Workspace::default());
        let mean = |f: &dyn Fn(&[f64]) -> f64| drawn.chunks_exact(2).map(f).sum::<f64>() / 4000.0;
        assert!((mean(&|x| x[0]) - 0.5).abs() < 0.08);
        assert!((mean(&|x| (x[0] - 0.5).powi(2)) - 0.25).abs() < 0.05);
        assert!((mean(&|x| (x[1] - x[0]).powi(2)) - 0.0625).abs() < 0.02);
    }
}

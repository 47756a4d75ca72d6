//! Small networks that tell scans shown as foreign from ordinary ones, by process, descriptors and
//! appearance. They know what they were shown and whatever resembles that; the distances beside
//! them know the ordinary alone. All processes share them, so that each learns from what was shown
//! to the others.

use crate::affine::Affine;
use crate::kernels::InstructionSet;
use crate::layers::{Dense, Layout, Tools, activate};
use microdiff_domain::Process;

/// Networks, alike but for their seeds: what they have not seen they judge differently, so their
/// mean is steadier there than any of them (Lakshminarayanan et al. 2017).
const MEMBERS: usize = 5;
/// Values in a hidden layer.
const WIDTH: usize = 128;
/// Scaled values are held here: a network says nothing sensible of what lies far beyond all it saw.
const LIMIT: f64 = 8.0;

/// The layers of each network over a flat list of weights.
pub(super) struct Classifier {
    layers: [Dense; 3],
    /// Weights of one network, padding included.
    length: usize,
}

/// Values of one pass: of each layer, and of the two hidden ones after the activation.
#[derive(Default)]
pub(super) struct Pass {
    packed: Affine,
    outputs: [Vec<f32>; 3],
    active: [Vec<f32>; 2],
}

impl Classifier {
    /// For scans of so many columns.
    pub(super) fn new(columns: usize) -> Self {
        let mut layout = Layout::default();
        let layers = [
            layout.dense("first", Process::ALL.len() + columns, WIDTH),
            layout.dense("second", WIDTH, WIDTH),
            layout.dense("odds", WIDTH, 1),
        ];
        Self { layers, length: layout.length }
    }

    /// Weights of all networks.
    pub(super) fn weights(&self) -> usize {
        MEMBERS * self.length
    }

    /// How clearly a scan is one of those shown: ln(1 + odds), which is never below 0; the odds by
    /// the mean of their logarithms.
    pub(super) fn clearness(&self, weights: &[f32], inputs: &[f32]) -> f64 {
        let (set, mut pass) = (InstructionSet::detect(), Pass::default());
        let mut sum = 0.0;
        for weights in weights.chunks_exact(self.length) {
            self.forward(set, weights, inputs, &mut pass);
            sum += f64::from(pass.outputs[2][0]);
        }
        let ln_odds = sum / MEMBERS as f64;
        // ln(1 + exp(x)), which exp(x) itself would overflow.
        ln_odds.max(0.0) + (-ln_odds.abs()).exp().ln_1p()
    }

    fn forward(&self, set: InstructionSet, weights: &[f32], x: &[f32], pass: &mut Pass) {
        let tools = &mut Tools { set, parameters: weights, packed: &mut pass.packed };
        let [first, second, odds] = &mut pass.outputs;
        let [early, late] = &mut pass.active;
        self.layers[0].forward(tools, x, first);
        activate(set, first, early);
        self.layers[1].forward(tools, early, second);
        activate(set, second, late);
        self.layers[2].forward(tools, late, odds);
    }
}

/// A scan's process, where it is told, and columns as the networks take them.
pub(super) fn inputs(process: Option<Process>, scan: &[f64]) -> Vec<f32> {
    let is = |other: Process| f32::from(process == Some(other));
    let columns = scan.iter().map(|value| value.clamp(-LIMIT, LIMIT) as f32);
    Process::ALL.into_iter().map(is).chain(columns).collect()
}

#[cfg(any(test, feature = "train"))]
mod fit {
    use super::{Classifier, MEMBERS, Pass};
    use crate::kernels::{InstructionSet, silu_gradient};
    use crate::layers::Tools;
    use crate::optimiser::{Optimiser, Schedule};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Scans of either side in a step.
    pub(super) const HALF: usize = 128;
    const SCHEDULE: Schedule =
        Schedule { rate: 2e-3, steps: 6000, decay: 0.05, clip: 1.0, average: 0.999 };

    impl Classifier {
        /// Weights of all networks, fitted to the inputs of either side, by the logistic loss of
        /// batches of which half are foreign.
        pub(in crate::outlier) fn fit(&self, sides: [&[Vec<f32>]; 2]) -> Vec<f32> {
            (0..MEMBERS as u64).flat_map(|seed| self.fit_member(seed, sides)).collect()
        }

        fn fit_member(&self, seed: u64, sides: [&[Vec<f32>]; 2]) -> Vec<f32> {
            let set = InstructionSet::detect();
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut weights = vec![0.0; self.length];
            for layer in &self.layers {
                layer.initialise(&mut weights, 1.0, &mut rng);
            }
            let mut optimiser = Optimiser::new(weights, SCHEDULE);
            let (mut pass, mut gradient) = (Pass::default(), vec![0.0; self.length]);
            let mut batch = Vec::new();
            for _ in 0..SCHEDULE.steps {
                batch.clear();
                for rows in &sides {
                    for _ in 0..HALF {
                        batch.extend(&rows[rng.random_range(0..rows.len())]);
                    }
                }
                self.gradient(set, &optimiser.parameters, &batch, (&mut pass, &mut gradient));
                optimiser.step(set, &gradient);
            }
            optimiser.averaged
        }

        /// The gradient of the mean loss of a batch whose second half is foreign.
        pub(super) fn gradient(
            &self,
            set: InstructionSet,
            weights: &[f32],
            batch: &[f32],
            (pass, gradient): (&mut Pass, &mut [f32]),
        ) {
            self.forward(set, weights, batch, pass);
            let [first, second, odds] = &mut pass.outputs;
            let width = self.layers[2].outputs;
            for (row, odds) in odds.chunks_exact_mut(width).enumerate() {
                let share = 1.0 / (1.0 + (-odds[0]).exp());
                let foreign = if row < HALF { 0.0 } else { 1.0 };
                odds.fill(0.0);
                odds[0] = (share - foreign) / (2 * HALF) as f32;
            }
            let tools = &mut Tools { set, parameters: weights, packed: &mut pass.packed };
            let (mut late, mut early) = (Vec::new(), Vec::new());
            self.layers[2].gradient(tools, &pass.active[1], odds, gradient);
            self.layers[2].backward(tools, odds, &mut late);
            silu_gradient(set, second, &mut late);
            self.layers[1].gradient(tools, &pass.active[0], &late, gradient);
            self.layers[1].backward(tools, &late, &mut early);
            silu_gradient(set, first, &mut early);
            self.layers[0].gradient(tools, batch, &early, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::lane_sum;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const COLUMNS: usize = 6;

    /// Scans even between -1 and 1 whose first two values have the same sign, or opposite ones.
    fn scans(count: usize, same: bool, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || 2.0 * rng.random::<f64>() - 1.0;
        let mut scan = || {
            let mut scan: Vec<f64> = (0..COLUMNS).map(|_| draw()).collect();
            scan[1] = scan[1].abs() * scan[0].signum() * if same { 1.0 } else { -1.0 };
            inputs(Some(Process::Ebm), &scan)
        };
        (0..count).map(|_| scan()).collect()
    }

    #[test]
    fn a_combination_that_was_shown_is_clear() {
        let classifier = Classifier::new(COLUMNS);
        let weights = classifier.fit([&scans(1000, true, 1), &scans(300, false, 2)]);
        let mean = |same: bool, seed: u64| {
            let all = scans(200, same, seed);
            all.iter().map(|scan| classifier.clearness(&weights, scan)).sum::<f64>() / 200.0
        };
        let (ordinary, shown) = (mean(true, 3), mean(false, 4));
        assert!(ordinary > 0.0 && ordinary < 0.5 && shown > 2.0, "{ordinary} and {shown}");
    }

    #[test]
    fn without_weights_nothing_is_known_and_far_beyond_says_no_more() {
        let classifier = Classifier::new(COLUMNS);
        let mut weights = vec![0.0; classifier.weights()];
        let clearness = |weights: &[f32], value: f64| {
            classifier.clearness(weights, &inputs(None, &[value; COLUMNS]))
        };
        assert!((clearness(&weights, 1.0) - 2f64.ln()).abs() < 1e-7);
        weights.fill(0.1);
        let far = [50.0, 1e6].map(|value| clearness(&weights, value));
        assert!(far[0] == far[1] && far[0].is_finite(), "{far:?}");
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let classifier = Classifier::new(COLUMNS);
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut weights = vec![0.0; classifier.length];
        for layer in &classifier.layers {
            layer.initialise(&mut weights, 1.0, &mut rng);
        }
        let batch = [scans(fit::HALF, true, 6), scans(fit::HALF, false, 7)].concat().concat();
        let set = InstructionSet::detect();
        let mut pass = Pass::default();
        let mut loss = |weights: &[f32]| {
            classifier.forward(set, weights, &batch, &mut pass);
            let odds = pass.outputs[2].iter().step_by(classifier.layers[2].outputs);
            let signed = odds.enumerate().map(|(row, x)| if row < fit::HALF { *x } else { -x });
            let losses: Vec<f32> = signed.map(|x| x.exp().ln_1p()).collect();
            f64::from(lane_sum(&losses, |l| l)) / (2 * fit::HALF) as f64
        };
        let mut gradient = vec![0.0; classifier.length];
        let mut other = Pass::default();
        classifier.gradient(set, &weights, &batch, (&mut other, &mut gradient));
        for layer in &classifier.layers {
            for at in [
                layer.weights().start,
                layer.weights().start + 5 * layer.outputs,
                layer.bias().start,
            ] {
                let mut moved = [weights.clone(), weights.clone()];
                moved[0][at] += 1e-2;
                moved[1][at] -= 1e-2;
                let slope = (loss(&moved[0]) - loss(&moved[1])) / 2e-2;
                let found = f64::from(gradient[at]);
                assert!((slope - found).abs() < 2e-4 + 0.02 * slope.abs(), "{slope} {found}");
            }
        }
    }
}

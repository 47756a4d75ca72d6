//! AdamW (Loshchilov and Hutter 2019) on named vectors, its learning rate and the moving average.

use crate::network::Parameters;

const BETA: (f64, f64) = (0.9, 0.99);
const EPSILON: f64 = 1e-8;
/// Decay of weights, not of biases, relative to the learning rate.
const DECAY: f64 = 1e-2;
/// Largest norm of the gradient over all parameters.
const CLIP: f64 = 1.0;
const AVERAGE: f64 = 0.999;

/// The optimiser's state.
pub(super) struct Optimiser {
    learning_rate: f64,
    steps: usize,
    done: usize,
    first: Parameters,
    second: Parameters,
}

impl Optimiser {
    pub(super) fn new(learning_rate: f64, steps: usize, values: &Parameters) -> Self {
        let zeros: Parameters =
            values.iter().map(|(name, values)| (name.clone(), vec![0.0; values.len()])).collect();
        Self { learning_rate, steps, done: 0, first: zeros.clone(), second: zeros }
    }

    /// Linear warm-up over a fortieth of the steps, then a cosine to zero.
    fn rate(&self) -> f64 {
        let warm = (self.steps as f64 / 40.0).clamp(1.0, 200.0);
        let done = self.done as f64;
        let cosine = (std::f64::consts::PI * (done - 1.0) / self.steps as f64).cos();
        self.learning_rate * (done / warm).min(1.0) * 0.5 * (1.0 + cosine)
    }

    /// One step down the gradients; returns the learning rate used.
    pub(super) fn step(&mut self, values: &mut Parameters, gradients: &Parameters) -> f64 {
        self.done += 1;
        let rate = self.rate();
        let squares = gradients.values().flatten().map(|g| f64::from(*g) * f64::from(*g));
        let norm = squares.sum::<f64>().sqrt();
        let scale = (CLIP / norm.max(1e-12)).min(1.0) as f32;
        let done = self.done.min(1_000_000) as i32;
        let unbias = (1.0 - BETA.0.powi(done), 1.0 - BETA.1.powi(done));
        let step = (rate / unbias.0) as f32;
        let root = (1.0 / unbias.1) as f32;
        for (name, values) in values {
            let slots = (self.first.get_mut(name), self.second.get_mut(name), gradients.get(name));
            let (Some(first), Some(second), Some(gradient)) = slots else { continue };
            let decays = name.ends_with(".weight");
            let shrink = if decays { 1.0 - rate * DECAY } else { 1.0 } as f32;
            for i in 0..values.len() {
                let g = gradient[i] * scale;
                first[i] += (1.0 - BETA.0 as f32) * (g - first[i]);
                second[i] += (1.0 - BETA.1 as f32) * (g * g - second[i]);
                let size = (second[i] * root).sqrt() + EPSILON as f32;
                values[i] = values[i] * shrink - step * first[i] / size;
            }
        }
        rate
    }
}

/// Exponential moving average of the weights, following fast at first.
pub(super) struct Average {
    values: Parameters,
    done: usize,
}

impl Average {
    pub(super) fn new(values: &Parameters) -> Self {
        Self { values: values.clone(), done: 0 }
    }

    pub(super) fn update(&mut self, values: &Parameters) {
        let done = self.done as f64;
        let keep = AVERAGE.min((done + 1.0) / (done + 10.0));
        self.done += 1;
        for (average, values) in self.values.values_mut().zip(values.values()) {
            for (average, value) in average.iter_mut().zip(values) {
                *average += (1.0 - keep) as f32 * (value - *average);
            }
        }
    }

    pub(super) fn values(&self) -> &Parameters {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_is_minimised() {
        let mut values = Parameters::from([("x.bias".to_owned(), vec![1.0, -2.0])]);
        let mut optimiser = Optimiser::new(0.05, 400, &values);
        for _ in 0..400 {
            let slope = values["x.bias"].iter().zip([0.3, 0.7]).map(|(x, b)| x - b).collect();
            optimiser.step(&mut values, &Parameters::from([("x.bias".to_owned(), slope)]));
        }
        assert!((values["x.bias"][0] - 0.3).abs() < 1e-3, "{values:?}");
        assert!((values["x.bias"][1] - 0.7).abs() < 1e-3, "{values:?}");
    }

    #[test]
    fn the_average_lags_and_arrives() {
        let at = |x: f32| Parameters::from([("x".to_owned(), vec![x])]);
        let mut average = Average::new(&at(0.0));
        average.update(&at(1.0));
        assert!((average.values()["x"][0] - 0.9).abs() < 1e-6);
        for _ in 0..200 {
            average.update(&at(1.0));
        }
        assert!(average.values()["x"][0] > 0.999);
    }
}

//! Affine layers and layer normalisation with their gradients, over one flat list of parameters.
//!
//! Gradients of the affine layers are matrix products and run on the serving kernels; every sum
//! has one fixed order, so a training is the same bits whatever the number of threads.

use crate::kernels::{Affine, EPSILON, InstructionSet, LANES, lane_sum, vectorised};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// An affine layer inside a flat list of parameters: weights (inputs, outputs) row-major, then the
/// bias. Outputs are padded to a multiple of [`LANES`] with zeros that stay zero.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    pub(super) name: String,
    pub(super) inputs: usize,
    /// Padded.
    pub(super) outputs: usize,
    used: usize,
    start: usize,
}

/// Lays layers out one after the other.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) length: usize,
}

impl Layout {
    pub(super) fn dense(&mut self, name: &str, inputs: usize, outputs: usize) -> Dense {
        let padded = outputs.next_multiple_of(LANES);
        let start = self.length;
        self.length += (inputs + 1) * padded;
        Dense { name: name.to_owned(), inputs, outputs: padded, used: outputs, start }
    }
}

impl Dense {
    fn weight_count(&self) -> usize {
        self.inputs * self.outputs
    }

    /// Where the layer's values lie: weights, then bias.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.weight_count() + self.outputs
    }

    /// Where its weights lie.
    pub(super) fn weights(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.weight_count()
    }

    /// Where its bias lies.
    pub(super) fn bias(&self) -> std::ops::Range<usize> {
        self.start + self.weight_count()..self.range().end
    }

    /// Uniform weights of size `scale / √inputs`, zero bias.
    pub(super) fn initialise(&self, parameters: &mut [f32], scale: f32, rng: &mut ChaCha8Rng) {
        let size = scale / (self.inputs.max(1) as f32).sqrt();
        for row in parameters[self.weights()].chunks_exact_mut(self.outputs) {
            for value in &mut row[..self.used] {
                *value = size * (2.0 * rng.random::<f32>() - 1.0);
            }
        }
    }

    pub(super) fn pack(&self, parameters: &[f32]) -> Affine {
        Affine::pack(&parameters[self.weights()], self.inputs, &parameters[self.bias()])
    }

    /// `x · W + b` for rows of `x`.
    pub(super) fn forward(&self, set: InstructionSet, parameters: &[f32], x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / self.inputs * self.outputs];
        self.pack(parameters).apply(set, x, &mut out);
        out
    }

    /// Adds the gradients of weights and bias to `gradient`, laid out as the parameters are.
    pub(super) fn gradient(
        &self,
        set: InstructionSet,
        x: &[f32],
        dy: &[f32],
        gradient: &mut [f32],
    ) {
        let rows = dy.len() / self.outputs;
        let mut turned = vec![0.0; x.len()];
        transpose(x, self.inputs, &mut turned);
        let zero = vec![0.0; self.outputs];
        let mut product = vec![0.0; self.weight_count()];
        Affine::pack(dy, rows, &zero).apply(set, &turned, &mut product);
        let bias = self.bias();
        let (weights, rest) = gradient[self.weights().start..].split_at_mut(self.weight_count());
        vectorised(
            set,
            #[inline(always)]
            || {
                for (sum, value) in weights.iter_mut().zip(&product) {
                    *sum += value;
                }
                for row in dy.chunks_exact(bias.len()) {
                    for (sum, value) in rest.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            },
        );
    }

    /// The gradient of the layer's input; `inputs` is a multiple of [`LANES`].
    pub(super) fn backward(&self, set: InstructionSet, parameters: &[f32], dy: &[f32]) -> Vec<f32> {
        debug_assert!(self.inputs.is_multiple_of(LANES));
        let mut turned = vec![0.0; self.weight_count()];
        transpose(&parameters[self.weights()], self.outputs, &mut turned);
        let mut dx = vec![0.0; dy.len() / self.outputs * self.inputs];
        Affine::pack(&turned, self.outputs, &vec![0.0; self.inputs]).apply(set, dy, &mut dx);
        dx
    }
}

/// `out` (columns, rows) from `x` (rows, columns), a square of sixteen at a time.
fn transpose(x: &[f32], columns: usize, out: &mut [f32]) {
    let rows = x.len() / columns.max(1);
    for first in (0..rows).step_by(LANES) {
        for left in (0..columns).step_by(LANES) {
            for column in left..columns.min(left + LANES) {
                for row in first..rows.min(first + LANES) {
                    out[column * rows + row] = x[row * columns + column];
                }
            }
        }
    }
}

/// What layer normalisation keeps for its gradient.
pub(super) struct Normal {
    values: Vec<f32>,
    inverse: Vec<f32>,
    width: usize,
}

/// Layer normalisation of rows, then `· (1 + scale) + shift` where `film` has, for each row, the
/// scales and then the shifts.
pub(super) fn normalise(
    set: InstructionSet,
    x: &[f32],
    width: usize,
    film: Option<&[f32]>,
) -> (Vec<f32>, Normal) {
    let rows = x.len() / width;
    let mut values = vec![0.0; x.len()];
    let mut inverse = vec![0.0; rows];
    vectorised(
        set,
        #[inline(always)]
        || {
            for (row, x) in x.chunks_exact(width).enumerate() {
                let mean = lane_sum(x, |v| v) / width as f32;
                let variance = lane_sum(x, |v| (v - mean) * (v - mean)) / width as f32;
                inverse[row] = 1.0 / (variance + EPSILON).sqrt();
                for (out, x) in values[row * width..][..width].iter_mut().zip(x) {
                    *out = (x - mean) * inverse[row];
                }
            }
        },
    );
    let mut out = values.clone();
    if let Some(film) = film {
        vectorised(
            set,
            #[inline(always)]
            || {
                for (out, film) in out.chunks_exact_mut(width).zip(film.chunks_exact(2 * width)) {
                    let (scale, shift) = film.split_at(width);
                    for column in 0..width {
                        out[column] = out[column] * (1.0 + scale[column]) + shift[column];
                    }
                }
            },
        );
    }
    (out, Normal { values, inverse, width })
}

impl Normal {
    /// Turns the output's gradient into the input's; gives the gradient of `film` where there is
    /// one.
    pub(super) fn backward(
        &self,
        set: InstructionSet,
        film: Option<&[f32]>,
        dy: &mut [f32],
    ) -> Vec<f32> {
        let width = self.width;
        let mut dfilm = Vec::new();
        if let Some(film) = film {
            dfilm.resize(film.len(), 0.0);
            vectorised(
                set,
                #[inline(always)]
                || {
                    for (row, dy) in dy.chunks_exact_mut(width).enumerate() {
                        let scale = &film[row * 2 * width..][..width];
                        let values = &self.values[row * width..][..width];
                        let (dscale, dshift) =
                            dfilm[row * 2 * width..][..2 * width].split_at_mut(width);
                        for column in 0..width {
                            dscale[column] = dy[column] * values[column];
                            dshift[column] = dy[column];
                            dy[column] *= 1.0 + scale[column];
                        }
                    }
                },
            );
        }
        vectorised(
            set,
            #[inline(always)]
            || {
                let mut product = vec![0.0f32; width];
                for (row, dy) in dy.chunks_exact_mut(width).enumerate() {
                    let values = &self.values[row * width..][..width];
                    for column in 0..width {
                        product[column] = dy[column] * values[column];
                    }
                    let mean = lane_sum(dy, |v| v) / width as f32;
                    let along = lane_sum(&product, |v| v) / width as f32;
                    for column in 0..width {
                        dy[column] =
                            self.inverse[row] * (dy[column] - mean - values[column] * along);
                    }
                }
            },
        );
        dfilm
    }
}

/// Adds `b` to `a`, element by element.
pub(super) fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

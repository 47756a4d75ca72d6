//! Affine layers and layer normalisation with their gradients, over one flat list of parameters.
//!
//! Gradients of the affine layers are matrix products and run on the serving kernels; every sum
//! has one fixed order, so a training is the same bits whatever the number of threads.

use crate::affine::Affine;
use crate::kernels::{EPSILON, InstructionSet, LANES, lane_product, lane_sum, silu, vectorised};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// An affine layer inside a flat list of parameters: weights (inputs, outputs) row-major, then the
/// bias. Outputs are padded to a multiple of [`LANES`] with zeros that stay zero.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dense {
    pub(crate) name: String,
    pub(crate) inputs: usize,
    /// Padded.
    pub(crate) outputs: usize,
    used: usize,
    start: usize,
}

/// Lays layers out one after the other.
#[derive(Debug, Default)]
pub(crate) struct Layout {
    pub(crate) length: usize,
}

impl Layout {
    pub(crate) fn dense(&mut self, name: &str, inputs: usize, outputs: usize) -> Dense {
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
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.weight_count() + self.outputs
    }

    /// Where its weights lie.
    pub(crate) fn weights(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.weight_count()
    }

    /// Where its bias lies.
    pub(crate) fn bias(&self) -> std::ops::Range<usize> {
        self.start + self.weight_count()..self.range().end
    }

    /// Uniform weights of size `scale / √inputs`, zero bias.
    pub(crate) fn initialise(&self, parameters: &mut [f32], scale: f32, rng: &mut ChaCha8Rng) {
        let size = scale / (self.inputs.max(1) as f32).sqrt();
        for row in parameters[self.weights()].chunks_exact_mut(self.outputs) {
            for value in &mut row[..self.used] {
                *value = size * (2.0 * rng.random::<f32>() - 1.0);
            }
        }
    }

    pub(crate) fn pack(&self, parameters: &[f32]) -> Affine {
        Affine::pack(&parameters[self.weights()], self.inputs, &parameters[self.bias()])
    }

    /// `out = x · W + b` for rows of `x`.
    pub(crate) fn forward(&self, tools: &mut Tools<'_>, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len() / self.inputs * self.outputs, 0.0);
        let p = tools.parameters;
        tools.packed.repack(&p[self.weights()], self.inputs, self.outputs);
        tools.packed.set_bias(&p[self.bias()]);
        tools.packed.apply(tools.set, x, out);
    }

    /// Writes the gradients of weights and bias, laid out as the parameters are.
    pub(crate) fn gradient(
        &self,
        tools: &mut Tools<'_>,
        x: &[f32],
        dy: &[f32],
        gradient: &mut [f32],
    ) {
        tools.packed.repack(dy, dy.len() / self.outputs, self.outputs);
        let (weights, rest) = gradient[self.range()].split_at_mut(self.weight_count());
        tools.packed.apply_turned(tools.set, x, weights);
        rest.fill(0.0);
        vectorised(
            tools.set,
            #[inline(always)]
            || {
                for row in dy.chunks_exact(rest.len()) {
                    for (sum, value) in rest.iter_mut().zip(row) {
                        *sum += value;
                    }
                }
            },
        );
    }

    /// `dx`, the gradient of the layer's input; `inputs` is a multiple of [`LANES`].
    pub(crate) fn backward(&self, tools: &mut Tools<'_>, dy: &[f32], dx: &mut Vec<f32>) {
        debug_assert!(self.inputs.is_multiple_of(LANES));
        dx.resize(dy.len() / self.outputs * self.inputs, 0.0);
        let weights = &tools.parameters[self.weights()];
        tools.packed.repack_turned(weights, self.outputs, self.inputs);
        tools.packed.apply(tools.set, dy, dx);
    }
}

/// What every layer of a pass needs: buffers that stay, because memory asked for anew in each step
/// costs more than the arithmetic of some layers.
pub(crate) struct Tools<'a> {
    pub(crate) set: InstructionSet,
    pub(crate) parameters: &'a [f32],
    pub(crate) packed: &'a mut Affine,
}

/// What layer normalisation keeps for its gradient.
#[derive(Default)]
pub(crate) struct Normal {
    /// Rows before scale and shift.
    pub(crate) values: Vec<f32>,
    inverse: Vec<f32>,
}

impl Normal {
    /// Layer normalisation of rows as long as `width`.
    pub(crate) fn forward(&mut self, set: InstructionSet, x: &[f32], width: usize) {
        self.values.resize(x.len(), 0.0);
        self.inverse.resize(x.len() / width, 0.0);
        let (values, inverse) = (&mut self.values, &mut self.inverse);
        vectorised(
            set,
            #[inline(always)]
            || {
                let rows = x.chunks_exact(width).zip(values.chunks_exact_mut(width));
                for ((x, values), inverse) in rows.zip(inverse) {
                    let mean = lane_sum(x, |v| v) / width as f32;
                    let variance = lane_sum(x, |v| (v - mean) * (v - mean)) / width as f32;
                    *inverse = 1.0 / (variance + EPSILON).sqrt();
                    for (out, x) in values.iter_mut().zip(x) {
                        *out = (x - mean) * *inverse;
                    }
                }
            },
        );
    }

    /// Turns the gradient of the normalised rows into that of their input.
    pub(crate) fn backward(&self, set: InstructionSet, width: usize, dy: &mut [f32]) {
        vectorised(
            set,
            #[inline(always)]
            || {
                let rows = dy.chunks_exact_mut(width).zip(self.values.chunks_exact(width));
                for ((dy, values), inverse) in rows.zip(&self.inverse) {
                    let mean = lane_sum(dy, |v| v) / width as f32;
                    let along = lane_product(dy, values) / width as f32;
                    for (dy, value) in dy.iter_mut().zip(values) {
                        *dy = inverse * (*dy - mean - value * along);
                    }
                }
            },
        );
    }
}

/// `out = x · (1 + scale) + shift`; a row of `film` is the scales and then the shifts.
pub(crate) fn modulate(
    set: InstructionSet,
    x: &[f32],
    film: &[f32],
    width: usize,
    out: &mut Vec<f32>,
) {
    out.resize(x.len(), 0.0);
    vectorised(
        set,
        #[inline(always)]
        || {
            let rows = out.chunks_exact_mut(width).zip(x.chunks_exact(width));
            for ((out, x), film) in rows.zip(film.chunks_exact(2 * width)) {
                let (scale, shift) = film.split_at(width);
                for (((out, x), scale), shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
                    *out = x * (1.0 + scale) + shift;
                }
            }
        },
    );
}

/// Turns the gradient of [`modulate`]'s output into that of `x`; writes that of `film`.
pub(crate) fn modulate_gradient(
    set: InstructionSet,
    x: &[f32],
    film: &[f32],
    (width, dy): (usize, &mut [f32]),
    dfilm: &mut Vec<f32>,
) {
    dfilm.resize(film.len(), 0.0);
    vectorised(
        set,
        #[inline(always)]
        || {
            let films = film.chunks_exact(2 * width).zip(dfilm.chunks_exact_mut(2 * width));
            let rows = dy.chunks_exact_mut(width).zip(x.chunks_exact(width));
            for ((dy, x), (film, dfilm)) in rows.zip(films) {
                let (dscale, dshift) = dfilm.split_at_mut(width);
                dshift.copy_from_slice(dy);
                for (((dy, x), dscale), scale) in dy.iter_mut().zip(x).zip(dscale).zip(film) {
                    *dscale = *dy * x;
                    *dy *= 1.0 + scale;
                }
            }
        },
    );
}

/// `out = silu(x)`.
pub(crate) fn activate(set: InstructionSet, x: &[f32], out: &mut Vec<f32>) {
    out.clear();
    out.extend_from_slice(x);
    silu(set, out);
}

/// Adds `b` to `a`, element by element.
pub(crate) fn add(a: &mut [f32], b: &[f32]) {
    for (a, b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

//! AdamW (Loshchilov and Hutter 2019) with a short warm-up, a cosine to zero, clipped gradients and
//! an exponential average of the weights, over one flat list of parameters: for what is trained on the
//! kernels. Scan models are trained by `burn` with an optimiser over named vectors.

use crate::kernels::{InstructionSet, lane_product, vectorised};

/// How fast to learn and for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) rate: f32,
    pub(crate) steps: usize,
    pub(crate) decay: f32,
    pub(crate) clip: f32,
    pub(crate) average: f32,
}

const WARM_UP: f32 = 200.0;
const BETA: (f32, f32) = (0.9, 0.999);
const SMALL: f32 = 1e-8;

/// Parameters under training.
pub(crate) struct Optimiser {
    pub(crate) parameters: Vec<f32>,
    /// The average that is kept.
    pub(crate) averaged: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    done: usize,
    schedule: Schedule,
}

impl Optimiser {
    pub(crate) fn new(parameters: Vec<f32>, schedule: Schedule) -> Self {
        let zero = vec![0.0; parameters.len()];
        let averaged = parameters.clone();
        Self { parameters, averaged, first: zero.clone(), second: zero, done: 0, schedule }
    }

    /// One step along a gradient, which is clipped to the schedule's norm.
    pub(crate) fn step(&mut self, set: InstructionSet, gradient: &[f32]) {
        let norm = squares(set, gradient).sqrt() as f32;
        let shrink = if norm > self.schedule.clip { self.schedule.clip / norm } else { 1.0 };
        let step = self.done as f32 + 1.0;
        let progress = self.done as f32 / self.schedule.steps as f32;
        let rate = self.schedule.rate
            * (step / WARM_UP).min(1.0)
            * 0.5
            * (1.0 + (std::f32::consts::PI * progress).cos());
        let correct = (1.0 - BETA.0.powf(step), 1.0 - BETA.1.powf(step));
        let keep = self.schedule.average.min(step / (step + 9.0));
        let decay = rate * self.schedule.decay;
        self.done += 1;
        let moments = self.first.iter_mut().zip(&mut self.second);
        let values = self.parameters.iter_mut().zip(&mut self.averaged);
        vectorised(
            set,
            #[inline(always)]
            || {
                for (((m, v), (p, e)), g) in moments.zip(values).zip(gradient) {
                    let g = g * shrink;
                    *m = BETA.0 * *m + (1.0 - BETA.0) * g;
                    *v = BETA.1 * *v + (1.0 - BETA.1) * g * g;
                    let along = (*m / correct.0) / ((*v / correct.1).sqrt() + SMALL);
                    *p -= rate * along + decay * *p;
                    *e = keep * *e + (1.0 - keep) * *p;
                }
            },
        );
    }
}

/// Sum of the squares: by runs of a fixed length, whose lanes are summed in single precision.
fn squares(set: InstructionSet, values: &[f32]) -> f64 {
    const RUN: usize = 1024;
    vectorised(
        set,
        #[inline(always)]
        || values.chunks(RUN).map(|run| f64::from(lane_product(run, run))).sum(),
    )
}

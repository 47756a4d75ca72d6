//! A trained table model and its draws.

use super::bundle::{self, TableManifest};
use super::denoiser::{Conditioned, Denoiser, Scratch};
use super::frame::Frame;
use crate::DiffusionError;
use crate::bundle::BundleFiles;
use crate::error::within;
use crate::posterior::SampleOptions;
use crate::sampler::{initial_scale, karras_levels, sample_dpmpp_2m};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::path::Path;

/// Draws computed together, a multiple of the kernels' tile of 12 rows.
const BLOCK: usize = 96;
/// How often a draw outside a bounded prior is drawn again before it is moved to the bound.
const ATTEMPTS: u64 = 60;
/// Keeps the draws of rows apart (2⁶⁴ over the golden ratio).
const ROW_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// An ensemble ready to answer.
pub struct TableModel {
    manifest: TableManifest,
    members: Vec<Denoiser>,
}

/// An observable outside its range in the training rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Outside {
    /// Name of the observable.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Smallest training value.
    pub low: f64,
    /// Largest training value.
    pub high: f64,
}

impl TableModel {
    /// Opens a bundle directory.
    pub fn open(directory: &Path) -> Result<Self, DiffusionError> {
        Self::from_files(&BundleFiles::read(directory)?)
    }

    /// Opens a bundle held in memory.
    pub fn from_files(files: &BundleFiles) -> Result<Self, DiffusionError> {
        let (manifest, members) = bundle::open(files)?;
        let pack = |values: &Vec<f32>| Denoiser::new(manifest.architecture, values);
        Ok(Self { members: members.iter().map(pack).collect(), manifest })
    }

    /// What the bundle says of itself.
    pub fn info(&self) -> &TableManifest {
        &self.manifest
    }

    /// Names of the parameters, in the order of the draws.
    pub fn parameters(&self) -> Vec<String> {
        self.manifest.parameters.iter().map(|column| column.name.clone()).collect()
    }

    /// Names of the observables, in the order an observation has.
    pub fn observables(&self) -> Vec<String> {
        self.manifest.observables.iter().map(|column| column.name.clone()).collect()
    }

    /// Observables of an observation that lie outside the training rows' range.
    pub fn outside(&self, observation: &[f64]) -> Vec<Outside> {
        let columns = self.manifest.observables.iter().zip(observation);
        columns
            .filter(|(column, value)| !(column.low..=column.high).contains(*value))
            .map(|(column, value)| Outside {
                name: column.name.clone(),
                value: *value,
                low: column.low,
                high: column.high,
            })
            .collect()
    }

    /// Draws of the parameters behind an observation, each in the order of the parameters and
    /// inside bounded priors. `row` sets the draws of equal seed apart for the rows of a table; draw
    /// `i` is the same whatever the number of draws and threads. Refuses options outside their
    /// range and an observation of the wrong length.
    pub fn draw(
        &self,
        observation: &[f64],
        row: usize,
        options: &SampleOptions,
    ) -> Result<Vec<Vec<f64>>, DiffusionError> {
        within("samples", options.samples, 1..=1_000_000)?;
        within("steps", options.steps, 4..=1000)?;
        within("observables", observation.len(), {
            let count = self.manifest.observables.len();
            count..=count
        })?;
        let features = &self.manifest.features;
        let scaled = features.scale(observation);
        let inputs = features.of_scaled(&scaled);
        let levels = karras_levels(options.steps);
        let condition = |member: &Denoiser| member.condition(&inputs, &levels[..options.steps]);
        let transforms = self.manifest.parameters.iter().map(|column| &column.transform);
        let task = Task {
            members: &self.members,
            conditioned: self.members.iter().map(condition).collect(),
            frame: &self.manifest.frame,
            centre: self.manifest.frame.centre(&scaled),
            bounds: transforms.map(|transform| transform.bounds()).collect(),
            levels: &levels,
            seed: options.seed.wrapping_add((row as u64).wrapping_mul(ROW_STEP)),
        };
        let mut latents = vec![Vec::new(); options.samples];
        let mut open: Vec<usize> = (0..options.samples).collect();
        for attempt in 0..ATTEMPTS {
            let drawn = task.draw_all(&open, attempt);
            let last = attempt + 1 == ATTEMPTS;
            let mut left = Vec::new();
            for (index, latent) in open.into_iter().zip(drawn) {
                if last || task.is_inside(&latent) {
                    latents[index] = latent;
                } else {
                    left.push(index);
                }
            }
            open = left;
            if open.is_empty() {
                break;
            }
        }
        Ok(latents.iter().map(|latent| self.restore(latent)).collect())
    }

    fn restore(&self, latent: &[f64]) -> Vec<f64> {
        let columns = latent.iter().zip(&self.manifest.parameters);
        columns
            .map(|(latent, column)| column.transform.hold(column.transform.value_of(*latent)))
            .collect()
    }
}

/// One observation's sampling, shared by the threads.
struct Task<'a> {
    members: &'a [Denoiser],
    conditioned: Vec<Conditioned>,
    frame: &'a Frame,
    centre: Vec<f64>,
    bounds: Vec<(f64, f64)>,
    levels: &'a [f64],
    seed: u64,
}

impl Task<'_> {
    /// A mean over a bounded prior lies inside it: moves one that does not to the bound.
    fn hold(&self, denoised: &mut [f64]) {
        let mut latent = self.frame.latent(denoised, &self.centre);
        if !self.is_inside(&latent) {
            for (value, (low, high)) in latent.iter_mut().zip(&self.bounds) {
                *value = value.clamp(*low, *high);
            }
            denoised.copy_from_slice(&self.frame.inside(&latent, &self.centre));
        }
    }

    fn is_inside(&self, latent: &[f64]) -> bool {
        latent.iter().zip(&self.bounds).all(|(v, (low, high))| (*low..=*high).contains(v))
    }

    /// Latents of the given draws, in their order. Draw `i` is by member `i` modulo the members.
    fn draw_all(&self, indices: &[usize], attempt: u64) -> Vec<Vec<f64>> {
        let count = self.members.len();
        let mut jobs: Vec<(usize, Vec<usize>)> = Vec::new();
        for member in 0..count {
            let places: Vec<usize> =
                (0..indices.len()).filter(|place| indices[*place] % count == member).collect();
            jobs.extend(places.chunks(BLOCK).map(|chunk| (member, chunk.to_vec())));
        }
        let drawn: Vec<Vec<f64>> = jobs
            .par_iter()
            .map_init(Scratch::default, |scratch, (member, places)| {
                let draws: Vec<usize> = places.iter().map(|place| indices[*place]).collect();
                self.draw(*member, &draws, attempt, scratch)
            })
            .collect();
        let mut latents = vec![Vec::new(); indices.len()];
        for ((_, places), values) in jobs.iter().zip(drawn) {
            for (place, latent) in places.iter().zip(values.chunks_exact(self.bounds.len())) {
                latents[*place] = latent.to_vec();
            }
        }
        latents
    }

    fn draw(
        &self,
        member: usize,
        draws: &[usize],
        attempt: u64,
        scratch: &mut Scratch,
    ) -> Vec<f64> {
        let width = self.bounds.len();
        let mut x = Vec::with_capacity(draws.len() * width);
        for index in draws {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(*index as u64 + (attempt << 40));
            for _ in 0..width {
                let noise: f64 = StandardNormal.sample(&mut rng);
                x.push(noise * initial_scale());
            }
        }
        let mut input = vec![0.0f32; x.len()];
        let mut raw = vec![0.0f32; x.len()];
        let last = self.levels.len().saturating_sub(2);
        let bounded = self.bounds.iter().any(|(low, high)| low.is_finite() || high.is_finite());
        let denoise = |level: usize, sigma: f64, x: &[f64], out: &mut [f64]| {
            let variance = sigma * sigma + 1.0;
            let scale = variance.sqrt();
            for (input, x) in input.iter_mut().zip(x) {
                *input = (x / scale) as f32;
            }
            let rows = (&input[..], &mut raw[..]);
            self.members[member].forward(&self.conditioned[member], level, rows, scratch);
            for (out, (x, raw)) in out.iter_mut().zip(x.iter().zip(&raw)) {
                *out = x / variance + sigma / scale * f64::from(*raw);
            }
            // The last one is the draw itself, which must be seen to have left.
            if level < last && bounded {
                out.chunks_exact_mut(width).for_each(|denoised| self.hold(denoised));
            }
        };
        sample_dpmpp_2m(denoise, self.levels, &mut x);
        x.chunks_exact(width).flat_map(|inside| self.frame.latent(inside, &self.centre)).collect()
    }
}

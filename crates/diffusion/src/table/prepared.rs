//! Rows as the networks of table mode see them: which transforms, features and frame, and which
//! rows are held out.

use super::Table;
use super::columns::Pairs;
use super::emulator::{self, Emulator};
use super::features::Features;
use super::frame::Frame;
use super::network::{Batch, TableArchitecture};
use super::space::Transform;
use super::train::TableOptions;
use microdiff_domain::normal;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Noise draws for each held-out row.
const HELD_DRAWS: usize = 8;
/// ln σ of the training noise: as for the scan model.
const LOG_SIGMA: (f64, f64) = (-1.2, 1.8);
const SIGMA_RANGE: (f64, f64) = (2e-4, 20.0);

/// Rows as the networks see them, row-major.
#[derive(Default)]
pub(super) struct Rows {
    /// Standardised parameters, and where they lie in the frame.
    pub(super) latent: Vec<f32>,
    pub(super) inside: Vec<f32>,
    pub(super) scaled: Vec<f32>,
    pub(super) features: Vec<f32>,
    pub(super) width: usize,
}

impl Rows {
    pub(super) fn rows(&self) -> usize {
        self.latent.len() / self.width
    }

    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs { latent: &self.latent, scaled: &self.scaled }
    }

    pub(super) fn latent(&self, row: usize) -> &[f32] {
        &self.latent[row * self.width..][..self.width]
    }

    pub(super) fn inside(&self, row: usize) -> &[f32] {
        &self.inside[row * self.width..][..self.width]
    }

    pub(super) fn features(&self, row: usize) -> &[f32] {
        let count = self.features.len() / self.rows();
        &self.features[row * count..][..count]
    }
}

/// Rows and how they are seen.
pub(super) struct Prepared {
    pub(super) architecture: TableArchitecture,
    pub(super) transforms: Vec<Transform>,
    pub(super) features: Features,
    pub(super) frame: Frame,
    /// Whether the transforms describe the parameters, so that further ones can be drawn.
    pub(super) fresh: bool,
    pub(super) train: Rows,
    pub(super) held: Rows,
}

impl Prepared {
    pub(super) fn new(parameters: &Table, observables: &Table, options: &TableOptions) -> Self {
        let column = |index: usize| parameters.rows.iter().map(|row| row[index]).collect();
        let columns: Vec<Vec<f64>> = (0..parameters.columns.len()).map(column).collect();
        let transforms: Vec<Transform> = parameters
            .columns
            .iter()
            .zip(&columns)
            .map(|(name, column)| Transform::choose(options.priors.get(name).copied(), column))
            .collect();
        let count = parameters.rows.len();
        let mut order: Vec<usize> = (0..count).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        rng.set_stream(SPLIT_STREAM);
        order.shuffle(&mut rng);
        let (held, kept) = order.split_at((count / 10).clamp(20, 2000));
        let train: Vec<Vec<f64>> = kept.iter().map(|row| observables.rows[*row].clone()).collect();
        let mut features = Features::fit(&train);
        // A column that varies only in the held-out rows.
        features.sd.iter_mut().filter(|sd| **sd == 0.0).for_each(|sd| *sd = 1.0);
        let select = |chosen: &[usize]| {
            let mut rows = Rows { width: transforms.len(), ..Rows::default() };
            for row in chosen {
                let values = parameters.rows[*row].iter().zip(&transforms);
                rows.latent.extend(values.map(|(value, t)| t.to_latent(*value) as f32));
                let scaled = features.scale(&observables.rows[*row]);
                rows.scaled.extend(scaled.iter().map(|value| *value as f32));
                rows.features.extend(features.of_scaled(&scaled));
            }
            rows
        };
        let (mut train, mut held) = (select(kept), select(held));
        let sizes = [transforms.len(), observables.columns.len()];
        let frame = Frame::fit(train.pairs(), held.pairs(), sizes);
        train.inside = frame.all_inside(train.pairs(), sizes);
        held.inside = frame.all_inside(held.pairs(), sizes);
        let described = transforms.iter().zip(&columns).all(|(t, column)| t.describes(column));
        Self {
            architecture: TableArchitecture {
                features: Features::count(observables.columns.len()),
                parameters: transforms.len(),
                width: if count < 2000 { 64 } else { 128 },
                embedding: 64,
                blocks: if count < 2000 { 3 } else { 4 },
            },
            fresh: described && uncorrelated(&train),
            transforms,
            features,
            frame,
            train,
            held,
        }
    }

    pub(super) fn sizes(&self) -> [usize; 2] {
        [self.transforms.len(), self.features.mean.len()]
    }

    pub(super) fn emulator(&self, steps: usize, seed: u64) -> Option<Emulator> {
        let sizes = self.sizes();
        (sizes[1] <= emulator::MOST_OBSERVABLES)
            .then(|| Emulator::fit(self.train.pairs(), self.held.pairs(), sizes, (steps, seed)))
    }

    /// Held-out rows with noise drawn once: the same yardstick for every member.
    pub(super) fn held_out(&self, seed: u64) -> Vec<Batch> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(HELD_STREAM);
        let rows = self.held.rows();
        let mut batches = vec![];
        for draw in 0..HELD_DRAWS {
            let mut batch = Batch::default();
            for row in 0..rows {
                // Every row meets low and high levels.
                let place = (row + draw * rows / HELD_DRAWS) % rows;
                let level = Stratum { place, of: rows };
                noised(&mut batch, self.held.inside(row), self.held.features(row), level, &mut rng);
            }
            batches.push(batch);
        }
        batches
    }
}

/// Streams of random numbers apart from those of the members.
const SPLIT_STREAM: u64 = 1 << 33;
const HELD_STREAM: u64 = 1 << 34;

/// One of so many equal shares of the distribution of noise levels. A batch takes one level from
/// each, so that its gradient does not vary with how many low ones it met.
#[derive(Clone, Copy)]
pub(super) struct Stratum {
    pub(super) place: usize,
    pub(super) of: usize,
}

pub(super) fn noised(
    batch: &mut Batch,
    inside: &[f32],
    features: &[f32],
    level: Stratum,
    rng: &mut ChaCha8Rng,
) {
    let share = (level.place as f64 + rng.random::<f64>()) / level.of as f64;
    let level = normal::quantile(share.clamp(1e-9, 1.0 - 1e-9));
    let sigma = (LOG_SIGMA.0 + LOG_SIGMA.1 * level).exp().clamp(SIGMA_RANGE.0, SIGMA_RANGE.1);
    let noise: Vec<f64> = inside.iter().map(|_| StandardNormal.sample(rng)).collect();
    batch.push(inside, &noise, sigma, features);
}

/// Whether no two parameters are correlated beyond four standard errors.
fn uncorrelated(rows: &Rows) -> bool {
    let count = rows.rows() as f64;
    let width = rows.width;
    let latent: Vec<Vec<f64>> = rows
        .latent
        .chunks_exact(width)
        .map(|row| row.iter().map(|v| f64::from(*v)).collect())
        .collect();
    let (mean, sd) = super::features::moments(&latent);
    (0..width).all(|i| {
        (0..i).all(|j| {
            let product = |row: &Vec<f64>| (row[i] - mean[i]) * (row[j] - mean[j]);
            let covariance = latent.iter().map(product).sum::<f64>() / count;
            (covariance / (sd[i] * sd[j])).abs() < 4.0 / count.sqrt()
        })
    })
}

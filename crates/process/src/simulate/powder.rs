//! Unmelted space → loose powder in it.
//!
//! Grains are spheres of lognormal diameter thrown at random and allowed to overlap (a Boolean
//! model, Chiu et al. 2013, "Stochastic Geometry"): `1 − exp(−φ)` of the space is solid. Real
//! grains touch and do not overlap; at scan resolution, with necks sintered by the nearby melt,
//! the difference was not worth a packing simulation.

use super::pores::{SMALLEST_RESOLVED, ramp_reach, span, voxel_at};
use super::tracks::Build;
use super::{Grid, LABEL_METAL, SLAB};
use crate::random::{Stream, poisson, standard_normal, stream};
use rand::RngExt;
use rayon::prelude::*;
use std::f64::consts::PI;

/// Least edge of the cells that own grains, µm.
const LEAST_CELL_UM: f64 = 80.0;
const SMALLEST_UM: f64 = 5.0;

struct Grain {
    /// Centre in voxels, z relative to the volume.
    centre: [f32; 3],
    /// Radius in voxels.
    radius: f32,
}

/// Fills the unmelted part of every voxel and clears the label of those that end at least half
/// metal.
pub(super) fn fill(grid: &mut Grid, build: &Build) {
    let page = build.shape[1] * build.shape[2];
    grid.metal
        .par_chunks_mut(SLAB * page)
        .zip(grid.labels.par_chunks_mut(SLAB * page))
        .enumerate()
        .for_each(|(slab, (metal, labels))| {
            fill_slab(build, slab * SLAB, metal);
            for (metal, label) in metal.iter().zip(labels) {
                if *metal >= 128 {
                    *label = LABEL_METAL;
                }
            }
        });
}

fn fill_slab(build: &Build, first: usize, metal: &mut [u8]) {
    if build.nuisance.powder.packing <= 0.0 || metal.iter().all(|&m| m == 255) {
        return;
    }
    let [_, ny, nx] = build.shape;
    let slices = metal.len() / (ny * nx);
    let wanted = Cells::touching(build, first, metal);
    let mut empty = vec![1.0f32; metal.len()];
    for (cell, _) in wanted.wanted.iter().enumerate().filter(|(_, wanted)| **wanted) {
        for grain in wanted.grains(build, cell) {
            stamp(&grain, first, [slices, ny, nx], |at, cover| empty[at] *= 1.0 - cover);
        }
    }
    for (metal, empty) in metal.iter_mut().zip(empty) {
        let unmelted = f32::from(255 - *metal);
        *metal += (unmelted * (1.0 - empty) + 0.5) as u8;
    }
}

/// Calls `cover` with the index of each voxel of the slab the grain touches and the part of the
/// voxel it covers: exact in sum for grains within a voxel, a one-voxel ramp at the surface of
/// larger ones.
fn stamp(grain: &Grain, first: usize, shape: [usize; 3], mut cover: impl FnMut(usize, f32)) {
    let [cz, cy, cx] = [grain.centre[0] - first as f32, grain.centre[1], grain.centre[2]];
    let [nz, ny, nx] = shape;
    if grain.radius < SMALLEST_RESOLVED {
        if let Some(at) = voxel_at([cz, cy, cx], shape) {
            cover(at, (4.0 / 3.0 * std::f32::consts::PI * grain.radius.powi(3)).min(1.0));
        }
        return;
    }
    let reach = ramp_reach(grain.radius);
    for z in span(cz, reach, nz) {
        for y in span(cy, reach, ny) {
            let dz = z as f32 + 0.5 - cz;
            let dy = y as f32 + 0.5 - cy;
            let left = reach * reach - dz * dz - dy * dy;
            if left <= 0.0 {
                continue;
            }
            for x in span(cx, left.sqrt(), nx) {
                let dx = x as f32 + 0.5 - cx;
                let distance = (dx * dx + dy * dy + dz * dz).sqrt();
                let part = (reach - distance).clamp(0.0, 1.0);
                cover((z * ny + y) * nx + x, part);
            }
        }
    }
}

/// Edge of the cells that own grains, µm; no grain is wider.
fn cell_um(build: &Build) -> f64 {
    (2.0 * build.nuisance.powder.median_um).max(LEAST_CELL_UM)
}

/// Which cells can put a grain into unmelted space of the slab.
struct Cells {
    edge_um: f64,
    count: [usize; 3],
    wanted: Vec<bool>,
}

impl Cells {
    fn touching(build: &Build, first: usize, metal: &[u8]) -> Self {
        let [_, ny, nx] = build.shape;
        let edge_um = cell_um(build);
        // One ring of cells around the volume, so that grains reach in from outside.
        let count = build.shape.map(|n| (n as f64 * build.voxel / edge_um).ceil() as usize + 2);
        let cell = |i: usize| ((i as f64 + 0.5) * build.voxel / edge_um) as usize + 1;
        let mut touched = vec![false; count.iter().product()];
        let columns: Vec<usize> = (0..nx).map(cell).collect();
        for (row, voxels) in metal.chunks_exact(nx).enumerate() {
            let start = (cell(first + row / ny) * count[1] + cell(row % ny)) * count[2];
            for (metal, column) in voxels.iter().zip(&columns) {
                if *metal < 255 {
                    touched[start + column] = true;
                }
            }
        }
        let mut wanted = vec![false; touched.len()];
        for at in (0..touched.len()).filter(|&at| touched[at]) {
            let [z, y, x] = split(at, count);
            for z in z - 1..=(z + 1).min(count[0] - 1) {
                for y in y - 1..=(y + 1).min(count[1] - 1) {
                    for x in x - 1..=(x + 1).min(count[2] - 1) {
                        wanted[(z * count[1] + y) * count[2] + x] = true;
                    }
                }
            }
        }
        Self { edge_um, count, wanted }
    }

    /// The grains of one cell, always the same.
    fn grains(&self, build: &Build, cell: usize) -> impl Iterator<Item = Grain> {
        let (powder, edge_um) = (build.nuisance.powder.clone(), self.edge_um);
        let mut rng = stream(build.seed, Stream::Powder, cell as u64);
        // Number-weighted median from the volume-weighted one (Hatch and Choate 1929).
        let variance = powder.ln_sd * powder.ln_sd;
        let median = powder.median_um * (-3.0 * variance).exp();
        let mean_volume = PI / 6.0 * median.powi(3) * (4.5 * variance).exp();
        let intensity = -(1.0 - powder.packing).ln() / mean_volume;
        let count = poisson(&mut rng, intensity * edge_um.powi(3));
        let corner = split(cell, self.count).map(|i| (i as f64 - 1.0) * edge_um);
        let voxel = build.voxel;
        (0..count).map(move |_| {
            let diameter = (median * (powder.ln_sd * standard_normal(&mut rng)).exp())
                .clamp(SMALLEST_UM, edge_um);
            Grain {
                centre: corner.map(|c| ((c + edge_um * rng.random::<f64>()) / voxel) as f32),
                radius: (0.5 * diameter / voxel) as f32,
            }
        })
    }
}

fn split(at: usize, count: [usize; 3]) -> [usize; 3] {
    [at / (count[1] * count[2]), at / count[2] % count[1], at % count[2]]
}

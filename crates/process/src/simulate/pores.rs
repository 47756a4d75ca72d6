//! Gas and keyhole pores → voids in the metal.

use super::tracks::{Build, MARGIN_UM};
use super::{Grid, LABEL_GAS, LABEL_METAL, SLAB};
use crate::random::{Stream, poisson, standard_normal, stream, uniform};
use rayon::prelude::*;
use std::f64::consts::PI;
use std::ops::Range;

/// A spheroid, lengths in µm; x and y from the centre of the plan, z from the bottom.
#[derive(Clone, Copy)]
pub(super) struct Pore {
    pub x: f32,
    pub y: f32,
    pub z: f32,
    /// Horizontal radius.
    pub radius: f32,
    /// Height over width.
    pub aspect: f32,
    pub label: u8,
}

/// Gas pores, uniform in space with the stated volume fraction.
pub(super) fn gas(build: &Build) -> Vec<Pore> {
    let gas = &build.nuisance.gas;
    let rng = &mut stream(build.seed, Stream::Gas, 0);
    let extent = build.shape.map(|n| n as f64 * build.voxel + 2.0 * MARGIN_UM);
    let mean_volume = PI / 6.0 * gas.median_um.powi(3) * (4.5 * gas.ln_sd * gas.ln_sd).exp();
    let mean = gas.fraction * extent.iter().product::<f64>() / mean_volume;
    let count = poisson(rng, mean);
    let mut pores = Vec::with_capacity(count);
    for _ in 0..count {
        let mut at = |extent: f64| uniform(rng, 0.0, extent) - 0.5 * extent;
        let [z, y, x] = extent.map(&mut at);
        let diameter = gas.median_um * (gas.ln_sd * standard_normal(rng)).exp();
        pores.push(Pore {
            x: x as f32,
            y: y as f32,
            z: (z + 0.5 * build.shape[0] as f64 * build.voxel) as f32,
            radius: (0.5 * diameter.min(MARGIN_UM)) as f32,
            aspect: 1.0,
            label: LABEL_GAS,
        });
    }
    pores
}

/// Removes the metal of all pores and labels voxels that end less than half metal.
pub(super) fn carve(grid: &mut Grid, build: &Build, pores: &[Pore]) {
    let page = build.shape[1] * build.shape[2];
    grid.metal
        .par_chunks_mut(SLAB * page)
        .zip(grid.labels.par_chunks_mut(SLAB * page))
        .enumerate()
        .for_each(|(slab, (metal, labels))| {
            for pore in pores {
                carve_slab(build, pore, slab * SLAB, metal, labels);
            }
        });
}

fn carve_slab(build: &Build, pore: &Pore, first: usize, metal: &mut [u8], labels: &mut [u8]) {
    let [_, ny, nx] = build.shape;
    let nz = metal.len() / (ny * nx);
    let voxel = build.voxel as f32;
    let cz = pore.z / voxel - first as f32;
    let (cy, cx) = (pore.y / voxel + 0.5 * ny as f32, pore.x / voxel + 0.5 * nx as f32);
    let radius = pore.radius / voxel;
    let mut remove = |at: usize, part: f32| {
        metal[at] = (f32::from(metal[at]) * (1.0 - part) + 0.5) as u8;
        if metal[at] < 128 && labels[at] == LABEL_METAL {
            labels[at] = pore.label;
        }
    };
    if radius < SMALLEST_RESOLVED {
        if let Some(at) = voxel_at([cz, cy, cx], [nz, ny, nx]) {
            let volume = 4.0 / 3.0 * std::f32::consts::PI * radius.powi(3) * pore.aspect;
            remove(at, volume.min(1.0));
        }
        return;
    }
    let reach = ramp_reach(radius);
    for z in span(cz, reach * pore.aspect, nz) {
        let dz = (z as f32 + 0.5 - cz) / pore.aspect;
        for y in span(cy, reach, ny) {
            let dy = y as f32 + 0.5 - cy;
            for x in span(cx, reach, nx) {
                let dx = x as f32 + 0.5 - cx;
                let distance = (dx * dx + dy * dy + dz * dz).sqrt();
                if distance < reach {
                    remove((z * ny + y) * nx + x, (reach - distance).min(1.0));
                }
            }
        }
    }
}

/// Radius in voxels below which a sphere is put into one voxel by its volume.
pub(super) const SMALLEST_RESOLVED: f32 = 0.6;

/// Distance from the centre, in voxels, at which a sphere of `radius` stops covering; the cover
/// rises to 1 over one voxel. A ramp about `radius` itself would hold `r³ + r/4` for `r³`, so it
/// is drawn in by `1/12r`.
pub(super) fn ramp_reach(radius: f32) -> f32 {
    radius - 1.0 / (12.0 * radius) + 0.5
}

/// Index of the voxel that holds a point (z, y, x), if the grid does.
pub(super) fn voxel_at(point: [f32; 3], shape: [usize; 3]) -> Option<usize> {
    let inside = |c: f32, n: usize| (c >= 0.0 && c < n as f32).then_some(c as usize);
    let [z, y, x] = [0, 1, 2].map(|i| inside(point[i], shape[i]));
    Some((z? * shape[1] + y?) * shape[2] + x?)
}

/// Indices of the voxels with any point within `reach` of `centre`, clipped to the grid.
pub(super) fn span(centre: f32, reach: f32, count: usize) -> Range<usize> {
    let low = (centre - reach).floor().max(0.0) as usize;
    let high = ((centre + reach).ceil().max(0.0) as usize).min(count);
    low.min(high)..high
}

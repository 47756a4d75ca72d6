//! Solids with voids as no laser leaves them, as the share of metal in each voxel.
//!
//! Cells are 8 voxels or more and half the shortest axis or less across, so that every scan shows
//! some of them and the voxels show their shape. All but the checkerboard are turned at random
//! about the build direction.

use super::Foreign;
use crate::simulated::log_uniform;
use rand::{Rng, RngExt};
use std::f64::consts::{PI, TAU};

/// Waves of a random field. Few enough to be quick, enough that no single one is seen.
const WAVES: usize = 24;

/// Position in voxels → signed distance from the surface in voxels, positive in metal.
pub(super) type Surface = Box<dyn Fn([f64; 3]) -> f64>;

/// The share of metal of each voxel, x fastest.
pub(super) fn metal(kind: Foreign, shape: [usize; 3], rng: &mut impl Rng) -> Vec<f32> {
    let cell = cell_edge(shape, rng);
    let surface = match kind {
        Foreign::Honeycomb => honeycomb(cell, rng),
        Foreign::SineLattice => gyroid(cell, rng),
        Foreign::Fibres => fibres(cell, rng),
        Foreign::Checkerboard => checkerboard(cell, rng),
        _ => return balls(cell, shape, [0.15, 0.5], rng),
    };
    rendered(shape, &surface)
}

/// Edge of a cell in voxels.
pub(super) fn cell_edge(shape: [usize; 3], rng: &mut impl Rng) -> f64 {
    let shortest = shape.iter().copied().min().unwrap_or(1) as f64;
    log_uniform(rng, [8.0, (0.5 * shortest).max(9.0)])
}

/// The share of metal of each voxel, x fastest, from the surface.
pub(super) fn rendered(shape: [usize; 3], surface: &Surface) -> Vec<f32> {
    let [nz, ny, nx] = shape;
    let mut metal = Vec::with_capacity(nz * ny * nx);
    for z in 0..nz {
        for y in 0..ny {
            metal.extend((0..nx).map(|x| {
                // A plane through a voxel covers it in proportion to its distance.
                (surface([z as f64, y as f64, x as f64]) + 0.5).clamp(0.0, 1.0) as f32
            }));
        }
    }
    metal
}

pub(super) fn between(rng: &mut impl Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.random::<f64>()
}

/// Turns (y, x) by an angle.
fn turned(angle: f64, [_, y, x]: [f64; 3]) -> [f64; 2] {
    let (sin, cos) = angle.sin_cos();
    [cos * y - sin * x, sin * y + cos * x]
}

fn honeycomb(cell: f64, rng: &mut impl Rng) -> Surface {
    let angle = between(rng, 0.0, PI);
    let wall = cell * between(rng, 0.2, 0.6);
    let row = cell * 3f64.sqrt() / 2.0;
    Box::new(move |at| {
        let [v, u] = turned(angle, at);
        // Distance from the middle of the nearest cell along the normals of a hexagon's sides.
        let middle = |line: f64| {
            let shift = if line.rem_euclid(2.0) == 1.0 { cell / 2.0 } else { 0.0 };
            let u = u - shift - cell * ((u - shift) / cell).round();
            let v = v - line * row;
            [0.0, PI / 3.0, 2.0 * PI / 3.0]
                .map(|normal| (u * normal.cos() + v * normal.sin()).abs())
                .into_iter()
                .fold(0.0, f64::max)
        };
        let line = (v / row).floor();
        middle(line).min(middle(line + 1.0)) - (cell - wall) / 2.0
    })
}

fn gyroid(cell: f64, rng: &mut impl Rng) -> Surface {
    let angle = between(rng, 0.0, PI);
    let level = between(rng, 0.0, 0.9);
    Box::new(move |at| {
        let wave = TAU / cell;
        let [v, u] = turned(angle, at);
        let (z, y, x) = (wave * at[0], wave * v, wave * u);
        let value = x.sin() * y.cos() + y.sin() * z.cos() + z.sin() * x.cos();
        // The slope of the sines at the surface is about 1.5 waves.
        (value + level) / (1.5 * wave)
    })
}

fn fibres(cell: f64, rng: &mut impl Rng) -> Surface {
    let along = direction(rng);
    let stretch = between(rng, 3.0, 10.0);
    let field = waves(cell, [0.7, 1.3], (along, stretch), rng);
    let level = between(rng, 0.2, 1.2);
    Box::new(move |at| (field(at) + level) * cell / TAU)
}

/// A random field of unit variance of waves about `cell` long, by factors out of `band`; stretched
/// along a direction.
pub(super) fn waves(
    cell: f64,
    band: [f64; 2],
    (along, stretch): ([f64; 3], f64),
    rng: &mut impl Rng,
) -> Surface {
    let waves: Vec<([f64; 3], f64)> = (0..WAVES)
        .map(|_| {
            let k = direction(rng);
            // Long along it: waves that run along it are taken out for the most part.
            let run: f64 = (0..3).map(|i| k[i] * along[i]).sum();
            let scale = TAU / cell * between(rng, band[0], band[1]);
            let wave =
                std::array::from_fn(|i| scale * (k[i] - run * along[i] * (1.0 - 1.0 / stretch)));
            (wave, between(rng, 0.0, TAU))
        })
        .collect();
    Box::new(move |at| {
        let sum: f64 = waves
            .iter()
            .map(|(k, phase)| (k[0] * at[0] + k[1] * at[1] + k[2] * at[2] + phase).cos())
            .sum();
        sum * (2.0 / WAVES as f64).sqrt()
    })
}

pub(super) fn direction(rng: &mut impl Rng) -> [f64; 3] {
    let cos = between(rng, -1.0, 1.0);
    towards(cos, between(rng, 0.0, TAU))
}

/// A direction by the cosine of its angle to the build direction and the angle about it.
pub(super) fn towards(cos: f64, angle: f64) -> [f64; 3] {
    let sin = (1.0 - cos * cos).sqrt();
    [cos, sin * angle.sin(), sin * angle.cos()]
}

/// How far an offset runs along a direction, and the square of how far it lies off it.
pub(super) fn split(off: [f64; 3], along: [f64; 3]) -> [f64; 2] {
    let run: f64 = (0..3).map(|i| along[i] * off[i]).sum();
    [run, off.iter().map(|x| x * x).sum::<f64>() - run * run]
}

/// Cubes as wide as a cell: half as wide, the blur of most scanners would leave one grey of them.
fn checkerboard(edge: f64, rng: &mut impl Rng) -> Surface {
    let offset: [f64; 3] = std::array::from_fn(|_| between(rng, 0.0, 2.0 * edge));
    Box::new(move |at| {
        // Within its cube a voxel is as far from the surface as from the nearest face.
        let (mut parity, mut nearest) = (0.0, f64::INFINITY);
        for (at, offset) in at.into_iter().zip(offset) {
            let place = (at + offset) / edge;
            parity += place.floor();
            nearest = nearest.min(edge * (0.5 - (place - place.floor() - 0.5).abs()));
        }
        if parity.rem_euclid(2.0) == 0.0 { nearest } else { -nearest }
    })
}

/// Overlapping balls of void, each drawn into the voxels it reaches; their share of the space lies
/// between `shares`.
pub(super) fn balls(
    cell: f64,
    shape: [usize; 3],
    shares: [f64; 2],
    rng: &mut impl Rng,
) -> Vec<f32> {
    let largest = cell / 2.0;
    let void = between(rng, shares[0], shares[1]);
    // Overlapping balls leave exp(-n v) of the space (Torquato 2002, 5.1); centres also lie
    // beyond the edges.
    let space: f64 = shape.iter().map(|&n| n as f64 + 2.0 * largest).product();
    let ball = 4.0 / 3.0 * PI * (0.87 * largest).powi(3);
    let count = (-(1.0 - void).ln() * space / ball).ceil().max(1.0) as usize;
    let [nz, ny, nx] = shape;
    let mut metal = vec![1.0f32; nz * ny * nx];
    for _ in 0..count {
        let centre = shape.map(|n| between(rng, -largest, n as f64 + largest));
        let radius = largest * between(rng, 0.75, 1.0);
        let reach = |axis: usize| {
            let end = (centre[axis] + radius + 2.0).clamp(0.0, shape[axis] as f64);
            (centre[axis] - radius - 1.0).max(0.0) as usize..end as usize
        };
        for z in reach(0) {
            for y in reach(1) {
                for x in reach(2) {
                    let square: f64 = [z, y, x]
                        .into_iter()
                        .zip(centre)
                        .map(|(at, centre)| (at as f64 - centre).powi(2))
                        .sum();
                    let share = (square.sqrt() - radius + 0.5).clamp(0.0, 1.0) as f32;
                    let voxel = &mut metal[(z * ny + y) * nx + x];
                    *voxel = voxel.min(share);
                }
            }
        }
    }
    metal
}

//! Textures and noises that a model is shown when it learns what to flag. Of other families than
//! those it is tried on, so that the trial stays one of the unseen; in size and scanner as those.

use super::Foreign;
use super::noise::{correlated, normals};
use super::textures::{
    Surface, balls, between, cell_edge, direction, rendered, split, towards, waves,
};
use crate::DesignError;
use crate::simulated::log_uniform;
use rand::Rng;
use std::f64::consts::{PI, TAU};

/// Most octaves of blur in a noise.
const OCTAVES: usize = 4;

/// The share of metal of each voxel, x fastest.
pub(super) fn metal(kind: Foreign, shape: [usize; 3], rng: &mut impl Rng) -> Vec<f32> {
    let cell = cell_edge(shape, rng);
    let surface = match kind {
        Foreign::Sponge => sponge(cell, rng),
        Foreign::Grains => grains(cell, rng),
        Foreign::Struts => struts(cell, rng),
        Foreign::Plates => plates(cell, rng),
        Foreign::Boxes => boxes(cell, rng),
        Foreign::Ellipsoids => ellipsoids(cell, rng),
        Foreign::Rods => rods(cell, shape, rng),
        Foreign::Mosaic => mosaic(cell, rng),
        _ => {
            let mut metal = balls(cell, shape, [0.5, 0.85], rng);
            metal.iter_mut().for_each(|share| *share = 1.0 - *share);
            return metal;
        }
    };
    rendered(shape, &surface)
}

/// Three directions at right angles to each other.
fn frame(rng: &mut impl Rng) -> [[f64; 3]; 3] {
    let first = direction(rng);
    let other = direction(rng);
    let along: f64 = (0..3).map(|i| first[i] * other[i]).sum();
    let rest: [f64; 3] = std::array::from_fn(|i| other[i] - along * first[i]);
    let length = rest.iter().map(|r| r * r).sum::<f64>().sqrt().max(1e-9);
    let second = rest.map(|r| r / length);
    let third = std::array::from_fn(|i| {
        let (j, k) = ((i + 1) % 3, (i + 2) % 3);
        first[j] * second[k] - first[k] * second[j]
    });
    [first, second, third]
}

fn along(frame: &[[f64; 3]; 3], at: [f64; 3]) -> [f64; 3] {
    frame.map(|axis| (0..3).map(|i| axis[i] * at[i]).sum())
}

/// Two phases parted as by spinodal decomposition: a random field without a direction.
fn sponge(cell: f64, rng: &mut impl Rng) -> Surface {
    let field = waves(cell, [0.6, 1.6], ([0.0; 3], 1.0), rng);
    let level = between(rng, -0.3, 1.3);
    Box::new(move |at| (field(at) + level) * cell / TAU)
}

/// Cells of a jittered grid, parted by cracks or, the other way round, held by thin walls.
fn grains(cell: f64, rng: &mut impl Rng) -> Surface {
    let salt: u64 = rng.next_u64();
    let width = cell * between(rng, 0.08, 0.3);
    let sign = if rng.next_u32().is_multiple_of(2) { 1.0 } else { -1.0 };
    Box::new(move |at| {
        let [(nearest, _), (second, _)] = nearest_cells(at, cell, salt);
        sign * ((second - nearest) / 2.0 - width / 2.0)
    })
}

/// Cells of a jittered grid, each metal or void.
fn mosaic(cell: f64, rng: &mut impl Rng) -> Surface {
    let salt: u64 = rng.next_u64();
    let void = between(rng, 0.15, 0.6);
    Box::new(move |at| {
        let [(nearest, home), (second, next)] = nearest_cells(at, cell, salt);
        let is_metal = |corner: [i64; 3]| hashed(corner, 3, salt) >= void;
        let wall = if is_metal(home) == is_metal(next) { cell } else { (second - nearest) / 2.0 };
        if is_metal(home) { wall } else { -wall }
    })
}

/// Distance to the two nearest points of a jittered grid, each with its corner.
fn nearest_cells(at: [f64; 3], cell: f64, salt: u64) -> [(f64, [i64; 3]); 2] {
    let home = at.map(|x| (x / cell).floor() as i64);
    let mut nearest = [(f64::INFINITY, home); 2];
    for corner in around(home) {
        let mut square = 0.0;
        for axis in 0..3 {
            let place = cell * (corner[axis] as f64 + hashed(corner, axis, salt));
            square += (at[axis] - place).powi(2);
        }
        if square < nearest[0].0 {
            nearest = [(square, corner), nearest[0]];
        } else if square < nearest[1].0 {
            nearest[1] = (square, corner);
        }
    }
    nearest.map(|(square, corner)| (square.sqrt(), corner))
}

/// A corner of a grid and its 26 neighbours.
fn around(home: [i64; 3]) -> impl Iterator<Item = [i64; 3]> {
    (0..27i64).map(move |step| {
        [home[0] + step / 9 - 1, home[1] + step / 3 % 3 - 1, home[2] + step % 3 - 1]
    })
}

/// Voids in some of the cells of a jittered grid, each a ball drawn out or pressed flat along a
/// direction of its own.
fn ellipsoids(cell: f64, rng: &mut impl Rng) -> Surface {
    let salt: u64 = rng.next_u64();
    let stretch = 2f64.powf(between(rng, -1.5, 1.5));
    let radius = cell * between(rng, 0.3, 0.6) / stretch.max(1.0).sqrt();
    let share = between(rng, 0.4, 1.0);
    Box::new(move |at| {
        let home = at.map(|x| (x / cell).floor() as i64);
        let gap = |corner: [i64; 3]| {
            if hashed(corner, 3, salt) > share {
                return cell;
            }
            let axis = towards(2.0 * hashed(corner, 4, salt) - 1.0, TAU * hashed(corner, 5, salt));
            let off = std::array::from_fn(|i| {
                at[i] - cell * (corner[i] as f64 + hashed(corner, i, salt))
            });
            let [run, beside] = split(off, axis);
            (beside.max(0.0) + (run / stretch).powi(2)).sqrt() - radius
        };
        around(home).map(gap).fold(cell, f64::min)
    })
}

/// Straight round voids, each through a place and in a direction of its own.
fn rods(cell: f64, shape: [usize; 3], rng: &mut impl Rng) -> Surface {
    let radius = cell * between(rng, 0.2, 0.45);
    let void = between(rng, 0.1, 0.5);
    // A line through a place in the scan runs about as far as the scan is wide; what overlaps is
    // counted once (Torquato 2002, 5.1).
    let edge = shape.map(|n| n as f64);
    let space: f64 = edge.iter().product();
    let rod = PI * radius * radius * space.cbrt();
    let count = (-(1.0 - void).ln() * space / rod).ceil().max(1.0) as usize;
    let lines: Vec<([f64; 3], [f64; 3])> =
        (0..count).map(|_| (edge.map(|n| between(rng, 0.0, n)), direction(rng))).collect();
    Box::new(move |at| {
        let off_line = |(place, along): &([f64; 3], [f64; 3])| {
            split(std::array::from_fn(|i| at[i] - place[i]), *along)[1]
        };
        let square = lines.iter().map(off_line).fold(f64::INFINITY, f64::min);
        square.max(0.0).sqrt() - radius
    })
}

/// Evenly from 0 to 1, by a hash of a corner.
fn hashed(corner: [i64; 3], axis: usize, salt: u64) -> f64 {
    let mixed = corner.iter().fold(salt ^ axis as u64, |hash, c| {
        let hash = (hash ^ *c as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    });
    ((mixed ^ mixed >> 32) >> 11) as f64 / (1u64 << 53) as f64
}

/// A grid of round bars, turned at random.
fn struts(cell: f64, rng: &mut impl Rng) -> Surface {
    let frame = frame(rng);
    let radius = cell * between(rng, 0.15, 0.45);
    Box::new(move |at| {
        let off = along(&frame, at).map(|x| x - cell * (x / cell).round());
        let bar = |axis: usize| off[(axis + 1) % 3].hypot(off[(axis + 2) % 3]);
        radius - (0..3).map(bar).fold(f64::INFINITY, f64::min)
    })
}

/// Plates of metal with gaps between them, in any direction.
fn plates(cell: f64, rng: &mut impl Rng) -> Surface {
    let normal = direction(rng);
    let half = cell * between(rng, 0.2, 0.45);
    Box::new(move |at| {
        let x: f64 = (0..3).map(|i| normal[i] * at[i]).sum();
        half - (x - cell * (x / cell).round()).abs()
    })
}

/// Cuboid voids in some of the cells of a grid, turned at random.
fn boxes(cell: f64, rng: &mut impl Rng) -> Surface {
    let frame = frame(rng);
    let salt: u64 = rng.next_u64();
    let half: [f64; 3] = std::array::from_fn(|_| cell * between(rng, 0.15, 0.5));
    let share = between(rng, 0.2, 0.9);
    Box::new(move |at| {
        let at = along(&frame, at);
        let corner = at.map(|x| (x / cell).round() as i64);
        if hashed(corner, 0, salt) > share {
            return cell;
        }
        let beyond = |axis: usize| (at[axis] - cell * corner[axis] as f64).abs() - half[axis];
        (0..3).map(beyond).fold(f64::NEG_INFINITY, f64::max)
    })
}

/// A field of noise of unit variance.
pub(super) fn field(
    kind: Foreign,
    shape: [usize; 3],
    rng: &mut impl Rng,
) -> Result<Vec<f32>, DesignError> {
    let [nz, ny, nx] = shape;
    let count = nz * ny * nx;
    Ok(match kind {
        Foreign::Blocks => {
            let edge = log_uniform(rng, [2.0, 12.0]);
            let salt: u64 = rng.next_u64();
            let at = |i: usize| [i / (ny * nx), i / nx % ny, i % nx];
            let corner = |i: usize| at(i).map(|n| (n as f64 / edge) as i64);
            (0..count).map(|i| (12f64.sqrt() * (hashed(corner(i), 0, salt) - 0.5)) as f32).collect()
        }
        Foreign::Streaks => {
            // The mean of neighbours along one axis.
            let length = log_uniform(rng, [3.0, 24.0]).round() as usize;
            let step = [ny * nx, nx, 1][rng.next_u32() as usize % 3];
            let mut field = normals(count, rng);
            for i in step..count {
                let keep = 1.0 - 1.0 / length as f32;
                field[i] = keep * field[i - step] + (1.0 - keep * keep).sqrt() * field[i];
            }
            field
        }
        _ => {
            let mut sum = vec![0.0f32; count];
            let mut square = 0.0f64;
            for octave in 0..OCTAVES {
                let weight = between(rng, 0.0, 1.0);
                let sigma = 0.5 * 2f64.powf(octave as f64 + between(rng, 0.0, 1.0));
                let part = correlated(shape, sigma, rng)?;
                square += weight * weight;
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += weight as f32 * p);
            }
            let scale = (1.0 / square.max(1e-9).sqrt()) as f32;
            sum.into_iter().map(|value| scale * value).collect()
        }
    })
}

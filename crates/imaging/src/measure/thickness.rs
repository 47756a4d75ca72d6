//! Phase → local thickness: at each voxel the diameter of the largest ball that lies in the phase
//! and holds the voxel (Hildebrand and Rüegsegger 1997, J. Microsc. 185:67).
//!
//! Exact for the ball model of whole voxels: a ball around voxel p holds what is nearer to p than
//! p is to the outside. Largest balls are painted first. Meant for pores; the time grows with the
//! volume of the balls, so a thick solid takes long.

use crate::ImagingError;
use crate::memory::zeroed;
use crate::segment::{Bits, UNBOUNDED, squared_distance};
use rayon::prelude::*;

/// Pages painted by one task.
const SLAB: usize = 8;

struct Ball {
    at: [usize; 3],
    squared_radius: u32,
    reach: usize,
}

/// Diameters in voxels, 0 outside the phase, infinite if the phase fills the volume. Refuses an
/// axis that [`squared_distance`] refuses.
pub fn local_thickness(phase: &Bits) -> Result<Vec<f32>, ImagingError> {
    let shape = phase.shape();
    let [nz, ny, nx] = shape;
    let distance = squared_distance(phase)?;
    if distance.first() == Some(&UNBOUNDED) {
        return Ok(vec![f32::INFINITY; distance.len()]);
    }
    let mut balls: Vec<Ball> =
        (0..nz).into_par_iter().flat_map_iter(|z| balls_of_page(phase, &distance, z)).collect();
    balls.sort_by_key(|ball| std::cmp::Reverse(ball.squared_radius));
    let mut out: Vec<f32> = zeroed(distance.len());
    out.par_chunks_mut(SLAB * ny * nx).enumerate().for_each(|(slab, pages)| {
        let first = slab * SLAB;
        let last = (first + SLAB).min(nz) - 1;
        for ball in &balls {
            let [z, _, _] = ball.at;
            for at in z.saturating_sub(ball.reach).max(first)..=(z + ball.reach).min(last) {
                paint(
                    ball,
                    at,
                    &mut pages[(at - first) * ny * nx..(at - first + 1) * ny * nx],
                    shape,
                );
            }
        }
    });
    Ok(out)
}

/// The balls of a page that do not lie within the ball of a neighbouring voxel.
fn balls_of_page(phase: &Bits, distance: &[u32], z: usize) -> Vec<Ball> {
    let [nz, ny, nx] = phase.shape();
    let mut balls = Vec::new();
    for y in 0..ny {
        phase.runs_of_row(z, y, |start, end| {
            for x in start as usize..end as usize {
                let own = distance[(z * ny + y) * nx + x];
                let radius = f64::from(own).sqrt();
                let covered = (0..27).any(|k| {
                    let step = [k / 9, k / 3 % 3, k % 3];
                    let to = [(z, step[0], nz), (y, step[1], ny), (x, step[2], nx)]
                        .map(|(at, step, n)| (at + step).checked_sub(1).filter(|to| *to < n));
                    let [Some(zz), Some(yy), Some(xx)] = to else { return false };
                    let apart = step.iter().filter(|s| **s != 1).count() as f64;
                    let theirs = f64::from(distance[(zz * ny + yy) * nx + xx]).sqrt();
                    apart > 0.0 && theirs >= radius + apart.sqrt()
                });
                if !covered {
                    let reach = radius.ceil() as usize;
                    balls.push(Ball { at: [z, y, x], squared_radius: own, reach });
                }
            }
        });
    }
    balls
}

fn paint(ball: &Ball, z: usize, page: &mut [f32], [_, ny, nx]: [usize; 3]) {
    let diameter = 2.0 * (ball.squared_radius as f32).sqrt();
    let [bz, by, bx] = ball.at;
    let up = z.abs_diff(bz).pow(2);
    for y in by.saturating_sub(ball.reach)..=(by + ball.reach).min(ny - 1) {
        let aside = up + y.abs_diff(by).pow(2);
        let Some(left) = (ball.squared_radius as usize).checked_sub(aside + 1) else { continue };
        // Largest whole step along x whose square is still below what is left of the radius.
        let reach = left.isqrt();
        let row = &mut page[y * nx..(y + 1) * nx];
        for value in &mut row[bx.saturating_sub(reach)..=(bx + reach).min(nx - 1)] {
            *value = value.max(diameter);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plate_is_as_thick_as_it_is() {
        let mask: Vec<bool> = (0..20 * 16 * 18).map(|i| (6..11).contains(&(i / 288))).collect();
        let found = local_thickness(&Bits::from_mask(&mask, [20, 16, 18]).unwrap()).unwrap();
        // Five pages: the middle is 3 from the next page outside.
        for (value, inside) in found.iter().zip(mask) {
            assert_eq!(*value, if inside { 6.0 } else { 0.0 });
        }
    }

    #[test]
    fn all_balls_painted_give_the_same() {
        let shape = [9, 10, 13];
        let mask: Vec<bool> =
            (0..9 * 10 * 13u32).map(|i| i.wrapping_mul(2_654_435_761) >> 28 != 0).collect();
        let bits = Bits::from_mask(&mask, shape).unwrap();
        let distance = squared_distance(&bits).unwrap();
        let at = |i: usize| [i / 130, i / 13 % 10, i % 13];
        let mut wanted = vec![0.0f32; mask.len()];
        for (i, &squared) in distance.iter().enumerate() {
            for (j, wanted) in wanted.iter_mut().enumerate() {
                let apart: u32 = (0..3).map(|k| at(i)[k].abs_diff(at(j)[k]).pow(2) as u32).sum();
                if apart < squared {
                    *wanted = wanted.max(2.0 * (squared as f32).sqrt());
                }
            }
        }
        assert_eq!(local_thickness(&bits).unwrap(), wanted);
        let full = Bits::from_mask(&[true; 8], [2; 3]).unwrap();
        assert_eq!(local_thickness(&full).unwrap(), [f32::INFINITY; 8]);
    }
}

//! Pores that touch → pores, by a watershed of the distance to the solid.
//!
//! Voxels are taken from the innermost outwards; a voxel without a neighbour taken begins a basin,
//! any other joins the basin of its deepest neighbour. Where basins meet, one whose depth below
//! its innermost point is less than asked for was no pore of its own and is joined to the deeper
//! one: splitting by dynamics (Najman and Schmitt 1996, IEEE Trans. Pattern Anal. 18:1163), which
//! keeps rough pores whole. Visits the voxels of the phase only.

use crate::ImagingError;
use crate::arguments::check_range;
use crate::memory::zeroed;
use crate::segment::bits::Bits;
use crate::segment::distance::squared_distance;

/// Pores of a phase that was split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// 0 outside the phase, the number of the pore from 1 inside.
    pub labels: Vec<u32>,
    /// Number of pores.
    pub count: usize,
}

/// Splits a phase where its width, as distance to the outside, drops by at least `least_depth`
/// voxels (0.1 to 1000) between two pores. Numbers follow the raster order of first voxels; voxels
/// equally far in are taken in raster order, so the result is the same everywhere. Refuses a
/// volume of more than 2³² voxels.
pub fn split(phase: &Bits, least_depth: f64) -> Result<Split, ImagingError> {
    check_range("least depth", least_depth, [0.1, 1000.0], "voxels")?;
    let shape = phase.shape();
    let voxels: usize = shape.iter().product();
    check_range("volume", voxels as f64, [1.0, f64::from(u32::MAX)], "voxels")?;
    let distance = squared_distance(phase)?;
    let mut order: Vec<u32> = Vec::with_capacity(phase.count() as usize);
    for row in 0..shape[0] * shape[1] {
        phase.runs_of_row(row / shape[1], row % shape[1], |start, end| {
            let base = (row * shape[2]) as u32;
            order.extend(base + start..base + end);
        });
    }
    order.sort_by_key(|&i| std::cmp::Reverse(distance[i as usize]));
    let mut basins = Basins { peaks: Vec::new(), parent: Vec::new(), least_depth };
    let mut labels: Vec<u32> = zeroed(voxels);
    for &i in &order {
        labels[i as usize] = basins.take(i as usize, &labels, &distance, shape);
    }
    let count = basins.renumber(&mut labels);
    Ok(Split { labels, count })
}

struct Basins {
    /// Squared distance of each basin's innermost voxel.
    peaks: Vec<u32>,
    parent: Vec<u32>,
    least_depth: f64,
}

impl Basins {
    /// Basin, plus one, of voxel `i`, given the voxels taken before.
    fn take(&mut self, i: usize, labels: &[u32], distance: &[u32], shape: [usize; 3]) -> u32 {
        let here = distance[i];
        // The deepest neighbour's basin, the first in raster order among equals.
        let mut deepest: Option<(u32, u32)> = None;
        let mut met = [0u32; 26];
        let mut count = 0;
        for j in neighbours(i, shape) {
            let Some(basin) = labels[j].checked_sub(1) else { continue };
            let basin = self.root(basin);
            if deepest.is_none_or(|(most, _)| distance[j] > most) {
                deepest = Some((distance[j], basin));
            }
            if !met[..count].contains(&basin) {
                met[count] = basin;
                count += 1;
            }
        }
        let Some((_, own)) = deepest else {
            self.peaks.push(here);
            self.parent.push(self.parent.len() as u32);
            return self.parent.len() as u32;
        };
        let met = &met[..count];
        let first = met.iter().copied().fold(own, |a, b| if self.deeper(b, a) { b } else { a });
        let saddle = f64::from(here).sqrt();
        for &basin in met {
            let depth = f64::from(self.peaks[basin as usize]).sqrt() - saddle;
            if basin != first && depth < self.least_depth {
                self.parent[basin as usize] = first;
            }
        }
        own + 1
    }

    /// Whether basin `a` is deeper than `b`; the older of equals.
    fn deeper(&self, a: u32, b: u32) -> bool {
        (self.peaks[a as usize], std::cmp::Reverse(a))
            > (self.peaks[b as usize], std::cmp::Reverse(b))
    }

    fn root(&mut self, mut basin: u32) -> u32 {
        while self.parent[basin as usize] != basin {
            let above = self.parent[basin as usize];
            self.parent[basin as usize] = self.parent[above as usize];
            basin = above;
        }
        basin
    }

    /// Replaces basins by numbers in raster order; returns how many there are.
    fn renumber(&mut self, labels: &mut [u32]) -> usize {
        let mut numbers = vec![0u32; self.parent.len()];
        let mut count = 0;
        for label in labels {
            let Some(basin) = label.checked_sub(1) else { continue };
            let number = &mut numbers[self.root(basin) as usize];
            if *number == 0 {
                count += 1;
                *number = count;
            }
            *label = *number;
        }
        count as usize
    }
}

/// The up to 26 neighbours of a voxel, in raster order.
fn neighbours(i: usize, [nz, ny, nx]: [usize; 3]) -> impl Iterator<Item = usize> {
    let (z, y, x) = (i / (ny * nx), i / nx % ny, i % nx);
    (z.saturating_sub(1)..(z + 2).min(nz)).flat_map(move |zz| {
        (y.saturating_sub(1)..(y + 2).min(ny)).flat_map(move |yy| {
            (x.saturating_sub(1)..(x + 2).min(nx))
                .map(move |xx| (zz * ny + yy) * nx + xx)
                .filter(move |&j| j != i)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balls(apart: f64) -> Bits {
        let mask: Vec<bool> = (0..21 * 21 * 45)
            .map(|i| {
                let p = [i / 945, i / 45 % 21, i % 45].map(|c| c as f64);
                [22.0 - apart / 2.0, 22.0 + apart / 2.0].iter().any(|centre| {
                    (p[0] - 10.0).powi(2) + (p[1] - 10.0).powi(2) + (p[2] - centre).powi(2) < 64.5
                })
            })
            .collect();
        Bits::from_mask(&mask, [21, 21, 45]).unwrap()
    }

    #[test]
    fn two_balls_part_in_the_middle() {
        let phase = balls(12.0);
        let found = split(&phase, 1.0).unwrap();
        assert_eq!(found.count, 2);
        for (i, (&label, inside)) in found.labels.iter().zip(phase.to_mask()).enumerate() {
            assert_eq!(label > 0, inside);
            if inside && (i % 45).abs_diff(22) > 1 {
                assert_eq!(label == found.labels[(10 * 21 + 10) * 45 + 12], i % 45 < 22, "{i}");
            }
        }
    }

    #[test]
    fn a_shallow_waist_is_no_border() {
        assert_eq!(split(&balls(4.0), 1.0).unwrap().count, 1);
        assert_eq!(split(&balls(12.0), 6.0).unwrap().count, 1);
        assert_eq!(split(&balls(20.0), 1.0).unwrap().count, 2);
        assert!(split(&balls(4.0), 0.0).is_err());
    }
}

//! Edge-keeping smoothing (Tomasi and Manduchi 1998, ICCV, 839).
//!
//! Each voxel becomes the mean of the cube around it, weighted by nearness in place and in grey.
//! What lies beyond the edges is left out. The weight by grey is read from a table, linearly
//! between its entries: within 1e-5 of the exponential.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::memory::zeroed;
use rayon::prelude::*;

/// Entries of the table for each standard deviation, and how many of these it spans; beyond, a
/// weight is below 2e-6 and taken for 0.
const ENTRIES: usize = 128;
const SPAN: usize = 5;

/// How far voxels smooth each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BilateralOptions {
    /// Half edge of the cube in voxels, 1 to 8.
    pub radius: usize,
    /// Standard deviation of the weight by distance, in voxels, 0.1 to 100.
    pub sigma_space: f64,
    /// Standard deviation of the weight by grey, in grey levels, above 0: about twice the noise.
    pub sigma_grey: f64,
}

/// Smooths a (z, y, x) volume. Refuses options outside their ranges.
pub fn bilateral(
    data: &[f32],
    shape: [usize; 3],
    options: &BilateralOptions,
) -> Result<Vec<f32>, ImagingError> {
    check_shape(shape, data.len())?;
    check_range("radius", options.radius as f64, [1.0, 8.0], "voxels")?;
    check_range("sigma_space", options.sigma_space, [0.1, 100.0], "voxels")?;
    check_range("sigma_grey", options.sigma_grey, [1e-9, 1e9], "grey levels")?;
    let [nz, ny, nx] = shape;
    let cube = Cube::new(options);
    let mut out = zeroed(data.len());
    out.par_chunks_mut(nx).enumerate().for_each(|(row, out)| {
        let (z, y) = (row / ny, row % ny);
        let (mut sums, mut weights) = (vec![0.0f32; nx], vec![0.0f32; nx]);
        let centre = &data[row * nx..(row + 1) * nx];
        for &([dz, dy, dx], near) in &cube.places {
            let (Some(zz), Some(yy)) = (z.checked_add_signed(dz), y.checked_add_signed(dy)) else {
                continue;
            };
            if zz >= nz || yy >= ny || dx.unsigned_abs() >= nx {
                continue;
            }
            let other = &data[(zz * ny + yy) * nx..(zz * ny + yy + 1) * nx];
            let first = (-dx).max(0) as usize;
            let last = nx - dx.max(0) as usize;
            for x in first..last {
                let value = other[x.wrapping_add_signed(dx)];
                let weight = near * cube.weight(value - centre[x]);
                sums[x] += weight * value;
                weights[x] += weight;
            }
        }
        // The voxel itself weighs 1.
        out.iter_mut().zip(sums.iter().zip(&weights)).for_each(|(out, (s, w))| *out = s / w);
    });
    Ok(out)
}

struct Cube {
    /// Offsets with their weight by distance.
    places: Vec<([isize; 3], f32)>,
    table: Vec<f32>,
    scale: f32,
}

impl Cube {
    fn new(options: &BilateralOptions) -> Self {
        let (radius, edge) = (options.radius as isize, 2 * options.radius as isize + 1);
        let places = (0..edge.pow(3))
            .map(|i| {
                let at = [i / (edge * edge), i / edge % edge, i % edge].map(|c| c - radius);
                let squared = at.iter().map(|c| c * c).sum::<isize>() as f64;
                (at, (-0.5 * squared / options.sigma_space.powi(2)).exp() as f32)
            })
            .collect();
        let entry = |i: usize| {
            if i >= SPAN * ENTRIES {
                0.0
            } else {
                (-0.5 * (i as f64 / ENTRIES as f64).powi(2)).exp()
            }
        };
        let table = (0..SPAN * ENTRIES + 2).map(|i| entry(i) as f32).collect();
        Self { places, table, scale: (ENTRIES as f64 / options.sigma_grey) as f32 }
    }

    fn weight(&self, difference: f32) -> f32 {
        let at = (difference.abs() * self.scale).min((SPAN * ENTRIES) as f32);
        let (low, rest) = (at as usize, at.fract());
        self.table[low] * (1.0 - rest) + self.table[low + 1] * rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: BilateralOptions =
        BilateralOptions { radius: 2, sigma_space: 1.5, sigma_grey: 10.0 };

    #[test]
    fn noise_goes_and_the_edge_stays() {
        let shape = [10, 11, 24];
        let noise = |i: u32| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0 * 8.0 - 4.0;
        let data: Vec<f32> = (0..10 * 11 * 24u32)
            .map(|i| if i % 24 < 12 { 100.0 } else { 300.0 } + noise(i))
            .collect();
        let out = bilateral(&data, shape, &OPTIONS).unwrap();
        let spread = |of: &[f32]| -> f32 {
            let off = |(i, v): (usize, &f32)| (v - if i % 24 < 12 { 100.0 } else { 300.0 }).powi(2);
            (of.iter().enumerate().map(off).sum::<f32>() / of.len() as f32).sqrt()
        };
        assert!(spread(&out) < 0.35 * spread(&data), "{} {}", spread(&out), spread(&data));
    }

    #[test]
    fn options_are_checked() {
        let with = |radius| BilateralOptions { radius, ..OPTIONS };
        assert!(bilateral(&[0.0; 8], [2; 3], &with(0)).is_err());
        let flat = bilateral(&[5.0; 8], [2; 3], &with(8)).unwrap();
        assert!(flat.iter().all(|v| (v - 5.0).abs() < 1e-5), "{flat:?}");
    }
}

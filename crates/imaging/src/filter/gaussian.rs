//! Gaussian smoothing by a sampled kernel.
//!
//! The kernel is the Gaussian at whole voxels out to four standard deviations, normalised to a sum
//! of one, and the volume continues beyond its edges mirrored with the edge voxel repeated: what
//! `scipy.ndimage.gaussian_filter` does by default. All three axes are done tile by tile, so that
//! the slices a tile needs stay in the cache. The cost grows with sigma; there is no recursive
//! approximation.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::memory::zeroed;
use crate::simd::{InstructionSet, vectorised};
use rayon::prelude::*;

/// Half width of the kernel in standard deviations.
const TRUNCATE: f64 = 4.0;
/// Rows of a tile.
const TILE_ROWS: usize = 32;
/// Values summed together: a few registers of any width.
const LANES: usize = 64;

/// Smooths a (z, y, x) volume with standard deviation `sigma` in voxels, from 0.1 to 64. The order
/// of sums is fixed: the same bits on any machine and number of threads.
pub fn gaussian(data: &[f32], shape: [usize; 3], sigma: f64) -> Result<Vec<f32>, ImagingError> {
    check_shape(shape, data.len())?;
    let mut out = zeroed(data.len());
    gaussian_into(data, shape, sigma, &mut out)?;
    Ok(out)
}

/// The same into a volume that is there already, which spares the first touch of a new one.
pub fn gaussian_into(
    data: &[f32],
    shape: [usize; 3],
    sigma: f64,
    out: &mut [f32],
) -> Result<(), ImagingError> {
    check_shape(shape, data.len())?;
    check_shape(shape, out.len())?;
    check_range("sigma", sigma, [0.1, 64.0], "voxels")?;
    smooth(InstructionSet::detect(), data, shape, (&half_kernel(sigma), out));
    Ok(())
}

/// Weights from the centre outwards.
fn half_kernel(sigma: f64) -> Vec<f32> {
    let radius = (TRUNCATE * sigma + 0.5) as usize;
    let weight = |k: usize| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let sum = weight(0) + 2.0 * (1..=radius).map(weight).sum::<f64>();
    (0..=radius).map(|k| (weight(k) / sum) as f32).collect()
}

/// Index in 0..n of a place beyond the edges, mirrored with the edge repeated.
fn mirrored(i: isize, n: usize) -> usize {
    let period = 2 * n as isize;
    let i = i.rem_euclid(period);
    (if i < n as isize { i } else { period - 1 - i }) as usize
}

fn smooth(
    set: InstructionSet,
    data: &[f32],
    shape: [usize; 3],
    (kernel, out): (&[f32], &mut [f32]),
) {
    let [nz, ny, nx] = shape;
    // Rows of the output by tile: one task walks up through all slices of its rows.
    let mut tiles: Vec<Vec<&mut [f32]>> = Vec::new();
    tiles.resize_with(ny.div_ceil(TILE_ROWS), || Vec::with_capacity(nz));
    for page in out.chunks_mut(ny * nx) {
        for (tile, rows) in tiles.iter_mut().zip(page.chunks_mut(TILE_ROWS * nx)) {
            tile.push(rows);
        }
    }
    tiles.into_par_iter().enumerate().for_each(|(index, pages)| {
        let mut tile = Tile::new(data, shape, kernel, index * TILE_ROWS);
        for (z, rows) in pages.into_iter().enumerate() {
            vectorised(
                set,
                #[inline(always)]
                || tile.smooth_page(z, rows),
            );
        }
    });
}

/// What one task needs to smooth the rows from `first` on.
struct Tile<'a> {
    data: &'a [f32],
    shape: [usize; 3],
    kernel: &'a [f32],
    first: usize,
    /// Pages around the one being smoothed, mirrored at the ends.
    pages: Vec<usize>,
    /// Rows smoothed along z, with the halo that y needs.
    upright: Vec<f32>,
    /// A row smoothed along z and y, with the halo that x needs.
    row: Vec<f32>,
}

impl<'a> Tile<'a> {
    fn new(data: &'a [f32], shape: [usize; 3], kernel: &'a [f32], first: usize) -> Self {
        let (radius, nx) = (kernel.len() - 1, shape[2]);
        let upright = vec![0.0; (TILE_ROWS + 2 * radius) * nx];
        let row = vec![0.0; nx + 2 * radius];
        Self { data, shape, kernel, first, pages: Vec::new(), upright, row }
    }

    #[inline(always)]
    fn smooth_page(&mut self, z: usize, out: &mut [f32]) {
        let [nz, ny, nx] = self.shape;
        let radius = self.kernel.len() - 1;
        let count = out.len() / nx;
        self.pages.clear();
        self.pages
            .extend((0..=2 * radius).map(|k| mirrored((z + k) as isize - radius as isize, nz)));
        for slot in 0..count + 2 * radius {
            let y = mirrored((self.first + slot) as isize - radius as isize, ny);
            let row = |k: isize| {
                let start = (self.pages[radius.wrapping_add_signed(k)] * ny + y) * nx;
                &self.data[start..start + nx]
            };
            weigh(self.kernel, row, &mut self.upright[slot * nx..(slot + 1) * nx]);
        }
        for (j, out) in out.chunks_mut(nx).enumerate() {
            let row = |k: isize| {
                let slot = (j + radius).wrapping_add_signed(k);
                &self.upright[slot * nx..(slot + 1) * nx]
            };
            weigh(self.kernel, row, &mut self.row[radius..radius + nx]);
            for k in 1..=radius {
                self.row[radius - k] = self.row[radius + mirrored(-(k as isize), nx)];
                self.row[radius + nx + k - 1] =
                    self.row[radius + mirrored((nx + k - 1) as isize, nx)];
            }
            let row = |k: isize| {
                let start = radius.wrapping_add_signed(k);
                &self.row[start..start + nx]
            };
            weigh(self.kernel, row, out);
        }
    }
}

/// `out = kernel[0] · row(0) + Σ kernel[k] · (row(-k) + row(k))`.
#[inline(always)]
fn weigh<'a>(kernel: &[f32], row: impl Fn(isize) -> &'a [f32], out: &mut [f32]) {
    let n = out.len();
    let mut x = 0;
    while x + LANES <= n {
        let mut sums = [0.0f32; LANES];
        let centre = &row(0)[x..x + LANES];
        for lane in 0..LANES {
            sums[lane] = kernel[0] * centre[lane];
        }
        for (k, weight) in kernel.iter().enumerate().skip(1) {
            let before = &row(-(k as isize))[x..x + LANES];
            let after = &row(k as isize)[x..x + LANES];
            for lane in 0..LANES {
                sums[lane] += weight * (before[lane] + after[lane]);
            }
        }
        out[x..x + LANES].copy_from_slice(&sums);
        x += LANES;
    }
    for (x, out) in out.iter_mut().enumerate().skip(x) {
        *out = kernel[0] * row(0)[x];
        for (k, weight) in kernel.iter().enumerate().skip(1) {
            *out += weight * (row(-(k as isize))[x] + row(k as isize)[x]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_impulse_becomes_the_kernel() {
        let mut data = vec![0.0; 27 * 27 * 27];
        data[(13 * 27 + 13) * 27 + 13] = 1.0;
        let out = gaussian(&data, [27; 3], 1.5).unwrap();
        let kernel = half_kernel(1.5);
        for k in 0..kernel.len() {
            let at = out[(13 * 27 + 13) * 27 + 13 + k];
            assert!((at - kernel[0] * kernel[0] * kernel[k]).abs() < 1e-8, "{k}: {at}");
        }
        assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn places_beyond_the_edges_are_mirrored() {
        let mirror: Vec<usize> = (-4..7).map(|i| mirrored(i, 3)).collect();
        assert_eq!(mirror, [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0].map(|i: usize| i).to_vec());
    }

    #[test]
    fn options_are_checked() {
        assert!(gaussian(&[0.0; 8], [2, 2, 2], 0.0).is_err());
        assert!(gaussian(&[0.0; 8], [2, 2, 2], f64::NAN).is_err());
        assert!(gaussian(&[0.0; 7], [2, 2, 2], 1.0).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn every_instruction_set_gives_the_same_bits_and_a_constant_stays(
            shape in [1..6usize, 1..40usize, 1..150usize],
            sigma in 0.2..4.0f64,
            seed: u32,
        ) {
            let len = shape.iter().product();
            let data: Vec<f32> =
                (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) ^ seed) as f32).collect();
            let kernel = half_kernel(sigma);
            let smoothed = |set| {
                let mut out = vec![7.0; len];
                smooth(set, &data, shape, (&kernel, &mut out));
                out
            };
            let plain = smoothed(InstructionSet::Portable);
            for set in InstructionSet::available() {
                prop_assert_eq!(&smoothed(set), &plain);
            }
            let flat = gaussian(&vec![3.0; len], shape, sigma).unwrap();
            prop_assert!(flat.iter().all(|v| (v - 3.0).abs() < 1e-5));
        }
    }
}

//! Blocks of voxels → their mean.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::simd::{InstructionSet, vectorised};
use microdiff_domain::Volume;
use rayon::prelude::*;

/// Largest edge of a block: the sums of a column of 256² full voxels still fit 32 bits.
const LARGEST: usize = 256;
/// Pages read side by side: memory gives more to several streams than to one.
const TOGETHER: usize = 8;

/// Mean of every block of `factor`³ voxels of a (z, y, x) volume; the voxels of the last,
/// incomplete blocks are left out. Sums are exact, the mean is rounded once. Refuses a factor that
/// is 0, above 256 or longer than an axis.
pub fn block_mean(
    grey: &[u16],
    shape: [usize; 3],
    factor: usize,
) -> Result<Volume<f32>, ImagingError> {
    check_shape(shape, grey.len())?;
    let least = shape.iter().copied().fold(LARGEST, usize::min);
    check_range("factor", factor as f64, [1.0, least as f64], "voxels")?;
    let small = shape.map(|n| n / factor);
    let set = InstructionSet::detect();
    let mut out = vec![0.0; small.iter().product()];
    out.par_chunks_mut(small[1] * small[2]).enumerate().for_each_init(
        || vec![0u32; shape[2]],
        |columns, (z, page)| {
            for (y, row) in page.chunks_mut(small[2]).enumerate() {
                vectorised(
                    set,
                    #[inline(always)]
                    || mean_row(grey, shape, factor, [z, y], columns, row),
                );
            }
        },
    );
    Ok(Volume::new(small, out)?)
}

#[expect(clippy::too_many_arguments, reason = "the body of one loop, cut out to be compiled twice")]
#[inline(always)]
fn mean_row(
    grey: &[u16],
    [_, ny, nx]: [usize; 3],
    factor: usize,
    [z, y]: [usize; 2],
    columns: &mut [u32],
    out: &mut [f32],
) {
    columns.fill(0);
    let row = |zz: usize, yy: usize| &grey[(zz * ny + yy) * nx..][..nx];
    let (first, end) = (z * factor, (z + 1) * factor);
    let whole = first + factor / TOGETHER * TOGETHER;
    for yy in y * factor..(y + 1) * factor {
        for zz in (first..whole).step_by(TOGETHER) {
            let rows: [&[u16]; TOGETHER] = std::array::from_fn(|k| row(zz + k, yy));
            for (x, sum) in columns.iter_mut().enumerate() {
                for row in rows {
                    *sum += u32::from(row[x]);
                }
            }
        }
        for zz in whole..end {
            for (sum, &value) in columns.iter_mut().zip(row(zz, yy)) {
                *sum += u32::from(value);
            }
        }
    }
    let voxels = (factor * factor * factor) as f64;
    for (mean, block) in out.iter_mut().zip(columns.chunks(factor)) {
        let sum: u64 = block.iter().map(|&v| u64::from(v)).sum();
        *mean = (sum as f64 / voxels) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_by_eye() {
        let grey = [1, 3, 5, 7, 100, 1, 3, 5, 7, 100, 2, 2, 6, 6, 100, 2, 2, 6, 6, 100];
        let small = block_mean(&grey, [2, 2, 5], 2).unwrap();
        assert_eq!((small.shape(), small.data()), ([1, 1, 2], &[2.0f32, 6.0][..]));
        assert!(block_mean(&grey, [2, 2, 5], 3).is_err());
        assert!(block_mean(&grey, [2, 2, 5], 0).is_err());
        assert_eq!(block_mean(&grey, [2, 2, 5], 1).unwrap().data()[4], 100.0);
    }

    /// More pages to a block than are read together, and some left over.
    #[test]
    fn no_page_is_left_out() {
        let grey: Vec<u16> = (0..11 * 12 * 23).map(|i: u32| (i * 7919 % 65_521) as u16).collect();
        let sum = |from: usize| {
            let rows = (0..11 * 11).map(|row| (row / 11 * 12 + row % 11) * 23 + from);
            rows.flat_map(|at| &grey[at..at + 11]).map(|&v| f64::from(v)).sum::<f64>()
        };
        let wanted = [sum(0), sum(11)].map(|sum| (sum / 1331.0) as f32);
        assert_eq!(block_mean(&grey, [11, 12, 23], 11).unwrap().data(), wanted);
    }

    #[test]
    fn the_brightest_volume_does_not_overflow() {
        let grey = vec![u16::MAX; 128 * 128 * 128];
        assert_eq!(block_mean(&grey, [128; 3], 128).unwrap().data(), [65535.0]);
    }
}

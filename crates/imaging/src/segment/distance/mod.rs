//! Phase → squared Euclidean distance of each of its voxels to the nearest voxel outside it.
//!
//! Exact, in whole squared voxels: along one axis by counting, then along the others the least of
//! f(i ± k) + k² for as long as k² can still lower anything (Saito and Toriwaki 1994, Pattern
//! Recognit. 27:1551). The edge of the volume is not a border of the phase. Eight bits suffice up to
//! a distance of 15 voxels, sixteen up to 255; a volume with a thicker phase is done anew with more.

mod far;
mod near;

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::memory::zeroed;
use crate::segment::bits::Bits;
use crate::simd::InstructionSet;

/// Distance of a voxel when nothing lies outside the phase.
pub const UNBOUNDED: u32 = u32::MAX;

/// Longest axis whose squared distances can be added.
const LONGEST: f64 = 18_000.0;

/// Squared distances in voxels, 0 outside the phase, [`UNBOUNDED`] if the phase fills the volume.
/// Refuses an axis of more than 18,000 voxels.
pub fn squared_distance(phase: &Bits) -> Result<Vec<u32>, ImagingError> {
    check_axes(phase)?;
    let mut out = zeroed(phase.shape().iter().product());
    distances(InstructionSet::detect(), phase, (&mut out, true));
    Ok(out)
}

/// The same into a volume that is there already, which spares the first touch of a new one.
/// Refuses one of another length, too.
pub fn squared_distance_into(phase: &Bits, out: &mut [u32]) -> Result<(), ImagingError> {
    check_axes(phase)?;
    check_shape(phase.shape(), out.len())?;
    distances(InstructionSet::detect(), phase, (out, false));
    Ok(())
}

fn check_axes(phase: &Bits) -> Result<(), ImagingError> {
    let check = |n: usize| check_range("axis", n as f64, [1.0, LONGEST], "voxels");
    phase.shape().into_iter().try_for_each(check)
}

fn distances(set: InstructionSet, phase: &Bits, (out, zeroed): (&mut [u32], bool)) {
    // The scarcer phase is made of small parts as a rule, the other one is not.
    let scarce = 2 * phase.count() <= out.len() as u64;
    if scarce && near::distances::<u8>(set, phase, (&mut *out, zeroed)) {
        return;
    }
    // What the first try left is not zero.
    let zeroed = zeroed && !scarce;
    if !near::distances::<u16>(set, phase, (&mut *out, zeroed)) {
        far::distances(set, phase, out);
    }
}

/// The rows of each y, bottom to top: what a pass along z may write.
fn upright(out: &mut [u32], [nz, ny, nx]: [usize; 3]) -> Vec<Vec<&mut [u32]>> {
    let mut upright: Vec<Vec<&mut [u32]>> = Vec::new();
    upright.resize_with(ny, || Vec::with_capacity(nz));
    for page in out.chunks_mut(ny * nx) {
        upright.iter_mut().zip(page.chunks_mut(nx)).for_each(|(rows, row)| rows.push(row));
    }
    upright
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(mask: &[bool], [_, ny, nx]: [usize; 3]) -> Vec<u32> {
        let at = |i: usize| [i / (ny * nx), i / nx % ny, i % nx];
        let outside: Vec<[usize; 3]> = (0..mask.len()).filter(|&i| !mask[i]).map(at).collect();
        let squared = |a: [usize; 3], b: [usize; 3]| -> u32 {
            (0..3).map(|k| a[k].abs_diff(b[k]).pow(2) as u32).sum()
        };
        (0..mask.len())
            .map(|i| {
                let nearest = outside.iter().map(|&b| squared(at(i), b)).min();
                if mask[i] { nearest.unwrap_or(UNBOUNDED) } else { 0 }
            })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_looking_at_all(
            shape in [1..60usize, 1..8usize, 1..200usize],
            share in prop::sample::select(vec![0.0, 0.0005, 0.02, 0.5, 0.98, 0.999]),
            values in prop::collection::vec(0.0..1.0f64, 4096),
        ) {
            let mask: Vec<bool> =
                (0..shape.iter().product()).map(|i: usize| values[i * 7 % 4096] >= share).collect();
            let bits = Bits::from_mask(&mask, shape).unwrap();
            let wanted = plain(&mask, shape);
            for set in InstructionSet::available() {
                // Not zeros, so that a voxel that is not written shows.
                let mut out = vec![77; mask.len()];
                let near = near::distances::<u16>(set, &bits, (&mut out, false));
                prop_assert_eq!(near, !wanted.contains(&UNBOUNDED));
                prop_assert!(!near || out == wanted);
                out.fill(77);
                let nearest = near::distances::<u8>(set, &bits, (&mut out, false));
                prop_assert_eq!(nearest, wanted.iter().all(|&square| square < 255));
                prop_assert!(!nearest || out == wanted);
                out.fill(77);
                far::distances(set, &bits, &mut out);
                prop_assert_eq!(&out, &wanted);
                if near {
                    out.fill(0);
                    near::distances::<u16>(set, &bits, (&mut out, true));
                    prop_assert_eq!(&out, &wanted);
                }
                if nearest {
                    out.fill(0);
                    near::distances::<u8>(set, &bits, (&mut out, true));
                    prop_assert_eq!(&out, &wanted);
                }
            }
        }
    }

    #[test]
    fn a_slab_by_eye() {
        let bits = Bits::from_mask(&[false, true, true, true, false, true], [1, 1, 6]).unwrap();
        assert_eq!(squared_distance(&bits).unwrap(), [0, 1, 4, 1, 0, 1]);
        assert!(squared_distance_into(&bits, &mut [0; 5]).is_err());
        let full = Bits::from_mask(&[true; 4], [1, 2, 2]).unwrap();
        assert_eq!(squared_distance(&full).unwrap(), [UNBOUNDED; 4]);
    }

    /// Thick enough that the envelope takes over, and on both sides of what sixteen bits hold.
    #[test]
    fn one_hole_in_a_long_bar() {
        for (nz, near) in
            [(16, true), (17, true), (230, true), (256, true), (257, false), (400, false)]
        {
            let mut mask = vec![true; nz * 3];
            mask[1] = false;
            let bits = Bits::from_mask(&mask, [nz, 1, 3]).unwrap();
            let mut out = vec![77; mask.len()];
            let set = InstructionSet::detect();
            assert_eq!(near::distances::<u16>(set, &bits, (&mut out, false)), near, "{nz}");
            assert_eq!(squared_distance(&bits).unwrap(), plain(&mask, [nz, 1, 3]), "{nz}");
        }
    }
}

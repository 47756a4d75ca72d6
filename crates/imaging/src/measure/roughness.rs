//! Outer face of a part → height map, and height map → areal roughness (ISO 25178-2).
//!
//! Heights are whole voxels, so roughness below about a third of a voxel is out of reach. What an
//! overhang hides is not seen. No waviness filter is applied: the map is the evaluation area, and
//! only its mean plane is taken out.

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::segment::Bits;

/// The face of the volume that a part is looked at from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Along an axis (0 z, 1 y, 2 x) from its low end.
    Low(usize),
    /// Along an axis from its high end.
    High(usize),
}

/// Areal height parameters, in the unit of the heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roughness {
    /// Arithmetical mean height Sa.
    pub sa: f64,
    /// Root mean square height Sq.
    pub sq: f64,
    /// Maximum height Sz: highest peak to deepest pit.
    pub sz: f64,
    /// Skewness Ssk, 0 for a flat surface.
    pub ssk: f64,
    /// Kurtosis Sku, 0 for a flat surface.
    pub sku: f64,
}

/// Height of the first voxel of the solid seen from a side, measured from the opposite side, with
/// the shape of the map; 0 where there is none. An axis above 2 is read as 2.
pub fn height_map(solid: &Bits, side: Side) -> (Vec<f64>, [usize; 2]) {
    let shape = solid.shape();
    let (axis, from_low) = match side {
        Side::Low(axis) => (axis.min(2), true),
        Side::High(axis) => (axis.min(2), false),
    };
    let others = [[1, 2], [0, 2], [0, 1]][axis];
    let map = others.map(|k| shape[k]);
    let heights = (0..map[0] * map[1]).map(|i| {
        let mut at = [0; 3];
        (at[others[0]], at[others[1]]) = (i / map[1], i % map[1]);
        let seen = (0..shape[axis]).find(|&depth| {
            at[axis] = if from_low { depth } else { shape[axis] - 1 - depth };
            solid.contains(at)
        });
        seen.map_or(0.0, |depth| (shape[axis] - depth) as f64)
    });
    (heights.collect(), map)
}

/// Roughness of a map of heights (rows, columns) about its least-squares plane. Refuses a shape
/// that does not fit.
pub fn roughness(heights: &[f64], shape: [usize; 2]) -> Result<Roughness, ImagingError> {
    check_shape([1, shape[0], shape[1]], heights.len())?;
    let n = heights.len() as f64;
    let centre = |i: usize, n: usize| i as f64 - (n as f64 - 1.0) / 2.0;
    let place = |i: usize| (centre(i / shape[1], shape[0]), centre(i % shape[1], shape[1]));
    let mean = heights.iter().sum::<f64>() / n;
    // About the centre of a full grid the terms of the plane do not mix.
    let (mut along, mut squares) = ([0.0; 2], [0.0; 2]);
    for (i, height) in heights.iter().enumerate() {
        let (v, u) = place(i);
        along = [along[0] + v * height, along[1] + u * height];
        squares = [squares[0] + v * v, squares[1] + u * u];
    }
    let slope: [f64; 2] =
        std::array::from_fn(|k| if squares[k] > 0.0 { along[k] / squares[k] } else { 0.0 });
    let residual: Vec<f64> = heights
        .iter()
        .enumerate()
        .map(|(i, height)| {
            let (v, u) = place(i);
            height - mean - slope[0] * v - slope[1] * u
        })
        .collect();
    let moment = |power: i32| residual.iter().map(|r| r.powi(power)).sum::<f64>() / n;
    let sq = moment(2).sqrt();
    let (low, high) =
        residual.iter().fold((0.0f64, 0.0f64), |(low, high), &r| (low.min(r), high.max(r)));
    let shaped = |power: i32| if sq > 0.0 { moment(power) / sq.powi(power) } else { 0.0 };
    Ok(Roughness {
        sa: residual.iter().map(|r| r.abs()).sum::<f64>() / n,
        sq,
        sz: high - low,
        ssk: shaped(3),
        sku: shaped(4),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tilted_wave_has_the_roughness_of_the_wave() {
        let shape = [40, 64];
        // Even about the centre, so that no plane fits any of it; the nearest voxels to its tops
        // are half a voxel away.
        let wave = |i: usize| 3.0 * (std::f64::consts::TAU * ((i % 64) as f64 - 31.5) / 8.0).cos();
        let heights: Vec<f64> =
            (0..40 * 64).map(|i| 100.0 + 0.7 * (i / 64) as f64 + wave(i)).collect();
        let found = roughness(&heights, shape).unwrap();
        let top = 3.0 * (std::f64::consts::PI / 8.0).cos();
        assert!((found.sq - 3.0 / 2f64.sqrt()).abs() < 1e-9, "{found:?}");
        assert!((found.sz - 2.0 * top).abs() < 1e-9, "{found:?}");
        assert!(found.ssk.abs() < 1e-9 && (found.sku - 1.5).abs() < 1e-9, "{found:?}");
        assert!(roughness(&heights, [40, 63]).is_err());
    }

    #[test]
    fn heights_are_seen_from_either_side() {
        let mask = [false, true, true, false, false, false];
        let solid = Bits::from_mask(&mask, [1, 2, 3]).unwrap();
        assert_eq!(height_map(&solid, Side::Low(2)), (vec![2.0, 0.0], [1, 2]));
        assert_eq!(height_map(&solid, Side::High(2)), (vec![3.0, 0.0], [1, 2]));
        assert_eq!(height_map(&solid, Side::High(1)), (vec![0.0, 1.0, 1.0], [1, 3]));
    }
}

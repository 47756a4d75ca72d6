//! Size, shape, orientation and place of each pore.
//!
//! Volumes and moments are exact integer sums over runs. The surface is Crofton's: intersections
//! with lattice lines in 13 directions, weighted by the Voronoi cells of the directions
//! (Legland, Kiêu, Devaux 2007, Image Anal. Stereol. 26:83).

use crate::ImagingError;
use crate::arguments::check_shape;
use crate::segment::bits::{Bits, shifted, span_mask};
use crate::segment::label::{LabelledRun, Labels};
use crate::simd::{InstructionSet, vectorised};
use microdiff_domain::VoxelSize;
use rayon::prelude::*;
use serde::Serialize;
use std::f64::consts::PI;
use std::ops::Range;

/// Share of the 26 lattice directions' sphere nearest an axis, an edge or a corner direction,
/// per line (both senses). From the cited paper's table, from memory; they sum to 1 over the 13
/// lines, and a test measures spheres.
const WEIGHT_AXIS: f64 = 2.0 * 0.045_777_891;
const WEIGHT_EDGE: f64 = 2.0 * 0.036_980_628;
const WEIGHT_CORNER: f64 = 2.0 * 0.035_195_640;

/// One pore.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pore {
    /// Volume.
    pub volume_um3: f64,
    /// Diameter of the sphere of the same volume.
    pub equivalent_diameter_um: f64,
    /// Surface of the sphere of the same volume over the pore's surface, at most 1.
    pub sphericity: f64,
    /// Full axes of the ellipsoid with the same second moments, longest first.
    pub axes_um: [f64; 3],
    /// Direction (z, y, x) of the longest axis, z not negative.
    pub long_axis: [f64; 3],
    /// Direction (z, y, x) of the shortest axis, z not negative.
    pub short_axis: [f64; 3],
    /// Full axis along z of that ellipsoid's moments, and the mean full axis across z.
    pub height_breadth_um: [f64; 2],
    /// Centroid (z, y, x) from the corner of the scan.
    pub position_um: [f64; 3],
    /// Number of voxels.
    pub voxels: u64,
    /// Whether the pore reaches the border of the scan, so that its size is a lower bound.
    pub touches_border: bool,
}

/// Sums over the voxels of a pore; coordinates in voxels.
#[derive(Debug, Clone, Default)]
struct Sums {
    count: u64,
    first: [u64; 3],
    /// zz, yy, xx, zy, zx, yx.
    second: [u128; 6],
    crossings: [u64; 3],
    touches_border: bool,
}

/// Measures every component of a phase, largest first. The components must be those of the
/// 26-neighbourhood: a face towards another component would not count as surface.
pub fn pores(labels: &Labels, voxel_size: VoxelSize) -> Vec<Pore> {
    measure(labels, &labels.bits(|_| true), voxel_size.get())
}

/// Least of the squared distances at each component's voxels, by label: from the surface of the
/// part, given the distances within the part with its pores filled. Refuses a volume of distances
/// that does not have the shape of the labels.
pub fn least_distance(labels: &Labels, squared: &[u32]) -> Result<Vec<u32>, ImagingError> {
    let [nz, ny, nx] = labels.shape();
    check_shape([nz, ny, nx], squared.len())?;
    let mut least = vec![u32::MAX; labels.count()];
    for row in 0..nz * ny {
        for run in labels.row(row / ny, row % ny) {
            let values = &squared[row * nx + run.start as usize..row * nx + run.end as usize];
            let own = &mut least[run.label as usize];
            *own = values.iter().copied().fold(*own, u32::min);
        }
    }
    Ok(least)
}

/// Measures every component of a phase, given as bits, too, largest first.
pub(crate) fn measure(labels: &Labels, phase: &Bits, voxel_um: f64) -> Vec<Pore> {
    let shape = labels.shape();
    let rows = |z: usize| (0..shape[1]).map(move |y| ([z, y], labels.row(z, y)));
    let set = InstructionSet::detect();
    let crossings: Vec<Vec<[u32; 3]>> = (0..shape[0])
        .into_par_iter()
        .map(|z| {
            let mut crossings = Vec::new();
            vectorised(
                set,
                #[inline(always)]
                || {
                    for (at, runs) in rows(z) {
                        for run in runs {
                            crossings.push(crossings_of_run(phase, at, run));
                        }
                    }
                },
            );
            crossings
        })
        .collect();
    let mut sums = vec![Sums::default(); labels.count()];
    for (z, crossings) in crossings.iter().enumerate() {
        let runs = rows(z).flat_map(|(at, runs)| runs.iter().map(move |run| (at, run)));
        for ((at, run), crossings) in runs.zip(crossings) {
            sums[run.label as usize].add(at, run, *crossings, shape);
        }
    }
    let mut all: Vec<Pore> = sums.iter().map(|sums| sums.pore(voxel_um)).collect();
    // Stable: equal volumes stay in raster order.
    all.sort_by_key(|pore| std::cmp::Reverse(pore.voxels));
    all
}

/// Ends of lattice chords at the given voxels of a row, along axis, edge and corner directions.
/// Any neighbouring voxel of the phase belongs to the same pore, so the phase's bits suffice.
#[inline(always)]
pub(crate) fn crossings(
    bits: &Bits,
    [z, y]: [usize; 2],
    words: Range<usize>,
    voxels: impl Fn(usize) -> u64,
) -> [u32; 3] {
    let [nz, ny, _] = bits.shape();
    let rows: [&[u64]; 9] = std::array::from_fn(|k| {
        let [dz, dy] = [k / 3, k % 3].map(|step| step as isize - 1);
        match (z.checked_add_signed(dz), y.checked_add_signed(dy)) {
            (Some(z), Some(y)) if z < nz && y < ny => bits.row(z, y),
            _ => &[],
        }
    });
    let mut counts = [0u32; 3];
    // Most words of a phase with few voxels are empty.
    for (w, here) in words.map(|w| (w, voxels(w))).filter(|(_, here)| *here != 0) {
        for (k, row) in rows.iter().enumerate() {
            for dx in -1..=1isize {
                let class = usize::from(k / 3 != 1) + usize::from(k % 3 != 1) + dx.unsigned_abs();
                if class > 0 {
                    counts[class - 1] += (here & !shifted(row, w, dx)).count_ones();
                }
            }
        }
    }
    counts
}

#[inline(always)]
fn crossings_of_run(bits: &Bits, at: [usize; 2], run: &LabelledRun) -> [u32; 3] {
    let (start, end) = (run.start as usize, run.end as usize);
    crossings(bits, at, start / 64..end.div_ceil(64), |w| span_mask(w, start, end))
}

/// Surface in squared voxel edges from the ends of lattice chords.
pub(crate) fn crofton(crossings: [u64; 3]) -> f64 {
    let [axis, edge, corner] = crossings.map(|c| c as f64);
    2.0 * (WEIGHT_AXIS * axis
        + WEIGHT_EDGE * edge / 2f64.sqrt()
        + WEIGHT_CORNER * corner / 3f64.sqrt())
}

impl Sums {
    fn add(&mut self, at: [usize; 2], run: &LabelledRun, crossings: [u32; 3], shape: [usize; 3]) {
        let [z, y] = at.map(|i| i as u64);
        let (a, b) = (u64::from(run.start), u64::from(run.end));
        let n = b - a;
        // Sums of x and x² from a to before b.
        let sum_x = (a + b - 1) * n / 2;
        let squares = |m: u64| {
            if m == 0 { 0 } else { u128::from(m - 1) * u128::from(m) * u128::from(2 * m - 1) / 6 }
        };
        let sum_xx = squares(b) - squares(a);
        self.count += n;
        for (sum, add) in self.first.iter_mut().zip([z * n, y * n, sum_x]) {
            *sum += add;
        }
        let second = [
            u128::from(z * z * n),
            u128::from(y * y * n),
            sum_xx,
            u128::from(z * y * n),
            u128::from(z * sum_x),
            u128::from(y * sum_x),
        ];
        self.second.iter_mut().zip(second).for_each(|(sum, add)| *sum += add);
        self.crossings.iter_mut().zip(crossings).for_each(|(sum, add)| *sum += u64::from(add));
        let last = shape.map(|n| n as u64 - 1);
        self.touches_border |=
            z == 0 || y == 0 || a == 0 || z == last[0] || y == last[1] || b == last[2] + 1;
    }

    /// Covariance (zz, yy, xx, zy, zx, yx) in voxels², each voxel taken as a cube.
    fn covariance(&self) -> [f64; 6] {
        let n = self.count as f64;
        let products = [(0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)];
        std::array::from_fn(|k| {
            let (i, j) = products[k];
            // Exact integers of the size n²x² before the one rounding.
            let exact = u128::from(self.count) * self.second[k];
            let means = u128::from(self.first[i]) * u128::from(self.first[j]);
            let difference =
                if exact >= means { (exact - means) as f64 } else { -((means - exact) as f64) };
            difference / (n * n) + if i == j { 1.0 / 12.0 } else { 0.0 }
        })
    }

    fn pore(&self, voxel_um: f64) -> Pore {
        let n = self.count as f64;
        let volume = n * voxel_um.powi(3);
        let surface = voxel_um.powi(2) * crofton(self.crossings);
        let c = self.covariance();
        let (values, vectors) = eigen([[c[0], c[3], c[4]], [c[3], c[1], c[5]], [c[4], c[5], c[2]]]);
        let full = |variance: f64| 2.0 * (5.0 * variance.max(0.0)).sqrt() * voxel_um;
        let upward = |v: [f64; 3]| if v[0] < 0.0 { v.map(|c| -c) } else { v };
        Pore {
            volume_um3: volume,
            equivalent_diameter_um: (6.0 * volume / PI).cbrt(),
            sphericity: (PI.cbrt() * (6.0 * volume).powf(2.0 / 3.0) / surface).min(1.0),
            axes_um: values.map(full),
            long_axis: upward(vectors[0]),
            short_axis: upward(vectors[2]),
            height_breadth_um: [full(c[0]), full((c[1] + c[2]) / 2.0)],
            position_um: self.first.map(|sum| (sum as f64 / n + 0.5) * voxel_um),
            voxels: self.count,
            touches_border: self.touches_border,
        }
    }
}

/// Eigenvalues, largest first, with unit eigenvectors, of a symmetric matrix (Jacobi rotations).
fn eigen(mut m: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for _ in 0..12 {
        for (p, q) in [(0, 1), (0, 2), (1, 2)] {
            if m[p][q].abs() < 1e-14 * (m[p][p] + m[q][q]).abs() {
                continue;
            }
            let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
            let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
            let c = 1.0 / t.hypot(1.0);
            let s = t * c;
            for row in &mut m {
                (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
            }
            let (rp, rq) = (m[p], m[q]);
            for k in 0..3 {
                m[p][k] = c * rp[k] - s * rq[k];
                m[q][k] = s * rp[k] + c * rq[k];
            }
            let (vp, vq) = (vectors[p], vectors[q]);
            for k in 0..3 {
                vectors[p][k] = c * vp[k] - s * vq[k];
                vectors[q][k] = s * vp[k] + c * vq[k];
            }
        }
    }
    let mut order = [0, 1, 2];
    order.sort_by(|&a, &b| m[b][b].total_cmp(&m[a][a]));
    (order.map(|i| m[i][i]), order.map(|i| vectors[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::{Connectivity, label};

    fn pores_of(shape: [usize; 3], inside: impl Fn([f64; 3]) -> bool) -> Vec<Pore> {
        let [nz, ny, nx] = shape;
        let grey: Vec<u16> = (0..nz * ny * nx)
            .map(|i| {
                let at = [i / (ny * nx), i / nx % ny, i % nx].map(|c| c as f64);
                if inside(at) { 1 } else { 9 }
            })
            .collect();
        let bits = Bits::darker_than(&grey, shape, 5).unwrap();
        let found = label(&bits, Connectivity::Corners).unwrap();
        pores(&found, VoxelSize::micrometres(2.0).unwrap())
    }

    #[test]
    fn a_sphere_measures_as_one() {
        let ball =
            |r: f64| move |p: [f64; 3]| p.iter().map(|c| (c - 16.0).powi(2)).sum::<f64>() <= r * r;
        for r in [4.0, 6.5, 10.0, 13.0] {
            let pores = pores_of([33, 33, 70], ball(r));
            let [pore] = &pores[..] else { panic!("{} pores", pores.len()) };
            assert!((pore.equivalent_diameter_um / (4.0 * r) - 1.0).abs() < 0.03, "{pore:?}");
            assert!(pore.sphericity > 0.95, "{r}: {}", pore.sphericity);
            assert!((pore.axes_um[0] / pore.axes_um[2] - 1.0).abs() < 0.02);
            assert_eq!(pore.position_um, [33.0; 3]);
            assert!(!pore.touches_border);
        }
    }

    #[test]
    fn a_lying_disc_is_flat() {
        let pores = pores_of([20, 40, 40], |p| {
            (p[0] - 10.0).abs() <= 1.0 && (p[1] - 20.0).hypot(p[2] - 20.0) <= 12.0
        });
        let pore = &pores[0];
        assert!(pore.short_axis[0] > 0.999);
        assert!(pore.height_breadth_um[0] / pore.height_breadth_um[1] < 0.25);
        assert!(pore.sphericity < 0.6, "{}", pore.sphericity);
    }

    #[test]
    fn the_nearest_voxel_of_a_pore_counts() {
        let mask = [true, true, false, false, true, true];
        let bits = Bits::from_mask(&mask, [1, 1, 6]).unwrap();
        let found = label(&bits, Connectivity::Corners).unwrap();
        assert_eq!(least_distance(&found, &[9, 4, 1, 1, 4, 25]).unwrap(), [4, 4]);
        assert!(least_distance(&found, &[1; 5]).is_err());
    }

    #[test]
    fn a_rod_along_the_diagonal_points_there() {
        let pores =
            pores_of([24, 24, 24], |[z, y, x]| (y - x).abs() < 1.5 && (z - 12.0).abs() < 1.5);
        let axis = pores[0].long_axis;
        assert!((axis[1] - axis[2]).abs() < 0.02 && axis[1].abs() > 0.7, "{axis:?}");
        assert!(pores[0].touches_border);
    }
}

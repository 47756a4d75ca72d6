//! How pores lie to one another: nearest neighbours, clustering in depth.

use crate::measure::pore::Pore;

/// Pores asked for their neighbour; more are thinned evenly.
const ASKED: usize = 4000;
/// Slabs the pores are counted in.
const SLAB_UM: f64 = 30.0;

/// Nearest-neighbour statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neighbours {
    /// Mean ln distance in µm.
    pub ln_distance: f64,
    /// Mean |dz| over distance.
    pub upright: f64,
}

/// Distances between pores' centroids; none with fewer than two pores.
pub(crate) fn neighbours(pores: &[Pore], extent_um: [f64; 3]) -> Option<Neighbours> {
    if pores.len() < 2 {
        return None;
    }
    let grid = Grid::new(pores, extent_um);
    let step = pores.len().div_ceil(ASKED);
    let (mut ln, mut upright, mut count) = (0.0, 0.0, 0.0);
    for i in (0..pores.len()).step_by(step) {
        let Some((distance, dz)) = grid.nearest(pores, i) else { continue };
        let distance = distance.max(0.01);
        ln += distance.ln();
        upright += (dz / distance).min(1.0);
        count += 1.0;
    }
    (count > 0.0).then(|| Neighbours { ln_distance: ln / count, upright: upright / count })
}

/// ln(0.1 + variance / mean) of the number of pores in slabs; none with fewer than two pores or
/// three slabs.
pub(crate) fn depth_clustering(pores: &[Pore], height_um: f64) -> Option<f64> {
    let slabs = (height_um / SLAB_UM).floor() as usize;
    if pores.len() < 2 || slabs < 3 {
        return None;
    }
    let mut counts = vec![0.0f64; slabs];
    for pore in pores {
        counts[((pore.position_um[0] / SLAB_UM) as usize).min(slabs - 1)] += 1.0;
    }
    let mean = counts.iter().sum::<f64>() / slabs as f64;
    let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / (slabs - 1) as f64;
    Some((0.1 + variance / mean).ln())
}

/// Cells about as wide as pores are apart.
struct Grid {
    cells: Vec<Vec<u32>>,
    counts: [usize; 3],
    edge: f64,
}

impl Grid {
    fn new(pores: &[Pore], extent: [f64; 3]) -> Self {
        let volume: f64 = extent.iter().product();
        let edge = (volume / pores.len() as f64).cbrt().max(1e-6);
        let counts = extent.map(|e| ((e / edge).ceil() as usize).clamp(1, 256));
        let mut grid = Self { cells: vec![vec![]; counts.iter().product()], counts, edge };
        for (i, pore) in pores.iter().enumerate() {
            let [z, y, x] = grid.cell(pore.position_um);
            let at = (z * counts[1] + y) * counts[2] + x;
            grid.cells[at].push(i as u32);
        }
        grid
    }

    fn cell(&self, position: [f64; 3]) -> [usize; 3] {
        std::array::from_fn(|k| ((position[k] / self.edge) as usize).min(self.counts[k] - 1))
    }

    /// Distance to the nearest other pore and its part along z.
    fn nearest(&self, pores: &[Pore], own: usize) -> Option<(f64, f64)> {
        let here = pores[own].position_um;
        let centre = self.cell(here);
        let reach = self.counts.iter().copied().max().unwrap_or(1);
        let mut best: Option<(f64, f64)> = None;
        for ring in 0..=reach {
            self.visit_ring(centre, ring, |i| {
                if i == own {
                    return;
                }
                let d: [f64; 3] = std::array::from_fn(|k| pores[i].position_um[k] - here[k]);
                let distance = (d[0] * d[0] + d[1] * d[1] + d[2] * d[2]).sqrt();
                if best.is_none_or(|(least, _)| distance < least) {
                    best = Some((distance, d[0].abs()));
                }
            });
            // Whatever lies in a later ring is at least `ring` whole cells away.
            if best.is_some_and(|(least, _)| least <= ring as f64 * self.edge) {
                break;
            }
        }
        best
    }

    fn visit_ring(&self, centre: [usize; 3], ring: usize, mut visit: impl FnMut(usize)) {
        let range =
            |k: usize| centre[k].saturating_sub(ring)..(centre[k] + ring + 1).min(self.counts[k]);
        for z in range(0) {
            for y in range(1) {
                for x in range(2) {
                    let off = [z, y, x];
                    let far = (0..3).map(|k| off[k].abs_diff(centre[k])).max().unwrap_or(0);
                    if far == ring {
                        let at = (z * self.counts[1] + y) * self.counts[2] + x;
                        self.cells[at].iter().for_each(|&i| visit(i as usize));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(position_um: [f64; 3]) -> Pore {
        Pore {
            volume_um3: 1.0,
            equivalent_diameter_um: 1.0,
            sphericity: 1.0,
            axes_um: [1.0; 3],
            long_axis: [1.0, 0.0, 0.0],
            short_axis: [1.0, 0.0, 0.0],
            height_breadth_um: [1.0; 2],
            position_um,
            voxels: 8,
            touches_border: false,
        }
    }

    proptest! {
        #[test]
        fn nearest_agrees_with_looking_at_all(
            points in prop::collection::vec([0.0..300.0f64, 0.0..100.0f64, 0.0..100.0f64], 2..60),
        ) {
            let pores: Vec<Pore> = points.iter().map(|&p| at(p)).collect();
            let grid = Grid::new(&pores, [300.0, 100.0, 100.0]);
            for i in 0..pores.len() {
                let plain = (0..pores.len())
                    .filter(|&j| j != i)
                    .map(|j| (0..3).map(|k| (points[i][k] - points[j][k]).powi(2)).sum::<f64>())
                    .fold(f64::MAX, f64::min)
                    .sqrt();
                let found = grid.nearest(&pores, i).unwrap().0;
                prop_assert!((found - plain).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_single_pore_has_no_neighbour() {
        assert!(neighbours(&[at([1.0; 3])], [10.0; 3]).is_none());
        let two = [at([10.0, 0.0, 0.0]), at([40.0, 0.0, 0.0])];
        let found = neighbours(&two, [50.0; 3]).unwrap();
        assert!((found.ln_distance - 30f64.ln()).abs() < 1e-12 && found.upright == 1.0);
    }
}

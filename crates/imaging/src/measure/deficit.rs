//! How much metal is missing, voxel by voxel, without asking whether it is a pore: 0 for the solid
//! and its noise, 1 for the core of a pore. Periods show in it that no single pore proves.

use crate::segment::part::Part;
use crate::segment::threshold::GreyLevels;
use rayon::prelude::*;

/// Noise multiples taken for solid.
const SOLID_SIGMAS: f64 = 2.0;

/// The missing metal of a scan.
pub(crate) struct Deficit<'a> {
    grey: &'a [u16],
    part: &'a Part,
    solid: f32,
    scale: f32,
}

impl<'a> Deficit<'a> {
    /// Takes the flattened scan. Without pores the core is taken to be ten noise widths below the
    /// solid.
    pub(crate) fn new(grey: &'a [u16], part: &'a Part, levels: &GreyLevels) -> Self {
        let solid = levels.solid.grey - SOLID_SIGMAS * levels.solid.sd;
        let core = levels.pore.map_or(levels.solid.grey - 10.0 * levels.solid.sd, |p| p.core);
        let scale = 1.0 / (solid - core).max(1.0);
        Self { grey, part, solid: solid as f32, scale: scale as f32 }
    }

    /// Shape of the scan.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.part.shape()
    }

    /// Calls `each` with x and the deficit of the voxels of row (z, y) that have one.
    pub(crate) fn row(&self, z: usize, y: usize, mut each: impl FnMut(usize, f32)) {
        let [_, ny, nx] = self.part.shape();
        let row = &self.grey[(z * ny + y) * nx..(z * ny + y + 1) * nx];
        for span in self.part.spans(y) {
            for x in span.clone() {
                let missing = (self.solid - f32::from(row[x])) * self.scale;
                if missing > 0.0 {
                    each(x, missing.min(1.0));
                }
            }
        }
    }

    /// Mean deficit of each slice.
    pub(crate) fn profile(&self) -> Vec<f64> {
        let [nz, ny, _] = self.part.shape();
        let area = self.part.columns().max(1) as f64;
        (0..nz)
            .into_par_iter()
            .map(|z| {
                let mut sum = 0.0f64;
                (0..ny).for_each(|y| self.row(z, y, |_, missing| sum += f64::from(missing)));
                sum / area
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::histogram::Solid;
    use crate::segment::threshold::PoreGrey;

    #[test]
    fn solid_misses_nothing_and_a_core_all() {
        let part = Part::whole([2, 1, 2]);
        let levels = GreyLevels {
            solid: Solid { grey: 1000.0, sd: 50.0 },
            seed: 700.0,
            pore: Some(PoreGrey { core: 400.0, boundary: 700.0, dark: 850.0 }),
        };
        let grey = [950, 1100, 400, 650];
        assert_eq!(Deficit::new(&grey, &part, &levels).profile(), [0.0, 0.75]);
    }
}

//! How much metal is missing, voxel by voxel, without asking whether it is a pore: 0 for the solid
//! and its noise, 1 for the core of a pore. Periods show in it that no single pore proves.

use crate::ImagingError;
use crate::segment::bits::Bits;
use crate::segment::part::Part;
use crate::segment::threshold::GreyLevels;
use rayon::prelude::*;

/// Noise multiples taken for solid.
const SOLID_SIGMAS: f64 = 2.0;

/// The missing metal of a scan.
pub(crate) struct Deficit<'a> {
    grey: &'a [u16],
    part: &'a Part,
    /// The voxels that have a deficit.
    dark: Bits,
    solid: f32,
    scale: f32,
}

impl<'a> Deficit<'a> {
    /// Takes the flattened scan. Without pores the core is taken to be ten noise widths below the
    /// solid.
    pub(crate) fn new(
        grey: &'a [u16],
        part: &'a Part,
        levels: &GreyLevels,
    ) -> Result<Self, ImagingError> {
        let solid = levels.solid.grey - SOLID_SIGMAS * levels.solid.sd;
        let core = levels.pore.map_or(levels.solid.grey - 10.0 * levels.solid.sd, |p| p.core);
        let scale = 1.0 / (solid - core).max(1.0);
        let solid = solid as f32;
        // Greys are whole: darker than this is darker than the solid.
        let mut dark = Bits::darker_than(grey, part.shape(), solid.ceil() as u16)?;
        dark.keep_within(&part.page());
        Ok(Self { grey, part, dark, solid, scale: scale as f32 })
    }

    /// Shape of the scan.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.part.shape()
    }

    /// Calls `each` with x and the deficit of the voxels of row (z, y) that have one.
    pub(crate) fn row(&self, z: usize, y: usize, mut each: impl FnMut(usize, f32)) {
        let [_, ny, nx] = self.part.shape();
        let row = &self.grey[(z * ny + y) * nx..(z * ny + y + 1) * nx];
        self.dark.runs_of_row(z, y, |start, end| {
            let start = start as usize;
            for (x, &grey) in row[start..end as usize].iter().enumerate() {
                let missing = (self.solid - f32::from(grey)) * self.scale;
                each(start + x, missing.min(1.0));
            }
        });
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
        assert_eq!(Deficit::new(&grey, &part, &levels).unwrap().profile(), [0.0, 0.75]);
    }
}

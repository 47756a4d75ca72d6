//! 26-connected components of the dark phase, with how dark each is.
//!
//! No label volume is made, all measures come from the runs.

use crate::ImagingError;
use crate::segment::bits::Bits;
use crate::segment::label::{Labels, label};
use crate::segment::part::Part;
use crate::segment::union::Connectivity;
use rayon::prelude::*;
use std::sync::atomic::{AtomicU16, Ordering};

/// The components of a dark phase.
pub(crate) struct Components {
    pub labels: Labels,
    /// Grey of the darkest voxel of each.
    pub darkest: Vec<u16>,
}

/// Finds the components of the voxels of the part that are darker than `dark`.
pub(crate) fn components(grey: &[u16], part: &Part, dark: u16) -> Result<Components, ImagingError> {
    let mut phase = Bits::darker_than(grey, part.shape(), dark)?;
    phase.keep_within(&part.page());
    Components::of(grey, &phase)
}

impl Components {
    fn of(grey: &[u16], phase: &Bits) -> Result<Self, ImagingError> {
        let labels = label(phase, Connectivity::Corners)?;
        let darkest = darkest(grey, &labels);
        Ok(Self { labels, darkest })
    }

    /// Within these, the components of the voxels darker than each one's own level: one may fall
    /// apart.
    pub(crate) fn refine(&self, grey: &[u16], levels: &[u16]) -> Result<Self, ImagingError> {
        let [_, ny, nx] = self.labels.shape();
        let phase = Bits::from_rows(self.labels.shape(), |[z, y], marked| {
            let row = &grey[(z * ny + y) * nx..][..nx];
            for run in self.labels.row(z, y) {
                let (span, level) =
                    (run.start as usize..run.end as usize, levels[run.label as usize]);
                marked[span.clone()].iter_mut().zip(&row[span]).for_each(|(m, &v)| *m = v < level);
            }
        });
        Self::of(grey, &phase)
    }
}

/// The least of all orders is one, so any thread may lower it.
fn darkest(grey: &[u16], labels: &Labels) -> Vec<u16> {
    let [nz, ny, nx] = labels.shape();
    let darkest: Vec<AtomicU16> =
        std::iter::repeat_with(|| AtomicU16::new(u16::MAX)).take(labels.count()).collect();
    (0..nz).into_par_iter().for_each(|z| {
        for y in 0..ny {
            let row = &grey[(z * ny + y) * nx..][..nx];
            for run in labels.row(z, y) {
                let voxels = &row[run.start as usize..run.end as usize];
                let least = voxels.iter().copied().fold(u16::MAX, u16::min);
                let own = &darkest[run.label as usize];
                if least < own.load(Ordering::Relaxed) {
                    own.fetch_min(least, Ordering::Relaxed);
                }
            }
        }
    });
    darkest.into_iter().map(AtomicU16::into_inner).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(dark: &[bool], shape: [usize; 3]) -> Components {
        let grey: Vec<u16> = dark.iter().map(|&d| if d { 1 } else { 9 }).collect();
        components(&grey, &Part::whole(shape), 5).unwrap()
    }

    #[test]
    fn corners_join() {
        let mut dark = vec![false; 27];
        dark[0] = true;
        dark[13] = true;
        dark[2] = false;
        assert_eq!(found(&dark, [3, 3, 3]).labels.count(), 1);
        dark[13] = false;
        dark[26] = true;
        assert_eq!(found(&dark, [3, 3, 3]).labels.count(), 2);
    }

    #[test]
    fn a_component_falls_apart_at_its_own_level() {
        let grey = [9, 1, 4, 2, 9, 4, 3, 9, 4];
        let found = components(&grey, &Part::whole([1, 1, 9]), 5).unwrap();
        assert_eq!(found.darkest, [1, 3, 4]);
        let refined = found.refine(&grey, &[3, 5, 0]).unwrap();
        assert_eq!(refined.darkest, [1, 2, 3]);
        assert_eq!(refined.labels.sizes(), [1, 1, 2]);
    }

    /// Flood fill, to compare.
    fn flood_count(dark: &[bool], [nz, ny, nx]: [usize; 3]) -> usize {
        let mut seen = vec![false; dark.len()];
        let mut count = 0;
        for start in 0..dark.len() {
            if !dark[start] || seen[start] {
                continue;
            }
            count += 1;
            seen[start] = true;
            let mut open = vec![start];
            while let Some(i) = open.pop() {
                let (z, y, x) = (i / (ny * nx), i / nx % ny, i % nx);
                for zz in z.saturating_sub(1)..(z + 2).min(nz) {
                    for yy in y.saturating_sub(1)..(y + 2).min(ny) {
                        for xx in x.saturating_sub(1)..(x + 2).min(nx) {
                            let j = (zz * ny + yy) * nx + xx;
                            if dark[j] && !seen[j] {
                                seen[j] = true;
                                open.push(j);
                            }
                        }
                    }
                }
            }
        }
        count
    }

    proptest! {
        #[test]
        fn as_many_as_flood_fill_finds(dark in prop::collection::vec(prop::bool::weighted(0.12), 6 * 7 * 9)) {
            let shape = [6, 7, 9];
            let labels = found(&dark, shape).labels;
            prop_assert_eq!(labels.count(), flood_count(&dark, shape));
            let voxels: u64 = labels.sizes().iter().sum();
            prop_assert_eq!(voxels as usize, dark.iter().filter(|&&d| d).count());
        }
    }
}

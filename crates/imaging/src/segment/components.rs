//! 26-connected components of the dark phase, by runs.
//!
//! A run is a stretch of dark voxels in a row. Runs of neighbouring rows that overlap or touch at
//! a corner are joined; no label volume is made, all measures come from the runs.

use crate::ImagingError;
use crate::segment::part::Part;
use crate::segment::union::{Connectivity, Runs, Stretch, join};
use std::ops::Range;

/// A stretch of dark voxels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    /// First x.
    pub start: u32,
    /// One past the last x.
    pub end: u32,
    /// Grey of its darkest voxel.
    pub darkest: u16,
}

impl Stretch for Run {
    fn span(&self) -> [u32; 2] {
        [self.start, self.end]
    }
}

/// Runs of a volume with the component each belongs to.
pub(crate) struct Components {
    /// Runs in raster order.
    pub runs: Vec<Run>,
    /// First run of each row (z, y), one more at the end.
    pub rows: Vec<u32>,
    /// Component of each run, numbered from 0 in raster order of first appearance.
    pub labels: Vec<u32>,
    /// Number of components.
    pub count: usize,
}

/// Finds the runs of voxels darker than `dark` and joins them.
pub(crate) fn components(grey: &[u16], part: &Part, dark: u16) -> Result<Components, ImagingError> {
    gather(grey, part, |_, row, span, runs| runs_of_span(row, span, dark, runs))
}

/// Within the components found, the runs of voxels darker than each component's own level, joined
/// anew: a component may fall apart.
pub(crate) fn refine(
    grey: &[u16],
    part: &Part,
    found: &Components,
    level: &[u16],
) -> Result<Components, ImagingError> {
    gather(grey, part, |row_index, row, span, runs| {
        for i in found.rows[row_index] as usize..found.rows[row_index + 1] as usize {
            let (run, level) = (found.runs[i], level[found.labels[i] as usize]);
            if span.contains(&(run.start as usize)) {
                runs_of_span(row, run.start as usize..run.end as usize, level, runs);
            }
        }
    })
}

fn gather(
    grey: &[u16],
    part: &Part,
    find: impl Fn(usize, &[u16], Range<usize>, &mut Vec<Run>) + Sync,
) -> Result<Components, ImagingError> {
    let [nz, ny, nx] = part.shape();
    let Runs { runs, rows } = Runs::gather([nz, ny], |[z, y], runs| {
        let index = z * ny + y;
        let row = &grey[index * nx..][..nx];
        for span in part.spans(y) {
            find(index, row, span.clone(), runs);
        }
    })?;
    let (labels, count) = join(&runs, &rows, ny, Connectivity::Corners);
    Ok(Components { runs, rows, labels, count })
}

fn runs_of_span(row: &[u16], span: Range<usize>, dark: u16, runs: &mut Vec<Run>) {
    let mut x = span.start;
    while x < span.end {
        if row[x] >= dark {
            x += 1;
            continue;
        }
        let start = x;
        let mut darkest = u16::MAX;
        while x < span.end && row[x] < dark {
            darkest = darkest.min(row[x]);
            x += 1;
        }
        runs.push(Run { start: start as u32, end: x as u32, darkest });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn label(dark: &[bool], shape: [usize; 3]) -> Components {
        let grey: Vec<u16> = dark.iter().map(|&d| if d { 1 } else { 9 }).collect();
        components(&grey, &Part::whole(shape), 5).unwrap()
    }

    #[test]
    fn corners_join() {
        let mut dark = vec![false; 27];
        dark[0] = true;
        dark[13] = true;
        dark[2] = false;
        assert_eq!(label(&dark, [3, 3, 3]).count, 1);
        dark[13] = false;
        dark[26] = true;
        assert_eq!(label(&dark, [3, 3, 3]).count, 2);
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
            let found = label(&dark, shape);
            prop_assert_eq!(found.count, flood_count(&dark, shape));
            let voxels: u32 = found.runs.iter().map(|r| r.end - r.start).sum();
            prop_assert_eq!(voxels as usize, dark.iter().filter(|&&d| d).count());
        }
    }
}

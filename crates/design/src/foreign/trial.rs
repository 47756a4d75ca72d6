//! The trial: how many foreign scans of each kind a model flags.

use super::{Foreign, ForeignScan, Subset, draw};
use crate::DesignError;
use microdiff_diffusion::Model;
use microdiff_diffusion::rows::Row;
use microdiff_imaging::{AnalysisOptions, Scan, analyze};
use rayon::prelude::*;
use serde::Serialize;

/// What a model makes of ordinary and of foreign scans.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trial {
    /// Ordinary simulated scans judged.
    pub ordinary: usize,
    /// Of them, flagged.
    pub false_alarms: usize,
    /// What became of each foreign kind.
    pub outcomes: Vec<Outcome>,
}

/// What became of the scans of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The kind.
    pub kind: Foreign,
    /// Whether the model was shown scans of this kind, others than these.
    pub shown: bool,
    /// All of its scans.
    pub all: Counts,
    /// Those of each of its [`Foreign::subsets`].
    pub subsets: Vec<SubsetCounts>,
}

/// What became of the scans of a subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SubsetCounts {
    /// The subset.
    pub subset: Subset,
    /// Its scans.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What became of some scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Scans drawn.
    pub scans: usize,
    /// Flagged as out of distribution.
    pub flagged: usize,
    /// Refused by the analysis with an error, and so never answered.
    pub refused: usize,
}

impl Counts {
    fn of<'a>(scans: impl Iterator<Item = &'a Judged>) -> Self {
        let mut counts = Self::default();
        for scan in scans {
            counts.scans += 1;
            match scan.verdict {
                Verdict::Refused => counts.refused += 1,
                Verdict::Flagged => counts.flagged += 1,
                Verdict::Passed => {}
            }
        }
        counts
    }
}

/// What became of one scan.
#[derive(Clone, Copy)]
enum Verdict {
    Refused,
    Flagged,
    Passed,
}

/// Judges ordinary rows; draws, measures and judges `count` scans of every foreign kind.
pub(crate) fn run(
    model: &Model,
    rows: &[Row],
    (count, seed): (usize, u64),
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Trial, DesignError> {
    let mut false_alarms = 0;
    for row in rows {
        let appearance = row.appearance.as_ref();
        let seen = model.out_of_distribution(row.process, &row.descriptors, appearance)?;
        false_alarms += usize::from(seen.flagged);
    }
    let mut outcomes = Vec::with_capacity(Foreign::TRIED.len());
    for kind in Foreign::TRIED {
        let one = |index: usize| judge(model, draw(kind, index, seed)?);
        let judged: Result<Vec<Judged>, DesignError> =
            (0..count).into_par_iter().map(one).collect();
        let judged = judged?;
        let of_subset = |&subset: &Subset| {
            let scans = judged.iter().filter(|scan| scan.subsets.contains(&subset));
            SubsetCounts { subset, counts: Counts::of(scans) }
        };
        outcomes.push(Outcome {
            kind,
            shown: kind.is_shown(),
            all: Counts::of(judged.iter()),
            subsets: kind.subsets().iter().map(of_subset).collect(),
        });
        progress(outcomes.len(), Foreign::TRIED.len());
    }
    Ok(Trial { ordinary: rows.len(), false_alarms, outcomes })
}

/// A scan's verdict, and what it shows.
struct Judged {
    verdict: Verdict,
    subsets: Vec<Subset>,
}

fn judge(model: &Model, foreign: ForeignScan) -> Result<Judged, DesignError> {
    let ForeignScan { process, voxels, voxel_size, mut subsets } = foreign;
    let scan = Scan::in_memory(voxels, Some(voxel_size));
    let Ok(analysis) = analyze(&scan, voxel_size, &AnalysisOptions::default(), &mut ()) else {
        return Ok(Judged { verdict: Verdict::Refused, subsets });
    };
    if analysis.porosity >= Subset::POROUS {
        subsets.push(Subset::Porous);
    }
    let (descriptors, appearance) = (&analysis.descriptors, &analysis.appearance);
    let seen = model.out_of_distribution(process, descriptors, Some(appearance))?;
    let verdict = if seen.flagged { Verdict::Flagged } else { Verdict::Passed };
    Ok(Judged { verdict, subsets })
}

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
    fn add(&mut self, verdict: Verdict) {
        self.scans += 1;
        match verdict {
            Verdict::Refused => self.refused += 1,
            Verdict::Flagged => self.flagged += 1,
            Verdict::Passed => {}
        }
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
        let one = |index: usize| judge(model, &draw(kind, index, seed)?);
        let judged: Result<Vec<Judged>, DesignError> =
            (0..count).into_par_iter().map(one).collect();
        let judged = judged?;
        let counts = |counted: &dyn Fn(&Judged) -> bool| {
            let mut counts = Counts::default();
            judged.iter().filter(|scan| counted(scan)).for_each(|scan| counts.add(scan.verdict));
            counts
        };
        let of_subset = |subset: &Subset| SubsetCounts {
            subset: *subset,
            counts: counts(&|scan| scan.is_of(*subset)),
        };
        outcomes.push(Outcome {
            kind,
            shown: kind.is_shown(),
            all: counts(&|_| true),
            subsets: kind.subsets().iter().map(of_subset).collect(),
        });
        progress(outcomes.len(), Foreign::TRIED.len());
    }
    Ok(Trial { ordinary: rows.len(), false_alarms, outcomes })
}

/// A scan with its verdict.
struct Judged {
    verdict: Verdict,
    ordinary_size: bool,
    two_tracks: bool,
    /// As the analysis finds it, where it does.
    porosity: f64,
}

impl Judged {
    fn is_of(&self, subset: Subset) -> bool {
        match subset {
            Subset::OrdinarySize => self.ordinary_size,
            Subset::TwoTracks => self.two_tracks,
            Subset::Porous => self.porosity >= Subset::POROUS,
        }
    }
}

fn judge(model: &Model, foreign: &ForeignScan) -> Result<Judged, DesignError> {
    let scan = Scan::in_memory(foreign.voxels.clone(), Some(foreign.voxel_size));
    let options = AnalysisOptions::default();
    let &ForeignScan { ordinary_size, two_tracks, .. } = foreign;
    let judged = |verdict, porosity| Judged { verdict, ordinary_size, two_tracks, porosity };
    let Ok(analysis) = analyze(&scan, foreign.voxel_size, &options, &mut ()) else {
        return Ok(judged(Verdict::Refused, 0.0));
    };
    let (descriptors, appearance) = (&analysis.descriptors, &analysis.appearance);
    let seen = model.out_of_distribution(foreign.process, descriptors, Some(appearance))?;
    let verdict = if seen.flagged { Verdict::Flagged } else { Verdict::Passed };
    Ok(judged(verdict, analysis.porosity))
}

//! The trial: how many foreign scans of each kind a model flags.

use super::{Foreign, ForeignScan, draw};
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The kind.
    pub kind: Foreign,
    /// Whether the model was shown scans of this kind, others than these.
    pub shown: bool,
    /// All of its scans.
    pub all: Counts,
    /// Those of its [`Foreign::subset`].
    pub subset: Option<Counts>,
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
        let one = |index: usize| {
            let scan = draw(kind, index, seed)?;
            Ok((judge(model, &scan)?, scan.in_subset))
        };
        let verdicts: Result<Vec<(Verdict, bool)>, DesignError> =
            (0..count).into_par_iter().map(one).collect();
        let (mut all, mut subset) = (Counts::default(), Counts::default());
        for (verdict, in_subset) in verdicts? {
            all.add(verdict);
            if in_subset {
                subset.add(verdict);
            }
        }
        let subset = kind.subset().map(|_| subset);
        let outcome = Outcome { kind, shown: kind.is_shown(), all, subset };
        outcomes.push(outcome);
        progress(outcomes.len(), Foreign::TRIED.len());
    }
    Ok(Trial { ordinary: rows.len(), false_alarms, outcomes })
}

fn judge(model: &Model, foreign: &ForeignScan) -> Result<Verdict, DesignError> {
    let scan = Scan::in_memory(foreign.voxels.clone(), Some(foreign.voxel_size));
    let options = AnalysisOptions::default();
    let Ok(analysis) = analyze(&scan, foreign.voxel_size, &options, &mut ()) else {
        return Ok(Verdict::Refused);
    };
    let (descriptors, appearance) = (&analysis.descriptors, &analysis.appearance);
    let seen = model.out_of_distribution(foreign.process, descriptors, Some(appearance))?;
    Ok(if seen.flagged { Verdict::Flagged } else { Verdict::Passed })
}

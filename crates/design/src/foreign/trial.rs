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
    /// Scans drawn.
    pub scans: usize,
    /// Flagged as out of distribution.
    pub flagged: usize,
    /// Refused by the analysis with an error, and so never answered.
    pub refused: usize,
}

/// What became of one scan.
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
    let mut outcomes = Vec::with_capacity(Foreign::ALL.len());
    for kind in Foreign::ALL {
        let verdicts: Result<Vec<Verdict>, DesignError> = (0..count)
            .into_par_iter()
            .map(|index| judge(model, &draw(kind, index, seed)?))
            .collect();
        let mut outcome = Outcome { kind, scans: count, flagged: 0, refused: 0 };
        for verdict in verdicts? {
            match verdict {
                Verdict::Refused => outcome.refused += 1,
                Verdict::Flagged => outcome.flagged += 1,
                Verdict::Passed => {}
            }
        }
        outcomes.push(outcome);
        progress(outcomes.len(), Foreign::ALL.len());
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

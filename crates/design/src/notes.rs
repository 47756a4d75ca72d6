//! What a reader must know before using the numbers, in plain sentences.

use crate::document::{DefectProbabilities, Marginals, OutOfDistributionSummary};
use crate::predictive::PredictiveSummary;
use microdiff_diffusion::Quantiles;
use microdiff_domain::{Alloy, KnownParameters, Parameter, Process};

/// Share of the prior's 90 % interval below which a parameter counts as narrowed by the scan.
const NARROWED: f64 = 0.8;

/// Share of the prior range within which a median counts as lying at its edge.
const EDGE: f64 = 0.05;

/// What the notes are about.
pub(crate) struct Findings<'a> {
    pub process: Process,
    pub alloy: Alloy,
    pub known: &'a KnownParameters,
    pub posterior: &'a Marginals,
    pub prior: &'a Marginals,
    pub defects: &'a DefectProbabilities,
    pub out_of_distribution: &'a OutOfDistributionSummary,
    pub predictive: Option<&'a PredictiveSummary>,
}

/// The notes, most important first.
pub(crate) fn notes(findings: &Findings<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if findings.out_of_distribution.flagged {
        notes.push(
            "This scan does not resemble the simulated scans the model learnt from: do not use \
             the posterior."
                .to_owned(),
        );
    }
    if !findings.process.is_validated() {
        notes.push(format!(
            "Unvalidated: no measured {} part or track stands behind this model; read every number \
             as the simulator's guess.",
            findings.process
        ));
    }
    notes.extend(unpredicted(findings));
    if findings.defects.dense > 0.5 {
        notes.push(
            "The part reads as dense: the scan only tells that its settings made no process \
             porosity. The posterior is the prior inside that window, not a measurement of the \
             settings."
                .to_owned(),
        );
    }
    notes.extend(uninformed(findings));
    notes.extend(railed(findings));
    if findings.alloy == Alloy::AlSi10Mg {
        notes.push(
            "The melt-pool law was fitted without AlSi10Mg; its simulator is unvalidated."
                .to_owned(),
        );
    }
    notes
}

/// What was measured and the posterior does not predict.
fn unpredicted(findings: &Findings<'_>) -> Option<String> {
    let check = findings.predictive.filter(|check| check.flagged)?;
    let worst = check.observables.iter().min_by(|a, b| a.p_value.total_cmp(&b.p_value))?;
    Some(format!(
        "The settings of the posterior do not predict the measured {} (p = {:.3} among simulated \
         scans): check voxel size, alloy and what was given as known.",
        worst.name.name().replace('_', " "),
        check.p_value
    ))
}

fn width(quantiles: Quantiles) -> f64 {
    quantiles.p95 - quantiles.p05
}

/// Parameters the scan says next to nothing about.
fn uninformed(findings: &Findings<'_>) -> Option<String> {
    let names: Vec<String> = Parameter::ALL
        .into_iter()
        .filter(|&parameter| findings.known.get(parameter).is_none())
        .filter(|&parameter| {
            width(findings.posterior.get(parameter))
                > NARROWED * width(findings.prior.get(parameter))
        })
        .map(|parameter| parameter.name().replace('_', " "))
        .collect();
    (!names.is_empty())
        .then(|| format!("The scan hardly narrows {}: read the prior there.", names.join(", ")))
}

/// Parameters whose posterior leans against a bound of the prior.
fn railed(findings: &Findings<'_>) -> Vec<String> {
    let leaning = |parameter: &Parameter| {
        let range = parameter.range(findings.process, findings.alloy);
        let unit = range.to_unit(findings.posterior.get(*parameter).median);
        findings.known.get(*parameter).is_none() && !(EDGE..=1.0 - EDGE).contains(&unit)
    };
    Parameter::ALL
        .into_iter()
        .filter(leaning)
        .map(|parameter| {
            let range = parameter.range(findings.process, findings.alloy);
            format!(
                "The posterior of {} leans against the edge of the prior ({} to {} {}): the true \
                 value may lie outside.",
                parameter.name().replace('_', " "),
                range.low,
                range.high,
                parameter.unit()
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::OutOfDistributionSummary;

    fn marginals(width: f64) -> Marginals {
        Marginals::from_array(Parameter::ALL.map(|parameter| {
            let range = parameter.range(Process::Lpbf, Alloy::Ti6Al4V);
            let at = |unit: f64| range.from_unit(0.5 + width * (unit - 0.5));
            Quantiles {
                median: at(0.5),
                p05: at(0.05),
                p25: at(0.25),
                p75: at(0.75),
                p95: at(0.95),
            }
        }))
    }

    /// What `hear` says of a scan with this posterior.
    fn heard<T>(
        posterior: &Marginals,
        (process, dense, flagged): (Process, f64, bool),
        hear: impl FnOnce(&Findings<'_>) -> T,
    ) -> T {
        hear(&Findings {
            process,
            alloy: Alloy::Ti6Al4V,
            known: &KnownParameters::NONE,
            posterior,
            prior: &marginals(1.0),
            defects: &DefectProbabilities::from_array([dense, 1.0 - dense, 0.0, 0.0]),
            out_of_distribution: &OutOfDistributionSummary { score: 1.0, p_value: 0.5, flagged },
            predictive: None,
        })
    }

    fn notes_for(dense: f64, flagged: bool, width: f64) -> String {
        heard(&marginals(width), (Process::Lpbf, dense, flagged), notes).join("\n")
    }

    #[test]
    fn a_dense_part_is_said_to_return_the_prior() {
        assert!(notes_for(0.9, false, 1.0).contains("posterior is the prior"));
        assert!(!notes_for(0.1, false, 0.2).contains("posterior is the prior"));
    }

    #[test]
    fn a_flag_comes_first() {
        assert!(notes_for(0.9, true, 1.0).starts_with("This scan does not resemble"));
    }

    #[test]
    fn a_narrow_posterior_needs_no_warning() {
        assert!(notes_for(0.1, false, 1.0).contains("hardly narrows laser power, scan speed"));
        assert_eq!(notes_for(0.1, false, 0.2), "");
    }

    #[test]
    fn what_nothing_measured_supports_is_said_first() {
        let notes = heard(&marginals(0.2), (Process::Ded, 0.0, false), notes);
        assert!(notes[0].starts_with("Unvalidated: no measured ded part"));
    }

    #[test]
    fn a_posterior_at_the_bound_is_pointed_out() {
        let mut posterior = marginals(0.2);
        posterior.hatch_spacing_um.median = 199.0;
        let text = heard(&posterior, (Process::Lpbf, 0.0, false), railed);
        assert_eq!(text.len(), 1);
        assert!(text[0].contains("hatch spacing") && text[0].contains("50 to 200 um"));
    }
}

//! The readable answer of `microdiff design`: what was found, each marginal against its prior, and
//! what must be known before using it.

use super::{histogram, mark};
use crate::output::six_digits;
use microdiff_design::{AnalysisSummary, Design, DesignDocument};
use microdiff_domain::{DefectClass, PARAMETER_COUNT, Parameter, Scale};
use std::fmt::Write;

const BINS: usize = 48;

/// Renders the report.
pub fn render(design: &Design) -> String {
    let document = &design.document;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_head(&mut text, document);
    for parameter in Parameter::ALL {
        let _ = write_marginal(&mut text, design, parameter);
    }
    let _ = write_tail(&mut text, document);
    text
}

fn write_head(text: &mut String, document: &DesignDocument) -> std::fmt::Result {
    let scan = &document.scan;
    let [z, y, x] = scan.shape;
    writeln!(
        text,
        "Scan      {z} x {y} x {x} voxels (z,y,x) of {} um ({})",
        six_digits(scan.voxel_size_um),
        scan.voxel_size_source
    )?;
    writeln!(text, "          sha256 {}", scan.sha256)?;
    let process = document.request.process;
    let mark = mark(process);
    let machine = document.request.machine.map_or(String::new(), |name| format!(", on {name}"));
    writeln!(text, "Alloy     {}, {process}{mark}{machine}", document.request.alloy)?;
    write_analysis(text, &document.analysis)?;
    write!(text, "Defects   ")?;
    for class in DefectClass::ALL {
        let share = 100.0 * document.defects.get(class);
        write!(text, "{} {share:.0} %   ", class.name().replace('_', " "))?;
    }
    writeln!(text, "\n")?;
    writeln!(
        text,
        "Posterior over process parameters: {} draws, seed {}, model {} ({})\n",
        document.request.samples,
        document.seed,
        document.model.name,
        &document.model.digest.get(..12).unwrap_or(&document.model.digest)
    )
}

fn write_analysis(text: &mut String, analysis: &AnalysisSummary) -> std::fmt::Result {
    writeln!(
        text,
        "Porosity  {:.3} % ({:.3} to {:.3} % as the threshold moves), {} pores above {:.0} um",
        100.0 * analysis.porosity,
        100.0 * analysis.porosity_low,
        100.0 * analysis.porosity_high,
        analysis.pore_count,
        analysis.detection_floor_um,
    )?;
    if let (Some(median), Some(max)) =
        (analysis.median_equivalent_diameter_um, analysis.max_equivalent_diameter_um)
    {
        writeln!(
            text,
            "          equivalent diameter: median {median:.0} um, largest {max:.0} um"
        )?;
    }
    let period = |value: Option<f64>| {
        value.map_or_else(|| "none stands out".to_owned(), |um| format!("{um:.0} um"))
    };
    writeln!(
        text,
        "Periods   along the build direction: {}; within layers: {}",
        period(analysis.layer_period_um),
        period(analysis.hatch_period_um)
    )
}

fn write_marginal(text: &mut String, design: &Design, parameter: Parameter) -> std::fmt::Result {
    let document = &design.document;
    let unit = parameter.unit();
    let name = parameter.name().replace('_', " ");
    if let Some(value) = document.request.known.get(parameter.key()) {
        return writeln!(text, "{name:<17} {value} {unit}, given as known\n");
    }
    let quantiles = document.posterior.get(parameter);
    let range = parameter.range(document.request.process, document.request.alloy);
    let units = |draws: &[[f64; PARAMETER_COUNT]]| {
        histogram::shares(draws.iter().map(|draw| range.to_unit(draw[parameter.index()])), BINS)
    };
    let (posterior, prior) = (units(&design.draws), units(&design.prior_draws));
    let full_scale = posterior.iter().chain(&prior).copied().fold(f64::MIN_POSITIVE, f64::max);
    writeln!(
        text,
        "{name:<17} {:.0} {unit}   50 %: {:.0} to {:.0}   90 %: {:.0} to {:.0}",
        quantiles.median, quantiles.p25, quantiles.p75, quantiles.p05, quantiles.p95
    )?;
    writeln!(text, "  scan  |{}|", histogram::bars(&posterior, full_scale))?;
    writeln!(text, "  prior |{}|", histogram::bars(&prior, full_scale))?;
    let scale = if range.scale == Scale::Log { "log scale" } else { "" };
    writeln!(text, "         {:<19}{scale:^10}{:>19}\n", range.low, range.high)
}

fn write_tail(text: &mut String, document: &DesignDocument) -> std::fmt::Result {
    let strange = &document.out_of_distribution;
    writeln!(
        text,
        "Out of distribution: {} (score {:.2}; {:.1} % of simulated scans are as strange)",
        if strange.flagged { "YES" } else { "no" },
        strange.score,
        100.0 * strange.p_value
    )?;
    if let (Some(machine), Some(share)) = (document.request.machine, document.quality.redrawn) {
        let share = 100.0 * share;
        writeln!(
            text,
            "Machine: {share:.1} % of the draws lay outside {machine} and were drawn again"
        )?;
    }
    if let Some(check) = &document.quality.predictive {
        let names: Vec<String> =
            check.observables.iter().map(|o| o.name.name().replace('_', " ")).collect();
        writeln!(
            text,
            "Predictive check: {} (p = {:.2} among simulated scans, from {})",
            if check.flagged { "the posterior does NOT predict this scan" } else { "passed" },
            check.p_value,
            names.join(", ")
        )?;
    }
    for note in &document.notes {
        writeln!(text, "* {note}")?;
    }
    writeln!(text, "* {}", document.basis)?;
    let total = document.timings_ms.get("total").copied().unwrap_or(0.0);
    writeln!(text, "Answered in {:.1} s", total / 1000.0)
}

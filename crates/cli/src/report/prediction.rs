//! The readable answer of `microdiff predict`.

use crate::commands::predict::PredictionDocument;
use microdiff_process::predict::{Interval, Validity};
use std::fmt::Write;

/// Renders the report.
pub fn render(document: &PredictionDocument) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut text, document);
    let _ = write_answer(&mut text, document);
    for note in &document.notes {
        let _ = writeln!(text, "* {note}");
    }
    let _ = writeln!(text, "* {}", document.basis);
    text
}

fn write_request(text: &mut String, document: &PredictionDocument) -> std::fmt::Result {
    let request = &document.request;
    let given = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "not given".to_owned(), |value| format!("{value} {unit}"))
    };
    write!(text, "Setting    {}, {}", request.alloy, request.process)?;
    if let Some(machine) = request.machine {
        write!(text, ", {machine}")?;
    }
    let mark = match document.validity {
        Validity::Tracks => "",
        Validity::Unvalidated => "   UNVALIDATED",
    };
    writeln!(text, "{mark}")?;
    writeln!(
        text,
        "           power {}, speed {}, spot {}",
        given(request.laser_power_w, "W"),
        given(request.scan_speed_mm_s, "mm/s"),
        given(request.spot_um, "um")
    )?;
    writeln!(
        text,
        "           layer {}, hatch {}, bed {} C\n",
        given(request.layer_thickness_um, "um"),
        given(request.hatch_spacing_um, "um"),
        request.bed_temperature_c
    )
}

fn write_answer(text: &mut String, document: &PredictionDocument) -> std::fmt::Result {
    let answer = &document.answer;
    write_interval(text, ("Width", "um", 0), Some(&answer.width_um))?;
    write_interval(text, ("Depth", "um", 0), Some(&answer.depth_um))?;
    write_interval(text, ("Density", "%", 2), answer.relative_density_pct.as_ref())?;
    let percent = |part: f64| format!("{:.0} %", 100.0 * part);
    let [lacking, balling] = [answer.p_lack_of_fusion, answer.p_balling]
        .map(|part| part.map_or_else(|| "not known".to_owned(), percent));
    writeln!(
        text,
        "Defects    lack of fusion {lacking}   keyhole pores {}   balling {balling}",
        percent(answer.p_keyhole)
    )?;
    writeln!(
        text,
        "Cooling    {:.1e} K/s, spacing {:.2} um",
        answer.cooling_rate_k_s, answer.spacing_um
    )?;
    write_interval(text, ("Yield", "MPa", 0), answer.yield_mpa.as_ref())?;
    write_interval(text, ("Elongation", "%", 0), answer.elongation_pct.as_ref())?;
    writeln!(text)
}

fn write_interval(
    text: &mut String,
    (name, unit, decimals): (&str, &str, usize),
    interval: Option<&Interval>,
) -> std::fmt::Result {
    match interval {
        Some(Interval { p05, p50, p95 }) => writeln!(
            text,
            "{name:<11}{p50:.decimals$} {unit}   90 %: {p05:.decimals$} to {p95:.decimals$}"
        ),
        None => writeln!(text, "{name:<11}not known"),
    }
}

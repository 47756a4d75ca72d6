//! The readable answer of `microdiff design --target`.

use crate::commands::target::{CandidateDocument, Ranges, TargetDocument};
use microdiff_domain::Parameter;
use microdiff_process::predict::{Prediction, Support, Validity};
use microdiff_process::target::{Outcome, Property, SEARCHED};
use std::fmt::Write;

/// Widest line.
const COLUMNS: usize = 100;
/// What stands before a continued line of the head.
const INDENT: &str = "           ";

/// Renders the report.
pub fn render(document: &TargetDocument) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_request(&mut text, document);
    let _ = write_outcome(&mut text, document);
    let _ = write_window(&mut text, document);
    let _ = write_candidates(&mut text, document);
    for note in &document.notes {
        write_note(&mut text, note);
    }
    let fitted = document.fitted_tracks.as_ref().map_or_else(String::new, |fitted| {
        let (all, own, alloy) = (fitted.all, fitted.of_alloy, document.request.alloy);
        format!(" The law was fitted on {all} tracks, {own} of them of {alloy}.")
    });
    write_note(&mut text, &format!("{}{fitted}", document.basis));
    write_note(&mut text, document.method);
    text
}

fn write_request(text: &mut String, document: &TargetDocument) -> std::fmt::Result {
    let request = &document.request;
    let bounds: Vec<String> = request.target.iter().map(ToString::to_string).collect();
    write_list(text, "Target     ", INDENT, &bounds);
    write!(text, "For        {}, {}", request.alloy, request.process)?;
    if let Some(machine) = request.machine {
        write!(text, ", {machine}")?;
    }
    let spot = request.spot_um.map_or_else(|| "not given".to_owned(), |spot| format!("{spot} um"));
    write!(text, ": spot {spot}")?;
    if let Some(bed) = request.bed_temperature_c {
        write!(text, ", bed {bed} C")?;
    }
    let mark = match document.validity {
        Validity::Tracks => "",
        Validity::Unvalidated => "   UNVALIDATED",
    };
    writeln!(text, "{mark}")?;
    let mut searched = ranges(&document.searched);
    let settings = if document.tried == 1 { "setting" } else { "settings" };
    searched.push(format!("{} {settings} tried", document.tried));
    searched.push(format!("seed {}", request.seed));
    write_list(text, "Searched   ", INDENT, &searched);
    Ok(())
}

fn write_outcome(text: &mut String, document: &TargetDocument) -> std::fmt::Result {
    let (from, best) = (document.reached_from, document.best.probability);
    match document.outcome {
        Outcome::Reached => writeln!(
            text,
            "Outcome    reached: every bound is kept with a probability of up to {best:.2}"
        )?,
        Outcome::Uncertain => writeln!(
            text,
            "Outcome    NOT REACHED with a probability of {from:.2} by any setting tried; the best has \
             {best:.2}"
        )?,
        Outcome::OutOfReach => {
            writeln!(text, "Outcome    OUT OF REACH: the best setting tried has {best:.2}")?;
        }
    }
    writeln!(text, "{INDENT}{:<36}at the best setting   alone, at most", "probability of")?;
    for bound in &document.bounds {
        writeln!(
            text,
            "{INDENT}{:<36}{:>10.2}{:>21.2}{}",
            bound.at_best.bound.to_string(),
            bound.at_best.probability,
            bound.most_alone,
            if bound.binds { "   binds" } else { "" }
        )?;
    }
    if document.outcome != Outcome::Reached {
        let mut best = vec![setting(&document.best)];
        best.extend(predicted(document, &document.best));
        write_list(text, "Closest    ", INDENT, &best);
    }
    if let (Some(usual), Some(machine)) = (&document.usual, document.request.machine) {
        let (usual_setting, probability) = (setting(usual), usual.probability);
        writeln!(text, "Usual      {machine}: {usual_setting}: probability {probability:.2}")?;
    }
    Ok(())
}

fn write_window(text: &mut String, document: &TargetDocument) -> std::fmt::Result {
    let (window, level) = (&document.window, document.level);
    match &window.ranges {
        Some(found) => {
            let share = 100.0 * window.share;
            let head = format!(
                "Window     {share:.1} % of the settings spread over it all have {level:.2} or more; they \
                 lie in"
            );
            writeln!(text, "{head}")?;
            let mut parts = ranges(found);
            if window.share < 1.0 {
                parts.push("where not every combination will do".to_owned());
            }
            write_list(text, INDENT, INDENT, &parts);
        }
        None => writeln!(
            text,
            "Window     none of the settings spread over it all has {level:.2} or more"
        )?,
    }
    writeln!(text)
}

fn write_candidates(text: &mut String, document: &TargetDocument) -> std::fmt::Result {
    if document.candidates.is_empty() {
        return Ok(());
    }
    writeln!(
        text,
        "Settings with a probability of {:.2} or more, ranked by probability (in steps of 0.05),\n\
         evidence, margin\n",
        document.level
    )?;
    writeln!(
        text,
        "       power  speed  layer  hatch  prob.  margin  build   evidence: tracks      usual"
    )?;
    let alloy = document.request.alloy.name();
    writeln!(
        text,
        "       W      mm/s   um     um                    cm3/h   {alloy:<11}others     setting"
    )?;
    for (index, candidate) in document.candidates.iter().enumerate() {
        let [power, speed, layer, hatch] = candidate.candidate.place();
        writeln!(
            text,
            "{:>3}    {power:<7}{speed:<7}{layer:<7}{hatch:<7}{:<7.2}{:<8.2}{:<8.1}{}",
            index + 1,
            candidate.probability,
            candidate.margin,
            candidate.build_rate_cm3_h,
            [evidence(candidate), from_usual(candidate)].concat().trim_end(),
        )?;
        if let Some(window) = &candidate.window {
            write_list(text, "       alone: ", "              ", &ranges(window));
        }
        write_list(text, "       ", "       ", &predicted(document, candidate));
    }
    writeln!(text)
}

fn evidence(candidate: &CandidateDocument) -> String {
    let evidence = &candidate.evidence;
    match evidence.support {
        Support::Unvalidated => format!("{:<22}", "unvalidated"),
        Support::Tracks | Support::OtherAlloys => {
            format!("{:<11}{:<11}", evidence.tracks_of_alloy, evidence.tracks_of_others)
        }
        Support::Beyond => format!("{:<22}", "beyond the tracks"),
        Support::Balls => format!("{:<22}", "none: tracks ball"),
    }
}

fn from_usual(candidate: &CandidateDocument) -> String {
    candidate
        .candidate
        .from_usual
        .map_or_else(String::new, |from| format!("{} x {:.1}", short(from.parameter), from.ratio))
}

fn short(parameter: Parameter) -> &'static str {
    match parameter {
        Parameter::LaserPower => "power",
        Parameter::ScanSpeed => "speed",
        Parameter::LayerThickness => "layer",
        Parameter::HatchSpacing => "hatch",
        Parameter::BedTemperature => "bed",
    }
}

/// Power, speed, layer and hatch in words.
fn setting(candidate: &CandidateDocument) -> String {
    let [power, speed, layer, hatch] = candidate.candidate.place();
    format!("{power} W, {speed} mm/s, layer {layer} um, hatch {hatch} um")
}

/// What is predicted of the properties that are bounded, and the defects.
fn predicted(document: &TargetDocument, candidate: &CandidateDocument) -> Vec<String> {
    let prediction = &candidate.candidate.prediction;
    let mut properties: Vec<Property> = Vec::new();
    for bound in &document.request.target {
        if !properties.contains(&bound.property) && bound.property != Property::BuildRate {
            properties.push(bound.property);
        }
    }
    let defects = [Property::LackOfFusion, Property::Keyhole, Property::Balling];
    properties.extend(defects.into_iter().filter(|defect| !document.has_bound_on(*defect)));
    properties.iter().filter_map(|property| shown(*property, prediction)).collect()
}

fn shown(property: Property, prediction: &Prediction) -> Option<String> {
    let name = property.name().replace('_', " ");
    let unit = property.unit();
    let [p05, p50, p95] = property.interval(prediction)?;
    let decimals = match property {
        Property::RelativeDensity | Property::Spacing => 2,
        _ => 0,
    };
    Some(match property {
        Property::LackOfFusion | Property::Keyhole | Property::Balling => {
            format!("{} {:.0} %", name.trim_start_matches("p "), 100.0 * p50)
        }
        Property::CoolingRate => format!("{name} {p50:.1e} {unit}"),
        _ if property.is_interval() => {
            format!("{name} {p50:.decimals$} {unit} ({p05:.decimals$} to {p95:.decimals$})")
        }
        _ => format!("{name} {p50:.decimals$} {unit}"),
    })
}

/// "power 60 to 400 W", or one value where it is known.
fn ranges(Ranges(ranges): &Ranges) -> Vec<String> {
    let one = |(parameter, [low, high]): (Parameter, &[f64; 2])| {
        let (name, unit) = (short(parameter), parameter.unit());
        match low == high {
            true => format!("{name} {low} {unit}"),
            false => format!("{name} {low} to {high} {unit}"),
        }
    };
    SEARCHED.into_iter().zip(ranges).map(one).collect()
}

/// Parts with commas between, broken only after one.
fn write_list(text: &mut String, first: &str, rest: &str, parts: &[String]) {
    let count = parts.len();
    let comma = |(index, part): (usize, &String)| {
        if index + 1 < count { format!("{part},") } else { part.clone() }
    };
    write_wrapped(text, first, rest, parts.iter().enumerate().map(comma));
}

fn write_note(text: &mut String, note: &str) {
    write_wrapped(text, "* ", "  ", note.split(' ').map(str::to_owned));
}

fn write_wrapped(text: &mut String, first: &str, rest: &str, parts: impl Iterator<Item = String>) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for part in parts {
        if !is_empty && line.chars().count() + 1 + part.chars().count() > COLUMNS {
            *text += line.trim_end();
            text.push('\n');
            line = rest.to_owned();
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line += &part;
        is_empty = false;
    }
    *text += line.trim_end();
    text.push('\n');
}

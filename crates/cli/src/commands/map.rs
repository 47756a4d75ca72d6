//! `microdiff map`: the plane of power and speed with its defects, the machine and the posterior.

use crate::args::MapArgs;
use crate::csv_table::CsvTable;
use crate::failure::Failure;
use crate::plot::process_map::{Region, Scene, render};
use crate::plot::{self, region};
use microdiff_design::DesignDocument;
use microdiff_domain::{Alloy, Machine, Parameter, Process};
use microdiff_process::predict::map::{Plane, process_map};
use microdiff_process::predict::{Predictor, Setting};
use std::path::Path;

pub fn run(args: &MapArgs) -> Result<(), Failure> {
    plot::kind(&args.output)?;
    let process = super::predict::process(args.process, args.machine)?;
    let setting = Setting {
        spot_um: args.spot,
        layer_um: Some(args.layer_thickness),
        hatch_um: Some(args.hatch_spacing),
        bed_c: args.bed_temperature,
        ..Setting::default()
    }
    .with_usual(args.alloy, process, args.machine);
    let plane = plane(args.alloy, process, args.machine);
    let posterior = posterior(args, plane)?;
    let map = process_map(&Predictor::new(args.seed), (args.alloy, process), &setting, plane)
        .map_err(Failure::usage)?;
    // A usual power and speed means nothing with another layer or hatch.
    let alike = |usual: f64, asked: f64| (usual / asked - 1.0).abs() <= 0.1;
    let usual = args.machine.and_then(|machine| machine.usual(args.alloy)).filter(|usual| {
        alike(usual.layer_um, args.layer_thickness) && alike(usual.hatch_um, args.hatch_spacing)
    });
    let scene = Scene {
        map: &map,
        title: title(args.alloy, process, args.machine),
        subtitle: subtitle(&setting),
        machine: args.machine.map(|machine| (machine.name(), limits(machine))),
        usual: usual.map(|usual| [usual.speed_mm_s, usual.power_w]),
        region: posterior,
        marks: Vec::new(),
    };
    plot::write(&args.output, &render(&scene))
}

pub(super) fn title(alloy: Alloy, process: Process, machine: Option<Machine>) -> String {
    let on = machine.map_or_else(String::new, |machine| format!(", {machine}"));
    format!("Process map of {alloy}, {process}{on}")
}

pub(super) fn subtitle(setting: &Setting) -> String {
    let length = |value: Option<f64>| {
        value.map_or_else(|| "not given".to_owned(), |value| format!("{value} um"))
    };
    format!(
        "spot {}, layer {}, hatch {}, bed {}",
        length(setting.spot_um),
        length(setting.layer_um),
        length(setting.hatch_um),
        setting.bed_c.map_or_else(|| "not given".to_owned(), |bed| format!("{bed} C"))
    )
}

pub(super) fn limits(machine: Machine) -> Plane {
    let limits = machine.limits();
    Plane { speed_mm_s: limits.speed_mm_s, power_w: limits.power_w }
}

/// What is worth looking at: the settings the process is run with, and a margin beyond the
/// machine's power.
pub(super) fn plane(alloy: Alloy, process: Process, machine: Option<Machine>) -> Plane {
    let range = |parameter: Parameter| {
        let range = parameter.range(process, alloy);
        [range.low, range.high]
    };
    let speed_mm_s = range(Parameter::ScanSpeed);
    let [weakest, strongest] = range(Parameter::LaserPower);
    let machine = machine.map_or(0.0, |machine| machine.limits().power_w[1]);
    Plane { speed_mm_s, power_w: [weakest, strongest.max(machine) * 1.08] }
}

fn posterior(args: &MapArgs, plane: Plane) -> Result<Option<Region>, Failure> {
    let of_scan = |names: [&str; 2], lines| Region {
        heading: "posterior of the scan",
        names: names.map(str::to_owned),
        lines,
    };
    match (&args.design, &args.draws) {
        (_, Some(draws)) => Ok(Some(of_scan(
            ["region of 90 %", "region of 50 %"],
            region::regions(&read_draws(draws)?, plane),
        ))),
        (Some(design), None) => Ok(Some(of_scan(
            ["90 % of each, by itself", "50 % of each, by itself"],
            boxes(&read_design(design, args.alloy)?),
        ))),
        (None, None) => Ok(None),
    }
}

fn read_design(path: &Path, alloy: Alloy) -> Result<DesignDocument, Failure> {
    let refuse = |reason: &dyn std::fmt::Display| {
        Failure::data(format!("cannot use {}: {reason}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| refuse(&error))?;
    let document: DesignDocument = serde_json::from_slice(&text).map_err(|error| {
        refuse(&format!("it is no answer of `microdiff design --json`: {error}"))
    })?;
    if document.request.alloy != alloy {
        return Err(refuse(&format!("it is about {}, not {alloy}", document.request.alloy)));
    }
    Ok(document)
}

/// A document holds quantiles of each parameter by itself: boxes, not regions.
fn boxes(document: &DesignDocument) -> [Vec<Vec<[f64; 2]>>; 2] {
    let speed = document.posterior.get(Parameter::ScanSpeed);
    let power = document.posterior.get(Parameter::LaserPower);
    [
        ([speed.p05, speed.p95], [power.p05, power.p95]),
        ([speed.p25, speed.p75], [power.p25, power.p75]),
    ]
    .map(|([v0, v1], [p0, p1])| vec![vec![[v0, p0], [v1, p0], [v1, p1], [v0, p1], [v0, p0]]])
}

/// Draws as `microdiff design --draws` writes them, as (speed, power).
fn read_draws(path: &Path) -> Result<Vec<[f64; 2]>, Failure> {
    let table = CsvTable::read(path)?;
    let columns = [Parameter::ScanSpeed, Parameter::LaserPower].map(Parameter::key);
    let mut draws = vec![[0.0; 2]; table.len()];
    for (k, name) in columns.into_iter().enumerate() {
        let column = table.column(name)?;
        for (row, draw) in draws.iter_mut().enumerate() {
            draw[k] = table
                .number(row, column)?
                .ok_or_else(|| table.refuse(row, name, &"a number is needed"))?;
        }
    }
    Ok(draws)
}

//! `microdiff design --target`: bounds on what a setting should give → settings, with the process map.

mod document;

pub use document::{CandidateDocument, Ranges, TargetDocument};

use super::map::{limits, plane, subtitle, title};
use crate::args::DesignArgs;
use crate::failure::Failure;
use crate::plot::process_map::{Mark, Region, Scene, render};
use crate::plot::{self};
use crate::{output, report};
use microdiff_domain::{Alloy, KnownParameters};
use microdiff_process::predict::map::process_map;
use microdiff_process::predict::{Predictor, Setting};
use microdiff_process::target::{
    Candidate, Target, TargetAnswer, TargetRequest, over_plane, search,
};
use std::path::Path;

pub fn run(args: &DesignArgs, target: &Target, alloy: Alloy) -> Result<(), Failure> {
    if let Some(map) = &args.search.map {
        plot::kind(map)?;
    }
    let process = super::predict::process(args.process, args.machine)?;
    let request = TargetRequest {
        alloy,
        process,
        machine: args.machine,
        spot: args.spot,
        known: KnownParameters::parse(&args.known, process, alloy).map_err(Failure::usage)?,
        target: target.clone(),
        top: args.search.top,
        seed: args.seed,
    };
    let answer = search(&request).map_err(Failure::usage)?;
    if let Some(map) = &args.search.map {
        draw(&request, &answer, map)?;
    }
    let document = TargetDocument::new(&request, &answer);
    if args.json {
        output::print_json(&document)
    } else {
        output::print(&report::target::render(&document))
    }
}

/// The map at layer and hatch of the first candidate, or of the best setting when there is none.
fn draw(request: &TargetRequest, answer: &TargetAnswer, path: &Path) -> Result<(), Failure> {
    let shown = answer.candidates.first().unwrap_or(&answer.best);
    let (pair, setting) = ((request.alloy, request.process), shown.setting);
    let plane = plane(request.alloy, request.process, request.machine);
    let map = process_map(&Predictor::new(request.seed), pair, &setting, plane)
        .map_err(Failure::usage)?;
    let probability = over_plane(request, shown, plane).map_err(Failure::usage)?;
    let alike =
        |other: &Setting| other.layer_um == setting.layer_um && other.hatch_um == setting.hatch_um;
    let mark = |(index, candidate): (usize, &Candidate)| {
        let at = [candidate.setting.speed_mm_s?, candidate.setting.power_w?];
        Some(Mark { number: index + 1, at, of_this_map: alike(&candidate.setting) })
    };
    let usual = answer.usual.as_ref().map(|usual| usual.setting).filter(alike);
    let levels = [0.5 * answer.level, answer.level];
    let scene = Scene {
        map: &map,
        title: title(request.alloy, request.process, request.machine),
        subtitle: format!(
            "{}; settings by a separate optimisation, not a posterior, not calibrated",
            subtitle(&setting)
        ),
        machine: request.machine.map(|machine| (machine.name(), limits(machine))),
        usual: usual.and_then(|usual| Some([usual.speed_mm_s?, usual.power_w?])),
        region: Some(Region {
            heading: "every bound is kept",
            names: levels.map(|level| format!("probability {level:.2}")),
            lines: levels.map(|level| probability.lines(plane, level)),
        }),
        marks: answer.candidates.iter().enumerate().filter_map(mark).collect(),
    };
    plot::write(path, &render(&scene))
}

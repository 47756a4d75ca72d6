//! `microdiff drill`: does a bounded fault to a sandboxed service and tells whether the right alerts
//! fire, how long after, and whether they clear.
//!
//! The sandbox is this binary as `serve`, a real Prometheus with the kit's rules at a higher speed,
//! and users. Nothing outside its folder is touched, and nothing of it outlives the drill. Which
//! drill proves which alert is the kit's table; no production service is ever drilled.

mod bundle;
mod collector;
mod course;
mod disk;
mod faults;
mod gpu;
mod habit;
mod patience;
mod process;
mod prometheus;
mod report;
mod sandbox;
mod service;
mod settings;
mod starve;
mod traffic;

use crate::args::DrillArgs;
use crate::failure::Failure;
use microdiff_kit::{DRILLS, Drill};
use patience::Patience;
use sandbox::Sandbox;

pub fn run(args: &DrillArgs) -> Result<(), Failure> {
    let Some(name) = &args.name else { return report::list(args.json) };
    let drill = Drill::named(name).ok_or_else(|| {
        let known: Vec<&str> = DRILLS.iter().map(|drill| drill.name).collect();
        Failure::usage(format!("no drill is called `{name}`; known: {}", known.join(", ")))
    })?;
    let report = {
        let patience = Patience::listening()?;
        let mut sandbox = Sandbox::start(args, drill, patience)?;
        course::run(drill, args, &mut sandbox)?
    };
    report.conclude(args.json)
}

//! `microdiff predict`: a setting → its tracks, pores and properties; or a table of them.

mod table;

use crate::args::PredictArgs;
use crate::failure::Failure;
use crate::{output, report};
use microdiff_domain::{Alloy, Machine, Process};
use microdiff_process::predict::{Condition, Prediction, Predictor, Quantity, Setting, Validity};
use serde::Serialize;
use serde_json::{Map, Value};

/// Value of `schema` in the document.
const SCHEMA: &str = "microdiff.prediction/1";

/// What is told instead of a probability of balling.
pub const BALLING_UNKNOWN: &str = "Balling is not predicted: its criterion was measured on lasers in \
     powder beds alone, and density is told as if no track balled.";

/// One answer with what it was asked.
#[derive(Debug, Serialize)]
pub struct PredictionDocument {
    schema: &'static str,
    /// What the numbers rest on.
    pub basis: &'static str,
    /// Whether width and depth rest on measured tracks.
    pub validity: Validity,
    /// What was asked, with what stands in for what was not given.
    pub request: Request,
    /// Every number under the name it has in tables.
    prediction: Map<String, Value>,
    /// What to know before using it.
    pub notes: Vec<String>,
    #[serde(skip)]
    pub answer: Prediction,
}

/// The setting that was asked about.
#[derive(Debug, Serialize)]
pub struct Request {
    pub alloy: Alloy,
    pub process: Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
    pub laser_power_w: Option<f64>,
    pub scan_speed_mm_s: Option<f64>,
    pub spot_um: Option<f64>,
    pub layer_thickness_um: Option<f64>,
    pub hatch_spacing_um: Option<f64>,
    pub bed_temperature_c: f64,
    pub seed: u64,
}

pub fn run(args: &PredictArgs) -> Result<(), Failure> {
    let process = process(args.process, args.machine)?;
    if let (Some(table), Some(output)) = (&args.table, &args.output) {
        return table::run(
            table,
            output,
            &table::Defaults { process, machine: args.machine, seed: args.seed },
        );
    }
    let alloy = args.alloy.ok_or_else(|| Failure::usage("--alloy is missing"))?;
    let setting = args.setting.setting().with_usual(alloy, process, args.machine);
    let condition = Condition::new(alloy, process, &setting).map_err(Failure::usage)?;
    let answer = Predictor::new(args.seed).predict(&condition);
    let document = document(args, &condition, &setting, answer);
    if args.json {
        output::print_json(&document)
    } else {
        output::print(&report::prediction::render(&document))
    }
}

/// The process asked for, that of the machine, or laser powder bed fusion.
pub fn process(process: Option<Process>, machine: Option<Machine>) -> Result<Process, Failure> {
    match (process, machine) {
        (Some(process), Some(machine)) if process != machine.process() => {
            Err(Failure::usage(format!("{machine} runs {}, not {process}", machine.process())))
        }
        (Some(process), _) => Ok(process),
        (None, machine) => Ok(machine.map_or(Process::Lpbf, Machine::process)),
    }
}

fn document(
    args: &PredictArgs,
    condition: &Condition,
    setting: &Setting,
    answer: Prediction,
) -> PredictionDocument {
    let values = Prediction::COLUMNS.into_iter().zip(answer.values());
    PredictionDocument {
        schema: SCHEMA,
        basis: basis(answer.validity),
        validity: answer.validity,
        request: Request {
            alloy: condition.alloy(),
            process: condition.process(),
            machine: args.machine,
            laser_power_w: setting.power_w,
            scan_speed_mm_s: setting.speed_mm_s,
            spot_um: setting.spot_um,
            layer_thickness_um: setting.layer_um,
            hatch_spacing_um: setting.hatch_um,
            bed_temperature_c: condition.bed_c(),
            seed: args.seed,
        },
        prediction: values.map(|(name, value)| (name.to_owned(), value.into())).collect(),
        notes: notes(args, setting, &answer),
        answer,
    }
}

pub fn basis(validity: Validity) -> &'static str {
    match validity {
        Validity::Tracks => {
            "Width and depth: a law fitted to measured single tracks, its intervals checked on \
             sources left out (docs/validation.md). Density ranks settings and is no more than \
             that. Cooling, spacing, yield and elongation: orders of magnitude, unvalidated."
        }
        Validity::Unvalidated => {
            "UNVALIDATED: nothing measured supports these numbers for this alloy and process."
        }
    }
}

fn notes(args: &PredictArgs, setting: &Setting, answer: &Prediction) -> Vec<String> {
    let mut notes = Vec::new();
    if setting.spot_um.is_none() {
        notes.push("The spot is not given: all usual spots are averaged over.".to_owned());
    }
    if let (None, Some(bed)) = (args.setting.bed_temperature, setting.bed_c) {
        notes.push(format!("The bed temperature is not given: {bed} C is taken, the usual one."));
    }
    if answer.relative_density_pct.is_none() {
        notes.push(
            "Density, yield and elongation need a hatch spacing and a layer thickness.".to_owned(),
        );
    }
    if answer.p_balling.is_none() {
        notes.push(BALLING_UNKNOWN.to_owned());
    }
    if let Some(machine) = args.machine {
        let limits = machine.limits();
        for (quantity, [low, high]) in [
            (Quantity::Power, limits.power_w),
            (Quantity::Speed, limits.speed_mm_s),
            (Quantity::Spot, limits.spot_um),
            (Quantity::Layer, limits.layer_um),
            (Quantity::Bed, limits.bed_c),
        ] {
            if let Some(value) = setting.get(quantity).filter(|v| !(low..=high).contains(v)) {
                let (name, unit) = (quantity.name(), quantity.unit());
                notes.push(format!(
                    "{name} {value} {unit} is beyond the {machine}: {low} to {high} {unit}."
                ));
            }
        }
    }
    notes
}

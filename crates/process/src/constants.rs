//! Every table of this crate as rows with unit, source and reliability, for the reference page.

use crate::alloy::properties;
use crate::predict::{Quantity, measured_bed_c, usual_bed_c};
use microdiff_domain::{Alloy, Machine, Process};

/// How far a constant can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reliability {
    /// Read from a measurement, by us or in its paper.
    Measured,
    /// Copied from a paper by somebody else.
    Transcribed,
    /// Quoted from memory.
    FromMemory,
    /// Chosen, for want of anything better.
    Chosen,
}

impl Reliability {
    /// Word in tables.
    pub fn name(self) -> &'static str {
        match self {
            Reliability::Measured => "measured",
            Reliability::Transcribed => "transcribed",
            Reliability::FromMemory => "from memory, unverified",
            Reliability::Chosen => "chosen",
        }
    }
}

/// One constant.
#[derive(Debug, Clone, PartialEq)]
pub struct Constant {
    /// Alloy, machine or process.
    pub of: &'static str,
    /// What it is.
    pub name: &'static str,
    /// Its value, or its smallest and largest.
    pub value: String,
    /// Unit; empty for a bare number.
    pub unit: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// How far it can be trusted.
    pub reliability: Reliability,
}

/// Constants of every alloy.
pub fn alloys() -> Vec<Constant> {
    Alloy::ALL.into_iter().flat_map(alloy).collect()
}

fn alloy(alloy: Alloy) -> Vec<Constant> {
    use Reliability::{Chosen, FromMemory, Measured, Transcribed};
    let p = properties(alloy);
    let mills = "in the style of Mills 2002, between solid and liquid";
    let steel = alloy == Alloy::Ss316L;
    let absorptivity = match alloy {
        Alloy::AlSi10Mg => "Al 1100, Trapp 2017 Fig. 7",
        Alloy::In718 => "IN625, Ye 2019 Table 1",
        _ => "Ye 2019 Table 1",
    };
    let labelled = |what: Reliability| if steel { Measured } else { what };
    let balling = if steel { "677 tracks, Hofmann 2026" } else { "default settings do not ball" };
    let [scatter, scattered] = if p.validated {
        ["scatter between sources of tracks", "scatter between sources of tracks"]
    } else {
        ["29 rows of mixed quality, widened"; 2]
    };
    let trusted = if p.validated { Measured } else { Chosen };
    let row = |name, value: f64, unit, (source, reliability)| Constant {
        of: alloy.name(),
        name,
        value: value.to_string(),
        unit,
        source,
        reliability,
    };
    let mut rows = vec![
        row("density", p.density, "kg/m3", (mills, FromMemory)),
        row("specific heat", p.heat_capacity, "J/(kg K)", (mills, FromMemory)),
        row("conductivity", p.conductivity, "W/(m K)", (mills, FromMemory)),
        row("sd of conductivity, relative", p.conductivity_sd, "", ("none", Chosen)),
        row("liquidus", p.liquidus_c, "C", (mills, FromMemory)),
        row("heat of fusion", p.fusion_heat, "J/kg", (mills, FromMemory)),
        row("absorptivity of a flat melt", p.flat_absorptivity, "", (absorptivity, Transcribed)),
        row("sd of absorptivity, relative", p.absorptivity_sd, "", ("none", Chosen)),
        row(
            "absorptivity for the melt's length",
            p.length_absorptivity,
            "",
            (balling, labelled(Chosen)),
        ),
        row("length over width that balls", p.balling_centre, "", (balling, labelled(Chosen))),
        row("sd of ln depth between machines", p.machine_ln_depth_sd, "", (scatter, trusted)),
        row("sd of ln width between machines", p.machine_ln_width_sd, "", (scattered, trusted)),
    ];
    rows.push(Constant {
        value: range(p.gas_fraction),
        ..row("gas pores, volume fraction", 0.0, "", ("none", FromMemory))
    });
    rows
}

/// Constants of every machine.
pub fn machines() -> Vec<Constant> {
    Machine::ALL.into_iter().flat_map(machine).collect()
}

fn machine(machine: Machine) -> Vec<Constant> {
    let limits = machine.limits();
    let sheet = "data sheet";
    let row = |name, value, unit, source| Constant {
        of: machine.name(),
        name,
        value,
        unit,
        source,
        reliability: Reliability::FromMemory,
    };
    let usual_bed = limits.usual_bed_c.map_or("by the alloy".to_owned(), |bed| bed.to_string());
    let mut rows = vec![
        row("process", machine.process().to_string(), "", sheet),
        row("power", range(limits.power_w), "W", sheet),
        row("scan speed", range(limits.speed_mm_s), "mm/s", sheet),
        row("spot", range(limits.spot_um), "um", sheet),
        row("usual spot", limits.usual_spot_um.to_string(), "um", sheet),
        row("layer", range(limits.layer_um), "um", sheet),
        row("bed", range(limits.bed_c), "C", sheet),
        row("usual bed", usual_bed, "C", sheet),
    ];
    for alloy in Alloy::ALL {
        if let Some(usual) = machine.usual(alloy) {
            let name = match alloy {
                Alloy::Ti6Al4V => "usual for Ti-6Al-4V",
                Alloy::Ss316L => "usual for 316L",
                Alloy::In718 => "usual for IN718",
                Alloy::AlSi10Mg => "usual for AlSi10Mg",
            };
            let [power, speed, hatch, layer] =
                [usual.power_w, usual.speed_mm_s, usual.hatch_um, usual.layer_um];
            let value = format!("{power}, {speed}, {hatch}, {layer}");
            rows.push(row(name, value, "W, mm/s, um hatch, um layer", usual.source));
        }
    }
    rows
}

/// What each process accepts and assumes.
pub fn processes() -> Vec<Constant> {
    let of = |process: Process| {
        let row = |name, value, unit, source| Constant {
            of: process.name(),
            name,
            value,
            unit,
            source,
            reliability: Reliability::Chosen,
        };
        let accepted = Quantity::ALL.map(|quantity| {
            let limits = range(quantity.limits(process));
            row(quantity.name(), limits, quantity.unit(), "accepted by a prediction")
        });
        let usual_bed = by_alloy(process, |alloy| usual_bed_c(alloy, process, None));
        let measured_bed = by_alloy(process, |alloy| measured_bed_c(alloy, process));
        let [law, absorptivity] = match process {
            Process::Lpbf => ["track law of measured tracks", "by the alloy's table and Ye 2019"],
            Process::Ebm => ["Eagar-Tsai, depth times 1.3, unvalidated", "0.9"],
            Process::Ded => ["Eagar-Tsai, unvalidated", "0.375, between 0.25 and 0.5"],
        };
        let mut rows = accepted.to_vec();
        let usual = "usual practice, from memory";
        let measured = if process == Process::Ebm { usual } else { "plates that nobody heats" };
        rows.push(row("bed, when not given", usual_bed, "C", usual));
        rows.push(row("bed, when a table's row gives none", measured_bed, "C", measured));
        rows.push(row("width and depth", law.to_owned(), "", "see 0015 of docs/adr"));
        rows.push(row("absorptivity", absorptivity.to_owned(), "", "from memory for ebm and ded"));
        rows
    };
    Process::ALL.into_iter().flat_map(of).collect()
}

/// One number where all alloys of a process have the same, else each with its own.
fn by_alloy(process: Process, value: impl Fn(Alloy) -> f64) -> String {
    let values: Vec<f64> = process.alloys().iter().map(|alloy| value(*alloy)).collect();
    match values.first() {
        Some(first) if values.iter().all(|value| value == first) => first.to_string(),
        _ => {
            let each = process.alloys().iter().zip(&values);
            let each: Vec<String> = each.map(|(alloy, value)| format!("{alloy} {value}")).collect();
            each.join(", ")
        }
    }
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low} to {high}")
}

//! Machine → what it can be set to, and what it is usually set to.
//!
//! Deliberately not here: a machine's calibration. Two machines of one type differ by more than
//! this table says; that scatter is part of the melt-pool law's interval.

use crate::error::echo;
use crate::{
    Alloy, DomainError, KnownParameters, PARAMETER_COUNT, Parameter, Process, SpotDiameter,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Machines of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Machine {
    /// EOS M 290.
    #[serde(rename = "EOS-M290")]
    EosM290,
    /// SLM Solutions SLM 280, 400 W laser.
    #[serde(rename = "SLM-280")]
    Slm280,
    /// Renishaw AM400, pulsed laser.
    #[serde(rename = "Renishaw-AM400")]
    RenishawAm400,
    /// Arcam Q20, electron beam.
    #[serde(rename = "Arcam-Q20")]
    ArcamQ20,
    /// A blown-powder laser machine of the LENS kind.
    #[serde(rename = "LENS-DED")]
    LensDed,
}

/// Limits and usual values of a machine.
///
/// Reliability of all of it: from memory of data sheets, unverified, unless a field says
/// otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MachineLimits {
    /// Smallest and largest beam power at the bed, W.
    pub power_w: [f64; 2],
    /// Slowest and fastest scan, mm/s.
    pub speed_mm_s: [f64; 2],
    /// Smallest and largest spot diameter (1/e²), µm.
    pub spot_um: [f64; 2],
    /// Spot diameter it is usually run with, µm.
    pub usual_spot_um: f64,
    /// Thinnest and thickest layer, µm.
    pub layer_um: [f64; 2],
    /// Coldest and hottest bed, °C.
    pub bed_c: [f64; 2],
    /// Bed temperature it is usually run with, °C; none where that is a matter of the alloy
    /// ([`Process::usual_spot_um_and_bed_c`]).
    pub usual_bed_c: Option<f64>,
}

/// A usual setting of a machine for one alloy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct UsualSetting {
    /// Beam power, W.
    pub power_w: f64,
    /// Scan speed, mm/s.
    pub speed_mm_s: f64,
    /// Hatch spacing, µm.
    pub hatch_um: f64,
    /// Layer thickness, µm.
    pub layer_um: f64,
    /// Where it comes from.
    pub source: &'static str,
}

/// How far a spot may lie outside the range a machine is sold with, as a share of either end: focus
/// and the method of measuring move it that much. A choice.
const SPOT_TOLERANCE: f64 = 0.1;

impl MachineLimits {
    /// Smallest and largest value of a parameter; none for the hatch, which is a matter of software.
    pub fn of(&self, parameter: Parameter) -> Option<[f64; 2]> {
        match parameter {
            Parameter::LaserPower => Some(self.power_w),
            Parameter::ScanSpeed => Some(self.speed_mm_s),
            Parameter::LayerThickness => Some(self.layer_um),
            Parameter::HatchSpacing => None,
            Parameter::BedTemperature => Some(self.bed_c),
        }
    }

    /// Whether a setting, θ in the order of [`Parameter::ALL`], lies within.
    pub fn allow(&self, theta: &[f64; PARAMETER_COUNT]) -> bool {
        Parameter::ALL.into_iter().all(|parameter| {
            self.of(parameter)
                .is_none_or(|[low, high]| (low..=high).contains(&theta[parameter.index()]))
        })
    }

    /// The spot diameters it may have, µm: those it is sold with and a tenth on either side.
    pub fn spot_range(&self) -> [f64; 2] {
        [self.spot_um[0] * (1.0 - SPOT_TOLERANCE), self.spot_um[1] * (1.0 + SPOT_TOLERANCE)]
    }

    /// Whether a spot lies within what the machine may have.
    pub fn allow_spot(&self, spot: SpotDiameter) -> bool {
        let [low, high] = self.spot_range();
        (low..=high).contains(&spot.get())
    }
}

impl Machine {
    /// Every machine.
    pub const ALL: [Machine; 5] = [
        Machine::EosM290,
        Machine::Slm280,
        Machine::RenishawAm400,
        Machine::ArcamQ20,
        Machine::LensDed,
    ];

    /// Canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Machine::EosM290 => "EOS-M290",
            Machine::Slm280 => "SLM-280",
            Machine::RenishawAm400 => "Renishaw-AM400",
            Machine::ArcamQ20 => "Arcam-Q20",
            Machine::LensDed => "LENS-DED",
        }
    }

    /// The process it runs.
    pub fn process(self) -> Process {
        match self {
            Machine::EosM290 | Machine::Slm280 | Machine::RenishawAm400 => Process::Lpbf,
            Machine::ArcamQ20 => Process::Ebm,
            Machine::LensDed => Process::Ded,
        }
    }

    /// Position in [`Machine::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// The machines that run a process.
    pub fn of(process: Process) -> impl Iterator<Item = Machine> {
        Machine::ALL.into_iter().filter(move |machine| machine.process() == process)
    }

    /// Refuses another process than its own, and values that it cannot be set to.
    ///
    /// # Errors
    /// [`DomainError::Machine`], saying what the machine could do instead.
    pub fn check(
        self,
        process: Process,
        known: &KnownParameters,
        spot: Option<SpotDiameter>,
    ) -> Result<(), DomainError> {
        let refuse = |reason: String| Err(DomainError::Machine { machine: self.name(), reason });
        if self.process() != process {
            let own: Vec<&str> = Machine::of(process).map(Machine::name).collect();
            let (runs, own) = (self.process(), own.join(", "));
            return refuse(format!("it runs {runs}, not {process}; for {process}: {own}"));
        }
        let limits = self.limits();
        for parameter in Parameter::ALL {
            if let (Some(value), Some([low, high])) = (known.get(parameter), limits.of(parameter))
                && !(low..=high).contains(&value)
            {
                let unit = parameter.unit();
                return refuse(format!(
                    "{parameter} {value} {unit} is outside {low} to {high} {unit}"
                ));
            }
        }
        if let Some(spot) = spot.filter(|spot| !limits.allow_spot(*spot)) {
            let [low, high] = limits.spot_range();
            let unit = SpotDiameter::UNIT;
            let value = spot.get();
            let text = format!("a spot of {value} {unit} is outside {low:.0} to {high:.0} {unit}");
            return refuse(text);
        }
        Ok(())
    }

    /// Its limits and usual values.
    pub fn limits(self) -> MachineLimits {
        let laser = MachineLimits {
            power_w: [20.0, 400.0],
            speed_mm_s: [10.0, 7000.0],
            spot_um: [80.0, 100.0],
            usual_spot_um: 100.0,
            layer_um: [20.0, 100.0],
            bed_c: [20.0, 200.0],
            usual_bed_c: Some(80.0),
        };
        match self {
            Machine::EosM290 => laser,
            // Spot, speed and layer: as a published printability map prints them.
            Machine::Slm280 => MachineLimits {
                speed_mm_s: [10.0, 10_000.0],
                spot_um: [80.0, 115.0],
                usual_spot_um: 80.0,
                layer_um: [20.0, 90.0],
                ..laser
            },
            // The speed of a pulsed laser is point distance over exposure plus jump time.
            Machine::RenishawAm400 => MachineLimits {
                speed_mm_s: [10.0, 2000.0],
                spot_um: [70.0, 70.0],
                usual_spot_um: 70.0,
                bed_c: [20.0, 170.0],
                ..laser
            },
            Machine::ArcamQ20 => MachineLimits {
                power_w: [50.0, 3000.0],
                speed_mm_s: [10.0, 8000.0],
                spot_um: [140.0, 450.0],
                usual_spot_um: 250.0,
                layer_um: [50.0, 180.0],
                bed_c: [600.0, 1100.0],
                usual_bed_c: None,
            },
            Machine::LensDed => MachineLimits {
                power_w: [300.0, 3000.0],
                speed_mm_s: [4.0, 25.0],
                spot_um: [600.0, 3000.0],
                usual_spot_um: 1000.0,
                layer_um: [150.0, 1200.0],
                bed_c: [20.0, 400.0],
                usual_bed_c: Some(25.0),
            },
        }
    }

    /// A usual setting for an alloy, where the table knows one.
    pub fn usual(self, alloy: Alloy) -> Option<UsualSetting> {
        const MEMORY: &str = "from memory, unverified";
        let setting = |[power_w, speed_mm_s, hatch_um, layer_um]: [f64; 4], source| UsualSetting {
            power_w,
            speed_mm_s,
            hatch_um,
            layer_um,
            source,
        };
        Some(match (self, alloy) {
            (Machine::EosM290, Alloy::Ti6Al4V) => {
                setting([280.0, 1200.0, 140.0, 30.0], "a published density coupon")
            }
            (Machine::EosM290, Alloy::In718) => {
                setting([285.0, 960.0, 110.0, 40.0], "NIST AM-Bench 2022-03")
            }
            (Machine::EosM290, Alloy::AlSi10Mg) => setting([370.0, 1300.0, 190.0, 30.0], MEMORY),
            (Machine::EosM290, Alloy::Ss316L) => setting([195.0, 1083.0, 90.0, 20.0], MEMORY),
            (Machine::Slm280, Alloy::Ti6Al4V) => setting([240.0, 1200.0, 105.0, 30.0], MEMORY),
            (Machine::Slm280, Alloy::Ss316L) => setting([200.0, 800.0, 120.0, 30.0], MEMORY),
            (Machine::Slm280, Alloy::AlSi10Mg) => setting([350.0, 1150.0, 170.0, 50.0], MEMORY),
            // 60 um in 80 us, 80 um in 40 us, and 15 us to jump.
            (Machine::RenishawAm400, Alloy::Ss316L) => setting([195.0, 632.0, 110.0, 50.0], MEMORY),
            (Machine::RenishawAm400, Alloy::AlSi10Mg) => {
                setting([275.0, 1455.0, 130.0, 25.0], MEMORY)
            }
            (Machine::ArcamQ20, Alloy::Ti6Al4V) => setting([1100.0, 4500.0, 200.0, 50.0], MEMORY),
            (Machine::ArcamQ20, Alloy::In718) => setting([950.0, 4500.0, 160.0, 75.0], MEMORY),
            (Machine::LensDed, Alloy::Ss316L) => setting([800.0, 10.0, 600.0, 250.0], MEMORY),
            _ => return None,
        })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Machine {
    type Err = DomainError;

    /// Accepts the canonical names whatever their case, spaces and hyphens.
    fn from_str(name: &str) -> Result<Self, DomainError> {
        let key = |text: &str| -> String {
            let kept = text.chars().filter(|c| !matches!(c, ' ' | '-' | '_'));
            kept.flat_map(char::to_lowercase).take(32).collect()
        };
        let wanted = key(name);
        let found = Machine::ALL.into_iter().find(|machine| key(machine.name()) == wanted);
        found.ok_or_else(|| DomainError::UnknownName {
            kind: "machine",
            name: echo(name),
            known: Machine::ALL.map(Machine::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_whatever_their_spelling() {
        for machine in Machine::ALL {
            assert_eq!(machine.name().parse::<Machine>().unwrap(), machine);
            let json = serde_json::to_string(&machine).unwrap();
            assert_eq!(json, format!("\"{machine}\""));
        }
        assert_eq!("eos m290".parse::<Machine>().unwrap(), Machine::EosM290);
        assert!("EOS-M400".parse::<Machine>().unwrap_err().to_string().contains("EOS-M290, SLM"));
    }

    #[test]
    fn usual_values_lie_within_the_limits() {
        for machine in Machine::ALL {
            let limits = machine.limits();
            let within = |range: [f64; 2], value: f64| (range[0]..=range[1]).contains(&value);
            assert!(within(limits.spot_um, limits.usual_spot_um), "{machine}");
            assert!(limits.allow_spot(SpotDiameter::micrometres(limits.usual_spot_um).unwrap()));
            for alloy in machine.process().alloys() {
                let [_, by_alloy] = machine.process().usual_spot_um_and_bed_c(*alloy);
                assert!(within(limits.bed_c, limits.usual_bed_c.unwrap_or(by_alloy)), "{machine}");
            }
            for usual in Alloy::ALL.into_iter().filter_map(|alloy| machine.usual(alloy)) {
                assert!(within(limits.power_w, usual.power_w), "{machine} {usual:?}");
                assert!(within(limits.speed_mm_s, usual.speed_mm_s), "{machine} {usual:?}");
                assert!(within(limits.layer_um, usual.layer_um), "{machine} {usual:?}");
            }
        }
    }

    #[test]
    fn what_a_machine_cannot_do_is_refused_with_what_it_can() {
        let known = |text| KnownParameters::parse(text, Process::Lpbf, Alloy::AlSi10Mg).unwrap();
        let spot = |um| Some(SpotDiameter::micrometres(um).unwrap());
        let check = |machine: Machine, text, spot| {
            machine.check(Process::Lpbf, &known(text), spot).map_err(|error| error.to_string())
        };
        assert_eq!(
            check(Machine::EosM290, "laser_power=370,hatch_spacing=190", spot(100.0)),
            Ok(())
        );
        let refusal = |machine, text, spot| check(machine, text, spot).unwrap_err();
        let text = refusal(Machine::EosM290, "laser_power=450", None);
        assert_eq!(text, "machine EOS-M290: laser_power 450 W is outside 20 to 400 W");
        let text = refusal(Machine::RenishawAm400, "", spot(100.0));
        assert_eq!(text, "machine Renishaw-AM400: a spot of 100 um is outside 63 to 77 um");
        let text = refusal(Machine::ArcamQ20, "", None);
        let own = "it runs ebm, not lpbf; for lpbf: EOS-M290, SLM-280, Renishaw-AM400";
        assert!(text.ends_with(own), "{text}");
    }

    #[test]
    fn limits_hold_for_every_parameter_but_the_hatch() {
        let limits = Machine::RenishawAm400.limits();
        assert!(limits.allow(&[200.0, 632.0, 50.0, 5000.0, 80.0]));
        for (parameter, value) in [(0, 401.0), (1, 2001.0), (2, 19.0), (4, 171.0)] {
            let mut theta = [200.0, 632.0, 50.0, 110.0, 80.0];
            theta[parameter] = value;
            assert!(!limits.allow(&theta), "{theta:?}");
        }
    }
}

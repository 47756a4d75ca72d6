//! Machine → what it can be set to, and what it is usually set to.
//!
//! Deliberately not here: a machine's calibration. Two machines of one type differ by more than
//! this table says; that scatter is part of the melt-pool law's interval.

use crate::error::echo;
use crate::{Alloy, DomainError, Process};
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
    /// Bed temperature it is usually run with, °C.
    pub usual_bed_c: f64,
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

    /// Its limits and usual values.
    pub fn limits(self) -> MachineLimits {
        let laser = MachineLimits {
            power_w: [20.0, 400.0],
            speed_mm_s: [10.0, 7000.0],
            spot_um: [80.0, 100.0],
            usual_spot_um: 100.0,
            layer_um: [20.0, 100.0],
            bed_c: [20.0, 200.0],
            usual_bed_c: 80.0,
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
                usual_bed_c: 700.0,
            },
            Machine::LensDed => MachineLimits {
                power_w: [300.0, 3000.0],
                speed_mm_s: [4.0, 25.0],
                spot_um: [600.0, 3000.0],
                usual_spot_um: 1000.0,
                layer_um: [150.0, 1200.0],
                bed_c: [20.0, 400.0],
                usual_bed_c: 25.0,
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
            assert!(within(limits.bed_c, limits.usual_bed_c), "{machine}");
            for usual in Alloy::ALL.into_iter().filter_map(|alloy| machine.usual(alloy)) {
                assert!(within(limits.power_w, usual.power_w), "{machine} {usual:?}");
                assert!(within(limits.speed_mm_s, usual.speed_mm_s), "{machine} {usual:?}");
                assert!(within(limits.layer_um, usual.layer_um), "{machine} {usual:?}");
            }
        }
    }
}

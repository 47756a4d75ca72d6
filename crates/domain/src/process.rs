use crate::error::echo;
use crate::{Alloy, DomainError, SpotDiameter};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The printing processes. Measurements support laser powder bed fusion alone: every number for
/// the others is marked unvalidated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// Laser powder bed fusion of metals (ISO/ASTM 52900: PBF-LB/M).
    Lpbf,
    /// Electron-beam powder bed fusion of metals (PBF-EB/M).
    Ebm,
    /// Directed energy deposition by laser (DED-LB/M).
    Ded,
}

impl Process {
    /// Every process.
    pub const ALL: [Process; 3] = [Process::Lpbf, Process::Ebm, Process::Ded];

    /// Position in [`Process::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Process::Lpbf => "lpbf",
            Process::Ebm => "ebm",
            Process::Ded => "ded",
        }
    }

    /// The alloys whose parameters can be inferred from a scan: those the process commonly prints.
    pub fn alloys(self) -> &'static [Alloy] {
        match self {
            Process::Lpbf => &Alloy::ALL,
            Process::Ebm => &[Alloy::Ti6Al4V, Alloy::In718],
            Process::Ded => &[Alloy::Ti6Al4V, Alloy::Ss316L, Alloy::In718],
        }
    }

    /// Refuses an alloy outside [`Process::alloys`].
    ///
    /// # Errors
    /// [`DomainError::Pair`], with the alloys that would have been accepted.
    pub fn check(self, alloy: Alloy) -> Result<(), DomainError> {
        if self.alloys().contains(&alloy) {
            return Ok(());
        }
        let known: Vec<&str> = self.alloys().iter().map(|alloy| alloy.name()).collect();
        Err(DomainError::Pair {
            process: self.name(),
            alloy: alloy.name(),
            known: known.join(", "),
        })
    }

    /// Every process with each of its alloys.
    pub fn pairs() -> impl Iterator<Item = (Process, Alloy)> {
        let of = |process: Process| process.alloys().iter().map(move |alloy| (process, *alloy));
        Process::ALL.into_iter().flat_map(of)
    }

    /// Whether measurements support what is said of it.
    pub fn is_validated(self) -> bool {
        self == Process::Lpbf
    }

    /// Range of the spot diameter (1/e²) in the prior, µm, uniform.
    pub fn spot_um(self) -> [f64; 2] {
        match self {
            Process::Lpbf => [50.0, 140.0],
            Process::Ebm => [150.0, 450.0],
            Process::Ded => [600.0, 3000.0],
        }
    }

    /// Refuses a spot outside the prior.
    ///
    /// # Errors
    /// [`DomainError::OutOfRange`].
    pub fn check_spot(self, spot: SpotDiameter) -> Result<(), DomainError> {
        let [low, high] = self.spot_um();
        if (low..=high).contains(&spot.get()) {
            return Ok(());
        }
        Err(DomainError::OutOfRange {
            quantity: "spot_diameter",
            value: spot.get(),
            low,
            high,
            unit: SpotDiameter::UNIT,
        })
    }

    /// Usual spot diameter and bed temperature, µm and °C. From memory of common practice, unverified:
    /// platforms of lasers are held near 80 °C, electron beams heat their bed to what the alloy needs,
    /// and plates for directed energy are mostly cold.
    pub fn usual_spot_um_and_bed_c(self, alloy: Alloy) -> [f64; 2] {
        match (self, alloy) {
            (Process::Lpbf, _) => [90.0, 80.0],
            (Process::Ebm, Alloy::In718) => [250.0, 975.0],
            (Process::Ebm, _) => [250.0, 700.0],
            (Process::Ded, _) => [1000.0, 25.0],
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Process {
    type Err = DomainError;

    fn from_str(name: &str) -> Result<Self, DomainError> {
        match name.trim().to_ascii_lowercase().as_str() {
            "lpbf" | "pbf-lb" | "pbf-lb/m" | "slm" => Ok(Process::Lpbf),
            "ebm" | "pbf-eb" | "pbf-eb/m" => Ok(Process::Ebm),
            "ded" | "ded-lb" | "ded-lb/m" | "lens" => Ok(Process::Ded),
            _ => Err(DomainError::UnknownName {
                kind: "process",
                name: echo(name),
                known: Process::ALL.map(Process::name).join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for (index, process) in Process::ALL.into_iter().enumerate() {
            assert_eq!(process.index(), index);
            assert_eq!(process.name().parse::<Process>().unwrap(), process);
        }
        let text = "casting".parse::<Process>().unwrap_err().to_string();
        assert!(text.ends_with("known: lpbf, ebm, ded"), "{text}");
    }

    #[test]
    fn an_alloy_a_process_does_not_print_is_refused_with_those_it_does() {
        assert_eq!(Process::pairs().count(), 9);
        assert!(Process::pairs().all(|(process, alloy)| process.check(alloy).is_ok()));
        let text = Process::Ebm.check(Alloy::Ss316L).unwrap_err().to_string();
        assert_eq!(text, "ebm is not modelled for 316L; known: Ti-6Al-4V, IN718");
        assert!(Process::Ded.check(Alloy::AlSi10Mg).is_err());
    }
}

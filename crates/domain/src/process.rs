use crate::DomainError;
use crate::error::echo;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The printing processes a prediction can be made for. Only [`Process::INFERRED`] have a
/// posterior: no measurement yet supports one for the others, and every prediction for them is
/// marked unvalidated.
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

    /// The processes whose parameters can be inferred from a scan.
    pub const INFERRED: [Process; 1] = [Process::Lpbf];

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

    /// Reads the name of a process whose parameters can be inferred from a scan.
    ///
    /// # Errors
    /// When the name is unknown or belongs to a process without a posterior.
    pub fn inferred(name: &str) -> Result<Self, DomainError> {
        let found = name.parse::<Process>().ok();
        found.filter(|process| Self::INFERRED.contains(process)).ok_or_else(|| {
            DomainError::UnknownName {
                kind: "process",
                name: echo(name),
                known: Self::INFERRED.map(Process::name).join(", "),
            }
        })
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
    fn names_round_trip_and_only_laser_powder_bed_has_a_posterior() {
        for (index, process) in Process::ALL.into_iter().enumerate() {
            assert_eq!(process.index(), index);
            assert_eq!(process.name().parse::<Process>().unwrap(), process);
            let inferred = Process::inferred(process.name());
            assert_eq!(inferred.is_ok(), process == Process::Lpbf, "{process}");
        }
        let text = "casting".parse::<Process>().unwrap_err().to_string();
        assert!(text.ends_with("known: lpbf, ebm, ded"), "{text}");
    }
}

use crate::DomainError;
use crate::error::echo;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The printing processes the model knows. Electron-beam and directed-energy processes are absent
/// on purpose: no measurement yet supports a posterior for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Process {
    /// Laser powder bed fusion of metals (ISO/ASTM 52900: PBF-LB/M).
    Lpbf,
}

impl Process {
    /// Every process.
    pub const ALL: [Process; 1] = [Process::Lpbf];

    /// Canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Process::Lpbf => "lpbf",
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
        match name.to_ascii_lowercase().as_str() {
            "lpbf" | "pbf-lb" | "pbf-lb/m" | "slm" => Ok(Process::Lpbf),
            _ => Err(DomainError::UnknownName {
                kind: "process",
                name: echo(name),
                known: Process::ALL.map(Process::name).join(", "),
            }),
        }
    }
}

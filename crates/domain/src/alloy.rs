use crate::DomainError;
use crate::error::echo;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The alloys the model knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Alloy {
    /// Ti-6Al-4V.
    #[serde(rename = "Ti-6Al-4V")]
    Ti6Al4V,
    /// Austenitic stainless steel 316L.
    #[serde(rename = "316L")]
    Ss316L,
    /// Nickel alloy 718 (Inconel 718).
    #[serde(rename = "IN718")]
    In718,
    /// Cast-type aluminium alloy AlSi10Mg.
    #[serde(rename = "AlSi10Mg")]
    AlSi10Mg,
}

impl Alloy {
    /// Every alloy, in the order of the model's alloy token.
    pub const ALL: [Alloy; 4] = [Alloy::Ti6Al4V, Alloy::Ss316L, Alloy::In718, Alloy::AlSi10Mg];

    /// Position in [`Alloy::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Canonical name, used in JSON, on the command line and as a metric label.
    pub fn name(self) -> &'static str {
        match self {
            Alloy::Ti6Al4V => "Ti-6Al-4V",
            Alloy::Ss316L => "316L",
            Alloy::In718 => "IN718",
            Alloy::AlSi10Mg => "AlSi10Mg",
        }
    }
}

impl fmt::Display for Alloy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Alloy {
    type Err = DomainError;

    /// Accepts the canonical names and the usual trade spellings, whatever their case, spaces
    /// and hyphens.
    fn from_str(name: &str) -> Result<Self, DomainError> {
        let key: String = name
            .chars()
            .filter(|c| !matches!(c, ' ' | '-' | '_'))
            .flat_map(char::to_lowercase)
            .take(24)
            .collect();
        match key.as_str() {
            "ti6al4v" | "ti64" | "tial6v4" => Ok(Alloy::Ti6Al4V),
            "316l" | "ss316l" | "stainless316l" => Ok(Alloy::Ss316L),
            "in718" | "inconel718" | "alloy718" => Ok(Alloy::In718),
            "alsi10mg" => Ok(Alloy::AlSi10Mg),
            _ => Err(DomainError::UnknownName {
                kind: "alloy",
                name: echo(name),
                known: Alloy::ALL.map(Alloy::name).join(", "),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_through_text_and_json() {
        for (index, alloy) in Alloy::ALL.into_iter().enumerate() {
            assert_eq!(alloy.index(), index);
            assert_eq!(alloy.name().parse::<Alloy>().unwrap(), alloy);
            let json = serde_json::to_string(&alloy).unwrap();
            assert_eq!(json, format!("\"{}\"", alloy.name()));
        }
        assert_eq!("inconel 718".parse::<Alloy>().unwrap(), Alloy::In718);
    }

    #[test]
    fn an_unknown_alloy_lists_the_known() {
        let text = "unobtainium\n".parse::<Alloy>().unwrap_err().to_string();
        assert!(text.ends_with("known: Ti-6Al-4V, 316L, IN718, AlSi10Mg"), "{text}");
        assert!(!text.contains('\n'));
    }
}

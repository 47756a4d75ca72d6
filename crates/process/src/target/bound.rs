//! `relative_density>=99,elongation>=10` → the bounds a setting has to keep.

use super::error::TargetError;
use crate::boundaries::has_balling_criterion;
use crate::predict::Prediction;
use microdiff_domain::{Process, shown};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use std::fmt;
use std::str::FromStr;

/// What a target can bound: the columns of a prediction, and the build rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Property {
    /// Width of a track, µm.
    Width,
    /// Depth of a track, µm.
    Depth,
    /// Relative density, %.
    RelativeDensity,
    /// Probability of lack of fusion.
    LackOfFusion,
    /// Probability of keyhole pores.
    Keyhole,
    /// Probability that a track balls.
    Balling,
    /// Cooling rate, K/s.
    CoolingRate,
    /// Cell, dendrite or lath spacing, µm.
    Spacing,
    /// Yield strength, MPa.
    Yield,
    /// Elongation at fracture, %.
    Elongation,
    /// Speed times hatch times layer, cm³/h: arithmetic, no prediction.
    BuildRate,
}

/// Which side of a limit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// At the limit or above.
    AtLeast,
    /// At the limit or below.
    AtMost,
}

/// One bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// What is bounded.
    pub property: Property,
    /// On which side.
    pub sense: Sense,
    /// Where, in the property's unit.
    pub limit: f64,
}

/// The bounds that must be kept together; at least one, at most one on each side of a property,
/// each with a limit that the property can have.
#[derive(Debug, Clone, PartialEq)]
pub struct Target(Vec<Bound>);

impl Property {
    /// Every property.
    pub const ALL: [Property; 11] = [
        Property::Width,
        Property::Depth,
        Property::RelativeDensity,
        Property::LackOfFusion,
        Property::Keyhole,
        Property::Balling,
        Property::CoolingRate,
        Property::Spacing,
        Property::Yield,
        Property::Elongation,
        Property::BuildRate,
    ];

    /// Name without unit, as in a target.
    pub fn name(self) -> &'static str {
        match self {
            Property::Width => "width",
            Property::Depth => "depth",
            Property::RelativeDensity => "relative_density",
            Property::LackOfFusion => "p_lack_of_fusion",
            Property::Keyhole => "p_keyhole",
            Property::Balling => "p_balling",
            Property::CoolingRate => "cooling_rate",
            Property::Spacing => "spacing",
            Property::Yield => "yield",
            Property::Elongation => "elongation",
            Property::BuildRate => "build_rate",
        }
    }

    /// Unit; empty for a probability.
    pub fn unit(self) -> &'static str {
        match self {
            Property::Width | Property::Depth | Property::Spacing => "um",
            Property::RelativeDensity | Property::Elongation => "%",
            Property::LackOfFusion | Property::Keyhole | Property::Balling => "",
            Property::CoolingRate => "K/s",
            Property::Yield => "MPa",
            Property::BuildRate => "cm3/h",
        }
    }

    /// Name with unit, as the columns of a prediction begin.
    fn key(self) -> &'static str {
        match self {
            Property::Width => "width_um",
            Property::Depth => "depth_um",
            Property::RelativeDensity => "relative_density_pct",
            Property::CoolingRate => "cooling_rate_k_s",
            Property::Spacing => "spacing_um",
            Property::Yield => "yield_mpa",
            Property::Elongation => "elongation_pct",
            Property::BuildRate => "build_rate_cm3_h",
            Property::LackOfFusion | Property::Keyhole | Property::Balling => self.name(),
        }
    }

    /// How a refusal calls the unit.
    pub(super) fn told_unit(self) -> &'static str {
        match self.unit() {
            "" => "parts of 1",
            unit => unit,
        }
    }

    /// Limits that say something. A part of the predicted pores is capped at 60 %, and a density
    /// given as a part of 1 would be met by everything.
    fn limits(self) -> [f64; 2] {
        match self {
            Property::Width | Property::Depth => [0.0, 1e4],
            Property::RelativeDensity => [40.0, 100.0],
            Property::LackOfFusion | Property::Keyhole | Property::Balling => [0.0, 1.0],
            Property::CoolingRate => [0.0, 1e12],
            Property::Spacing => [0.0, 1e3],
            Property::Yield => [0.0, 5e3],
            Property::Elongation => [0.0, 100.0],
            Property::BuildRate => [0.0, 1e5],
        }
    }

    /// Whether a prediction gives it as an interval. The others are single numbers, so a bound on
    /// one of them is kept or not, without a doubt that would be known.
    pub fn is_interval(self) -> bool {
        matches!(
            self,
            Property::Width
                | Property::Depth
                | Property::RelativeDensity
                | Property::Yield
                | Property::Elongation
        )
    }

    /// Whether it is predicted for a process, or computed.
    pub(super) fn is_known_of(self, process: Process) -> bool {
        self != Property::Balling || has_balling_criterion(process)
    }

    /// Median and 90 % interval in a prediction, 5 % first; a single number is all three. `None` for
    /// the build rate, which is not predicted, and for balling where it is not.
    pub fn interval(self, prediction: &Prediction) -> Option<[f64; 3]> {
        let single = |value: f64| Some([value; 3]);
        let spread =
            |interval: crate::predict::Interval| [interval.p05, interval.p50, interval.p95];
        match self {
            Property::Width => Some(spread(prediction.width_um)),
            Property::Depth => Some(spread(prediction.depth_um)),
            Property::RelativeDensity => prediction.relative_density_pct.map(spread),
            Property::Yield => prediction.yield_mpa.map(spread),
            Property::Elongation => prediction.elongation_pct.map(spread),
            Property::LackOfFusion => prediction.p_lack_of_fusion.and_then(single),
            Property::Keyhole => single(prediction.p_keyhole),
            Property::Balling => prediction.p_balling.and_then(single),
            Property::CoolingRate => single(prediction.cooling_rate_k_s),
            Property::Spacing => single(prediction.spacing_um),
            Property::BuildRate => None,
        }
    }
}

impl Sense {
    /// As in a target.
    fn sign(self) -> &'static str {
        match self {
            Sense::AtLeast => ">=",
            Sense::AtMost => "<=",
        }
    }
}

impl Bound {
    /// Whether a value keeps it.
    pub fn keeps(&self, value: f64) -> bool {
        match self.sense {
            Sense::AtLeast => value >= self.limit,
            Sense::AtMost => value <= self.limit,
        }
    }
}

impl Target {
    /// The bounds, in the order they were given.
    pub fn bounds(&self) -> &[Bound] {
        &self.0
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.property, self.sense.sign(), shown(self.limit))?;
        match self.property.unit() {
            "" => Ok(()),
            unit => write!(f, " {unit}"),
        }
    }
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Bound", 4)?;
        fields.serialize_field("property", self.property.name())?;
        fields.serialize_field("sense", self.sense.sign())?;
        fields.serialize_field("limit", &self.limit)?;
        fields.serialize_field("unit", self.property.unit())?;
        fields.end()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, bound) in self.0.iter().enumerate() {
            write!(f, "{}{bound}", if index > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Property {
    type Err = TargetError;

    /// Accepts the name, and the name with its unit.
    fn from_str(name: &str) -> Result<Self, TargetError> {
        let found = Property::ALL.into_iter().find(|p| p.name() == name || p.key() == name);
        found.ok_or_else(|| TargetError::UnknownProperty {
            name: echo(name),
            known: Property::ALL.map(Property::name).join(", "),
        })
    }
}

/// Ways to write a side; longer ones first. No value of the model has a probability of its own, so
/// `>` is the same as `>=`.
const SENSES: [(&str, Sense); 6] = [
    (">=", Sense::AtLeast),
    ("<=", Sense::AtMost),
    ("≥", Sense::AtLeast),
    ("≤", Sense::AtMost),
    (">", Sense::AtLeast),
    ("<", Sense::AtMost),
];

impl FromStr for Bound {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let split = SENSES.iter().find_map(|(sign, sense)| {
            text.split_once(sign).map(|(name, value)| (name.trim(), *sense, value.trim()))
        });
        let Some((name, sense, value)) = split else {
            return Err(TargetError::Unreadable(echo(text)));
        };
        let property: Property = name.parse()?;
        let limit: f64 =
            value.parse().map_err(|_| TargetError::NoNumber { property, text: echo(value) })?;
        let [low, high] = property.limits();
        if !(low..=high).contains(&limit) {
            return Err(TargetError::OutOfRange { property, value: limit, low, high });
        }
        Ok(Self { property, sense, limit })
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let mut bounds: Vec<Bound> = Vec::new();
        for part in parts {
            let bound: Bound = part.parse()?;
            for other in bounds.iter().filter(|other| other.property == bound.property) {
                check_pair(other, &bound)?;
            }
            bounds.push(bound);
        }
        if bounds.is_empty() { Err(TargetError::Empty) } else { Ok(Self(bounds)) }
    }
}

/// Refuses two bounds on one property that say the same or leave nothing.
fn check_pair(one: &Bound, other: &Bound) -> Result<(), TargetError> {
    let property = one.property;
    let (low, high) = match (one.sense, other.sense) {
        (Sense::AtLeast, Sense::AtMost) => (one.limit, other.limit),
        (Sense::AtMost, Sense::AtLeast) => (other.limit, one.limit),
        _ => return Err(TargetError::Twice(property)),
    };
    if low > high { Err(TargetError::Crossed { property, low, high }) } else { Ok(()) }
}

/// The start of what was given: an error is one line.
fn echo(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &str) -> String {
        text.parse::<Target>().unwrap_err().to_string()
    }

    #[test]
    fn signs_spaces_and_units_in_names_are_read() {
        let target: Target =
            "relative_density >= 99.5 , elongation>10,p_keyhole≤0.1,yield_mpa<600,yield≥450,"
                .parse()
                .unwrap();
        assert_eq!(
            target.to_string(),
            "relative_density >= 99.5 %, elongation >= 10 %, p_keyhole <= 0.1, \
             yield <= 600 MPa, yield >= 450 MPa"
        );
        let told = |text: &str| text.parse::<Bound>().unwrap().to_string();
        assert_eq!(told("cooling_rate>1000000"), "cooling_rate >= 1e6 K/s");
        assert_eq!(told("p_keyhole<=0"), "p_keyhole <= 0");
        let json = serde_json::to_value(target.bounds()[0]).unwrap();
        assert_eq!(json["property"], "relative_density");
        assert_eq!((&json["sense"], &json["limit"]), (&">=".into(), &99.5.into()));
        assert_eq!(json["unit"], "%");
    }

    #[test]
    fn what_cannot_be_a_bound_is_refused_with_what_could() {
        assert!(refusal("").contains("empty") && refusal(" , ").contains("empty"));
        let typo = refusal("relative_densty>=99");
        assert!(typo.contains("\"relative_densty\"") && typo.contains("p_balling, cooling_rate"));
        assert!(refusal("relative_density_pct_p50>=99").contains("known: width"));
        assert!(refusal("relative_density=99").contains("name>=value"));
        assert!(refusal("relative_density").contains("name>=value"));
        assert!(refusal("elongation>=ten").contains("\"ten\" is no number; give it in %"));
        assert!(refusal("elongation>=10%").contains("without the unit"));
        assert!(refusal("90<=relative_density<=99").contains("unknown target \"90\""));
        for bad in ["NaN", "inf", "-inf", "-5", "101"] {
            let line = refusal(&format!("elongation>={bad}"));
            assert!(line.contains("is outside 0 to 100 %"), "{line}");
        }
        // A part of 1 where per cent are meant.
        assert!(refusal("relative_density>=0.998").contains("outside 40 to 100 %"));
        assert!(refusal("p_keyhole<=10").contains("outside 0 to 1 parts of 1"));
        assert!(refusal("depth>=80,depth>90").contains("two bounds on the same side"));
        assert!(refusal("depth<=80,depth>=90").contains("at least 90 and at most 80"));
    }

    proptest! {
        #[test]
        fn nothing_that_is_typed_breaks_the_reading(text in ".{0,60}") {
            let _ = text.parse::<Target>();
        }

        #[test]
        fn a_target_that_is_shown_is_read_again(property in 0..11usize, part in 0.0..=1.0f64) {
            let property = Property::ALL[property];
            let [low, high] = property.limits();
            let limit = low + (high - low) * part;
            let bound = Bound { property, sense: Sense::AtMost, limit };
            let text = format!("{property}<={limit}");
            prop_assert_eq!(text.parse::<Bound>().unwrap(), bound);
        }
    }
}

use super::bound::Property;
use crate::predict::ConditionError;
use microdiff_domain::{DomainError, Process, shown};
use thiserror::Error;

/// Why a target cannot be searched for. The text is meant for the person who asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum TargetError {
    /// No bound at all.
    #[error("the target is empty; give bounds, as in relative_density>=99,elongation>=10")]
    Empty,
    /// A part without `>=` or `<=`.
    #[error(
        "cannot read the target \"{0}\": give name>=value or name<=value in quotes, as in \
         \"relative_density>=99\"; an interval is two of them"
    )]
    Unreadable(String),
    /// A name that is none of [`Property::ALL`].
    #[error("unknown target \"{name}\"; known: {known}")]
    UnknownProperty {
        /// What was given.
        name: String,
        /// What could have been.
        known: String,
    },
    /// A value that is no number.
    #[error("target {property}: \"{text}\" is no number; give it in {unit}, without the unit",
        unit = property.told_unit())]
    NoNumber {
        /// The property it bounds.
        property: Property,
        /// What was given.
        text: String,
    },
    /// A value the property can never have.
    #[error("target {property}: {} is outside {low} to {high} {unit}",
        shown(*value), unit = property.told_unit())]
    OutOfRange {
        /// The property it bounds.
        property: Property,
        /// What was given.
        value: f64,
        /// Smallest value that says something.
        low: f64,
        /// Largest.
        high: f64,
    },
    /// Two bounds on the same side.
    #[error("target {0} has two bounds on the same side; give one")]
    Twice(Property),
    /// A lower bound above the upper one.
    #[error("target {property}: nothing is at least {low} and at most {high}")]
    Crossed {
        /// The property they bound.
        property: Property,
        /// Its lower bound.
        low: f64,
        /// Its upper bound.
        high: f64,
    },
    /// A property that is not predicted for the process.
    #[error(
        "target {property}: it is not predicted for {process}, because its criterion was measured on \
         lasers in powder beds alone; leave the bound out"
    )]
    NotPredicted {
        /// The property that is bounded.
        property: Property,
        /// The process that was asked about.
        process: Process,
    },
    /// A number of candidates that is not searched for.
    #[error("{0} candidates are not searched for; give 1 to {most}", most = super::MOST_CANDIDATES)]
    Count(usize),
    /// Alloy, process, machine, spot or known values that do not go together.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// A setting no machine of the process is run at.
    #[error(transparent)]
    Setting(#[from] ConditionError),
}

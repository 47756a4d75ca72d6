use crate::shown;
use thiserror::Error;

/// What makes a value unacceptable. The text is meant for the person who typed the value.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum DomainError {
    /// A physical value outside its range.
    #[error("{quantity} {} {unit} is outside {low} to {high} {unit}", shown(*value))]
    OutOfRange {
        /// Name of the quantity, as in `laser_power`.
        quantity: &'static str,
        /// The refused value.
        value: f64,
        /// Smallest accepted value.
        low: f64,
        /// Largest accepted value.
        high: f64,
        /// Unit of all three.
        unit: &'static str,
    },
    /// A name that is in no table.
    #[error("unknown {kind} \"{name}\"; known: {known}")]
    UnknownName {
        /// What was being named, as in `alloy`.
        kind: &'static str,
        /// The refused name, shortened and without control characters.
        name: String,
        /// Comma-separated list of what would have been accepted.
        known: String,
    },
    /// A process and an alloy that no model is made for together.
    #[error("{process} is not modelled for {alloy}; known: {known}")]
    Pair {
        /// Name of the process.
        process: &'static str,
        /// Name of the alloy.
        alloy: &'static str,
        /// Comma-separated list of the alloys that would have been accepted.
        known: String,
    },
    /// A machine that is asked for what it cannot do.
    #[error("machine {machine}: {reason}")]
    Machine {
        /// Name of the machine.
        machine: &'static str,
        /// What is wrong, and what it could do.
        reason: String,
    },
    /// A `name=value` list that cannot be read.
    #[error("cannot read \"{text}\": {expected}")]
    Unreadable {
        /// The offending piece, shortened and without control characters.
        text: String,
        /// What was expected in its place.
        expected: String,
    },
    /// A grid whose shape does not match its data, or is empty.
    #[error("a grid of shape {shape:?} cannot hold {len} values")]
    GridShape {
        /// Requested shape (z, y, x).
        shape: [usize; 3],
        /// Number of values given.
        len: usize,
    },
    /// A descriptor vector of the wrong length or with a value that is not finite.
    #[error("descriptor vector refused: {reason}")]
    Descriptors {
        /// Why.
        reason: String,
    },
}

/// Text from outside made safe to echo: at most 60 characters, no control characters.
pub(crate) fn echo(text: &str) -> String {
    text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

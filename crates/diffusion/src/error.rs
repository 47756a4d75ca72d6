use microdiff_domain::DomainError;
use thiserror::Error;

/// What went wrong, in words for the person who gave the input.
#[derive(Debug, Error)]
pub enum DiffusionError {
    /// A file could not be read or written.
    #[error("cannot access {path}: {source}")]
    File {
        /// The file, without control characters.
        path: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A model bundle that is damaged or not for this version.
    #[error("model bundle refused: {reason}")]
    Bundle {
        /// Why.
        reason: String,
    },
    /// A row file that is damaged or of another schema.
    #[error("row file refused: {reason}")]
    Rows {
        /// Why.
        reason: String,
    },
    /// A table, observation or declared prior that cannot be used.
    #[error("{reason}")]
    Table {
        /// What is wrong and where.
        reason: String,
    },
    /// An option outside its range.
    #[error("{option} {value} is outside {low} to {high}")]
    Option {
        /// Name of the option.
        option: &'static str,
        /// The refused value.
        value: usize,
        /// Smallest accepted value.
        low: usize,
        /// Largest accepted value.
        high: usize,
    },
    /// A value the domain refuses.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// A scan that cannot come from the machine it is said to come from.
    #[error(
        "{:.0} % of the settings that explain this scan are none that {machine} can be set to: ask \
         without the machine, or check alloy, voxel size and what was given as known",
        100.0 * share
    )]
    Contradiction {
        /// Name of the machine.
        machine: &'static str,
        /// Share of the draws outside its limits.
        share: f64,
    },
    /// Training that cannot begin or go on.
    #[error("training refused: {reason}")]
    Training {
        /// Why.
        reason: String,
    },
}

impl DiffusionError {
    pub(crate) fn bundle(reason: impl Into<String>) -> Self {
        Self::Bundle { reason: one_line(&reason.into()) }
    }

    pub(crate) fn rows(reason: impl Into<String>) -> Self {
        Self::Rows { reason: one_line(&reason.into()) }
    }

    pub(crate) fn table(reason: impl Into<String>) -> Self {
        Self::Table { reason: one_line(&reason.into()) }
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { path: one_line(&path.display().to_string()), source }
    }
}

/// Refuses an option outside its range.
pub(crate) fn within(
    option: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
) -> Result<(), DiffusionError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(DiffusionError::Option { option, value, low: *range.start(), high: *range.end() })
}

/// Text from outside made safe to echo: at most 200 characters, no control characters.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

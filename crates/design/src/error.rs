use microdiff_diffusion::DiffusionError;
use microdiff_domain::DomainError;
use microdiff_imaging::{ErrorKind as ImagingErrorKind, ImagingError};
use microdiff_process::ProcessError;
use thiserror::Error;

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is impossible or incomplete.
    Usage,
    /// The scan cannot be used.
    Data,
    /// Neither; something of ours is broken.
    Internal,
}

/// Why no answer could be given.
#[derive(Debug, Error)]
pub enum DesignError {
    /// A value of the request is outside its range.
    #[error(transparent)]
    Request(#[from] DomainError),
    /// The scan cannot be read or measured.
    #[error(transparent)]
    Scan(#[from] ImagingError),
    /// The model cannot be loaded or cannot answer.
    #[error(transparent)]
    Model(#[from] DiffusionError),
    /// The simulator refused a case.
    #[error(transparent)]
    Simulation(#[from] ProcessError),
    /// No simulation of a row could be used.
    #[error("no simulated scan of row {index} could be measured")]
    NoRow {
        /// The row.
        index: usize,
    },
    /// The bundle lacks what the canary needs, or its phantom is unreadable.
    #[error("the known-answer canary cannot run: {0}")]
    Canary(String),
    /// The model has no validation set that can be used, or it cannot be written.
    #[error("the validation set cannot be used: {0}")]
    Validation(String),
}

impl DesignError {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DesignError::Request(_) => ErrorKind::Usage,
            DesignError::Scan(error) => match error.kind() {
                ImagingErrorKind::Usage => ErrorKind::Usage,
                ImagingErrorKind::Data => ErrorKind::Data,
            },
            DesignError::Model(DiffusionError::Contradiction { .. }) => ErrorKind::Data,
            DesignError::Simulation(_) => ErrorKind::Usage,
            DesignError::Model(DiffusionError::Domain(_) | DiffusionError::Option { .. }) => {
                ErrorKind::Usage
            }
            DesignError::Model(_)
            | DesignError::Canary(_)
            | DesignError::NoRow { .. }
            | DesignError::Validation(_) => ErrorKind::Internal,
        }
    }
}

/// Writes the codes once, as the match and as the list of what it can give.
macro_rules! codes {
    ($($error:pat => $code:literal,)+) => {
        /// The codes of this crate's own.
        const OWN: &[&str] = &[$($code),+];

        impl DesignError {
            /// Stable short name from a closed set, fit for a metric label.
            pub fn code(&self) -> &'static str {
                match self {
                    DesignError::Scan(error) => error.code(),
                    $($error => $code,)+
                }
            }
        }
    };
}

codes! {
    DesignError::Request(_) => "invalid_request",
    DesignError::Model(DiffusionError::Contradiction { .. }) => "machine_contradicted",
    DesignError::Model(_) => "model_failed",
    DesignError::Simulation(_) | DesignError::NoRow { .. } => "simulation_refused",
    DesignError::Canary(_) => "canary_failed",
    DesignError::Validation(_) => "validation_failed",
}

impl DesignError {
    /// Every code that [`DesignError::code`] can give, each once.
    pub const CODES: [&'static str; OWN.len() + ImagingError::CODES.len()] = {
        let mut codes = [""; OWN.len() + ImagingError::CODES.len()];
        let mut index = 0;
        while index < codes.len() {
            codes[index] = match index.checked_sub(OWN.len()) {
                Some(scan) => ImagingError::CODES[scan],
                None => OWN[index],
            };
            index += 1;
        }
        codes
    };
}

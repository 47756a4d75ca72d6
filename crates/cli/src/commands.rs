//! One module per command; each turns arguments into an outcome.

pub mod analyze;
pub mod audit;
pub mod design;
pub mod drill;
pub mod evaluate;
pub mod healthcheck;
pub mod map;
pub mod models;
pub mod observability;
pub mod predict;
pub mod record;
pub mod replay;
pub mod serve;
pub mod simulate;
mod table_mode;
pub mod target;
pub mod train;
#[cfg(feature = "train")]
mod train_scans;
pub mod validate_physics;

use crate::failure::Failure;
use microdiff_design::{DesignError, Designer, ErrorKind};
use std::path::Path;

impl From<DesignError> for Failure {
    fn from(error: DesignError) -> Self {
        match error.kind() {
            ErrorKind::Usage => Failure::usage(error),
            ErrorKind::Data => Failure::data(error),
            ErrorKind::Internal => Failure::internal(error),
        }
    }
}

/// The model in a directory, or the built-in one.
fn designer(bundle: Option<&Path>) -> Result<Designer, Failure> {
    match bundle {
        Some(directory) => Designer::open(directory).map_err(|error| {
            Failure::data(format!("cannot use the model in {}: {error}", directory.display()))
        }),
        None => Ok(Designer::bundled()?),
    }
}

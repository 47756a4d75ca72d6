use std::path::PathBuf;

use thiserror::Error;

/// Why the kit cannot be read or written.
#[derive(Debug, Error)]
pub enum KitError {
    /// A file of the kit is not what its name says.
    #[error("{file}: {reason}")]
    Unreadable {
        /// Its path within the kit.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A rule has no faster form.
    #[error("{file}: {place}: cannot be compressed in time: {reason}")]
    Incompressible {
        /// The file within the kit.
        file: String,
        /// The rule or group.
        place: String,
        /// What stands in the way.
        reason: String,
    },
    /// A copy of the kit cannot be looked through.
    #[error("cannot read {}: {source}", path.display())]
    Unlisted {
        /// What cannot be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Unwritable {
        /// Where it should have gone.
        path: PathBuf,
        /// Why it did not.
        source: std::io::Error,
    },
    /// The directory is not empty, and nothing was written.
    #[error("{} is not empty", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
}

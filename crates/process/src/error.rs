use crate::predict::ConditionError;
use microdiff_domain::DomainError;
use thiserror::Error;

/// What makes a simulation impossible. The text is meant for the person who asked for it.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ProcessError {
    /// A physical value refused by the domain.
    #[error(transparent)]
    Domain(#[from] DomainError),
    /// A setting no machine of the process is run at.
    #[error(transparent)]
    Setting(#[from] ConditionError),
    /// A volume with an empty axis or too many voxels.
    #[error(
        "a volume of {} x {} x {} voxels cannot be simulated; every axis needs at least 1 voxel \
         and all together at most {limit}",
        shape[0], shape[1], shape[2]
    )]
    Shape {
        /// Requested shape (z, y, x).
        shape: [usize; 3],
        /// Largest accepted number of voxels.
        limit: usize,
    },
    /// A voxel edge at which the simulated structures mean nothing.
    #[error("voxel_size {value} um cannot be simulated; give {low} to {high} um")]
    VoxelSize {
        /// Requested edge, um.
        value: f64,
        /// Smallest accepted edge, um.
        low: f64,
        /// Largest accepted edge, um.
        high: f64,
    },
    /// A nuisance value that is not finite or outside what the model can represent.
    #[error("nuisance {name} {value} is outside {low} to {high}")]
    Nuisance {
        /// Name of the field.
        name: &'static str,
        /// Refused value.
        value: f64,
        /// Smallest accepted value.
        low: f64,
        /// Largest accepted value.
        high: f64,
    },
}

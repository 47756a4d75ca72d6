//! The words every other crate shares: bounded physical values, alloys, processes, machines, the five
//! inferred process parameters, a voxel grid, the schema of the pore descriptors, the normal
//! distribution, and how numbers and digests are written.
//!
//! Nothing here does I/O, draws random numbers or knows a tensor. A value that exists is valid:
//! constructors are the validation, and their errors name the range and the unit.

mod alloy;
pub mod appearance;
mod defect;
pub mod descriptor;
mod error;
mod hex;
mod machine;
pub mod normal;
mod observe;
mod parameter;
mod process;
mod shown;
mod units;
mod volume;

pub use alloy::Alloy;
pub use appearance::{APPEARANCE_COUNT, Appearance};
pub use defect::DefectClass;
pub use descriptor::{DESCRIPTOR_COUNT, Descriptors};
pub use error::DomainError;
pub use hex::hex;
pub use machine::{Machine, MachineLimits, UsualSetting};
pub use observe::{Observer, Phase};
pub use parameter::{
    KnownParameters, PARAMETER_COUNT, Parameter, ParameterRange, ProcessParameters, Scale,
};
pub use process::Process;
pub use shown::shown;
pub use units::{
    BedTemperature, HatchSpacing, LaserPower, LayerThickness, ScanSpeed, SpotDiameter, VoxelSize,
};
pub use volume::Volume;

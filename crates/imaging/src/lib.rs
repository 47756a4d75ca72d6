//! A micro-CT scan of a printed part → its pores, and the descriptors the posterior is drawn from.
//!
//! Loading is hardened against damaged and hostile files and never drops a page in silence.
//! Segmentation demands proof of a pore, so that a dense noisy scan reads as dense. Measures are
//! in physical units and independent of the number of threads.
//!
//! Not done here, on purpose: inference, plotting, telemetry. Only [`io`] touches files.

mod analysis;
mod describe;
mod error;
mod filter;
pub mod io;
mod measure;
mod scan;
mod segment;

pub use analysis::{Analysis, AnalysisOptions, DefectShares, LEAST_AXIS, Threshold, analyze};
pub use error::{ErrorKind, ImagingError};
pub use measure::pore::Pore;
pub use scan::{GreyMap, KnownVoxelSize, Scan, VoxelSizeSource, Voxels};
pub use segment::part::Outside;

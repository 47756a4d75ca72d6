//! A micro-CT scan of a printed part → its pores, and the descriptors the posterior is drawn from.
//!
//! Loading is hardened against damaged and hostile files and never drops a page in silence.
//! Segmentation demands proof of a pore, so that a dense noisy scan reads as dense. Measures are
//! in physical units and independent of the number of threads. The steps are there one by one, as
//! functions over slices and shapes: [`filter`], [`segment`], [`measure`].
//!
//! Not done here, on purpose: inference, plotting, telemetry. Only [`io`] touches files.

mod analysis;
mod appearance;
mod arguments;
mod describe;
mod error;
pub mod filter;
mod fourier;
pub mod io;
mod lanes;
pub mod measure;
mod memory;
mod scan;
pub mod segment;
mod simd;

pub use analysis::{Analysis, AnalysisOptions, DefectShares, LEAST_AXIS, Threshold, analyze};
pub use error::{ErrorKind, ImagingError};
pub use measure::pore::Pore;
pub use scan::{GreyMap, KnownVoxelSize, Scan, VoxelSizeSource, Voxels};
pub use segment::part::Outside;

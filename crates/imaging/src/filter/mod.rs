//! Volume → volume: denoising, smoothing, normalisation, and removal of slow trends and of rings.
//!
//! Functions take a slice of voxels, x fastest, and its shape (z, y, x), and refuse a shape that
//! does not fit the slice.

mod bilateral;
mod downsample;
mod gaussian;
pub(crate) mod histogram;
pub(crate) mod median;
mod normalise;
mod rings;
pub(crate) mod trend;

pub use bilateral::{BilateralOptions, bilateral};
pub use downsample::block_mean;
pub use gaussian::{gaussian, gaussian_into};
pub use histogram::{histogram, level_at};
pub use median::{Grey, median3, median3_into};
pub use normalise::{NormaliseOptions, normalise};
pub use rings::{RingOptions, remove_rings};
pub use trend::remove_trend;

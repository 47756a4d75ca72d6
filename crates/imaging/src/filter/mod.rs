//! Volume → volume: denoising, histogram and removal of the slow grey trend.

pub(crate) mod histogram;
pub(crate) mod median;
pub(crate) mod trend;

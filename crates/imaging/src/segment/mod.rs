//! Volume → phase, and phase → connected components and distances.
//!
//! A phase is a [`Bits`]: one bit for each voxel of a (z, y, x) volume.

pub(crate) mod bits;
pub(crate) mod components;
mod distance;
mod hysteresis;
pub(crate) mod label;
mod otsu;
pub(crate) mod part;
mod split;
pub(crate) mod threshold;
mod union;

pub use bits::Bits;
pub use distance::{UNBOUNDED, squared_distance, squared_distance_into};
pub use hysteresis::{LocalOptions, fill_islands, hysteresis, local_threshold};
pub use label::{LabelledRun, Labels, label};
pub use otsu::otsu;
pub use split::{Split, split};
pub use union::Connectivity;

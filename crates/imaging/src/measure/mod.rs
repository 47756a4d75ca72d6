//! Phase → numbers: amounts, shapes and sizes, correlation, thickness, roughness.
//!
//! Lengths come out in voxels unless a name says otherwise; those of pores are physical.

pub(crate) mod correlation;
pub(crate) mod deficit;
pub(crate) mod hatch;
pub(crate) mod layers;
pub(crate) mod minkowski;
pub(crate) mod neighbours;
pub(crate) mod pore;
mod power;
mod roughness;
mod scanner;
mod thickness;
mod two_point;

pub use layers::{LayerPeriod, layer_period};
pub use minkowski::{Chords, Minkowski, chords, minkowski, page_shares};
pub use pore::{Pore, least_distance, pores};
pub use roughness::{Roughness, Side, height_map, roughness};
pub use scanner::{LEAST_SCANNER_AXIS, ScannerStatistics, scanner_statistics};
pub use thickness::local_thickness;
pub use two_point::{TwoPoint, TwoPointOptions, two_point, two_point_in, two_point_room};

//! Pores and pore phase → numbers, in physical units.

pub(crate) mod correlation;
pub(crate) mod deficit;
pub(crate) mod hatch;
pub(crate) mod layers;
pub(crate) mod neighbours;
pub(crate) mod pore;

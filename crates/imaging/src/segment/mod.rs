//! Volume → part, pore phase and connected pores.

pub(crate) mod bits;
pub(crate) mod components;
pub(crate) mod part;
pub(crate) mod threshold;

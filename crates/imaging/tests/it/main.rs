//! Behaviour of the crate as its users see it.

mod analysis;
mod synthetic;

//! Behaviour of the crate as its users see it.

mod analysis;
mod files;
mod hostile;
mod synthetic;

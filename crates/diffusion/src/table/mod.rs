//! Table mode: from rows of parameters and observables, of whatever experiment, to draws of the
//! parameters behind an observation.
//!
//! [`train`] fits an ensemble of conditional diffusion models to the rows of a
//! [`Table`] and [`TableModel`] draws. One configuration serves every task; it adapts to the number of rows and
//! columns and to what held-out rows say. The formulation is that of the scan model (EDM,
//! DPM-Solver++(2M)); the trainer is our own code on the serving kernels, because the shipped
//! binary holds no training framework.
//!
//! Deliberately absent: settings for a task, missing values, categories, partly known parameters.

mod bundle;
mod columns;
mod denoiser;
mod emulator;
mod features;
mod frame;
mod model;
mod network;
mod prepared;
mod run;
mod space;
#[cfg(test)]
mod tests;
mod train;

pub use bundle::{FORMAT, TableManifest, TableTraining, is_table_bundle};
pub use columns::Table;
pub use features::Features;
pub use frame::Frame;
pub use model::{Outside, TableModel};
pub use network::TableArchitecture;
pub use space::{Prior, Transform, parse_priors};
pub use train::{TableOptions, TrainedTable, train};

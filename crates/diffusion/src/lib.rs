//! From the pore descriptors of a scan to draws of the process parameters that could have made it.
//!
//! [`Model`] reads a bundle (weights and manifest), encodes an [`Observation`] once and draws from
//! the posterior with a conditional diffusion model: EDM preconditioning (Karras et al. 2022),
//! DPM-Solver++(2M) (Lu et al. 2022), in a parameter space where the uniform prior is exactly a
//! standard normal, so that no draw leaves the machine's range and an uninformative scan gives the
//! prior back. The network runs on our own `f32` kernels, whose results are the same bits on every
//! instruction set and every number of threads.
//!
//! Deliberately absent: classifier-free guidance (it is not a posterior: Karczewski et al.,
//! arXiv 2505.21101), any clock, any global random state, any telemetry, any tensor library in the
//! serving build (training, behind the feature `train`, uses one).

mod affine;
pub mod bundle;
mod condition;
mod digest;
mod error;
pub mod evaluate;
mod kernels;
mod layers;
mod network;
mod optimiser;
mod outlier;
mod posterior;
mod reference;
pub mod rows;
pub mod sampler;
mod skill;
mod space;
pub mod table;
#[cfg(test)]
mod tests;
#[cfg(feature = "train")]
pub mod training;

pub use bundle::Manifest;
pub use digest::sha256_hex;
pub use error::DiffusionError;
pub use network::Architecture;
pub use outlier::{FALSE_ALARM_RATE, OutOfDistribution};
pub use posterior::{
    Canary, CanaryOutcome, Model, Observation, Posterior, Quantiles, SampleOptions,
};
pub use reference::{DescriptorReference, Place};
pub use skill::{CaseScore, SetScore, score_case, set_scores};

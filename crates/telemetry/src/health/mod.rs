//! Health: checks run in the background, probes answered from memory.
//!
//! A check is an async function with a policy, a cadence and a deadline. It runs by itself; a probe
//! reads the last result and never waits on anything. A state turns only after a streak of results,
//! so that one lost packet does not empty a load balancer.
//!
//! Deliberately absent: running a check because a probe came in.

mod answer;
mod check;
mod state;

pub use answer::Answer;
pub use check::{CheckDetail, CheckFailure, CheckOptions, Policy};
pub use state::{Health, HealthBuilder};

//! Health: checks run in the background, probes answered from memory.
//!
//! A check is an async function with a policy, a cadence and a deadline. It runs by itself; a probe
//! reads the last result and never waits on anything. A state turns only after a streak of results,
//! so that one lost packet does not empty a load balancer. A check that works and needs attention
//! says so at once, since that turns no answer away. One line in the log tells each turn.
//!
//! Deliberately absent: running a check because a probe came in.

mod answer;
mod check;
mod state;
mod watchdog;

pub use answer::Answer;
pub use check::{CheckDetail, CheckFailure, CheckOptions, Policy};
pub use state::{Health, HealthBuilder};

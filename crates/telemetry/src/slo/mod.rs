//! Objectives and their error budgets, kept in the process: counts of good and bad events become
//! ratio, budget left, burn rate and time to exhaustion, with no monitoring system beside it.
//!
//! An event costs whoever records it one or two relaxed atomic additions; once a second
//! ([`Slo::advance`]) they are put into buckets of a minute (six hours of them) and of five minutes
//! (the whole window). Memory is bounded by the window: 8,064 buckets of 16 bytes an objective for
//! 28 days. [`Slo::save`] and [`Slo::load`] carry the buckets over a restart.
//!
//! A span of time is a whole number of buckets, the one being filled among them, so the five minutes
//! of a burn rate are between four and five minutes of events. The definitions are those of "The
//! Site Reliability Workbook" (Beyer et al. 2018), chapter 5: burn rate 1 spends the budget exactly
//! in the window.
//!
//! Deliberately absent: alerting (the metrics carry the same figures), objectives made at run time,
//! adding up several replicas (each knows only its own events).

mod report;
mod ring;
mod saved;
mod state;

pub use report::{Burn, BurnWindow, ObjectiveReport};
pub use ring::Tally;
pub use saved::SavedError;
pub use state::{Clock, Meter, ObjectiveOptions, Slo, SloOptions, steady_clock};

//! A design asked for over HTTP, from the stored form of its request to the worker that runs it.

mod queue;
mod request;
mod watch;
mod worker;

pub use queue::JobQueue;
pub use request::JobRequest;
pub(crate) use worker::{Crew, Workers};

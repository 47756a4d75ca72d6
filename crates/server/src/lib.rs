//! The HTTP service: scans in, durable jobs, answer documents out, and everything an operator
//! needs to see.
//!
//! A submitted scan is stored and its job recorded before 202 is answered; workers take jobs from
//! the record, so a crash loses none. Every request has one access line, one span and its metrics;
//! every inference a summary line, with the same ids.
//!
//! It deliberately knows nothing of images or models: answers come from an [`Engine`], and all
//! that is measured goes through the telemetry crate by the rows of [`catalogue`].

mod audit;
pub mod catalogue;
mod checks;
pub mod config;
mod engine;
mod error;
mod flight;
mod handlers;
pub mod jobs;
mod listen;
pub mod log_fields;
mod metrics;
mod objectives;
mod present;
pub mod problem;
mod quality;
mod reload;
mod router;
mod service;
pub mod spans;
mod stop;
pub mod store;

pub use config::{Config, Overrides};
pub use engine::{Accuracy, Canary, Engine, EngineFailure, ValidationFacts};
pub use error::ServerError;
pub use flight::DesignDetails;
pub use handlers::openapi::document as openapi_document;
pub use service::{Parts, Ready, run, serve, telemetry, telemetry_options};
pub use stop::Stop;

use std::sync::Arc;

/// What the handlers share.
struct App {
    config: Config,
    queue: Arc<jobs::JobQueue>,
    files: store::ScanFiles,
    engine: Arc<dyn Engine>,
    metrics: Arc<metrics::Metrics>,
    quality: Arc<quality::Quality>,
    telemetry: microdiff_telemetry::Telemetry,
    gpu: microdiff_telemetry::gpu::GpuMonitor,
    flight: Arc<flight::Flight>,
    objectives: Arc<objectives::Objectives>,
    uploads: tokio::sync::Semaphore,
    stop: Stop,
    audit: audit::AuditLog,
}

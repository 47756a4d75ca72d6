//! The real binary, as a user runs it.
#![cfg(test)]

mod alertmanager;
mod alerts;
mod analyze;
mod audit;
mod bad_input;
mod binary;
#[path = "../../src/commands/drill/bundle.rs"]
mod bundle;
mod catalogue;
mod collector;
mod compose;
mod design;
mod drills;
mod gpu;
mod health;
mod help;
mod kit;
mod kubernetes;
mod map;
#[path = "../../../telemetry/tests/metric_family/mod.rs"]
mod metric_family;
mod models;
#[path = "../../../telemetry/tests/monitoring_server/mod.rs"]
mod monitoring_server;
mod otel;
mod predict;
mod prometheus;
mod quiet;
mod redaction;
mod replay;
mod runbooks;
mod serve;
mod service;
mod simulate;
mod table;
mod target;
mod validate_physics;
mod verification;
mod verify;

//! The real binary, as a user runs it.

#[cfg(test)]
mod analyze;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod catalogue;
#[cfg(test)]
mod collector;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod design;
#[cfg(test)]
mod gpu;
#[cfg(test)]
mod health;
#[cfg(test)]
mod help;
mod kit;
#[cfg(test)]
mod map;
#[cfg(test)]
#[path = "../../../telemetry/tests/metric_family/mod.rs"]
mod metric_family;
#[cfg(test)]
mod otel;
#[cfg(test)]
mod predict;
mod prometheus;
#[cfg(test)]
mod redaction;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod runbooks;
#[cfg(test)]
mod serve;
#[cfg(test)]
mod service;
#[cfg(test)]
mod simulate;
#[cfg(test)]
#[path = "../../../telemetry/tests/stub_nvml/mod.rs"]
mod stub_nvml;
#[cfg(test)]
mod table;
#[cfg(test)]
mod validate_physics;

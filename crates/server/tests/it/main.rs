//! The service as its clients and operators meet it: over sockets, with the bundled model where an
//! answer is needed and a scripted engine where a fault is.

// `cfg(test)` says to the lints what is plain: all of this is test code.
#[cfg(test)]
mod api;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod elasticsearch;
#[cfg(test)]
mod engine;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flight;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod health;
#[cfg(test)]
mod logs;
#[cfg(test)]
#[path = "../../../telemetry/tests/monitoring_server/mod.rs"]
mod monitoring_server;
#[cfg(test)]
mod observability;
#[cfg(test)]
mod prometheus;
#[cfg(test)]
mod quality;
#[cfg(test)]
mod server;
#[cfg(test)]
mod store;
#[cfg(test)]
mod traces;

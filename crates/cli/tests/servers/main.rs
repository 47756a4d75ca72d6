//! The pipelines of `deploy/` run by the systems they are for: the service's own log and spans go
//! through a real Collector into a real Jaeger and a real OpenSearch.
//!
//! Wants `.ci/servers/get otelcol jaeger opensearch` beforehand and fails where one is missing:
//! `just servers-test` does both.
#![cfg(test)]

#[path = "../it/alertmanager.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod alertmanager;
#[path = "../it/binary.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod binary;
mod cluster;
mod collector;
mod documents;
mod jaeger;
mod logs;
#[path = "../../../telemetry/tests/monitoring_server/mod.rs"]
mod monitoring_server;
#[path = "../it/collector.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod people;
#[path = "../it/prometheus.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod prometheus;
mod real;
mod search;
#[path = "../it/service.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod service;
mod traces;
#[path = "../it/verification.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod verification;
mod verify;

//! The pipelines of `deploy/` run by the systems they are for: the service's own log and spans go
//! through a real Collector into a real Jaeger and a real OpenSearch.
//!
//! Wants `.ci/servers/get otelcol jaeger opensearch` beforehand and fails where one is missing:
//! `just servers-test` does both.
#![cfg(test)]

#[path = "../it/binary.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod binary;
mod collector;
mod documents;
mod logs;
mod real;
mod search;
#[path = "../it/service.rs"]
#[expect(dead_code, reason = "shared with the other tests of the binary")]
mod service;
mod traces;

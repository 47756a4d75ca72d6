//! The files of the telemetry crate that have `loom` models, compiled against `loom` instead of the
//! standard library. Each file holds its models itself, in a module of tests under `cfg(loom)`.
#![cfg(test)]

#[path = "../../src/metrics"]
mod metrics {
    mod cells;
    mod slots;
}

#[path = "../../src/logs"]
mod logs {
    #[expect(dead_code, reason = "the model has no files to open anew and brings its own buffer")]
    mod queue;
}

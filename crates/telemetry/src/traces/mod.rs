//! Traces.
mod id;
pub use id::{SpanId, TraceContext, TraceId};

//! Any text as a `traceparent`: no panic, and what is read is valid and survives being written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microdiff_telemetry::traces::TraceContext;

fuzz_target!(|text: &str| {
    if let Some(context) = TraceContext::parse(text) {
        assert!(context.trace_id.get() != 0 && context.span_id.get() != 0);
        assert_eq!(TraceContext::parse(&context.to_header()), Some(context));
    }
});

//! The `Accept` header of a scrape: whatever it says, one of the formats is chosen, and asking
//! for that format by its own content type leads to it again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use microdiff_telemetry::metrics::Format;

fuzz_target!(|headers: Vec<&str>| {
    let format = Format::negotiate(headers.iter().copied());
    assert_eq!(Format::negotiate([format.content_type()]), format);
    // A header of nothing we have changes nothing.
    let with_stranger = headers.iter().copied().chain(["application/json"]);
    assert_eq!(Format::negotiate(with_stranger), format);
});

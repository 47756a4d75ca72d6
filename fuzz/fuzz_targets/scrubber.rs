//! No text makes the scrubber panic, swell or change its mind, and no surroundings let a planted
//! secret through.

#![no_main]

use libfuzzer_sys::fuzz_target;
use microdiff_telemetry::redaction::{RedactionOptions, Scrubber};

/// Occurs in no other way than by being planted.
const SECRET: &str = "cnryZq7Xw4Kp0123456789";

fuzz_target!(|input: (&str, &str)| {
    let (before, after) = input;
    if before.contains(SECRET) || after.contains(SECRET) {
        return;
    }
    let scrubber = Scrubber::new(RedactionOptions {
        shown_dirs: vec!["/srv/data".into()],
        public_paths: vec!["/v1/".to_owned()],
        secret_keys: Vec::new(),
    });
    let free = format!("{before} {after}");
    let once = scrubber.scrub(&free).into_owned();
    assert!(once.len() <= 12 * free.len().max(1), "swells");
    assert_eq!(scrubber.scrub(&once), once.as_str(), "changes its mind");
    // A line feed ends whatever the text before may have opened.
    for planted in [
        format!("{before}\npassword={SECRET} {after}"),
        format!("{before}\n\"api_key\": \"{SECRET}\"\n{after}"),
        format!("{before}\nAuthorization: Bearer {SECRET}\n{after}"),
        format!("{before}\ncookie: a=1; b={SECRET}\n{after}"),
        format!("{before}\n/home/{SECRET}/x {after}"),
        format!("{before}\n{SECRET}@example.org {after}"),
        format!("{before}\nghp_{SECRET} {after}"),
        format!("{before}\nhttps://user:{SECRET}@example.org/ {after}"),
    ] {
        let shown = scrubber.scrub(&planted);
        assert!(!shown.contains(SECRET), "{shown}");
    }
    assert!(!scrubber.scrub_field("x-api-key", SECRET).contains(SECRET));
});

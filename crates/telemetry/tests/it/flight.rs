use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

use microdiff_telemetry::flight::{
    FlightClass, FlightDetails, FlightFiles, FlightOptions, FlightRecord, FlightRecorder, Keep,
};
use microdiff_telemetry::redaction::{RedactionOptions, Scrubber};
use microdiff_telemetry::traces::TraceId;
use proptest::prelude::*;
use serde_json::{Value, json};

static CLASSES: &[FlightClass] = &[
    FlightClass { name: "burnt", share: 2, keep: Keep::Newest },
    FlightClass { name: "slow", share: 1, keep: Keep::Newest },
    FlightClass { name: "plain", share: 1, keep: Keep::Sample },
];

fn recorder(capacity: usize, bytes: usize) -> FlightRecorder {
    let options = FlightOptions { classes: CLASSES, capacity, bytes, version: "1.2.3".to_owned() };
    FlightRecorder::new(options, Scrubber::new(RedactionOptions::default()))
}

struct Order(Value);

impl FlightDetails for Order {
    fn json(&self) -> Value {
        self.0.clone()
    }

    fn heap_bytes(&self) -> usize {
        100
    }
}

fn record(id: &str) -> FlightRecord {
    FlightRecord {
        id: id.to_owned(),
        request_id: format!("request-{id}"),
        trace_id: TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736"),
        time: SystemTime::UNIX_EPOCH,
        method: "POST",
        endpoint: "/cakes".into(),
        status: "done".into(),
        error_type: None,
        duration: Duration::from_millis(1500),
        phases: vec![("mix", Duration::from_millis(500)), ("bake", Duration::from_secs(1))],
        bytes: 7,
        details: Some(Box::new(Order(json!({ "icing": "lemon" })))),
    }
}

fn ids(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["id"].as_str().unwrap()).collect()
}

#[test]
fn a_record_is_told_whole_and_found_by_either_id() {
    let recorder = recorder(8, 1 << 20);
    recorder.record(&["slow", "burnt"], record("a"));
    let told = recorder.find("a").unwrap();
    assert_eq!(
        told,
        json!({
            "id": "a", "request_id": "request-a", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "time": "1970-01-01T00:00:00.000000Z", "reasons": ["burnt", "slow"],
            "method": "POST", "endpoint": "/cakes", "status": "done", "error_type": null,
            "duration_ms": 1500.0, "phases_ms": { "mix": 500.0, "bake": 1000.0 }, "bytes": 7,
            "version": "1.2.3", "details": { "icing": "lemon" },
        })
    );
    assert_eq!(recorder.find("request-a"), Some(told));
    assert_eq!(recorder.find("b"), None);
    recorder.record(&["unheard of"], record("b"));
    assert_eq!(recorder.find("b"), None, "no reason, no record");
}

#[test]
fn a_flood_of_one_class_evicts_nothing_of_another() {
    let recorder = recorder(8, 1 << 20);
    recorder.record(&["slow"], record("first"));
    recorder.record(&["plain"], record("ordinary"));
    for i in 0..1000 {
        recorder.record(&["burnt", "slow"], record(&i.to_string()));
    }
    assert!(recorder.find("first").is_some() && recorder.find("ordinary").is_some());
    assert_eq!(ids(&recorder.list(Some("burnt"), 10)), ["999", "998", "997", "996"]);
    assert_eq!(ids(&recorder.list(Some("slow"), 10)).last(), Some(&"first"), "by any reason");
    assert_eq!(ids(&recorder.list(None, 2)), ["999", "998"]);
    assert!(recorder.list(Some("cold"), 10).is_empty());
    let counts = recorder.counts();
    assert_eq!((counts[0].recorded, counts[0].evicted, counts[0].held), (1000, 996, 4));
    assert_eq!((counts[1].recorded, counts[1].evicted, counts[1].held), (1, 0, 1));
}

#[test]
fn a_sample_spans_more_time_than_the_newest() {
    let recorder = recorder(64, 1 << 20);
    for i in 0..160 {
        recorder.record(&["plain"], record(&i.to_string()));
        recorder.record(&["slow"], record(&i.to_string()));
    }
    let oldest = |class| -> u32 {
        let records = recorder.list(Some(class), 100);
        assert_eq!(records.len(), 16);
        ids(&records).iter().map(|id| id.parse().unwrap()).min().unwrap()
    };
    assert_eq!(oldest("slow"), 144);
    assert!(oldest("plain") < 140, "{}", oldest("plain"));
}

proptest! {
    #[test]
    fn places_and_bytes_are_never_exceeded(
        arrivals in prop::collection::vec((0..3_usize, 0..3000_usize), 0..200),
        capacity in 3..40_usize, bytes in 0..20_000_usize,
    ) {
        let recorder = recorder(capacity, bytes);
        for (i, (class, length)) in arrivals.iter().enumerate() {
            let mut record = record(&i.to_string());
            record.error_type = Some("x".repeat(*length).into());
            recorder.record(&[CLASSES[*class].name], record);
            let counts = recorder.counts();
            prop_assert!(counts.iter().map(|count| count.held).sum::<usize>() <= capacity);
            prop_assert!(counts.iter().map(|count| count.bytes).sum::<usize>() <= bytes);
            for count in counts {
                prop_assert_eq!(count.recorded - count.evicted, count.held as u64);
            }
        }
    }
}

#[test]
fn whatever_leaves_is_redacted_and_of_bounded_length() {
    let recorder = recorder(8, 1 << 20);
    let mut secret = record("a");
    secret.request_id = "Bearer canary-1".to_owned();
    secret.error_type = Some("open /home/canary-2/cake.tif: denied".into());
    secret.status = "y".repeat(5000).into();
    secret.details = Some(Box::new(Order(json!({
        "api_key": "canary-3", "deep": [{ "mail": "canary-4@example.org" }],
        "password": "canary-5",
    }))));
    recorder.record(&["burnt"], secret);
    let dir = tempfile::tempdir().unwrap();
    let path = FlightFiles::new(dir.path(), 2).write(&recorder, "drain").unwrap().unwrap();
    let file = std::fs::read_to_string(path).unwrap();
    for text in [recorder.find("a").unwrap().to_string(), file] {
        assert!(!text.contains("canary"), "{text}");
        assert!(text.contains("[redacted]") && text.contains("[path]"), "{text}");
        assert!(text.len() < 2500, "{text}");
    }
}

#[test]
fn files_are_private_few_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("jobs.db"), "not ours").unwrap();
    let files = FlightFiles::new(dir.path(), 2);
    let recorder = recorder(8, 1 << 20);
    assert_eq!(files.write(&recorder, "drain").unwrap(), None, "nothing to tell");
    recorder.record(&["burnt"], record("a"));
    let written: Vec<_> =
        (0..4).map(|_| files.write(&recorder, "panic").unwrap().unwrap()).collect();
    assert_eq!(files.list().unwrap(), written[2..], "the newest two");
    assert!(dir.path().join("jobs.db").exists());
    let newest = written.last().unwrap();
    assert_eq!(std::fs::metadata(newest).unwrap().permissions().mode() & 0o777, 0o600);
    let file: Value = serde_json::from_slice(&std::fs::read(newest).unwrap()).unwrap();
    assert_eq!((&file["schema"], &file["reason"]), (&"flight/1".into(), &"panic".into()));
    assert_eq!(file["records"], json!([recorder.find("a").unwrap()]));
    assert_eq!(file["classes_left_out"], 0);
}

#[test]
fn a_file_is_written_while_a_class_is_locked_by_the_thread_that_writes() {
    // The details are made while nothing is locked; a recorder that locked itself to tell them
    // would hang here.
    struct Again(FlightRecorder);
    impl FlightDetails for Again {
        fn json(&self) -> Value {
            json!({ "held": self.0.counts()[0].held })
        }
        fn heap_bytes(&self) -> usize {
            0
        }
    }
    let recorder = recorder(8, 1 << 20);
    let mut nested = record("a");
    nested.details = Some(Box::new(Again(recorder.clone())));
    recorder.record(&["burnt"], nested);
    assert_eq!(recorder.find("a").unwrap()["details"]["held"], 1);
}

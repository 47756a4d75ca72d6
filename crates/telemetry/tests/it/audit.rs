//! The audit log as a service uses it: durable, counted, loud about a disk that fails.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use microdiff_telemetry::audit::{
    Audit, AuditError, AuditOptions, ExportFilter, ExportFormat, export, verify,
};
use microdiff_telemetry::{Guard, Telemetry};
use serde_json::{Map, Value, json};

use crate::{LONG, options, sample};

struct Service {
    telemetry: Telemetry,
    folder: tempfile::TempDir,
    _guard: Guard,
    _subscriber: tracing::dispatcher::DefaultGuard,
}

fn service() -> Service {
    let folder = tempfile::tempdir().unwrap();
    let log = options(&folder.path().join("log"));
    let (telemetry, guard, dispatch) = Telemetry::start_local(log).unwrap();
    let subscriber = tracing::dispatcher::set_default(&dispatch);
    Service { telemetry, folder, _guard: guard, _subscriber: subscriber }
}

impl Service {
    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("audit")
    }

    fn start(&self, edit: impl FnOnce(&mut AuditOptions)) -> Audit {
        let mut options = AuditOptions::new(self.dir());
        edit(&mut options);
        Audit::start(options, &self.telemetry).unwrap()
    }

    /// Puts a file where the directory was, as a disk that is gone.
    fn take_disk(&self) {
        fs::rename(self.dir(), self.folder.path().join("away")).unwrap();
        fs::write(self.dir(), "in the way").unwrap();
    }

    fn give_disk_back(&self) {
        fs::remove_file(self.dir()).unwrap();
        fs::rename(self.folder.path().join("away"), self.dir()).unwrap();
    }

    fn count(&self, result: &str) -> f64 {
        let series = format!("bakery_audit_records_total{{result=\"{result}\"}}");
        sample(&self.telemetry, &series).unwrap()
    }

    fn log(&self) -> String {
        assert!(self.telemetry.logs().flush(LONG));
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

fn fields(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else { panic!("{value} is no object") };
    map
}

fn lines(dir: &Path, filter: &ExportFilter, format: ExportFormat) -> Vec<String> {
    let mut out = Vec::new();
    export(dir, filter, format, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

/// Polls until `done`, but not for ever.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_record_is_on_the_disk_scrubbed_when_it_is_acknowledged() {
    let service = service();
    let audit = service.start(|_| {});
    for known in ["written", "failed", "lost"] {
        assert_eq!(service.count(known), 0.0, "{known}");
    }
    let given = json!({
        "cake": "for ada@example.org",
        "api_key": 7,
        "oven": { "password": "p", "notes": ["see /home/ada/x", 1.5] },
    });
    audit.record_durably("cake.baked", fields(given)).await.unwrap();
    let wanted = ExportFilter { event: Some("cake.".into()), ..ExportFilter::default() };
    let found = lines(&service.dir(), &wanted, ExportFormat::Jsonl);
    let record: Value = serde_json::from_str(&found[0]).unwrap();
    let shown = json!({
        "cake": "for [email]",
        "api_key": "[redacted]",
        "oven": { "password": "[redacted]", "notes": ["see [path]", 1.5] },
    });
    assert_eq!(record["fields"], shown);
    assert_eq!(record["hash"], audit.head().hash);
    assert_eq!(service.count("written"), 1.0);
    let written = sample(&service.telemetry, "bakery_audit_last_write_timestamp_seconds").unwrap();
    assert!(written > 1.7e9, "{written}");
    assert!(audit.close(LONG));
    let closed = audit.record_durably("cake.baked", Map::new()).await;
    assert_eq!(closed, Err(AuditError::Closed));
    let report = verify(&service.dir(), Some(&audit.head().hash)).unwrap();
    assert_eq!((report.findings, report.records), (vec![], 2));
    assert!(service.log().contains(&audit.head().hash), "the log keeps the head");
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_what_nobody_waits_for_is_written_later() {
    let service = service();
    let audit = service.start(|_| {});
    audit.record_durably("cake.baked", Map::new()).await.unwrap();
    service.take_disk();
    let refused = audit.record_durably("cake.sold", Map::new()).await;
    assert!(matches!(refused, Err(AuditError::Disk(_))), "{refused:?}");
    assert!(audit.is_failing());
    audit.record("cake.eaten", Map::new());
    service.give_disk_back();
    until("the disk is tried again", || !audit.is_failing());
    assert!(audit.close(LONG));
    let events = lines(&service.dir(), &ExportFilter::default(), ExportFormat::Csv);
    assert!(events.iter().any(|line| line.contains("cake.eaten")), "{events:?}");
    assert!(!events.iter().any(|line| line.contains("cake.sold")), "{events:?}");
    assert_eq!((service.count("failed"), service.count("lost")), (1.0, 0.0));
    assert_eq!(verify(&service.dir(), None).unwrap().findings, []);
    let log = service.log();
    assert_eq!(log.matches("the audit log cannot be written").count(), 1, "{log}");
    assert!(log.contains("the audit log can be written again"));
}

#[tokio::test]
async fn a_record_that_is_no_longer_waited_for_is_tried_again_and_written_once() {
    let service = service();
    let audit = service.start(|_| {});
    audit.record_durably("cake.baked", Map::new()).await.unwrap();
    service.take_disk();
    audit.record_durably("cake.burnt", Map::new()).await.unwrap_err();
    // The writer pauses now, so this one is queued and its caller leaves.
    let left = audit.record_durably("cake.sold", Map::new());
    tokio::time::timeout(Duration::ZERO, left).await.unwrap_err();
    service.give_disk_back();
    assert!(audit.close(LONG));
    let wanted = ExportFilter { event: Some("cake.sold".into()), ..ExportFilter::default() };
    assert_eq!(lines(&service.dir(), &wanted, ExportFormat::Jsonl).len(), 1);
    assert_eq!((service.count("failed"), service.count("lost")), (1.0, 0.0));
}

#[tokio::test]
async fn what_is_given_up_is_counted_and_logged() {
    let service = service();
    let audit = service.start(|options| options.queue_records = 2);
    fs::remove_dir_all(service.dir()).unwrap();
    fs::write(service.dir(), "in the way").unwrap();
    for _ in 0..2000 {
        audit.record("cake.eaten", Map::new());
    }
    assert!(audit.close(LONG));
    // At most the batch in the writer's hands and a full queue of each round waited.
    assert!(service.count("lost") > 1000.0, "{}", service.count("lost"));
    assert_eq!(service.count("lost") + service.count("written"), 2000.0);
    let log = service.log();
    let lost = log.lines().find(|line| line.contains("an audit record is lost")).unwrap();
    let lost: Value = serde_json::from_str(lost).unwrap();
    assert_eq!(lost["event"], "cake.eaten", "{lost}");
}

#[test]
fn readers_of_a_log_that_is_written_and_rotated_always_find_it_whole() {
    let service = service();
    let audit = service.start(|options| options.segment_bytes = 2000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut looks = 0;
                    while !done.load(Ordering::Acquire) {
                        let report = verify(&service.dir(), None).unwrap();
                        assert_eq!(report.findings, [], "after {looks} looks");
                        looks += 1;
                    }
                    looks
                })
            })
            .collect();
        for number in 0..300 {
            audit.record("cake.baked", fields(json!({ "number": number })));
            if number % 10 == 0 {
                until("the queue empties", || audit.head().seq > number / 2);
            }
        }
        assert!(audit.close(LONG));
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
    let wanted = ExportFilter { event: Some("cake.baked".into()), ..ExportFilter::default() };
    assert_eq!(lines(&service.dir(), &wanted, ExportFormat::Jsonl).len(), 300);
    let log = service.log();
    let closed = log.lines().find(|line| line.contains("audit segment closed")).unwrap();
    let closed: Value = serde_json::from_str(closed).unwrap();
    assert_eq!(closed["segment"], 1, "{closed}");
}

#[tokio::test]
async fn an_export_takes_what_was_asked_for() {
    let service = service();
    let audit = service.start(|_| {});
    for (event, who) in [("cake.baked", "a"), ("cake.sold", "b"), ("door.opened", "a")] {
        audit
            .record_durably(event, fields(json!({ "who": who, "say": "\"x\", y" })))
            .await
            .unwrap();
    }
    let count = |filter: ExportFilter| lines(&service.dir(), &filter, ExportFormat::Jsonl).len();
    let any = ExportFilter::default;
    assert_eq!(count(any()), 4, "with the record that opens the segment");
    assert_eq!(count(ExportFilter { event: Some("cake.".into()), ..any() }), 2);
    assert_eq!(count(ExportFilter { event: Some("cake".into()), ..any() }), 0);
    assert_eq!(count(ExportFilter { field: Some(("who".into(), "a".into())), ..any() }), 2);
    assert_eq!(count(ExportFilter { from: Some("2999-01-01".into()), ..any() }), 0);
    assert_eq!(count(ExportFilter { to: Some("2999-01-01".into()), ..any() }), 4);
    let table = lines(&service.dir(), &any(), ExportFormat::Csv);
    assert_eq!(table[0], "seq,time,event,hash,fields");
    assert!(table[2].ends_with(r#","{""say"":""\""x\"", y"",""who"":""a""}""#), "{}", table[2]);
}

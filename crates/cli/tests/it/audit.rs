//! The audit log of the real binary: killed in the middle, out of disk, tampered with.

use crate::binary::{microdiff, refuse, run, succeed, text};
use crate::service::Service;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn directory(data: &Path) -> PathBuf {
    data.join("audit")
}

fn verify(data: &Path) -> String {
    succeed(&["audit", "verify", "--dir", text(&directory(data))])
}

fn records(data: &Path, event: &str) -> Vec<Value> {
    let out = succeed(&["audit", "export", "--dir", text(&directory(data)), "--event", event]);
    out.lines().map(|line| serde_json::from_str(line).expect("a record is JSON")).collect()
}

const FIELDS: [(&str, &str); 2] = [("alloy", "316L"), ("voxel_size_um", "5")];

/// Killed between submissions, each time at another moment: whatever was answered 202 is on record,
/// and the log is whole after the next start.
#[test]
fn kill_9_loses_no_acknowledged_record() {
    let data = tempfile::tempdir().expect("a directory");
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let service = Service::start(data.path(), &[]);
        for _ in 0..=round {
            let answer = service.post_scan("/v1/designs", "", b"no scan", &FIELDS);
            // A job that has failed by now is answered 422, and is as acknowledged as any.
            let place = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
            let id = place.and_then(|place| place.strip_prefix("/v1/designs/"));
            acknowledged.insert(id.unwrap_or_else(|| panic!("{}", answer.body)).to_owned());
        }
        // The jobs fail and are put on record while the kill comes.
        service.signal("KILL");
    }
    // What a crash in the middle of a line leaves.
    let newest = newest_segment(data.path());
    let mut bytes = std::fs::read(&newest).expect("a segment");
    if bytes.last() == Some(&b'\n') {
        bytes.extend_from_slice(b"{\"seq\":9");
        std::fs::write(&newest, bytes).expect("written");
    }
    let output = run(&["audit", "verify", "--dir", text(&directory(data.path()))]);
    assert_eq!(output.status.code(), Some(3));
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.contains("torn tail: "), "{told}");
    assert!(!told.contains("removed") && !told.contains("altered"), "{told}");
    let mut service = Service::start(data.path(), &[]);
    let whole = verify(data.path());
    assert!(whole.contains("the log is whole") && whole.contains("crashes put right 1"), "{whole}");
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let recorded: BTreeSet<String> = records(data.path(), "design.submitted")
        .iter()
        .map(|record| record["fields"]["job_id"].as_str().expect("an id").to_owned())
        .collect();
    assert!(acknowledged.is_subset(&recorded), "{acknowledged:?} {recorded:?}");
    verify(data.path());
}

fn newest_segment(data: &Path) -> PathBuf {
    let names = std::fs::read_dir(directory(data)).expect("a log");
    let paths = names.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| text(path).ends_with(".jsonl")).max().expect("a segment")
}

#[test]
fn tampering_is_told_by_exit_code_and_line() {
    let data = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(data.path(), &[]);
    assert_eq!(service.post_scan("/v1/designs", "", b"no scan", &FIELDS).status, 202);
    let whole = verify(data.path());
    let head = whole.lines().find_map(|line| line.strip_prefix("head ")).expect("a head");
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let dir = directory(data.path());
    succeed(&["audit", "verify", "--dir", text(&dir), "--expect-head", head]);
    let output = run(&["audit", "verify", "--dir", text(&dir), "--expect-head", "00"]);
    assert_eq!(output.status.code(), Some(3));
    let path = newest_segment(data.path());
    let before = std::fs::read_to_string(&path).expect("a segment");
    let second = before.lines().nth(1).expect("a second record");
    for (after, told) in [
        (before.replacen("service.started", "service.starteD", 1), "altered: record 2"),
        (before.replacen(&format!("{second}\n"), "", 1), "removed: record 2 is missing"),
        (format!("{second}\n{before}"), "reordered: record 2"),
    ] {
        std::fs::write(&path, after).expect("written");
        let output = run(&["audit", "verify", "--dir", text(&dir)]);
        assert_eq!(output.status.code(), Some(3), "{told}");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(stdout.contains(told), "{told}: {stdout}");
    }
    std::fs::remove_file(&path).expect("removed");
    let output = run(&["audit", "verify", "--dir", text(&dir)]);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(stdout.contains("segment removed: audit-000001.jsonl"), "{stdout}");
    refuse(&["audit", "verify", "--dir", text(&data.path().join("nowhere"))], 2);
}

/// No file may grow beyond 8 MiB, and the audit log is almost there: what a full disk looks like to
/// the writer, for any user. Submissions are refused, nothing is torn, and with room the service
/// goes on where it was.
#[test]
fn a_disk_without_room_stops_submissions_and_tears_nothing() {
    const LIMIT: u64 = 8 << 20;
    let data = tempfile::tempdir().expect("a directory");
    fill(&directory(data.path()), LIMIT);
    let mut limited = Command::new("sh");
    // The signal for a file too large is ignored, so that the write itself fails.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", LIMIT / 512);
    limited.args(["-c", &script]).arg(microdiff().get_program());
    let mut service = Service::start_by(limited, data.path(), &[]);
    let post = |service: &Service| service.post_scan("/v1/designs", "", b"no scan", &FIELDS);
    let refused = (0..40).map(|_| post(&service)).find(|answer| answer.status != 202);
    let refused = refused.expect("the log has no room for forty more");
    assert_eq!((refused.status, &refused.json()["code"]), (503, &Value::from("audit_unavailable")));
    verify(data.path());
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let mut service = Service::start(data.path(), &[]);
    assert_eq!(post(&service).status, 202);
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    verify(data.path());
}

/// Writes records until about 6 KiB are left below `limit`.
fn fill(dir: &Path, limit: u64) {
    use microdiff_telemetry::audit::{Audit, AuditOptions};
    use microdiff_telemetry::{Telemetry, TelemetryOptions};
    let mut options = TelemetryOptions::new("fill", "0", "fill", &[]);
    options.logs.stdout = false;
    let (telemetry, _guard, _) = Telemetry::start_local(options).expect("telemetry");
    let audit = Audit::start(AuditOptions::new(dir), &telemetry).expect("a log");
    let long = std::time::Duration::from_secs(60);
    let record = |bytes: u64| {
        let text = "x ".repeat(usize::try_from(bytes / 2).expect("small"));
        let fields = [("text".to_owned(), Value::from(text))].into_iter().collect();
        audit.record("fill", fields);
    };
    // A record has about 260 bytes beside its text.
    let full = limit - 6 * 1024;
    let (big, small) = (100_000, 1_000);
    let bigs = full / (big + 260) - 1;
    (0..bigs).for_each(|_| record(big));
    let left = full - bigs * (big + 260);
    (0..left / (small + 260)).for_each(|_| record(small));
    assert!(audit.close(long));
    let path = dir.join("audit-000001.jsonl");
    let size = std::fs::metadata(path).expect("the segment").len();
    assert!(size < limit && limit - size < 24 * 1024, "{size}");
}

//! Sinks that are slow, full, gone or taken away.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::time::Instant;

use microdiff_telemetry::Telemetry;
use microdiff_telemetry::logs::LogSchema;
use tracing::dispatcher::with_default;

use crate::{LONG, options, read_lines, sample};

fn dropped(telemetry: &Telemetry, level: &str) -> u64 {
    let series = format!("bakery_telemetry_log_lines_dropped_total{{level=\"{level}\"}}");
    sample(telemetry, &series).unwrap() as u64
}

fn of_file(telemetry: &Telemetry, metric: &str) -> u64 {
    let series = format!("bakery_telemetry_{metric}_total{{sink=\"file\"}}");
    sample(telemetry, &series).unwrap() as u64
}

#[test]
fn a_sink_that_nobody_reads_holds_nobody_up_and_loses_no_error() {
    // Lines of more than 1000 bytes: these do not fit into a pipe, of 64 KiB.
    const TOO_MANY: u64 = 70;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("bakery.log");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let (read, may_read) = channel::<()>();
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut pipe = File::open(pipe).unwrap();
            may_read.recv().unwrap();
            let mut text = String::new();
            pipe.read_to_string(&mut text).unwrap();
            text
        }
    });
    let mut options = options(&pipe);
    options.logs.queue_bytes = 64 * 1024;
    let (telemetry, guard, dispatch) = Telemetry::start_local(options).unwrap();
    let mut sent = 0;
    with_default(&dispatch, || {
        // More than the pipe and the queue hold together; nothing of it is read, so this loop ends
        // only if nobody waits for the sink.
        let end = Instant::now() + LONG;
        while dropped(&telemetry, "INFO") == 0 || sent - dropped(&telemetry, "INFO") < TOO_MANY {
            assert!(Instant::now() < end, "{sent} lines sent");
            tracing::info!(i = sent, padding = "x".repeat(1000), "line");
            sent += 1;
        }
        for i in 0..3 {
            tracing::error!(i, "burnt");
        }
    });
    assert_eq!(dropped(&telemetry, "ERROR"), 0);
    assert!(!telemetry.logs().flush(std::time::Duration::ZERO), "the sink is stuck");
    read.send(()).unwrap();
    assert!(guard.shutdown(LONG));
    let lost = dropped(&telemetry, "INFO");
    // The writer ends with the last batch and closes the pipe.
    let lines = read_lines(&reader.join().unwrap(), LogSchema::Native);
    let count = |text: &str| lines.iter().filter(|line| line["message"] == text).count() as u64;
    assert_eq!(count("burnt"), 3);
    assert_eq!(count("line") + lost, sent);
    let reports: Vec<_> = lines.iter().filter(|line| !line["dropped"].is_null()).collect();
    let reported: u64 = reports.iter().map(|line| line["dropped"].as_u64().unwrap()).sum();
    assert_eq!(reported, lost);
    assert!(reports.iter().all(|line| line["level"] == "WARN" && line["dropped_errors"] == 0));
}

#[test]
fn a_full_disk_is_counted_survived_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    with_default(&dispatch, || {
        tracing::info!("one");
        tracing::info!("two");
        assert!(telemetry.logs().flush(LONG));
        assert!(of_file(&telemetry, "log_write_errors") >= 1);
        assert_eq!(of_file(&telemetry, "log_lines_unwritten"), 2);
        fs::remove_file(&file).unwrap();
        tracing::info!("three");
    });
    let lines = crate::lines(guard, &file);
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["three", "a log sink works again"]);
    assert_eq!((&lines[1]["sink"], &lines[1]["lost"]), (&"file".into(), &2.into()));
    assert_eq!(of_file(&telemetry, "log_lines_unwritten"), 2);
}

/// Polls until the file is there.
fn await_file(path: &Path) {
    let end = Instant::now() + LONG;
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_moved_file_is_opened_anew_on_request_and_with_the_next_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let moved = folder.path().join("moved.log");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    with_default(&dispatch, || {
        tracing::info!("one");
        assert!(telemetry.logs().flush(LONG));
        fs::rename(&file, &moved).unwrap();
        // As a tool that rotates logs does: no line comes, the file is expected all the same.
        telemetry.logs().reopen();
        await_file(&file);
        fs::remove_file(&file).unwrap();
        tracing::info!("two");
    });
    assert_eq!(crate::lines(guard, &file)[0]["message"], "two");
    let old = read_lines(&fs::read_to_string(&moved).unwrap(), LogSchema::Native);
    assert_eq!(old.len(), 1);
    assert_eq!(of_file(&telemetry, "log_write_errors"), 0);
}

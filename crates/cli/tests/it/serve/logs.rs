//! The log of the running binary: what signals, slow readers and flags do to it.

use super::data_dir;
use crate::binary::{microdiff, text};
use crate::service::{DEADLINE, Service};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::time::Instant;

/// Starts the service and leaves its standard output to the test.
fn start_raw(data: &Path, extra: &[&str]) -> (Service, BufReader<ChildStdout>) {
    let mut command = microdiff();
    command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    command.args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--data-dir", text(data)]).args(extra);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut service = Service::unread(child);
    while service.ready["ready"] != true {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).expect("a line") > 0, "it ended before it was ready");
        service.ready = serde_json::from_str(&line).unwrap_or(Value::Null);
    }
    (service, stdout)
}

/// Writes a configuration whose log goes to a file beside it, and names both.
fn configure(data: &Path, log: &str) -> (String, std::path::PathBuf) {
    let (config, file) = (data.join("config.toml"), data.join("microdiff.log"));
    let settings = format!("[log]\nfile = {:?}\n{log}\n", text(&file));
    std::fs::write(&config, settings).expect("written");
    (text(&config).to_owned(), file)
}

fn lines(file: &Path) -> Vec<Value> {
    let log = std::fs::read_to_string(file).unwrap_or_default();
    // The last line may be half there while the service writes.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

/// Polls the log until a line has the message.
fn await_message(file: &Path, message: &str) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(line) = lines(file).into_iter().find(|line| line["message"] == message) {
            return line;
        }
        assert!(Instant::now() < end, "no line `{message}` in {}", file.display());
        std::thread::yield_now();
    }
}

#[test]
fn a_hangup_opens_the_file_anew_and_reads_the_levels_again() {
    let data = data_dir();
    let (config, file) = configure(data.path(), "level = \"warn\"");
    let service = Service::start(data.path(), &["--config", &config]);
    let debug = ["Scan measured", "Posterior drawn"];
    let moved = data.path().join("microdiff.log.1");
    std::fs::rename(&file, &moved).expect("moved");
    configure(data.path(), "level = \"warn,microdiff=info,microdiff.imaging=debug\"");
    service.signal("HUP");
    let told = await_message(&file, "log settings read again");
    assert_eq!(told["levels"], "warn,microdiff=info,microdiff.imaging=debug");
    let answer = service.design("/v1/designs?wait=100", "", &super::FIELDS);
    assert_eq!(answer.status, 200, "{}", answer.body);
    await_message(&file, debug[0]);
    assert!(lines(&file).iter().all(|line| line["message"] != debug[1]), "not asked for");
    assert!(lines(&moved).iter().all(|line| line["message"] != debug[0]));

    configure(data.path(), "level = \"loud\"");
    service.signal("HUP");
    let error = await_message(
        &file,
        "the configuration cannot be read again; the log levels stay as they are",
    );
    assert_eq!((&error["level"], &error["error.type"]), (&"ERROR".into(), &"configuration".into()));
    assert!(error["error.message"].as_str().expect("a text").contains("loud"), "{error}");
    let levels = service.get("admin", "/loglevel").json();
    assert_eq!(levels["loggers"]["microdiff.imaging"], "debug");
}

#[test]
fn one_logger_turned_to_debug_speaks_at_once_and_is_turned_back() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let put = "PUT /loglevel/microdiff.optimization HTTP/1.1\r\n";
    assert_eq!(service.send("admin", put, b"debug").status, 200);
    assert_eq!(service.design("/v1/designs?wait=100", "", &super::FIELDS).status, 200);
    let line = service.line(|line| line["level"] == "DEBUG");
    assert_eq!(
        (&line["logger"], &line["message"]),
        (&"microdiff.optimization".into(), &"Posterior drawn".into())
    );
    let delete = "DELETE /loglevel/microdiff.optimization HTTP/1.1\r\n";
    let levels = service.send("admin", delete, b"").json();
    assert_eq!(levels["loggers"]["microdiff.optimization"], "info");
}

#[test]
fn the_log_is_whole_when_the_service_is_told_to_end() {
    let data = data_dir();
    let (config, file) = configure(data.path(), "");
    let mut service = Service::start(data.path(), &["--config", &config]);
    for _ in 0..50 {
        assert_eq!(service.get("api", "/v1/alloys").status, 200);
    }
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let log = std::fs::read_to_string(&file).expect("a log");
    assert!(log.ends_with("}\n"), "the last line has its end");
    let lines = lines(&file);
    assert_eq!(lines.iter().filter(|line| line["endpoint"] == "/v1/alloys").count(), 50);
    assert_eq!(lines.last().expect("lines")["message"], "stopped");
}

#[test]
fn a_stdout_that_nobody_reads_holds_nothing_up() {
    let data = data_dir();
    let (mut service, stdout) = start_raw(data.path(), &[]);
    // More lines than a pipe holds; none is read.
    for _ in 0..400 {
        assert_eq!(service.get("api", "/v1/alloys").status, 200);
    }
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0), "its last lines are given up at a deadline");
    drop(stdout);
}

#[test]
fn a_closed_stdout_is_counted_told_to_the_file_and_survived() {
    let data = data_dir();
    let (config, file) = configure(data.path(), "");
    let (service, stdout) = start_raw(data.path(), &["--config", &config]);
    drop(stdout);
    assert_eq!(service.get("api", "/v1/alloys").status, 200);
    let told = await_message(&file, "a log sink fails");
    assert_eq!((&told["sink"], &told["level"]), (&"stdout".into(), &"ERROR".into()));
    assert!(service.metric("microdiff_telemetry_log_write_errors_total{sink=\"stdout\"}") >= 1.0);
    assert!(
        service.metric("microdiff_telemetry_log_lines_unwritten_total{sink=\"stdout\"}") >= 1.0
    );
    assert_eq!(service.metric("microdiff_telemetry_log_write_errors_total{sink=\"file\"}"), 0.0);
    assert_eq!(service.get("api", "/health").status, 200);
}

#[test]
fn a_person_gets_lines_to_read_and_a_file_keeps_json() {
    let data = data_dir();
    let (config, file) = configure(data.path(), "");
    let extra = ["--log-format", "pretty", "--log-schema", "ecs", "--config", &config];
    let (service, stdout) = start_raw(data.path(), &extra);
    assert_eq!(service.get("api", "/v1/alloys").status, 200);
    let mut shown = stdout.lines().map(|line| line.expect("text"));
    let line = shown.find(|line| line.contains("labels.endpoint=/v1/alloys")).expect("a line");
    assert!(
        line.contains("INFO  microdiff.http request ") && line.contains("event.outcome=success"),
        "{line}"
    );
    assert!(!line.contains('\u{1b}'), "a pipe is no terminal: {line}");
    let access = await_message(&file, "request");
    assert_eq!(access["http.response.status_code"], 200, "{access}");
    assert!(access["@timestamp"].is_string() && access["event.duration"].is_u64(), "{access}");
}

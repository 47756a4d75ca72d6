//! Lines as they arrive in the file.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use microdiff_telemetry::Telemetry;
use microdiff_telemetry::logs::{ECS_VERSION, LogSchema};
use tracing::dispatcher::with_default;

use crate::{lines, lines_of, options, sample};

#[test]
fn a_line_has_the_keys_of_the_schema_and_the_fields_of_its_spans() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let mut options = options(&file);
    options.logs.loggers = vec![(module_path!().to_owned(), "bakery.oven".to_owned())];
    let (_telemetry, guard, dispatch) = Telemetry::start_local(options).unwrap();
    with_default(&dispatch, || {
        let outer = tracing::info_span!(
            "outer",
            request_id = "r1",
            size = 1,
            user_id = tracing::field::Empty
        );
        outer.record("user_id", "u1");
        let _outer = outer.enter();
        let _inner = tracing::info_span!("bake", size = 2_u64, alive = true).entered();
        tracing::warn!(
            duration_ms = 1.5,
            level = "mine",
            password = "hunter2",
            text = "a\"b\n",
            "to {}",
            "/home/ada/x"
        );
    });
    let lines = lines(guard, &file);
    assert_eq!(lines.len(), 1);
    let line = lines[0].as_object().unwrap();
    let keys: Vec<_> = line.keys().map(String::as_str).collect();
    for key in ["timestamp", "level", "logger", "message", "module", "function", "line"] {
        assert!(keys.contains(&key), "{key}");
    }
    let text = |key: &str| line[key].as_str().unwrap();
    assert_eq!((text("level"), text("logger")), ("WARN", "bakery.oven"));
    assert_eq!((text("message"), text("function")), ("to [path]", "bake"));
    assert_eq!((text("request_id"), text("user_id")), ("r1", "u1"));
    assert_eq!((text("service"), text("version")), ("bakery", "1.2.3"));
    assert_eq!((text("fields.level"), text("password")), ("mine", "[redacted]"));
    assert_eq!((text("text"), text("module")), ("a\"b\n", module_path!()));
    assert_eq!((&line["size"], &line["alive"]), (&2.into(), &true.into()));
    assert_eq!(line["duration_ms"], 1.5);
    let stamp = text("timestamp");
    assert!(stamp.len() == 27 && stamp.ends_with('Z') && stamp.starts_with("20"), "{stamp}");
    assert!(line["line"].as_u64().unwrap() > 0);
}

#[test]
fn levels_change_while_running_and_only_for_the_logger_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    with_default(&dispatch, || {
        let say = |what: &str| {
            tracing::debug!(target: "bakery.oven", "oven {what}");
            tracing::debug!(target: "bakery.till", "till {what}");
        };
        say("quiet");
        telemetry.logs().set_levels("info,bakery.oven=debug".parse().unwrap());
        say("loud");
        telemetry.logs().set_levels("off".parse().unwrap());
        say("gone");
        tracing::error!(target: "bakery.oven", "silenced too");
    });
    assert_eq!(telemetry.logs().levels().to_string(), "off");
    let loggers = telemetry.logs().loggers();
    for known in ["bakery.oven", "bakery.access", "bakery.health", "bakery.telemetry"] {
        assert!(loggers.iter().any(|logger| logger == known), "{known} in {loggers:?}");
    }
    let lines = lines(guard, &file);
    let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["oven loud"]);
}

#[test]
fn ecs_lines_have_its_names_and_types() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let mut options = options(&file);
    options.logs.schema = LogSchema::Ecs;
    options.logs.loggers = vec![(module_path!().to_owned(), "bakery.oven".to_owned())];
    let (_telemetry, guard, dispatch) = Telemetry::start_local(options).unwrap();
    with_default(&dispatch, || {
        let _span = tracing::error_span!("bake", request_id = "r1", trace_id = "t1").entered();
        let error = std::io::Error::other("burnt");
        let error: &dyn std::error::Error = &error;
        tracing::error!(
            error,
            error.type = "heat",
            duration_ms = 1.25,
            success = false,
            status = 500,
            size = 3,
            heat = 210.5,
            text = "crust",
            alive = true,
            "failed"
        );
        tracing::info!(duration_ms = 2_u64, success = true, heat = f64::NAN, "baked");
    });
    let raw = {
        let lines = lines_of(guard, &file, LogSchema::Ecs);
        assert_eq!(lines.len(), 2);
        let text = |key: &str| lines[0][key].as_str().unwrap_or_else(|| panic!("{key}"));
        assert_eq!((text("log.level"), text("log.logger")), ("ERROR", "bakery.oven"));
        assert_eq!((text("message"), text("ecs.version")), ("failed", ECS_VERSION));
        assert_eq!((text("service.name"), text("service.version")), ("bakery", "1.2.3"));
        assert_eq!((text("http.request.id"), text("trace.id")), ("r1", "t1"));
        assert_eq!((text("error.type"), text("error.message")), ("heat", "burnt"));
        assert_eq!((text("event.outcome"), text("labels.text")), ("failure", "crust"));
        assert_eq!(
            (text("log.origin.file.name"), text("log.origin.function")),
            ("logs.rs", "bake")
        );
        assert_eq!(lines[0]["event.duration"], 1_250_000);
        assert_eq!(lines[0]["http.response.status_code"], 500);
        assert_eq!(
            (&lines[0]["bakery.size"], &lines[0]["bakery.heat"]),
            (&3.into(), &210.5.into())
        );
        assert_eq!(lines[0]["labels.alive"], true);
        assert_eq!(
            (&lines[1]["event.duration"], &lines[1]["event.outcome"]),
            (&2_000_000.into(), &"success".into())
        );
        assert!(lines[1]["bakery.heat"].is_null());
        std::fs::read_to_string(&file).unwrap()
    };
    // The loggers of ECS for other languages begin every line like this.
    let begins = "{\"@timestamp\":\"20";
    assert!(raw.lines().all(|line| line.starts_with(begins)), "{raw}");
    assert!(raw.contains("Z\",\"log.level\":\"ERROR\",\"message\":\"failed\",\"log.logger\""));
}

#[test]
fn a_closed_log_takes_no_more_and_says_how_many_it_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    assert!(guard.shutdown(Duration::from_secs(30)));
    with_default(&dispatch, || tracing::error!("too late"));
    let series = "bakery_telemetry_log_lines_dropped_total{level=\"ERROR\"}";
    assert_eq!(sample(&telemetry, series), Some(1.0));
}

/// Names the log file to the process that is to panic.
const PANIC_INTO: &str = "TELEMETRY_TEST_PANIC_INTO";

#[test]
fn a_panic_is_one_error_line_flushed_before_the_end() {
    if let Some(file) = std::env::var_os(PANIC_INTO) {
        let (_telemetry, guard) = Telemetry::start(options(&PathBuf::from(file))).unwrap();
        let died = std::thread::Builder::new()
            .name("baker".to_owned())
            .spawn(|| panic!("burnt by ada@example.org\nbadly"))
            .unwrap()
            .join();
        assert!(died.is_err());
        // No flush on the way out: the line is there already.
        std::mem::forget(guard);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bakery.log");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs::a_panic_is_one_error_line_flushed_before_the_end"])
        .env(PANIC_INTO, &file)
        .output()
        .unwrap();
    assert!(output.status.success());
    let text = std::fs::read_to_string(&file).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!((&line["level"], &line["message"]), (&"ERROR".into(), &"panic".into()));
    assert_eq!((&line["thread"], &line["error.type"]), (&"baker".into(), &"panic".into()));
    assert_eq!(line["error.message"], "burnt by [email]\nbadly");
    let source = line["file"].as_str().unwrap();
    assert!(source.ends_with("logs.rs"), "{source}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("burnt"));
}

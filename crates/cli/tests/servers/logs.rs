//! Each line that the service writes, field by field, on the other side of the Collector.

use crate::collector::Record;
use crate::documents::written;
use serde_json::{Value, json};

/// Severity numbers of OpenTelemetry.
const SEVERITIES: [(&str, u64); 5] =
    [("TRACE", 1), ("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17)];

fn parsed(line: &str) -> Value {
    whole(serde_json::from_str(line).expect("a line is JSON"))
}

/// With `5.0` as `5`: to the Collector both are the whole number.
fn whole(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 => json!(float as i64),
            _ => number.into(),
        },
        Value::Array(values) => values.into_iter().map(whole).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, whole(value))).collect()
        }
        other => other,
    }
}

/// Nanoseconds since 1970 of a moment in UTC, by counting days from 1 March.
fn nanoseconds(moment: &str) -> String {
    let (date, time) = moment.trim_end_matches('Z').split_once('T').expect("a moment");
    let numbers = |text: &str, by| -> Vec<i64> {
        text.split(by).map(|part: &str| part.parse().expect("a number")).collect()
    };
    let (date, (time, fraction)) = (numbers(date, '-'), time.split_once('.').expect("a fraction"));
    let time = numbers(time, ':');
    let (year, month) =
        if date[1] > 2 { (date[0], date[1] - 3) } else { (date[0] - 1, date[1] + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + date[2];
    let seconds = (days - 719_469) * 86_400 + time[0] * 3600 + time[1] * 60 + time[2];
    format!("{seconds}{fraction:0<9}")
}

/// Whether a record says all that its line says, and in the places where OpenTelemetry has one.
fn assert_told(record: &Record, line: &Value) {
    let said = |key: &str| record.raw[key].as_str().unwrap_or_default().to_owned();
    let text = |key: &str| line[key].as_str().unwrap_or_default();
    assert_eq!(said("timeUnixNano"), nanoseconds(text("timestamp")), "{line}");
    assert_eq!(said("severityText"), text("level"), "{line}");
    let (_, severity) =
        SEVERITIES.iter().find(|(name, _)| *name == text("level")).expect("a level");
    assert_eq!(record.raw["severityNumber"], *severity, "{line}");
    assert_eq!(
        (said("traceId"), said("spanId")),
        (text("trace_id").into(), text("span_id").into())
    );
    let mut document = line.clone();
    let fields = document.as_object_mut().expect("an object");
    let moment = fields.remove("timestamp").expect("a moment");
    fields.insert("@timestamp".into(), moment);
    let mut body = record.body.clone();
    body.as_object_mut().expect("an object").retain(|key, _| !key.starts_with("k8s."));
    assert_eq!(body, document);
    assert_stream(record, "microdiff.app");
}

fn assert_stream(record: &Record, dataset: &str) {
    for (key, value) in [("type", "logs"), ("dataset", dataset), ("namespace", "default")] {
        assert_eq!(record.resource[format!("data_stream.{key}")], value);
    }
    assert_eq!(record.attributes, json!({}), "the document is the body alone");
}

#[test]
fn every_line_of_file_pod_and_audit_log_arrives_whole() {
    let written = written();
    let [file, pod, audit] = written.collected();

    assert_eq!(file.len(), written.log.len());
    for (record, line) in file.iter().zip(&written.log) {
        assert_told(record, &parsed(line));
    }
    let loggers = ["microdiff", "microdiff.http", "microdiff.models", "microdiff.imaging"];
    for logger in loggers {
        assert!(file.iter().any(|record| record.body["logger"] == logger), "no line of {logger}");
    }
    assert!(
        file.iter().any(|record| record.raw["traceId"].as_str().is_some_and(|id| id.len() == 32))
    );

    // The ready line is none of the log; the runtime's own line is, as it is.
    assert_eq!(pod.len(), written.log.len() + 1);
    for (record, line) in pod.iter().zip(&written.log) {
        assert_told(record, &parsed(line));
    }
    let last = pod.last().expect("a record");
    assert_eq!(
        last.body,
        json!({
            "@timestamp": "2026-01-03T04:05:06.000007Z",
            "message": "thread caused stack overflow",
            "service": "microdiff-matdesign",
            "k8s.namespace.name": "print",
            "k8s.pod.name": "microdiff-7f",
            "k8s.container.name": "microdiff",
        })
    );
    for record in &pod {
        assert_eq!(record.resource["k8s.pod.uid"], "0a1b-2c");
        assert_eq!(record.body["k8s.pod.name"], "microdiff-7f");
    }

    assert_eq!(audit.len(), written.audit.len());
    for (record, line) in audit.iter().zip(&written.audit) {
        let mut document = parsed(line);
        document["original"] = line.as_str().into();
        let moment = document.as_object_mut().expect("an object").remove("time").expect("a moment");
        document["@timestamp"] = moment;
        assert_eq!(record.body, document);
        assert_stream(record, "microdiff.audit");
    }
    let events: Vec<&Value> = audit.iter().map(|record| &record.body["event"]).collect();
    assert!(
        events.contains(&&json!("design.completed")) && events.contains(&&json!("design.failed"))
    );
}

//! Jaeger: the design's trace, with its spans inside each other as the reference says, under the
//! service's name, and with what a search goes by.

use super::sent::{SCAN_NAME, Sent};
use super::verdict::{Check, Verdict, unanswered};
use crate::args::System;
use crate::http::{AskError, Server};
use http::StatusCode;
use microdiff_server::spans::SPANS;
use serde_json::Value;
use std::collections::BTreeMap;

/// What everything of a submitted design is inside of.
const ROOT: &str = "POST /v1/designs";

/// One span as Jaeger shows it.
struct Span {
    id: String,
    parent: String,
    service: String,
    tags: BTreeMap<String, Value>,
}

pub(super) fn checks<'a>(
    server: &'a Server,
    sent: Option<&'a Sent>,
    service_name: &'a str,
) -> Vec<Check<'a>> {
    let ask = move || match sent {
        // Whether it answers at all can be known without a design.
        None => match server.get_json("/api/services", &[]) {
            Err(error) => unanswered(System::Jaeger, &error, server.has_credentials()),
            Ok(_) => Verdict::NotChecked("no design was answered".to_owned()),
        },
        Some(sent) => match server.get_json(&format!("/api/traces/{}", sent.trace_id()), &[]) {
            Err(AskError::Refused(StatusCode::NOT_FOUND, told)) if told.contains("trace") => {
                absent()
            }
            Err(error) => unanswered(System::Jaeger, &error, server.has_credentials()),
            Ok(answer) => read(&answer, sent, service_name).unwrap_or_else(|error| {
                unanswered(System::Jaeger, &error, server.has_credentials())
            }),
        },
    };
    vec![Check::new("trace", ask)]
}

fn absent() -> Verdict {
    Verdict::awaited(
        "it has no such trace",
        "from the start of the way: the service exports no spans ([traces] endpoint; alerts SpansLost, \
         CollectorDown), the Collector is not the kit's and sampled it away, it still waits \
         (MICRODIFF_TRACE_WAIT, 30 s; give --timeout more), or its JAEGER_ENDPOINT is another Jaeger",
    )
}

fn read(answer: &Value, sent: &Sent, service_name: &str) -> Result<Verdict, AskError> {
    let spans = spans(answer)?;
    let lacking: Vec<&str> = names().filter(|name| !spans.contains_key(*name)).collect();
    if spans.is_empty() {
        return Ok(absent());
    }
    if !lacking.is_empty() {
        return Ok(Verdict::awaited(
            format!("{} spans are there; missing: {}", spans.len(), lacking.join(", ")),
            "spans are on their way or were lost: see the alert SpansLost; all spans of a trace must \
             reach one Collector",
        ));
    }
    let faults = faults(&spans, sent);
    if let Some(fault) = faults.first() {
        return Ok(Verdict::wrong(
            fault.clone(),
            "something on the way rewrites spans: compare docs/reference/traces.md with the \
             Collector's processors",
        ));
    }
    if let Some(span) = spans.values().find(|span| span.service != service_name) {
        return Ok(Verdict::wrong(
            format!("its service name is {}, not {service_name}", span.service),
            "OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES say so; if on purpose, give \
             --service-name",
        ));
    }
    Ok(Verdict::Right(format!("{} spans of {service_name}, each in its place", spans.len())))
}

/// The spans of a design that is answered.
fn names() -> impl Iterator<Item = &'static str> {
    [ROOT].into_iter().chain(SPANS.iter().map(|span| span.name))
}

/// The spans of the first trace, by name.
fn spans(answer: &Value) -> Result<BTreeMap<String, Span>, AskError> {
    let refuse = |what: &str| AskError::NotUnderstood(format!("it has no {what}"));
    let traces = answer["data"].as_array().ok_or_else(|| refuse("list of traces"))?;
    let Some(trace) = traces.first() else { return Ok(BTreeMap::new()) };
    let spans = trace["spans"].as_array().ok_or_else(|| refuse("list of spans"))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |span: &Value| {
        let tags = span["tags"].as_array().into_iter().flatten();
        let process = span["processID"].as_str().unwrap_or_default();
        let read = Span {
            id: text(&span["spanID"]),
            parent: text(&span["references"][0]["spanID"]),
            service: text(&trace["processes"][process]["serviceName"]),
            tags: tags.map(|tag| (text(&tag["key"]), tag["value"].clone())).collect(),
        };
        let name = span["operationName"].as_str().ok_or_else(|| refuse("name of a span"))?;
        Ok((name.to_owned(), read))
    };
    spans.iter().map(one).collect()
}

/// What is in the wrong place or says something else.
fn faults(spans: &BTreeMap<String, Span>, sent: &Sent) -> Vec<String> {
    let mut faults = Vec::new();
    let parent = |name: &str| spans.get(name).map(|span| span.parent.as_str()).unwrap_or_default();
    if parent(ROOT) != sent.trace.span_id.to_string() {
        faults.push(format!("the span {ROOT} is not inside its caller's"));
    }
    for spec in SPANS {
        let ids = spec.parents.iter().filter_map(|name| spans.get(*name)).map(|span| &span.id);
        if !ids.into_iter().any(|id| id == parent(spec.name)) {
            faults.push(format!(
                "the span {} is not inside {}",
                spec.name,
                spec.parents.join(", ")
            ));
        }
    }
    let tag = |span: &str, key: &str| spans.get(span).and_then(|span| span.tags.get(key));
    for (span, key, value) in [
        (ROOT, "http.route", "/v1/designs"),
        ("design", "job_id", sent.job_id.as_str()),
        ("process_microstructure", "image_path", SCAN_NAME),
    ] {
        if tag(span, key).and_then(Value::as_str) != Some(value) {
            faults.push(format!("the span {span} has not the attribute {key}={value}"));
        }
    }
    for (span, key) in
        [("process_microstructure", "result_size"), ("sample", "steps"), ("sample", "samples")]
    {
        if tag(span, key).and_then(Value::as_u64).is_none_or(|number| number == 0) {
            faults.push(format!("the span {span} has no number {key}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_telemetry::traces::TraceContext;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    fn sent() -> Sent {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        Sent {
            trace: TraceContext::parse(trace).expect("a context"),
            job_id: "job-7".into(),
            followed: true,
            since: UNIX_EPOCH,
        }
    }

    /// A whole trace as Jaeger shows it; a span's id is its name.
    fn whole() -> Value {
        let tag = |key: &str, value: Value| json!({ "key": key, "value": value });
        let one = |name: &str| {
            let spec = SPANS.iter().find(|span| span.name == name);
            let parent = spec.map_or("b7ad6b7169203331", |span| span.parents[0]);
            let tags = match name {
                ROOT => vec![tag("http.route", json!("/v1/designs"))],
                "design" => vec![tag("job_id", json!("job-7"))],
                "process_microstructure" => {
                    vec![tag("image_path", json!(SCAN_NAME)), tag("result_size", json!(31))]
                }
                "sample" => vec![tag("steps", json!(32)), tag("samples", json!(64))],
                _ => vec![],
            };
            json!({ "operationName": name, "spanID": name, "processID": "p1", "tags": tags,
                    "references": [{ "refType": "CHILD_OF", "spanID": parent }] })
        };
        let spans: Vec<Value> = names().map(one).collect();
        json!({ "data": [{ "spans": spans, "processes": { "p1": { "serviceName": "kiln" } } }] })
    }

    fn told(answer: &Value, name: &str) -> String {
        match read(answer, &sent(), name).expect("understood") {
            Verdict::Right(told) => format!("right: {told}"),
            Verdict::Awaited(fault) => format!("awaited: {}", fault.told),
            Verdict::Wrong(fault) => format!("wrong: {} - {}", fault.told, fault.advice),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_whole_trace_is_right() {
        assert!(told(&whole(), "kiln").starts_with("right: 14 spans of kiln"));
        assert!(told(&whole(), "microdiff-matdesign").contains("wrong: its service name is kiln"));
    }

    #[test]
    fn what_is_missing_misplaced_or_changed_is_named() {
        let edited = |edit: &dyn Fn(&mut Vec<Value>)| {
            let mut answer = whole();
            edit(answer["data"][0]["spans"].as_array_mut().expect("spans"));
            told(&answer, "kiln")
        };
        let without = edited(&|spans| spans.retain(|span| span["operationName"] != "encode"));
        assert_eq!(without, "awaited: 13 spans are there; missing: encode");
        assert!(edited(&Vec::clear).contains("no such trace"));
        let root = edited(&|spans| spans[0]["references"] = json!([]));
        assert!(root.contains("not inside its caller's"), "{root}");
        let at = |name: &str| names().position(|one| one == name).expect("a span");
        let moved = edited(&|spans| spans[at("load")]["references"][0]["spanID"] = "design".into());
        assert!(moved.contains("load is not inside process_microstructure"), "{moved}");
        let job = edited(&|spans| spans[at("design")]["tags"] = json!([]));
        assert!(job.contains("job_id=job-7"), "{job}");
        let number = edited(&|spans| spans[at("sample")]["tags"][0]["value"] = json!("many"));
        assert!(number.contains("no number steps"), "{number}");
    }

    #[test]
    fn odd_answers_are_not_understood() {
        for odd in [
            Value::Null,
            json!({ "data": null }),
            json!({ "data": [7] }),
            json!({ "data": [{ "spans": [7] }] }),
            json!({ "data": [{ "spans": [{ "operationName": [] }] }] }),
        ] {
            assert!(matches!(read(&odd, &sent(), "x"), Err(AskError::NotUnderstood(_))), "{odd}");
        }
        let twisted = json!({ "data": [{ "spans": [{ "operationName": "x", "tags": 3, "references": "y" }] }] });
        assert!(told(&twisted, "x").starts_with("awaited"));
    }
}

//! Elasticsearch or OpenSearch: the summary line of the design, found by its trace in the data
//! stream of the kit's template, under a mapping that the template made.

use super::sent::Sent;
use super::verdict::{Check, Verdict, unanswered};
use crate::args::System;
use crate::failure::Failure;
use crate::http::{AskError, Server};
use http::StatusCode;
use microdiff_kit::File;
use serde_json::{Value, json};

/// The template of the log's data stream within the kit.
const TEMPLATE: &str = "elasticsearch/index-templates/microdiff-app.json";
/// The trace's field: natively, and with `--log-schema ecs`.
const TRACE_FIELDS: [&str; 2] = ["trace_id", "trace.id"];
/// Lines of one trace that are looked at.
const LINES: usize = 100;

/// The names of the streams that the kit's template makes, as a pattern.
pub(super) fn pattern(kit: &[File]) -> Result<String, Failure> {
    let refuse = |reason: &str| Failure::usage(format!("{TEMPLATE} of the kit {reason}"));
    let file = kit.iter().find(|file| file.path == TEMPLATE).ok_or_else(|| refuse("is missing"))?;
    let template: Value = serde_json::from_slice(&file.bytes).map_err(|_| refuse("is not JSON"))?;
    let pattern = template["index_patterns"][0].as_str().unwrap_or_default();
    // It becomes part of a path.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*,".contains(&byte);
    if pattern.is_empty() || !pattern.bytes().all(plain) {
        return Err(refuse("has no usable index pattern"));
    }
    Ok(pattern.to_owned())
}

pub(super) fn checks<'a>(
    server: &'a Server,
    sent: Option<&'a Sent>,
    pattern: &'a str,
) -> Vec<Check<'a>> {
    let told = move |verdict: Result<Verdict, AskError>| {
        verdict.unwrap_or_else(|error| {
            unanswered(System::Elasticsearch, &error, server.has_credentials())
        })
    };
    vec![
        Check::new("template", move || {
            let path = format!("/{pattern}/_mapping/field/{}", TRACE_FIELDS.join(","));
            let answer = match server.get_json(&path, &[]) {
                // OpenSearch says so of a pattern that no index fits.
                Err(AskError::Refused(StatusCode::NOT_FOUND, _)) => Ok(json!({})),
                answer => answer,
            };
            told(answer.and_then(|answer| mapping(&answer, pattern)))
        }),
        Check::new("log line", move || match sent {
            None => Verdict::NotChecked("no design was answered".to_owned()),
            Some(sent) => told(ask_line(server, sent, pattern)),
        }),
    ]
}

fn ask_line(server: &Server, sent: &Sent, pattern: &str) -> Result<Verdict, AskError> {
    let trace_id = sent.trace_id();
    let found = server.search(&format!("/{pattern}/_search"), &by_trace(&trace_id))?;
    if let Some(verdict) = line(&found, &sent.job_id)? {
        return Ok(verdict);
    }
    // Three causes look alike from here: nothing arrives, something else does, or it goes elsewhere.
    let newest = json!({ "size": 1, "track_total_hits": true, "sort": [{ "@timestamp": "desc" }] });
    let newest = server.search(&format!("/{pattern}/_search"), &newest).ok();
    let elsewhere = server.search("/_search", &by_trace(&trace_id)).ok();
    Ok(without_line(&found, newest.as_ref(), elsewhere.as_ref(), pattern))
}

fn by_trace(trace_id: &str) -> Value {
    let either = TRACE_FIELDS.map(|field| json!({ "term": { field: trace_id } }));
    let query = json!({ "bool": { "should": either, "minimum_should_match": 1 } });
    json!({ "size": LINES, "query": query })
}

fn hits(answer: &Value) -> Result<&Vec<Value>, AskError> {
    let hits = answer["hits"]["hits"].as_array();
    hits.ok_or_else(|| AskError::NotUnderstood("it has no list of hits".to_owned()))
}

/// A field by its dotted name, as one key or as objects within each other.
fn field<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    document.get(name).or_else(|| {
        let (first, rest) = name.split_once('.')?;
        field(document.get(first)?, rest)
    })
}

/// What the lines of the trace say; `None` without any.
fn line(answer: &Value, job_id: &str) -> Result<Option<Verdict>, AskError> {
    let hits = hits(answer)?;
    let names = |document: &Value, names: [&str; 2], wanted: &Value| {
        names.iter().any(|name| field(document, name) == Some(wanted))
    };
    let summary = hits.iter().find(|hit| {
        let document = &hit["_source"];
        let succeeded = field(document, "success") == Some(&json!(true))
            || field(document, "event.outcome") == Some(&json!("success"));
        succeeded && names(document, ["job_id", "labels.job_id"], &json!(job_id))
    });
    if let Some(hit) = summary {
        let index = hit["_index"].as_str().unwrap_or_default();
        let count = hits.len();
        return Ok(Some(Verdict::Right(format!("{count} lines of the trace in {index}"))));
    }
    if hits.is_empty() {
        return Ok(None);
    }
    Ok(Some(Verdict::awaited(
        format!("{} lines of the trace, without the design's own", hits.len()),
        "the logger microdiff.models must be at level info (log.level of the service)",
    )))
}

fn without_line(
    found: &Value,
    newest: Option<&Value>,
    elsewhere: Option<&Value>,
    pattern: &str,
) -> Verdict {
    let elsewhere = elsewhere.and_then(|answer| answer["hits"]["hits"][0]["_index"].as_str());
    if let Some(index) = elsewhere {
        return Verdict::awaited(
            format!("the line is in {index}, which is not {pattern}"),
            "whatever writes it must name the kit's stream: data_stream.dataset=microdiff.app in \
             the Collector, or the index of fluentd",
        );
    }
    if found["_shards"]["total"] == 0 {
        return Verdict::awaited(
            format!("no index is named {pattern}"),
            "nothing has been written: run the Collector with elasticsearch.yaml too, look in its \
             log, and is this the right cluster?",
        );
    }
    let total = newest.and_then(|answer| answer["hits"]["total"]["value"].as_u64());
    let moment = newest.and_then(|answer| {
        field(&answer["hits"]["hits"][0]["_source"], "@timestamp")?.as_str().map(str::to_owned)
    });
    match (total, moment) {
        (Some(0), _) => Verdict::awaited(
            format!("{pattern} is empty"),
            "nothing reads the service's log: set [log] file and MICRODIFF_LOG_FILES of the \
             Collector to the same files, or MICRODIFF_POD_LOGS to the pods'",
        ),
        (Some(count), Some(moment)) => Verdict::awaited(
            format!("{count} lines up to {moment}, none of this trace"),
            "the log of another instance is read, or this one's is late: compare the newest line \
             with the time, and look in the Collector's log for refusals",
        ),
        _ => Verdict::awaited(
            "no line of this trace",
            "the Collector reads another instance's log, or cannot write: look in its log",
        ),
    }
}

/// Whether each index finds a trace by its whole id.
fn mapping(answer: &Value, pattern: &str) -> Result<Verdict, AskError> {
    let indices = answer.as_object();
    let indices = indices.ok_or_else(|| AskError::NotUnderstood("it is no object".to_owned()))?;
    let kind = |index: &Value| {
        TRACE_FIELDS.iter().find_map(|name| {
            let leaf = name.rsplit('.').next().unwrap_or(name);
            index["mappings"][name]["mapping"][leaf]["type"].as_str().map(str::to_owned)
        })
    };
    if indices.is_empty() {
        return Ok(Verdict::awaited(
            format!("no index is named {pattern}"),
            "put the templates there (elasticsearch/install ... templates) before the first line is \
             written, then let the Collector write",
        ));
    }
    for (name, index) in indices {
        let kind = kind(index).unwrap_or_else(|| "nothing".to_owned());
        if kind != "keyword" {
            return Ok(Verdict::wrong(
                format!("{name} maps trace_id to {kind}"),
                "it was made before the kit's template: install the templates \
                 (elasticsearch/install ... templates), then roll the stream over",
            ));
        }
    }
    Ok(Verdict::Right(format!("{} indices by the kit's template", indices.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "logs-microdiff.app-*";

    fn lines(documents: Vec<Value>) -> Value {
        let hit = |document| json!({ "_index": ".ds-x", "_source": document });
        let hits: Vec<Value> = documents.into_iter().map(hit).collect();
        json!({ "_shards": { "total": 1 }, "hits": { "total": { "value": hits.len() }, "hits": hits } })
    }

    fn told(verdict: &Verdict) -> &str {
        match verdict {
            Verdict::Awaited(fault) | Verdict::Wrong(fault) => &fault.told,
            Verdict::Right(told) => told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_pattern_is_that_of_the_template() {
        assert_eq!(pattern(&microdiff_kit::files()).expect("a pattern"), STREAM);
        assert!(pattern(&[]).is_err());
    }

    #[test]
    fn the_summary_line_is_known_in_either_schema() {
        for document in [
            json!({ "job_id": "j", "success": true }),
            json!({ "labels.job_id": "j", "event.outcome": "success" }),
            json!({ "labels": { "job_id": "j" }, "event": { "outcome": "success" } }),
        ] {
            let verdict = line(&lines(vec![json!({}), document]), "j").expect("understood");
            assert_eq!(verdict, Some(Verdict::Right("2 lines of the trace in .ds-x".into())));
        }
        let other = line(&lines(vec![json!({ "job_id": "j", "success": false })]), "j");
        assert!(matches!(other, Ok(Some(Verdict::Awaited(_)))));
        assert_eq!(line(&lines(vec![]), "j"), Ok(None));
    }

    #[test]
    fn each_reason_for_no_line_is_told_apart() {
        let none = lines(vec![]);
        let nowhere = json!({ "_shards": { "total": 0 }, "hits": { "hits": [] } });
        let newest = json!({ "hits": { "total": { "value": 3 },
            "hits": [{ "_source": { "@timestamp": "2026-01-01T00:00:00Z" } }] } });
        let elsewhere = json!({ "hits": { "hits": [{ "_index": "logs-generic" }] } });
        let of = |found: &Value, newest: Option<&Value>, elsewhere: Option<&Value>| {
            told(&without_line(found, newest, elsewhere, STREAM)).to_owned()
        };
        assert_eq!(of(&nowhere, Some(&nowhere), None), format!("no index is named {STREAM}"));
        assert_eq!(of(&none, Some(&none), Some(&none)), format!("{STREAM} is empty"));
        assert!(of(&none, Some(&newest), None).starts_with("3 lines up to 2026-01-01"));
        assert!(of(&none, None, Some(&elsewhere)).contains("in logs-generic, which is not"));
        assert_eq!(of(&none, None, None), "no line of this trace");
        assert_eq!(of(&json!(7), Some(&json!([])), Some(&json!("x"))), "no line of this trace");
    }

    #[test]
    fn an_index_that_no_template_made_is_named() {
        let of = |kind: &str| {
            let mapping = json!({ "mapping": { "trace_id": { "type": kind } } });
            json!({ ".ds-x": { "mappings": { "trace_id": mapping } } })
        };
        let verdict = |answer: &Value| mapping(answer, STREAM).expect("understood");
        assert!(matches!(verdict(&of("keyword")), Verdict::Right(_)));
        assert_eq!(told(&verdict(&of("text"))), ".ds-x maps trace_id to text");
        assert_eq!(told(&verdict(&json!({ "i": 7 }))), "i maps trace_id to nothing");
        assert!(matches!(verdict(&json!({})), Verdict::Awaited(_)));
        let ecs = json!({ "mapping": { "id": { "type": "keyword" } } });
        assert!(matches!(
            verdict(&json!({ "i": { "mappings": { "trace.id": ecs } } })),
            Verdict::Right(_)
        ));
    }

    #[test]
    fn odd_answers_are_not_understood() {
        for odd in [Value::Null, json!("x"), json!([1]), json!({ "hits": { "hits": 3 } })] {
            assert!(matches!(line(&odd, "j"), Err(AskError::NotUnderstood(_))), "{odd}");
        }
        assert!(mapping(&json!([]), STREAM).is_err());
    }
}

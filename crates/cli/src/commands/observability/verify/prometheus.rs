//! Prometheus: are the listeners scraped, did the design's counter grow, does the latency histogram
//! lead to its trace, and whom does it tell of alerts?

use super::rules;
use super::sent::Sent;
use super::verdict::{Check, Verdict, unanswered};
use crate::args::System;
use crate::http::{AskError, Server};
use microdiff_kit::{JOBS, Rule};
use microdiff_server::catalogue::{ENDED, INFERENCE_DURATION};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// How long a first figure of the counter is waited for before the design is sent.
const BASELINE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(300);
/// Exemplars are looked for from this long before the design, for clocks that differ.
const MARGIN: Duration = Duration::from_secs(300);
/// The flag without which exemplars are thrown away.
const EXEMPLARS: &str = "exemplar-storage";

/// A value for each instance.
pub(super) type ByInstance = BTreeMap<String, f64>;

/// The answered designs as Prometheus knows them before ours; empty where it knows none.
pub(super) fn baseline(server: &Server, deadline: Instant) -> ByInstance {
    let end = deadline.min(Instant::now() + BASELINE);
    loop {
        match query(server, &counter()).and_then(|answer| by_instance(&answer)) {
            Ok(values) if values.is_empty() && Instant::now() + PAUSE < end => {
                std::thread::sleep(PAUSE);
            }
            Ok(values) => return values,
            // The checks will tell why.
            Err(_) => return ByInstance::new(),
        }
    }
}

/// The checks; those that need a design are told when there is none.
pub(super) fn checks<'a>(
    server: &'a Server,
    sent: Option<&'a Sent>,
    before: &'a ByInstance,
    kit: &'a [Rule],
) -> Vec<Check<'a>> {
    let told = move |verdict: Result<Verdict, AskError>| {
        verdict.unwrap_or_else(|error| {
            unanswered(System::Prometheus, &error, server.has_credentials())
        })
    };
    let of_design = move |ask: fn(&Server, &Sent, &ByInstance) -> Result<Verdict, AskError>| {
        move || match sent {
            None => Verdict::NotChecked("no design was answered".to_owned()),
            Some(sent) => told(ask(server, sent, before)),
        }
    };
    vec![
        Check::new("targets", move || told(ask_targets(server))),
        Check::new("metric", of_design(ask_counter)),
        Check::new("exemplar", of_design(ask_exemplar)),
        Check::new("rules", move || {
            told(server.get_json("/api/v1/rules", &[]).and_then(|answer| rules::read(&answer, kit)))
        }),
        Check::new("alertmanagers", move || {
            told(
                server.get_json("/api/v1/alertmanagers", &[]).and_then(|answer| receivers(&answer)),
            )
        }),
    ]
}

fn counter() -> String {
    format!("{}{{job=\"{}\",state=\"succeeded\"}}", ENDED.name, JOBS[0])
}

fn query(server: &Server, expression: &str) -> Result<Value, AskError> {
    server.get_json("/api/v1/query", &[("query", expression)])
}

fn ask_targets(server: &Server) -> Result<Verdict, AskError> {
    targets(&query(server, &format!("up{{job=~\"{}\"}}", JOBS.join("|")))?)
}

fn ask_counter(server: &Server, _: &Sent, before: &ByInstance) -> Result<Verdict, AskError> {
    Ok(grown(before, &by_instance(&query(server, &counter())?)?))
}

fn ask_exemplar(server: &Server, sent: &Sent, _: &ByInstance) -> Result<Verdict, AskError> {
    let seconds = |moment: Duration| moment.as_secs().to_string();
    let since = sent.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let start = seconds(since.saturating_sub(MARGIN));
    let end = seconds(since + MARGIN * 12);
    let series = format!("{}_bucket", INFERENCE_DURATION.name);
    let span = [("query", series.as_str()), ("start", &start), ("end", &end)];
    let found = exemplar(&server.get_json("/api/v1/query_exemplars", &span)?, &sent.trace_id())?;
    if let Exemplar::Found(value) = found {
        return Ok(Verdict::Right(format!("{series} {value} s leads to the trace")));
    }
    // Without the flag there are none, and nothing else says so.
    let flags = server.get_json("/api/v1/status/flags", &[]);
    Ok(without_exemplar(&found, flags.as_ref().ok()))
}

/// The list within an answer.
fn list<'a>(answer: &'a Value, path: &str) -> Result<&'a Vec<Value>, AskError> {
    answer
        .pointer(path)
        .and_then(Value::as_array)
        .ok_or_else(|| AskError::NotUnderstood(format!("it has no list at {path}")))
}

/// Label values and value of each series of an instant query.
fn series(answer: &Value) -> Result<Vec<(String, String, f64)>, AskError> {
    let one = |series: &Value| {
        let label = |name: &str| series["metric"][name].as_str().unwrap_or_default().to_owned();
        let value = series["value"][1].as_str()?.parse().ok()?;
        Some((label("job"), label("instance"), value))
    };
    let read = list(answer, "/data/result")?.iter().map(one).collect::<Option<Vec<_>>>();
    read.ok_or_else(|| AskError::NotUnderstood("a series has no value".to_owned()))
}

fn by_instance(answer: &Value) -> Result<ByInstance, AskError> {
    Ok(series(answer)?.into_iter().map(|(_, instance, value)| (instance, value)).collect())
}

fn targets(answer: &Value) -> Result<Verdict, AskError> {
    let series = series(answer)?;
    let mut counts = Vec::new();
    for job in JOBS {
        let of_job: Vec<_> = series.iter().filter(|(name, ..)| name == job).collect();
        if of_job.is_empty() {
            return Ok(Verdict::awaited(
                format!("no target of the job {job}"),
                "add the scrape jobs of prometheus/prometheus.yml; rules and dashboards select on \
                 their names",
            ));
        }
        if let Some((_, instance, _)) = of_job.iter().find(|(.., up)| *up != 1.0) {
            return Ok(Verdict::awaited(
                format!("{instance} of the job {job} is down"),
                "Status > Targets of Prometheus has the reason; the service listens on loopback \
                 unless listen.metrics and listen.gpu say otherwise",
            ));
        }
        counts.push(format!("{job} {}", of_job.len()));
    }
    Ok(Verdict::Right(format!("up: {}", counts.join(", "))))
}

/// Whether any instance has answered a design since.
fn grown(before: &ByInstance, now: &ByInstance) -> Verdict {
    let name = &ENDED.name;
    for (instance, value) in now {
        let earlier = before.get(instance).copied().unwrap_or(0.0);
        // A lower value is that of a process that has started since.
        if *value > earlier || (*value < earlier && *value > 0.0) {
            return Verdict::Right(format!("{name} of {instance} went from {earlier} to {value}"));
        }
    }
    if now.is_empty() {
        return Verdict::awaited(
            format!("no series {name}"),
            "the job microdiff-app must scrape /metrics of the service (port 8000), not its API",
        );
    }
    Verdict::awaited(
        format!("{name} did not grow"),
        "Prometheus scrapes other instances than the one --service reaches, or less often than \
         --timeout",
    )
}

/// What was found among the exemplars.
#[derive(Debug, PartialEq)]
enum Exemplar {
    Found(String),
    OnlyOthers,
    None,
}

fn exemplar(answer: &Value, trace_id: &str) -> Result<Exemplar, AskError> {
    let mut any = false;
    for series in list(answer, "/data")? {
        for exemplar in list(series, "/exemplars")? {
            any = true;
            if exemplar["labels"]["trace_id"] == trace_id {
                let value = exemplar["value"].as_str().unwrap_or_default();
                return Ok(Exemplar::Found(value.to_owned()));
            }
        }
    }
    Ok(if any { Exemplar::OnlyOthers } else { Exemplar::None })
}

fn without_exemplar(found: &Exemplar, flags: Option<&Value>) -> Verdict {
    let features = flags.and_then(|flags| flags["data"]["enable-feature"].as_str());
    let off = features.is_some_and(|features| !features.contains(EXEMPLARS));
    match found {
        Exemplar::None if off => Verdict::wrong(
            "exemplar storage is off",
            format!("start Prometheus with --enable-feature={EXEMPLARS}"),
        ),
        Exemplar::OnlyOthers => Verdict::awaited(
            "exemplars of other traces, none of this one",
            "a later design took its place before a scrape, or another instance is scraped: try \
             again when the service is idle",
        ),
        _ => Verdict::awaited(
            "no exemplar of the design's duration",
            format!(
                "Prometheus needs --enable-feature={EXEMPLARS} and must ask for OpenMetrics; a \
                 proxy that changes `accept` takes them away"
            ),
        ),
    }
}

fn receivers(answer: &Value) -> Result<Verdict, AskError> {
    let active = list(answer, "/data/activeAlertmanagers")?;
    let urls: Vec<&str> = active.iter().filter_map(|one| one["url"].as_str()).collect();
    if urls.is_empty() {
        return Ok(Verdict::awaited(
            "it sends alerts nowhere",
            "put your Alertmanager under `alerting` as prometheus/prometheus.yml of the kit does",
        ));
    }
    Ok(Verdict::Right(format!("alerts go to {}", urls.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vector(series: &[(&str, &str, &str)]) -> Value {
        let one = |(job, instance, value): &(&str, &str, &str)| json!({ "metric": { "job": job, "instance": instance }, "value": [1.0, value] });
        json!({ "status": "success", "data": { "result": series.iter().map(one).collect::<Vec<_>>() } })
    }

    fn told(verdict: Verdict) -> String {
        match verdict {
            Verdict::Right(told) => format!("right: {told}"),
            Verdict::Awaited(fault) | Verdict::Wrong(fault) => {
                format!("{}: {}", fault.told, fault.advice)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn targets_are_up_down_or_not_there() {
        let app = ("microdiff-app", "a:1", "1");
        let up = targets(&vector(&[app, ("microdiff-gpu", "a:2", "1")])).expect("understood");
        assert_eq!(told(up), "right: up: microdiff-app 1, microdiff-gpu 1");
        let down = targets(&vector(&[app, ("microdiff-gpu", "a:2", "0")])).expect("understood");
        assert!(told(down).contains("a:2 of the job microdiff-gpu is down"));
        let none = targets(&vector(&[app])).expect("understood");
        assert!(told(none).contains("no target of the job microdiff-gpu"));
    }

    #[test]
    fn a_counter_that_grew_is_told_from_one_that_did_not() {
        let values = |pairs: &[(&str, f64)]| -> ByInstance {
            pairs.iter().map(|(instance, value)| ((*instance).to_owned(), *value)).collect()
        };
        let before = values(&[("a", 3.0), ("b", 7.0)]);
        assert!(told(grown(&before, &values(&[("a", 3.0), ("b", 8.0)]))).starts_with("right"));
        assert!(told(grown(&before, &before)).contains("did not grow"));
        assert!(told(grown(&before, &values(&[]))).contains("no series"));
        // A process that started anew since, before and after its first answer.
        assert!(told(grown(&before, &values(&[("a", 0.0)]))).contains("did not grow"));
        assert!(told(grown(&before, &values(&[("a", 1.0)]))).starts_with("right"));
    }

    #[test]
    fn an_exemplar_is_ours_anothers_or_none() {
        let of = |ids: &[&str]| {
            let one = |id: &&str| json!({ "labels": { "trace_id": id }, "value": "0.3" });
            json!({ "data": [{ "seriesLabels": {}, "exemplars": ids.iter().map(one).collect::<Vec<_>>() }] })
        };
        let found = |ids: &[&str]| exemplar(&of(ids), "ours").expect("understood");
        assert_eq!(found(&["other", "ours"]), Exemplar::Found("0.3".into()));
        assert_eq!(found(&["other"]), Exemplar::OnlyOthers);
        assert_eq!(found(&[]), Exemplar::None);
        let flags = |on: &str| json!({ "data": { "enable-feature": on } });
        let verdict = |found: &Exemplar, on: &str| without_exemplar(found, Some(&flags(on)));
        assert!(matches!(verdict(&Exemplar::None, ""), Verdict::Wrong(_)));
        let on = "native-histograms,exemplar-storage";
        assert!(matches!(verdict(&Exemplar::None, on), Verdict::Awaited(_)));
        assert!(told(verdict(&Exemplar::OnlyOthers, on)).contains("other traces"));
        // A system that shows no flags, or odd ones.
        let odd = json!({ "data": [] });
        for flags in [None, Some(&odd)] {
            assert!(matches!(without_exemplar(&Exemplar::None, flags), Verdict::Awaited(_)));
        }
    }

    #[test]
    fn odd_answers_are_not_understood_and_nothing_panics() {
        for odd in [
            Value::Null,
            json!([]),
            json!("text"),
            json!({ "data": 7 }),
            json!({ "data": { "result": "x", "activeAlertmanagers": {} } }),
            json!({ "data": { "result": [{ "value": [1] }] } }),
            json!({ "data": { "result": [{ "value": [1, "many"] }] } }),
            json!({ "data": { "result": [7] } }),
        ] {
            for read in [targets, receivers] {
                assert!(matches!(read(&odd), Err(AskError::NotUnderstood(_))), "{odd}");
            }
            assert!(exemplar(&odd, "x").is_err() || odd["data"].is_array());
        }
        assert!(exemplar(&json!({ "data": [{ "exemplars": 3 }] }), "x").is_err());
    }
}

//! The design that everything else is recognised by: the bundled phantom, under a trace id of our
//! own that the kit's Collector is sure to keep.

use super::verdict::{Verdict, unanswered};
use crate::args::System;
use crate::failure::Failure;
use crate::form::{Form, Part};
use crate::http::{Answer, AskError, Post, Server};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use microdiff_kit::TailSampling;
use microdiff_telemetry::traces::{SpanId, TraceContext, TraceId};
use serde_json::Value;
use std::time::{Duration, Instant, SystemTime};

/// Name of the scan, by which a person recognises it in traces and the audit log.
pub(super) const SCAN_NAME: &str = "microdiff-verify.tif";
/// How long the service may take to accept a scan.
const ACCEPTANCE: Duration = Duration::from_secs(30);
/// Between two looks at a design.
const PAUSE: Duration = Duration::from_millis(200);
/// Ids to choose from: the best of them is kept by a Collector that keeps one in a thousand.
const CANDIDATES: usize = 4096;
/// Few draws: nobody reads the answer.
const SAMPLES: &str = "64";

/// A design that was answered.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) trace: TraceContext,
    pub(super) job_id: String,
    /// Whether the service kept the trace id that it was sent.
    pub(super) followed: bool,
    /// Before it was sent.
    pub(super) since: SystemTime,
}

impl Sent {
    pub(super) fn trace_id(&self) -> String {
        self.trace.trace_id.to_string()
    }
}

/// A trace that is recorded by whoever listens to its caller.
pub(super) fn context(sampling: &TailSampling) -> TraceContext {
    let candidates = (0..CANDIDATES).map(|_| TraceId::random());
    let trace_id = candidates.min_by_key(|id| sampling.rank(id.get()));
    TraceContext {
        trace_id: trace_id.unwrap_or_else(TraceId::random),
        span_id: SpanId::random(),
        sampled: true,
        random: true,
    }
}

/// Sends the design and waits for its answer.
pub(super) fn send(
    service: &Server,
    context: TraceContext,
    deadline: Instant,
) -> Result<Result<Sent, Verdict>, Failure> {
    let form = form(context)?;
    let since = SystemTime::now();
    let refuse = |error: &AskError| unanswered(System::Service, error, service.has_credentials());
    loop {
        let verdict = match submit(service, context, &form) {
            Ok(answer) => {
                return Ok(follow(service, &answer, (context, since), deadline));
            }
            Err(error) => refuse(&error),
        };
        // A service that still loads its model, or whose queue is full, may take it later.
        let open = matches!(verdict, Verdict::Awaited(_) | Verdict::Unreachable(_));
        if !open || Instant::now() + PAUSE >= deadline {
            return Ok(Err(verdict));
        }
        std::thread::sleep(PAUSE);
    }
}

fn submit(service: &Server, context: TraceContext, form: &Form) -> Result<Answer, AskError> {
    let mut headers = Vec::new();
    if let Ok(value) = HeaderValue::from_str(&context.to_header()) {
        headers.push((HeaderName::from_static("traceparent"), value));
    }
    let answer = service.post(Post {
        path: "/v1/designs",
        content_type: &form.content_type(),
        headers: &headers,
        body: form.body(),
        patience: ACCEPTANCE,
    })?;
    answer.accepted()?;
    Ok(answer)
}

/// Waits until an accepted design has ended.
fn follow(
    service: &Server,
    accepted: &Answer,
    (context, since): (TraceContext, SystemTime),
    deadline: Instant,
) -> Result<Sent, Verdict> {
    let refuse = |error: &AskError| unanswered(System::Service, error, service.has_credentials());
    let mut job = accepted.json().map_err(|error| refuse(&error))?;
    let job_id = id(&job).map_err(|error| refuse(&error))?;
    let trace = told(&accepted.headers).unwrap_or(context);
    loop {
        match job["state"].as_str() {
            Some("succeeded") => break,
            Some("failed") => return Err(failed(&job)),
            _ if Instant::now() + PAUSE >= deadline => {
                return Err(Verdict::awaited(
                    format!("design {job_id} has no answer yet"),
                    "look at the queue (microdiff_queue_depth), or give --timeout more seconds",
                ));
            }
            _ => std::thread::sleep(PAUSE),
        }
        let asked = service.get_json(&format!("/v1/designs/{job_id}"), &[]);
        job = asked.map_err(|error| refuse(&error))?;
    }
    let followed = trace.trace_id == context.trace_id;
    // Spans of ours are inside the one that we named, whatever the service answered.
    let trace = TraceContext { span_id: context.span_id, ..trace };
    Ok(Sent { trace, job_id, followed, since })
}

fn failed(job: &Value) -> Verdict {
    let detail = job["problem"]["detail"].as_str().unwrap_or("no reason given");
    Verdict::wrong(
        format!("the design failed: {detail}"),
        "the model cannot answer its own phantom: see /health/detailed and ModelCanaryFailing",
    )
}

/// The id of an accepted design; it becomes part of a path.
fn id(job: &Value) -> Result<String, AskError> {
    let id = job["id"].as_str().unwrap_or_default();
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if id.is_empty() || !plain {
        return Err(AskError::NotUnderstood("the answer names no design".to_owned()));
    }
    Ok(id.to_owned())
}

/// The trace that the service says the request was in.
fn told(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get("traceresponse")?.to_str().ok()?)
}

/// The bundled phantom as a submission.
fn form(context: TraceContext) -> Result<Form, Failure> {
    let part = Part::phantom()?;
    Ok(Form::new(format!("microdiff-verify-{}", context.span_id))
        .text("alloy", part.alloy.name())
        .text("samples", SAMPLES)
        .text("seed", "1")
        .scan(SCAN_NAME, &part.scan))
}

/// Whether the design was accepted, in words for the report.
pub(super) fn answered(sent: &Sent) -> Verdict {
    let job = &sent.job_id;
    if !sent.followed {
        return Verdict::wrong(
            format!("design {job} answered, but in a trace of its own"),
            "the service, or a proxy before it, drops the caller's traceparent: traces of whoever \
             calls end here (OTEL_PROPAGATORS needs tracecontext)",
        );
    }
    if !sent.trace.sampled {
        return Verdict::wrong(
            format!("design {job} answered, but its trace is not recorded"),
            "the service does not record what its caller records: use a parent-based sampler, as \
             OTEL_TRACES_SAMPLER=parentbased_traceidratio",
        );
    }
    Verdict::Right(format!("design {job} answered"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_trace_is_one_that_a_much_smaller_share_would_still_have() {
        let sampling = TailSampling::of_kit(&microdiff_kit::files()).expect("policies");
        let context = context(&sampling);
        assert!(context.sampled && sampling.keeps(context.trace_id.get()));
        // One of 4096 is above a hundredth with a chance of 1e-18.
        assert!(sampling.rank(context.trace_id.get()) < u64::MAX / 100);
    }

    #[test]
    fn the_form_holds_a_scan_with_a_voxel_size() {
        let context = TraceContext {
            trace_id: TraceId::random(),
            span_id: SpanId::random(),
            sampled: true,
            random: true,
        };
        let form = form(context).expect("a form");
        let body = form.body();
        let text = String::from_utf8_lossy(&body);
        let boundary = form.content_type().replace("multipart/form-data; boundary=", "");
        assert_eq!(text.matches(&boundary).count(), 5);
        assert!(text.contains("name=\"alloy\"\r\n\r\nTi-6Al-4V") && text.contains("II*\0"));
    }

    #[test]
    fn an_id_that_would_leave_its_path_is_none() {
        let of = |id: Value| super::id(&json!({ "id": id }));
        assert_eq!(of(json!("0198-ab")), Ok("0198-ab".to_owned()));
        for odd in [json!("../x"), json!(""), json!(7), Value::Null, json!("a?b")] {
            assert!(of(odd.clone()).is_err(), "{odd}");
        }
    }
}

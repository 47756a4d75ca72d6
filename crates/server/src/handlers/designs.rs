use super::form::{self, Form, Intake};
use super::unparsed::Unparsed;
use crate::App;
use crate::problem::{Place, Problem};
use crate::spans;
use crate::store::{Job, JobId, JobState, NewJob};
use axum::Json;
use axum::body::HttpBody as _;
use axum::extract::{FromRequest as _, Multipart, Path, RawQuery, Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use microdiff_telemetry::traces::{ParentSpan, Span};
use serde::Serialize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use tokio::time::Instant;

/// A job as a client sees it. One that succeeded *is* its answer document, with the job's fields
/// beside it; until then it says what was asked.
#[derive(Serialize)]
struct JobView<'a> {
    id: String,
    state: JobState,
    created: String,
    updated: String,
    attempts: u32,
    upload: UploadView<'a>,
    links: Links,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<&'a crate::jobs::JobRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<serde_json::Value>,
    #[serde(flatten)]
    document: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Serialize)]
struct UploadView<'a> {
    name: &'a str,
    bytes: u64,
}

#[derive(Serialize)]
struct Links {
    #[serde(rename = "self")]
    own: String,
}

/// `POST /v1/designs`: stores the scan, records the job, answers 202, or 200 when `?wait=` was
/// long enough.
pub(crate) async fn submit(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Result<Response, Problem> {
    let wait = parse_wait(&app, query.as_deref())?;
    // What is left of the request must not be held across an await: its body is not `Sync`.
    let declared = request.body().size_hint().lower();
    admit(&app, declared).await?;
    let Ok(upload) = app.uploads.try_acquire() else {
        app.metrics.rejected_uploads.inc();
        return Err(Problem::uploads_full(app.config.limits.uploads));
    };
    let id = JobId::fresh();
    let origin = crate::present::origin(&request);
    let intake = Intake { app: &app, id, unparsed: Unparsed::default() };
    let request = intake.unparsed.watch(request);
    let body =
        Multipart::from_request(request, &()).await.map_err(|_| Problem::wrong_media_type())?;
    let limit = app.config.limits.body_total();
    let form =
        tokio::time::timeout(limit, form::receive(&intake, body)).await.map_err(|_| {
            Problem::slow_body(&format!("the body did not arrive within {} s", limit.as_secs()))
        })??;
    // A task of its own: a client that leaves now must not leave a scan without a record.
    let recording = {
        let app = Arc::clone(&app);
        tokio::spawn(async move { record(&app, id, form, &origin).await })
    };
    recording.await.map_err(|_| Problem::internal("record_failed"))??;
    // Waiting for the answer is not uploading.
    drop(upload);
    let job = await_job(&app, id, wait).await?;
    // Who does not wait hears that the scan was taken, however soon the job ends.
    let ended = job.state.is_final() && !wait.is_zero();
    if let (true, JobState::Failed, Some(failure)) = (ended, job.state, &job.failure) {
        let mut response = Problem::from(failure).into_response();
        set_location(response.headers_mut(), id);
        return Ok(response);
    }
    let status = if ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, view(&app, &job)?).into_response();
    set_location(response.headers_mut(), id);
    Ok(response)
}

/// `GET /v1/designs/{id}`: the job as it stands, after `?wait=` seconds at most.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let wait = parse_wait(&app, query.as_deref())?;
    let id = JobId::parse(&id).ok_or_else(Problem::unknown_design)?;
    let job = await_job(&app, id, wait).await?;
    Ok(view(&app, &job)?.into_response())
}

/// The job when it has ended, or as it stands after `wait` or when the service stops.
async fn await_job(app: &App, id: JobId, wait: Duration) -> Result<Job, Problem> {
    let ended = app.queue.wait(id, Instant::now() + wait);
    let job = tokio::select! {
        job = ended => job,
        () = app.stop.closing() => app.queue.store().get(id).await,
    };
    job.map_err(|error| broken(&error))?.ok_or_else(Problem::unknown_design)
}

/// Refuses what can be refused before a byte of the body is read.
async fn admit(app: &App, declared: u64) -> Result<(), Problem> {
    if app.stop.is_draining() {
        app.metrics.rejected_draining.inc();
        return Err(Problem::draining());
    }
    if app.audit.is_blocking() {
        app.metrics.rejected_audit.inc();
        return Err(Problem::audit_unavailable());
    }
    if declared > app.config.limits.body_bytes {
        return Err(Problem::body_too_large(app.config.limits.body_bytes));
    }
    if !app.queue.has_room().await.map_err(|error| broken(&error))? {
        return Err(queue_full(app));
    }
    let free = app.files.free_bytes().map_err(|error| form::disk(&error))?;
    if free < app.config.limits.free_bytes.saturating_add(declared) {
        app.metrics.rejected_room.inc();
        return Err(Problem::no_room());
    }
    Ok(())
}

/// Makes the scan and then the job's record durable.
async fn record(app: &App, id: JobId, form: Form, origin: &Origin) -> Result<(), Problem> {
    let scan_bytes = form.scan.bytes();
    let scan_sha256 = form.scan.sha256();
    let mut span = origin.span.as_ref().map(|span| span.child(spans::STORE_SCAN.name));
    let scan = form.scan.commit().await.map_err(|error| {
        fail(&mut span, "scan_not_stored");
        form::disk(&error)
    })?;
    drop(span);
    let mut span = origin.span.as_ref().map(|span| span.child(spans::STORE_ENQUEUE.name));
    let job = NewJob {
        id,
        request: form.request,
        scan,
        scan_bytes,
        scan_name: form.scan_name,
        request_id: origin.request_id.clone(),
        traceparent: origin.span.as_ref().map(|span| span.context().to_header()),
        caller: origin.caller.clone(),
    };
    put_on_record(app, &job, &scan_sha256).await?;
    let recorded = app.queue.submit(&job).await;
    if recorded.is_err() {
        fail(&mut span, "database_failed");
    }
    drop(span);
    if !matches!(recorded, Ok(true)) {
        // Without a record nobody would ever remove it before the next start.
        let _ = app.files.remove(&job.scan);
        app.audit.refused(&job, if recorded.is_ok() { "queue_full" } else { "database_failed" });
    }
    if !recorded.map_err(|error| broken(&error))? {
        return Err(queue_full(app));
    }
    app.metrics.scan_bytes.add(scan_bytes);
    app.metrics.submitted.inc();
    Ok(())
}

fn fail(span: &mut Option<Span>, reason: &str) {
    if let Some(span) = span {
        span.fail(reason);
    }
}

/// A job is on record before it exists.
async fn put_on_record(app: &App, job: &NewJob, scan_sha256: &str) -> Result<(), Problem> {
    let recorded = app.audit.submitted(job, scan_sha256).await;
    if recorded.is_err() {
        app.metrics.rejected_audit.inc();
        let _ = app.files.remove(&job.scan);
    }
    recorded
}

/// Which request submitted a job.
pub(crate) struct Origin {
    pub(crate) request_id: String,
    pub(crate) span: Option<ParentSpan>,
    /// Keyed hash of the caller.
    pub(crate) caller: String,
}

fn queue_full(app: &App) -> Problem {
    app.metrics.rejected_queue.inc();
    // One place comes free with every design; how long that takes is not known beforehand.
    Problem::queue_full(app.queue.capacity(), 10)
}

fn broken(error: &crate::ServerError) -> Problem {
    tracing::error!(error = %error, "the job database failed");
    if error.is_passing() {
        return Problem::database_unavailable();
    }
    Problem::internal("database_failed")
}

fn set_location(headers: &mut HeaderMap, id: JobId) {
    if let Ok(value) = HeaderValue::try_from(place(id)) {
        headers.insert(header::LOCATION, value);
    }
}

fn place(id: JobId) -> String {
    format!("/v1/designs/{id}")
}

fn view(app: &App, job: &Job) -> Result<Response, Problem> {
    let document = job.result.as_deref().map(serde_json::from_str).transpose();
    let document: Option<_> = document.map_err(|error| {
        tracing::error!(error = %error, job_id = %job.id, "a stored document is not JSON");
        Problem::internal("record_unreadable")
    })?;
    let problem = job.failure.as_ref().map(|failure| {
        let place = Place {
            instance: place(job.id),
            request_id: job.request_id.clone(),
            trace_id: job.traceparent.as_deref().map(trace_id).unwrap_or_default().to_owned(),
        };
        Problem::from(failure).document(&place, app.telemetry.scrubber())
    });
    let view = JobView {
        id: job.id.to_string(),
        state: job.state,
        created: time(job.created_ms),
        updated: time(job.updated_ms),
        attempts: job.attempts,
        upload: UploadView { name: &job.scan_name, bytes: job.scan_bytes },
        links: Links { own: place(job.id) },
        request: document.is_none().then_some(&job.request),
        problem,
        document,
    };
    Ok(Json(view).into_response())
}

/// The trace id within a `traceparent`.
fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

fn time(ms: i64) -> String {
    let since = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    microdiff_telemetry::rfc3339(UNIX_EPOCH + since)
}

/// Reads `wait=SECONDS`, the only query parameter there is.
fn parse_wait(app: &App, query: Option<&str>) -> Result<Duration, Problem> {
    let most = app.config.limits.wait_seconds;
    let refusal = || {
        Problem::invalid_field(&format!("the query may be wait=SECONDS, with 0 to {most} seconds"))
    };
    match query {
        None | Some("") => Ok(Duration::ZERO),
        Some(query) => {
            let seconds = query.strip_prefix("wait=").and_then(|text| text.parse::<u64>().ok());
            let seconds = seconds.filter(|seconds| *seconds <= most).ok_or_else(refusal)?;
            Ok(Duration::from_secs(seconds))
        }
    }
}

//! The admin listener: its index, log levels, cardinality, drain. Loopback only.

use crate::App;
use crate::listen::Role;
use crate::problem::{Problem, echo};
use crate::router;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use http::StatusCode;
use microdiff_telemetry::TelemetryError;
use microdiff_telemetry::audit::UserId;
use microdiff_telemetry::logs::LogLevels;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /`: what this listener serves. `docs/reference/admin.md` says what each is for.
pub(crate) async fn index() -> Json<Value> {
    let endpoints = router::endpoints(Role::Admin).iter();
    let endpoints: Vec<Value> = endpoints
        .map(|(method, path)| json!({ "method": method.as_str(), "path": path }))
        .collect();
    Json(json!({ "endpoints": endpoints }))
}

/// `GET /loglevel`: the levels in force, and what they mean for each logger.
pub(crate) async fn log_level(State(app): State<Arc<App>>) -> Json<Value> {
    Json(levels_document(&app))
}

/// `PUT /loglevel`: puts other levels in force; the body is as the setting `log.level`.
pub(crate) async fn set_log_level(
    State(app): State<Arc<App>>,
    user: Option<Extension<UserId>>,
    body: String,
) -> Result<Json<Value>, Problem> {
    let levels: LogLevels = body.trim().parse().map_err(refused)?;
    Ok(put_in_force(&app, user.as_ref(), levels))
}

/// `PUT /loglevel/{logger}`: gives one logger a level, the body, and leaves the others.
pub(crate) async fn set_logger_level(
    State(app): State<Arc<App>>,
    Path(logger): Path<String>,
    user: Option<Extension<UserId>>,
    body: String,
) -> Result<Json<Value>, Problem> {
    let mut levels = app.telemetry.logs().levels();
    levels.set(&logger, body.trim()).map_err(refused)?;
    Ok(put_in_force(&app, user.as_ref(), levels))
}

/// `DELETE /loglevel/{logger}`: takes a logger's own level away; its parent's holds again.
pub(crate) async fn unset_logger_level(
    State(app): State<Arc<App>>,
    Path(logger): Path<String>,
    user: Option<Extension<UserId>>,
) -> Json<Value> {
    let mut levels = app.telemetry.logs().levels();
    levels.unset(&logger);
    put_in_force(&app, user.as_ref(), levels)
}

fn refused(error: TelemetryError) -> Problem {
    Problem::invalid_field(&echo(&error.to_string()))
}

fn put_in_force(app: &App, user: Option<&Extension<UserId>>, levels: LogLevels) -> Json<Value> {
    let text = levels.to_string();
    let before = app.telemetry.logs().levels().to_string();
    app.audit
        .record("admin.log_levels", json!({ "caller": caller(user), "from": before, "to": text }));
    app.telemetry.logs().set_levels(levels);
    tracing::info!(levels = %text, "log levels changed");
    Json(levels_document(app))
}

fn levels_document(app: &App) -> Value {
    let logs = app.telemetry.logs();
    let levels = logs.levels();
    let of = |logger: &String| levels.for_logger(logger).to_string();
    let loggers: serde_json::Map<String, Value> =
        logs.loggers().iter().map(|logger| (logger.clone(), of(logger).into())).collect();
    json!({ "level": levels.to_string(), "loggers": loggers })
}

/// `GET /cardinality`: series per metric, most first.
pub(crate) async fn cardinality(State(app): State<Arc<App>>) -> Json<Value> {
    let mut counts = app.telemetry.registry().series_counts();
    counts.sort_by(|a, b| b.series.cmp(&a.series).then_with(|| a.metric.cmp(&b.metric)));
    let total: usize = counts.iter().map(|count| count.series).sum();
    let metrics: Vec<Value> = counts
        .iter()
        .map(|count| {
            json!({
                "metric": count.metric,
                "series": count.series,
                "cap": count.cap,
                "overflowed": count.overflowed,
            })
        })
        .collect();
    Json(json!({ "series": total, "metrics": metrics }))
}

/// `POST /drain`: begins to stop, as SIGTERM does.
pub(crate) async fn drain(
    State(app): State<Arc<App>>,
    user: Option<Extension<UserId>>,
) -> (StatusCode, Json<Value>) {
    app.audit.record("admin.drain", json!({ "caller": caller(user.as_ref()) }));
    app.stop.drain();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true })))
}

fn caller(user: Option<&Extension<UserId>>) -> &str {
    user.map_or("anonymous", |user| &user.0.0)
}

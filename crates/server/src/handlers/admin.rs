//! The admin listener: its index, log levels, cardinality, drain. Loopback only.

use crate::App;
use crate::listen::Role;
use crate::problem::{Problem, echo};
use crate::router;
use axum::Json;
use axum::extract::State;
use http::StatusCode;
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

/// `GET /loglevel`: the levels in force.
pub(crate) async fn log_level(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "level": app.telemetry.logs().levels().to_string() }))
}

/// `PUT /loglevel`: puts other levels in force; the body is as the setting `log.level`.
pub(crate) async fn set_log_level(
    State(app): State<Arc<App>>,
    body: String,
) -> Result<Json<Value>, Problem> {
    let levels: LogLevels =
        body.trim().parse().map_err(|error| Problem::invalid_field(&echo(&format!("{error}"))))?;
    let text = levels.to_string();
    app.telemetry.logs().set_levels(levels);
    tracing::info!(levels = %text, "log levels changed");
    Ok(Json(json!({ "level": text })))
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
pub(crate) async fn drain(State(app): State<Arc<App>>) -> (StatusCode, Json<Value>) {
    app.stop.drain();
    (StatusCode::ACCEPTED, Json(json!({ "draining": true })))
}

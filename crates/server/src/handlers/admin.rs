//! The admin listener: log levels, cardinality, drain. Loopback only.

use crate::App;
use crate::problem::{Problem, echo};
use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use microdiff_telemetry::audit::UserId;
use microdiff_telemetry::logs::LogLevels;
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /loglevel`: the levels in force.
pub(crate) async fn log_level(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "level": app.telemetry.logs().levels().to_string() }))
}

/// `PUT /loglevel`: puts other levels in force; the body is as the setting `log.level`.
pub(crate) async fn set_log_level(
    State(app): State<Arc<App>>,
    user: Option<Extension<UserId>>,
    body: String,
) -> Result<Json<Value>, Problem> {
    let levels: LogLevels =
        body.trim().parse().map_err(|error| Problem::invalid_field(&echo(&format!("{error}"))))?;
    let text = levels.to_string();
    let before = app.telemetry.logs().levels().to_string();
    app.audit.record(
        "admin.log_levels",
        json!({ "caller": caller(user.as_ref()), "from": before, "to": text }),
    );
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

//! What the admin listener tells of single designs and of the objectives.

use crate::App;
use crate::flight::CLASSES;
use crate::problem::{Problem, echo};
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;

/// Records told when the query does not say how many.
const DEFAULT_LIMIT: usize = 50;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlightQuery {
    class: Option<String>,
    limit: Option<usize>,
}

/// `GET /flight?class=&limit=`: the newest records, newest first, and what became of each class.
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Result<Query<FlightQuery>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let Query(FlightQuery { class, limit }) = query.map_err(|error| {
        let text = echo(&error.body_text());
        Problem::invalid_field(&format!("the query may have class and limit: {text}"))
    })?;
    let known: Vec<&str> = CLASSES.iter().map(|class| class.name).collect();
    if let Some(name) = class.as_deref().filter(|name| !known.contains(name)) {
        let text = format!("class \"{}\" is unknown; known: {}", echo(name), known.join(", "));
        return Err(Problem::invalid_field(&text));
    }
    let most = app.config.flight.capacity;
    let limit = limit.unwrap_or(DEFAULT_LIMIT.min(most));
    if !(1..=most).contains(&limit) {
        let text = format!("limit is {limit}, outside 1 to {most}");
        return Err(Problem::invalid_field(&text));
    }
    let recorder = app.flight.recorder();
    let classes: Vec<Value> = recorder
        .counts()
        .iter()
        .map(|count| {
            json!({
                "class": count.class,
                "held": count.held,
                "capacity": count.capacity,
                "bytes": count.bytes,
                "recorded": count.recorded,
                "evicted": count.evicted,
            })
        })
        .collect();
    let records = recorder.list(class.as_deref(), limit);
    Ok(Json(json!({ "classes": classes, "records": records })))
}

/// `GET /flight/{id}`: one record, by the id of its design or of its request.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    app.flight.recorder().find(&id).map(Json).ok_or_else(Problem::unknown_flight)
}

/// `GET /slo`: how each objective stands.
pub(crate) async fn slo(State(app): State<Arc<App>>) -> Json<Value> {
    let objectives: Vec<Value> =
        app.objectives.slo().report().iter().map(|report| report.json()).collect();
    let now = microdiff_telemetry::rfc3339(SystemTime::now());
    Json(json!({ "timestamp": now, "objectives": objectives }))
}

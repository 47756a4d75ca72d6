use crate::App;
use axum::Json;
use axum::extract::State;
use microdiff_domain::{Alloy, Parameter, Process};
use serde_json::{Value, json};
use std::sync::Arc;

/// `GET /v1/models`: the loaded model and what its evaluation found.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let evaluation: Vec<Value> = app
        .engine
        .accuracy()
        .iter()
        .map(|row| {
            json!({
                "validation_set": row.validation_set,
                "skill": row.skill,
                "samples": row.samples,
                "coverage_90": row.coverage_90,
            })
        })
        .collect();
    let model = app.engine.model();
    Json(json!({ "models": [{
        "name": model.name,
        "model_type": model.model_type,
        "digest": model.digest,
        "simulator_version": model.simulator_version,
        "alloys": Alloy::ALL.map(Alloy::name),
        "processes": Process::ALL.map(Process::name),
        "evaluation": evaluation,
    }]}))
}

/// `GET /v1/alloys`: the known alloys and the range of each parameter in the prior.
pub(crate) async fn alloys() -> Json<Value> {
    let parameters = |alloy: Alloy| -> Vec<Value> {
        Parameter::ALL
            .iter()
            .map(|parameter| {
                let range = parameter.range(alloy);
                json!({
                    "name": parameter.name(),
                    "key": parameter.key(),
                    "unit": parameter.unit(),
                    "low": range.low,
                    "high": range.high,
                    "scale": range.scale,
                })
            })
            .collect()
    };
    let alloys: Vec<Value> = Alloy::ALL
        .iter()
        .map(|alloy| json!({ "name": alloy.name(), "parameters": parameters(*alloy) }))
        .collect();
    Json(json!({ "alloys": alloys }))
}

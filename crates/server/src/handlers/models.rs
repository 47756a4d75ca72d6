use crate::App;
use crate::quality::{LiveEvaluation, set_name};
use axum::Json;
use axum::extract::State;
use microdiff_design::SetScore;
use microdiff_domain::{Alloy, Parameter, Process};
use microdiff_telemetry::rfc3339;
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
    let (model, pairs) = (app.engine.model(), app.engine.pairs());
    // In the order of the domain, each once.
    let alloys = Alloy::ALL.into_iter().filter(|alloy| pairs.iter().any(|pair| pair.1 == *alloy));
    let processes =
        Process::ALL.into_iter().filter(|process| pairs.iter().any(|pair| pair.0 == *process));
    Json(json!({ "models": [{
        "name": model.name,
        "model_type": model.model_type,
        "digest": model.digest,
        "simulator_version": model.simulator_version,
        "alloys": alloys.map(Alloy::name).collect::<Vec<_>>(),
        "processes": processes.map(Process::name).collect::<Vec<_>>(),
        "evaluation": evaluation,
        "live_evaluation": app.quality.latest().as_ref().map(live),
    }]}))
}

/// The last scoring by this process, with all it rests on.
fn live(found: &LiveEvaluation) -> Value {
    let recorded = |score: &SetScore| {
        let same = found.facts.recorded.iter().find(|other| other.regime == score.regime);
        same.map(|same| same.skill)
    };
    let sets: Vec<Value> = found
        .scores
        .iter()
        .map(|score| {
            json!({
                "validation_set": set_name(score),
                "skill": score.skill,
                "recorded_skill": recorded(score),
                "samples": score.cases,
                "coverage_90": score.coverage_90,
            })
        })
        .collect();
    json!({
        "evaluated": rfc3339(found.at),
        "seconds": found.seconds,
        "cases": found.facts.cases,
        "draws_per_case": found.facts.samples,
        "digest": found.facts.digest,
        "simulator_version": found.facts.simulator_version,
        "sets": sets,
    })
}

/// `GET /v1/alloys`: the known alloys and the range of each parameter in the prior; at the top for
/// laser powder bed fusion, then by process.
pub(crate) async fn alloys() -> Json<Value> {
    let parameters = |process: Process, alloy: Alloy| -> Vec<Value> {
        Parameter::ALL
            .iter()
            .map(|parameter| {
                let range = parameter.range(process, alloy);
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
    let alloys = |process: Process| -> Vec<Value> {
        let of = |alloy: &Alloy| json!({ "name": alloy.name(), "parameters": parameters(process, *alloy) });
        process.alloys().iter().map(of).collect()
    };
    let processes = Process::ALL.map(|process| {
        json!({
            "name": process.name(),
            "validated": process.is_validated(),
            "spot_um": process.spot_um(),
            "alloys": alloys(process),
        })
    });
    Json(json!({ "alloys": alloys(Process::Lpbf), "processes": processes }))
}

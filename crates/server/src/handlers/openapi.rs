//! The description of the API, built by hand beside the handlers and held to them by tests.

use crate::problem::PROBLEM_JSON;
use axum::Json;
use microdiff_design::{DesignRequest, Observable};
use microdiff_domain::{Alloy, Machine, Parameter, Process};
use serde_json::{Map, Value, json};

/// `GET /openapi.json`.
pub(crate) async fn get() -> Json<Value> {
    Json(document())
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "microdiff",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "From a micro-CT scan of a printed metal part to a posterior over its \
                            process parameters.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths(),
        "components": { "schemas": schemas(), "responses": { "Problem": problem_response() } },
    })
}

fn paths() -> Value {
    json!({
        "/": { "get": plain("A page about this service", "text/html") },
        "/openapi.json": { "get": plain("This document", "application/json") },
        "/v1/alloys": { "get": plain("Alloys and parameter ranges", "application/json") },
        "/v1/models": { "get": plain("The loaded model and its evaluation", "application/json") },
        "/v1/designs": { "post": submit() },
        "/v1/designs/{id}": { "get": get_design() },
        "/health": { "get": plain("Liveness", "application/json") },
        "/health/detailed": { "get": health("Every check and the overall state") },
        "/livez": { "get": health("Liveness, for Kubernetes") },
        "/readyz": { "get": health("Readiness, for Kubernetes") },
        "/startupz": { "get": health("Start-up, for Kubernetes") },
    })
}

fn plain(summary: &str, media: &str) -> Value {
    json!({
        "summary": summary,
        "responses": { "200": { "description": "The answer", "content": { media: {} } } },
    })
}

fn health(summary: &str) -> Value {
    json!({
        "summary": summary,
        "responses": {
            "200": { "description": "Well, or degraded", "content": { "application/json": {} } },
            "503": { "description": "Not well, or not ready", "content": { "application/json": {} } },
        },
    })
}

fn wait() -> Value {
    json!({
        "name": "wait",
        "in": "query",
        "description": "Seconds to wait for the design to end",
        "schema": { "type": "integer", "minimum": 0, "maximum": 120, "default": 0 },
    })
}

fn submit() -> Value {
    let mut responses = Map::new();
    responses.insert("200".into(), answer_response("Ended within `wait`: the answer"));
    responses.insert("202".into(), job_response("Recorded; follow the Location"));
    for (status, about) in [
        ("400", "A field is missing, unknown or out of range"),
        ("408", "The body came too slowly"),
        ("413", "The body is too large"),
        ("415", "The body is not multipart/form-data"),
        ("422", "The scan cannot be used (only with `wait`)"),
        ("429", "The queue is full; see Retry-After"),
        ("500", "The service failed"),
        ("503", "The service is stopping or cannot reach its records; see Retry-After"),
        ("507", "No room to store the scan"),
    ] {
        let mut response = problem_response();
        response["description"] = about.into();
        responses.insert(status.into(), response);
    }
    json!({
        "summary": "Ask for the process parameters behind a scan",
        "description": "The job is durable before 202 is answered. The same scan, request and seed \
                        give the same posterior.",
        "parameters": [wait()],
        "requestBody": {
            "required": true,
            "content": { "multipart/form-data": { "schema": { "$ref": "#/components/schemas/Form" } } },
        },
        "responses": responses,
    })
}

fn get_design() -> Value {
    json!({
        "summary": "A design as it stands",
        "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } },
            wait(),
        ],
        "responses": {
            "200": answer_response("The job, with its answer or problem once it has ended"),
            "404": { "$ref": "#/components/responses/Problem" },
        },
    })
}

fn answer_response(about: &str) -> Value {
    let parts =
        ["Job", "Design"].map(|name| json!({ "$ref": format!("#/components/schemas/{name}") }));
    let [job, design] = parts;
    json!({
        "description": about,
        "content": { "application/json": { "schema": { "anyOf": [
            { "allOf": [job.clone(), design] },
            job,
        ] } } },
    })
}

fn job_response(about: &str) -> Value {
    json!({
        "description": about,
        "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Job" } } },
    })
}

fn problem_response() -> Value {
    json!({
        "description": "A problem document (RFC 9457)",
        "content": { PROBLEM_JSON: { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn schemas() -> Value {
    json!({
        "Form": form(),
        "Job": job(),
        "Problem": problem(),
        "Design": design(),
        "Marginals": marginals(),
        "Quantiles": object(&["median", "p05", "p25", "p75", "p95"], &json!({ "type": "number" })),
    })
}

fn object(names: &[&str], schema: &Value) -> Value {
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), schema.clone())).collect();
    json!({ "type": "object", "required": names, "properties": properties })
}

fn form() -> Value {
    json!({
        "type": "object",
        "required": ["scan", "alloy"],
        "additionalProperties": false,
        "properties": {
            "scan": { "type": "string", "contentMediaType": "image/tiff", "description": "Multi-page TIFF, NRRD or MetaImage with the voxels in the same file" },
            "alloy": { "type": "string", "enum": Alloy::ALL.map(Alloy::name) },
            "process": { "type": "string", "enum": Process::ALL.map(Process::name), "default": "lpbf", "description": "Answers for ebm and ded are unvalidated" },
            "known": { "type": "string", "description": "Known parameters, as layer_thickness=30,hatch_spacing=140" },
            "spot_um": { "type": "number", "description": "Spot diameter, µm" },
            "machine": { "type": "string", "enum": Machine::ALL.map(Machine::name), "description": "Machine that printed the part; no draw then lies outside its limits" },
            "voxel_size_um": { "type": "number", "description": "Voxel size, µm, if the file does not say" },
            "samples": {
                "type": "integer", "default": DesignRequest::DEFAULT_SAMPLES,
                "minimum": DesignRequest::SAMPLES.start(), "maximum": DesignRequest::SAMPLES.end(),
            },
            "steps": {
                "type": "integer", "default": DesignRequest::DEFAULT_STEPS,
                "minimum": DesignRequest::STEPS.start(), "maximum": DesignRequest::STEPS.end(),
            },
            "seed": { "type": "integer", "minimum": 0, "default": 0 },
        },
    })
}

fn job() -> Value {
    json!({
        "type": "object",
        "description": "A job; once it has succeeded, also every field of the answer document",
        "required": ["id", "state", "created", "updated", "attempts", "upload", "links"],
        "properties": {
            "id": { "type": "string", "format": "uuid" },
            "state": { "type": "string", "enum": ["queued", "running", "succeeded", "failed"] },
            "created": { "type": "string", "format": "date-time" },
            "updated": { "type": "string", "format": "date-time" },
            "attempts": { "type": "integer" },
            "upload": {
                "type": "object",
                "properties": { "name": { "type": "string" }, "bytes": { "type": "integer" } },
            },
            "request": { "type": "object" },
            "links": { "type": "object", "properties": { "self": { "type": "string" } } },
            "problem": { "$ref": "#/components/schemas/Problem" },
        },
    })
}

fn problem() -> Value {
    let text = json!({ "type": "string" });
    let names = ["type", "title", "detail", "instance", "code", "request_id", "trace_id"];
    let mut schema = object(&names, &text);
    schema["properties"]["status"] = json!({ "type": "integer" });
    schema
}

fn design() -> Value {
    let classes = ["dense", "lack_of_fusion", "keyhole", "balling"];
    json!({
        "type": "object",
        "description": "The answer document microdiff.design/1",
        "required": [
            "schema", "basis", "scan", "request", "analysis", "posterior", "prior", "defects",
            "out_of_distribution", "quality", "model", "notes", "timings_ms", "seed",
            "draws_sha256",
        ],
        "properties": {
            "schema": { "const": microdiff_design::DESIGN_SCHEMA },
            "basis": { "type": "string" },
            "scan": { "type": "object" },
            "request": { "type": "object" },
            "analysis": { "type": "object" },
            "posterior": { "$ref": "#/components/schemas/Marginals" },
            "prior": { "$ref": "#/components/schemas/Marginals" },
            "defects": object(&classes, &json!({ "type": "number", "minimum": 0, "maximum": 1 })),
            "out_of_distribution": {
                "type": "object",
                "properties": {
                    "score": { "type": "number" },
                    "p_value": { "type": "number" },
                    "flagged": { "type": "boolean" },
                },
            },
            "quality": quality(),
            "model": { "type": "object" },
            "notes": { "type": "array", "items": { "type": "string" } },
            "timings_ms": { "type": "object", "additionalProperties": { "type": "number" } },
            "seed": { "type": "integer" },
            "draws_sha256": {
                "type": "string",
                "description": "SHA-256 over the draws as little-endian doubles",
            },
        },
    })
}

fn quality() -> Value {
    let number = json!({ "type": "number" });
    let text = json!({ "type": "string" });
    let numbers = json!({ "type": "object", "additionalProperties": number });
    let percentages = object(
        &["value", "percentile"],
        &json!({ "type": "number", "description": "In the unit of the schema; per cent of training scans below" }),
    );
    let mut check = object(
        &[
            "measured",
            "predicted_p05",
            "predicted_median",
            "predicted_p95",
            "discrepancy",
            "p_value",
        ],
        &number,
    );
    check["properties"]["name"] = json!({ "enum": Observable::ALL.map(Observable::name) });
    let mut unusual = object(&["value", "median", "percentile", "deviation"], &number);
    unusual["properties"]["name"] = text.clone();
    unusual["properties"]["unit"] = text;
    json!({
        "type": "object",
        "description": "What the answer says of its own trustworthiness; nothing here knows the truth",
        "properties": {
            "predictive": {
                "type": ["object", "null"],
                "description": "Whether the posterior's draws predict what was measured",
                "properties": {
                    "p_value": { "type": "number", "minimum": 0, "maximum": 1 },
                    "flagged": { "type": "boolean" },
                    "draws": { "type": "integer" },
                    "observables": { "type": "array", "items": check },
                },
            },
            "information_gain_nats": numbers,
            "unusual": { "type": "array", "items": unusual },
            "descriptors": { "type": "object", "additionalProperties": percentages },
        },
    })
}

fn marginals() -> Value {
    let keys = Parameter::ALL.map(Parameter::key);
    object(&keys, &json!({ "$ref": "#/components/schemas/Quantiles" }))
}

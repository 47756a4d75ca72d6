//! What the service puts on record.

use crate::engine::{Script, Scripted, bundled};
use crate::server::{Server, form, read, scan, start, start_with};
use microdiff_server::config::AuditPolicy;
use microdiff_telemetry::audit::{ExportFilter, ExportFormat, export, verify};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

fn directory(root: &Path) -> PathBuf {
    root.join("data/audit")
}

/// The records of one event, oldest first.
fn records(root: &Path, event: &str) -> Vec<Value> {
    let filter = ExportFilter { event: Some(event.to_owned()), ..ExportFilter::default() };
    let mut out = Vec::new();
    export(&directory(root), &filter, ExportFormat::Jsonl, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect()
}

/// The fields of the only record of an event.
fn only(root: &Path, event: &str) -> Value {
    let found = records(root, event);
    assert_eq!(found.len(), 1, "{event}: {found:?}");
    found[0]["fields"].clone()
}

/// Puts a file where the log's directory was: no record can be written.
fn obstruct(server: &Server) -> PathBuf {
    let (dir, away) = (directory(server.dir.path()), server.dir.path().join("away"));
    std::fs::rename(&dir, &away).unwrap();
    std::fs::write(dir, "in the way").unwrap();
    away
}

fn clear(server: &Server, away: &Path) {
    let dir = directory(server.dir.path());
    std::fs::remove_file(&dir).unwrap();
    std::fs::rename(away, dir).unwrap();
}

#[tokio::test]
async fn a_design_is_on_record_from_its_scan_to_its_answer() {
    let server = start(bundled()).await;
    let (status, job) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{job}");
    let submitted = only(server.dir.path(), "design.submitted");
    let completed = only(server.dir.path(), "design.completed");
    for record in [&submitted, &completed] {
        assert_eq!(record["job_id"], job["id"]);
        assert_eq!(record["scan_sha256"], job["scan"]["sha256"]);
        assert_eq!(record["model_digest"], job["model"]["digest"]);
        assert_eq!(record["seed"], 11);
        assert_eq!(record["request"]["samples"], 64);
    }
    assert_eq!(submitted["scan_name"], "part 7.tif");
    assert_eq!(submitted["scan_bytes"], scan().len());
    assert_eq!(completed["attempt"], 1);
    let power = &completed["parameters"]["laser_power_w"];
    assert_eq!(*power, job["posterior"]["laser_power_w"]["median"], "{completed}");
    assert_eq!(completed["answer_sha256"].as_str().unwrap().len(), 64);
    // The same caller in every place, and no address in any.
    let caller = submitted["caller"].as_str().unwrap();
    assert_eq!((caller.len(), &completed["caller"]), (32, &submitted["caller"]));
    let log = server.log();
    let told = |message: &str| log.iter().find(|line| line["message"] == message).unwrap();
    assert_eq!(told("Model inference completed successfully")["user_id"], caller);
    let access = log.iter().find(|l| l["message"] == "request" && l["endpoint"] == "/v1/designs");
    assert_eq!(access.unwrap()["user_id"], caller);
    assert!(!format!("{submitted}{completed}").contains("127.0.0.1"));
    let dir = server.drain().await;
    assert_eq!(records(dir.path(), "service.").len(), 2, "start and stop");
    assert_eq!(only(dir.path(), "service.started")["model_digest"], job["model"]["digest"]);
    assert_eq!(verify(&directory(dir.path()), None).unwrap().findings, []);
}

#[tokio::test]
async fn a_design_that_fails_is_on_record_too() {
    let server = start(Scripted::new(Script::Refuse)).await;
    read(server.post("?wait=60", form(vec![1])).await).await;
    let failed = only(server.dir.path(), "design.failed");
    assert_eq!((&failed["code"], &failed["kind"]), (&json!("scripted"), &json!("data")));
    assert_eq!(failed["job_id"], only(server.dir.path(), "design.submitted")["job_id"]);
    server.drain().await;
}

#[tokio::test]
async fn without_its_log_the_service_takes_no_design_and_says_so_everywhere() {
    let dir = Arc::new(TempDir::new().unwrap());
    let engine = Scripted::new(Script::Answer);
    let server = start_with(engine, dir, |config| {
        config.health.storage.every_seconds = 1;
        config.health.storage.fail_after = 1;
    })
    .await;
    server.until("/readyz", 200, "").await;
    let away = obstruct(&server);
    // The first finds the disk failing, the second is refused for it before its body is read.
    for _ in 0..2 {
        let answer = server.post("", form(vec![1])).await;
        assert_eq!(answer.headers()["retry-after"], "10");
        let (status, problem) = read(answer).await;
        assert_eq!((status, &problem["code"]), (503, &json!("audit_unavailable")));
    }
    assert_eq!(server.metric("microdiff_jobs_submitted_total").await, 0.0);
    assert_eq!(server.scans(), 0);
    let rejected = "microdiff_queue_rejections_total{reason=\"audit_unavailable\"}";
    assert_eq!(server.metric(rejected).await, 2.0);
    server.until("/health/detailed", 503, "audit log not writable").await;
    clear(&server, &away);
    server.until("/readyz", 200, "").await;
    let (status, _) = read(server.post("?wait=60", form(vec![1])).await).await;
    assert_eq!(status, 200);
    let dir = server.drain().await;
    assert_eq!(records(dir.path(), "design.submitted").len(), 1);
    assert_eq!(verify(&directory(dir.path()), None).unwrap().findings, []);
}

#[tokio::test]
async fn with_best_effort_a_design_is_taken_and_the_loss_is_counted() {
    let dir = Arc::new(TempDir::new().unwrap());
    let engine = Scripted::new(Script::Answer);
    let server =
        start_with(engine, dir, |config| config.audit.policy = AuditPolicy::BestEffort).await;
    let away = obstruct(&server);
    let (status, _) = read(server.post("?wait=60", form(vec![1])).await).await;
    assert_eq!(status, 200);
    let failed = server.metric("microdiff_audit_records_total{result=\"failed\"}").await;
    assert!(failed >= 1.0, "{failed}");
    clear(&server, &away);
    let dir = server.drain().await;
    // The end was tried again until the disk took it.
    assert_eq!(records(dir.path(), "design.completed").len(), 1);
}

#[tokio::test]
async fn a_submission_that_finds_no_place_is_on_record_as_refused() {
    let engine = Scripted::new(Script::Wait);
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(engine.clone(), dir, |config| config.jobs.queue_length = 1).await;
    read(server.post("", form(vec![1])).await).await;
    server.busy().await;
    // Many at once: each saw room before it sent its body, and one finds it.
    let post = |n| server.post("", form(vec![n; 200_000]));
    let (a, b, c) = tokio::join!(post(1), post(2), post(3));
    let statuses = [a, b, c].map(|answer| answer.status().as_u16());
    engine.release();
    let accepted = statuses.iter().filter(|status| **status == 202).count();
    assert_eq!(accepted, 1, "{statuses:?}");
    let dir = server.drain().await;
    let submitted = records(dir.path(), "design.submitted").len();
    let refused = records(dir.path(), "design.refused").len();
    assert_eq!(submitted - refused, 2, "every accepted design and no other");
}

#[tokio::test]
async fn what_an_operator_does_is_on_record() {
    let server = start(Scripted::new(Script::Answer)).await;
    let admin = |path: &str| format!("http://{}{path}", server.ready.admin);
    let put = server.client.put(admin("/loglevel")).body("info,microdiff.jobs=debug");
    assert_eq!(put.send().await.unwrap().status(), 200);
    let foreign = server.client.post(admin("/drain")).header("origin", "http://x.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    assert_eq!(server.client.post(admin("/drain")).send().await.unwrap().status(), 202);
    let dir = server.drain().await;
    let levels = only(dir.path(), "admin.log_levels");
    assert_eq!(levels["from"], "info");
    assert!(levels["to"].as_str().unwrap().contains("microdiff.jobs=debug"), "{levels}");
    assert_eq!(levels["caller"].as_str().unwrap().len(), 32);
    assert_eq!(only(dir.path(), "admin.refused")["reason"], "foreign_origin");
    assert_eq!(records(dir.path(), "admin.drain").len(), 1);
}

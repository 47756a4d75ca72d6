use crate::engine::{Script, Scripted, bundled};
use crate::server::{MODEL_LOAD, form, read, scan, start, start_with};
use microdiff_domain::Phase;
use serde_json::{Value, json};

const MODEL: &str = "model_type=\"conditional_diffusion\"";

#[tokio::test]
async fn known_series_are_there_at_zero_from_the_start() {
    let server = start(Scripted::new(Script::Answer)).await;
    let inference = "microdiff_model_inference_duration_seconds";
    for known in [
        format!("{inference}_count{{{MODEL},alloy=\"IN718\"}}"),
        format!("{inference}_bucket{{{MODEL},alloy=\"316L\",le=\"10.0\"}}"),
        format!("{inference}_bucket{{{MODEL},alloy=\"316L\",le=\"40.0\"}}"),
        "microdiff_phase_duration_seconds_count{phase=\"sample\"}".into(),
        "microdiff_jobs{state=\"failed\"}".into(),
        "microdiff_queue_rejections_total{reason=\"queue_full\"}".into(),
    ] {
        assert_eq!(server.metric(&known).await, 0.0, "{known}");
    }
    server.drain().await;
}

#[tokio::test]
async fn one_design_moves_the_metrics_it_should() {
    let server = start(bundled()).await;
    let (status, job) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{job}");
    let alloy = format!("{MODEL},alloy=\"Ti-6Al-4V\"");
    let route = "method=\"POST\",endpoint=\"/v1/designs\"";
    for (series, value) in [
        (format!("microdiff_requests_total{{{route},status=\"success\"}}"), 1.0),
        (format!("microdiff_request_duration_seconds_count{{{route}}}"), 1.0),
        (format!("microdiff_model_inference_duration_seconds_count{{{alloy}}}"), 1.0),
        (format!("microdiff_model_inferences_total{{{alloy},status=\"success\"}}"), 1.0),
        ("microdiff_posterior_samples_total".into(), 64.0),
        ("microdiff_jobs_submitted_total".into(), 1.0),
        ("microdiff_jobs_ended_total{state=\"succeeded\"}".into(), 1.0),
        ("microdiff_out_of_distribution_score_count".into(), 1.0),
        ("microdiff_queue_wait_seconds_count".into(), 1.0),
        ("microdiff_scan_bytes_total".into(), scan().len() as f64),
    ] {
        assert_eq!(server.metric(&series).await, value, "{series}");
    }
    for phase in Phase::ALL.map(Phase::name) {
        let series = format!("microdiff_phase_duration_seconds_count{{phase=\"{phase}\"}}");
        assert_eq!(server.metric(&series).await, 1.0, "{phase}");
    }
    assert!(server.metric("microdiff_active_connections").await >= 1.0);
    assert!(server.metric("microdiff_storage_free_bytes").await > 0.0);
    assert!(
        server.metrics().await.contains(&format!("microdiff_model_accuracy_recorded{{{MODEL},"))
    );
    assert!(server.gpu_metrics().await.contains("microdiff_gpu_devices"));
    server.drain().await;
}

#[tokio::test]
async fn designs_to_be_doubted_are_counted_and_evict_their_like() {
    let dir = std::sync::Arc::new(tempfile::TempDir::new().unwrap());
    // The least there may be: one place for each class.
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.flight.capacity = 7;
    })
    .await;
    for _ in 0..3 {
        assert_eq!(server.post("?wait=60", form(vec![1])).await.status(), 200);
    }
    let class = "class=\"out_of_distribution\"";
    for (series, value) in [
        ("microdiff_out_of_distribution_total".into(), 3.0),
        ("microdiff_posterior_predictive_flagged_total".into(), 3.0),
        (format!("microdiff_flight_held{{{class}}}"), 1.0),
        (format!("microdiff_flight_evictions_total{{{class}}}"), 2.0),
        ("microdiff_model_load_duration_seconds".into(), MODEL_LOAD.as_secs_f64()),
    ] {
        assert_eq!(server.metric(&series).await, value, "{series}");
    }
    server.drain().await;
}

#[tokio::test]
async fn requests_that_match_nothing_share_one_series() {
    let server = start(Scripted::new(Script::Answer)).await;
    for path in ["/a", "/b/c", "/v1/nothing"] {
        server.get(path).await;
    }
    let series =
        "microdiff_requests_total{method=\"GET\",endpoint=\"_unmatched\",status=\"success\"}";
    assert_eq!(server.metric(series).await, 3.0);
    assert_eq!(server.metric("microdiff_responses_total{status_code=\"404\"}").await, 3.0);
    assert_eq!(server.metric("microdiff_telemetry_series_refused_total").await, 0.0);
    server.drain().await;
}

#[tokio::test]
async fn health_is_proven_by_all_four_checks() {
    let server = start(bundled()).await;
    server.until("/readyz", 200, "ready").await;
    let (status, body) = server.get("/health/detailed").await;
    assert_eq!((status, &body["status"]), (200, &Value::from("healthy")), "{body}");
    let checks = json!({ "database": true, "gpu": true, "model": true, "storage": true });
    assert_eq!(body["checks"], checks);
    assert_eq!(server.metric("microdiff_health_check_status{check=\"model\"}").await, 1.0);
    let (_, alive) = server.get("/health").await;
    assert_eq!(alive["version"], env!("CARGO_PKG_VERSION"));
    assert!(server.metric("microdiff_model_canary_deviation").await < 1e-3);
    server.drain().await;
}

#[tokio::test]
async fn a_request_leaves_one_access_line_and_one_summary_line_with_the_same_ids() {
    let server = start(Scripted::new(Script::Answer)).await;
    let url = server.url("/v1/designs?wait=60");
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = server.client.post(url).multipart(form(vec![1]));
    let request = request.header("x-request-id", "req-7").header("traceparent", parent);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let log = server.log();
    let find = |message: &str| log.iter().filter(|line| line["message"] == message).collect();
    let summary: Vec<&Value> = find("Model inference completed successfully");
    let mut access: Vec<&Value> = find("request");
    access.retain(|line| line["endpoint"] == "/v1/designs");
    assert_eq!((summary.len(), access.len()), (1, 1), "{log:#?}");
    for line in [summary[0], access[0]] {
        assert_eq!(line["request_id"], "req-7");
        assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["success"], true);
        assert!(line["duration_ms"].as_f64().unwrap() >= 0.0);
        for key in ["timestamp", "level", "logger", "module", "function", "line", "service"] {
            assert!(!line[key].is_null(), "{key}: {line}");
        }
    }
    assert_eq!(summary[0]["logger"], "microdiff.models");
    assert_eq!(summary[0]["model_type"], "conditional_diffusion");
    assert_eq!(summary[0]["alloy"], "Ti-6Al-4V");
    assert_eq!(access[0]["status"], 200);
    server.drain().await;
}

#[tokio::test]
async fn a_failed_inference_says_so_once_in_the_log() {
    let server = start(Scripted::new(Script::Refuse)).await;
    read(server.post("?wait=60", form(vec![1])).await).await;
    let log = server.log();
    let failed: Vec<&Value> =
        log.iter().filter(|line| line["message"] == "Model inference failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["level"], "ERROR");
    assert_eq!(failed[0]["success"], false);
    assert_eq!(failed[0]["error.type"], "scripted");
    server.drain().await;
}

#[tokio::test]
async fn the_admin_listener_changes_levels_counts_series_and_drains() {
    let server = start(Scripted::new(Script::Answer)).await;
    let admin = |path: &str| format!("http://{}{path}", server.ready.admin);
    let put = |body: &'static str| server.client.put(admin("/loglevel")).body(body).send();
    let levels = Value::from("warn,microdiff.models=debug");
    let (status, body) = read(put("warn,microdiff.models=debug").await.unwrap()).await;
    assert_eq!((status, &body["level"]), (200, &levels));
    let (status, problem) = read(put("loud").await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (400, &Value::from("invalid_field")));
    let (_, body) = read(server.client.get(admin("/loglevel")).send().await.unwrap()).await;
    assert_eq!(body["level"], levels);
    let of = |body: &Value, logger: &str| body["loggers"][logger].as_str().unwrap().to_owned();
    assert_eq!(
        (of(&body, "microdiff.models"), of(&body, "microdiff.http")),
        ("debug".into(), "warn".into())
    );
    let one = || server.client.put(admin("/loglevel/microdiff.jobs"));
    let (status, body) = read(one().body("trace").send().await.unwrap()).await;
    assert_eq!((status, of(&body, "microdiff.jobs")), (200, "trace".into()));
    assert_eq!(of(&body, "microdiff.models"), "debug");
    let (status, _) = read(one().body("loud").send().await.unwrap()).await;
    assert_eq!(status, 400);
    let gone = server.client.delete(admin("/loglevel/microdiff.jobs")).send().await.unwrap();
    assert_eq!(of(&read(gone).await.1, "microdiff.jobs"), "warn");
    let (_, series) = read(server.client.get(admin("/cardinality")).send().await.unwrap()).await;
    assert!(series["series"].as_u64().unwrap() > 100, "{series}");
    let drain = server.client.post(admin("/drain")).send().await.unwrap();
    assert_eq!(drain.status(), 202);
    assert!(server.stop.is_draining());
    server.drain().await;
}

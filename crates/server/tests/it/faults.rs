use crate::engine::{Script, Scripted};
use crate::server::{form, read, start, start_with};
use microdiff_server::config::CheckPolicy;
use microdiff_server::jobs::JobRequest;
use microdiff_server::store::{JobId, JobStore, NewJob, ScanFiles};
use microdiff_server::{Canary, Config};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

#[tokio::test]
async fn a_full_queue_refuses_and_records_nothing() {
    let engine = Scripted::new(Script::Wait);
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(engine.clone(), dir, |config| config.jobs.queue_length = 1).await;
    assert_eq!(server.post("", form(vec![1])).await.status(), 202);
    // The first job leaves the queue when the worker takes it.
    server.busy().await;
    assert_eq!(server.post("", form(vec![2])).await.status(), 202);
    let refused = server.post("", form(vec![3])).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    assert_eq!(read(refused).await.1["code"], "queue_full");
    assert_eq!(server.scans(), 2);
    let series = "microdiff_queue_rejections_total{reason=\"queue_full\"}";
    assert_eq!(server.metric(series).await, 1.0);
    assert_eq!(server.metric("microdiff_queue_capacity").await, 1.0);
    server.until_metric("microdiff_queue_depth", 1.0).await;
    engine.release();
    server.drain().await;
}

#[tokio::test]
async fn a_panic_fails_its_job_and_nothing_else() {
    let server = start(Scripted::new(Script::Panic)).await;
    for _ in 0..2 {
        let (status, problem) = read(server.post("?wait=60", form(vec![1])).await).await;
        assert_eq!((status, &problem["code"]), (500, &Value::from("panic")));
        assert!(!problem.to_string().contains("scripted panic"), "{problem}");
    }
    assert_eq!(server.metric("microdiff_job_errors_total{error_type=\"panic\"}").await, 2.0);
    server.drain().await;
}

#[tokio::test]
async fn a_path_in_an_engines_error_becomes_the_declared_name() {
    let server = start(Scripted::new(Script::Refuse)).await;
    let (status, problem) = read(server.post("?wait=60", form(vec![1])).await).await;
    assert_eq!(status, 422);
    assert_eq!(problem["detail"], "cannot read part 7.tif: not a TIFF");
    server.drain().await;
}

#[tokio::test]
async fn a_drain_finishes_what_runs() {
    let engine = Scripted::new(Script::Wait);
    let server = start(engine.clone()).await;
    let waiting = {
        let (client, url) = (server.client.clone(), server.url("/v1/designs?wait=60"));
        tokio::spawn(async move { client.post(url).multipart(form(vec![1])).send().await.unwrap() })
    };
    server.busy().await;
    server.stop.drain();
    server.until("/readyz", 503, "draining").await;
    let (status, problem) = read(server.post("", form(vec![2])).await).await;
    assert_eq!((status, &problem["code"]), (503, &Value::from("draining")));
    engine.release();
    let (status, job) = read(waiting.await.unwrap()).await;
    assert_eq!((status, &job["state"]), (200, &Value::from("succeeded")));
    server.drain().await;
}

#[tokio::test]
async fn a_job_that_outlasts_the_drain_is_finished_by_the_next_process() {
    let stuck = Scripted::new(Script::Wait);
    let dir = Arc::new(TempDir::new().unwrap());
    let edit = |config: &mut Config| config.drain_deadline_seconds = 1;
    let server = start_with(stuck.clone(), dir, edit).await;
    let (_, job) = read(server.post("", form(b"kept".to_vec())).await).await;
    let own = job["links"]["self"].as_str().unwrap().to_owned();
    server.busy().await;
    let dir = server.drain().await;
    stuck.release();
    let next = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    let (status, job) = next.get(&format!("{own}?wait=60")).await;
    assert_eq!((status, &job["state"]), (200, &Value::from("succeeded")));
    assert_eq!(job["attempts"], 1, "a job handed back was not begun");
    next.drain().await;
}

#[tokio::test]
async fn health_tells_a_wrong_model_from_a_broken_one() {
    let engine = Scripted::new(Script::Answer);
    *engine.canary.lock().unwrap() = Ok(Canary { matched: false, deviation: 0.3 });
    let server = start(engine.clone()).await;
    let body = server.until("/health/detailed", 503, "wrong answer").await;
    assert_eq!(body["status"], "unhealthy");
    assert_eq!(body["checks"]["model"], false);
    assert_eq!(body["checks"]["gpu"], true, "a GPU that is not configured cannot fail");
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.get("/health").await.0, 200, "liveness looks at no dependency");
    assert_eq!(server.metric("microdiff_model_canary_deviation").await, 0.3);
    server.drain().await;

    *engine.canary.lock().unwrap() = Err("weights in /secret/place are gone".into());
    let server = start(engine).await;
    let body = server.until("/health/detailed", 503, "broken").await;
    assert!(!body.to_string().contains("/secret"), "{body}");
    server.drain().await;
}

#[tokio::test]
async fn a_required_gpu_is_unhealthy_exactly_when_none_is_there() {
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.health.gpu.policy = CheckPolicy::Required;
        config.health.gpu.every_seconds = 1;
    })
    .await;
    let page = server.gpu_metrics().await;
    let devices = page.lines().find_map(|line| line.strip_prefix("microdiff_gpu_devices "));
    let there = devices.unwrap().parse::<f64>().unwrap() > 0.0;
    let expected = if there { (200, "\"gpu\":true") } else { (503, "\"gpu\":false") };
    server.until("/health/detailed", expected.0, expected.1).await;
    server.drain().await;
}

#[tokio::test]
async fn a_scan_that_kills_the_process_again_and_again_is_given_up() {
    let dir = Arc::new(TempDir::new().unwrap());
    let files = ScanFiles::open(&dir.path().join("data")).unwrap();
    let store = JobStore::open(&files.database()).await.unwrap();
    let fields = [("alloy", "316L".to_owned())].into_iter().collect();
    let id = JobId::fresh();
    let mut scan = files.create(id).await.unwrap();
    scan.write(b"x").await.unwrap();
    let job = NewJob {
        id,
        request: JobRequest::from_fields(&fields).unwrap(),
        scan: scan.commit().await.unwrap(),
        scan_bytes: 1,
        scan_name: "x.tif".into(),
        request_id: "r".into(),
        traceparent: None,
        caller: "c".into(),
    };
    store.enqueue(&job, 9).await.unwrap();
    // Left running by a process that died, as many times as a job may be begun.
    for _ in 0..3 {
        store.claim(Duration::from_secs(9)).await.unwrap().unwrap();
        store.requeue_orphans().await.unwrap();
    }
    store.close().await;
    drop(files);
    let server = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    let (_, job) = server.get(&format!("/v1/designs/{id}?wait=60")).await;
    assert_eq!(job["state"], "failed");
    assert_eq!(job["problem"]["code"], "attempts_exhausted");
    server.drain().await;
}

#[tokio::test]
async fn a_job_left_running_by_a_dead_process_is_run_again() {
    let stuck = Scripted::new(Script::Wait);
    let server = start(stuck.clone()).await;
    let (_, job) = read(server.post("", form(vec![1])).await).await;
    server.busy().await;
    // What a process started after kill -9 finds: the same bytes in another place.
    let copy = Arc::new(TempDir::new().unwrap());
    let data = server.dir.path().join("data");
    std::fs::create_dir_all(copy.path().join("data/scans")).unwrap();
    for place in ["", "scans"] {
        for entry in std::fs::read_dir(data.join(place)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let target = copy.path().join("data").join(place).join(path.file_name().unwrap());
                std::fs::copy(&path, target).unwrap();
            }
        }
    }
    stuck.release();
    server.drain().await;
    let next = start_with(Scripted::new(Script::Answer), copy, |_| {}).await;
    let own = job["links"]["self"].as_str().unwrap();
    let (_, job) = next.get(&format!("{own}?wait=60")).await;
    assert_eq!((&job["state"], &job["attempts"]), (&Value::from("succeeded"), &Value::from(2)));
    assert_eq!(next.metric("microdiff_jobs_requeued_total{reason=\"restart\"}").await, 1.0);
    next.drain().await;
}

/// Waiting for an answer holds no upload slot: more clients may wait than may upload at once.
#[tokio::test]
async fn more_clients_may_wait_than_upload() {
    let engine = Scripted::new(Script::Wait);
    let dir = Arc::new(TempDir::new().unwrap());
    let server =
        Arc::new(start_with(engine.clone(), dir, |config| config.limits.uploads = 1).await);
    let mut waiting = Vec::new();
    for scan in 1..=3 {
        let client = Arc::clone(&server);
        let post = async move { client.post("?wait=60", form(vec![scan])).await.status() };
        waiting.push(tokio::spawn(post));
        server.until_metric("microdiff_jobs_submitted_total", f64::from(scan)).await;
    }
    engine.release();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), 200);
    }
}

/// A part's head that never ends is not kept in memory until the body limit, which is for scans.
#[tokio::test]
async fn a_head_that_does_not_end_is_cut_off() {
    let server = start(Scripted::new(Script::Answer)).await;
    let mut body = b"--b\r\ncontent-disposition: form-data; name=\"scan\"; filename=\"".to_vec();
    body.resize(16 << 20, b'a');
    let request = server
        .client
        .post(server.url("/v1/designs"))
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body);
    // The service may close while the client still writes; an answer, if it came through, is 400.
    if let Ok(response) = request.send().await {
        assert_eq!(read(response).await.1["code"], "malformed_body");
    }
    let refused = "microdiff_request_errors_total{error_type=\"malformed_body\"}";
    server.until_metric(refused, 1.0).await;
    server.drain().await;
}

/// A page in a browser on this machine can reach loopback; it cannot drain the service.
#[tokio::test]
async fn the_admin_listener_refuses_browsers() {
    let server = start(Scripted::new(Script::Answer)).await;
    let drain = format!("http://{}/drain", server.ready.admin);
    let asked = server.client.post(drain).header("origin", "http://elsewhere.example");
    let (status, problem) = read(asked.send().await.unwrap()).await;
    assert_eq!((status, &problem["code"]), (403, &Value::from("foreign_origin")));
    assert!(!server.stop.is_draining());
    server.drain().await;
}

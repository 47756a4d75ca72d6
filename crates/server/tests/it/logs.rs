//! The table of log fields, held against what the service really writes.

use crate::engine::{Script, Scripted};
use crate::server::{PATIENCE, form, read, start_with};
use microdiff_server::config::CheckPolicy;
use microdiff_server::jobs::JobRequest;
use microdiff_server::log_fields::log_catalogue;
use microdiff_server::store::{JobId, JobStore, NewJob, Outcome, ScanFiles};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(9);

/// Fields that a healthy process without a GPU never writes, and the test that sees each.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cases", "cli/tests/it/catalogue.rs"),
    ("coverage_90", "cli/tests/it/catalogue.rs"),
    ("device", "cli/tests/it/catalogue.rs"),
    ("devices", "cli/tests/it/catalogue.rs"),
    ("driver", "cli/tests/it/catalogue.rs"),
    ("sink", "cli/tests/it/catalogue.rs"),
    ("skill", "cli/tests/it/catalogue.rs"),
    ("uuid", "cli/tests/it/catalogue.rs"),
    ("validation_set", "cli/tests/it/catalogue.rs"),
    ("xid", "cli/tests/it/catalogue.rs"),
    ("ecs.version", "telemetry/tests/it/logs.rs"),
    ("dropped", "telemetry/tests/it/log_sinks.rs"),
    ("dropped_errors", "telemetry/tests/it/log_sinks.rs"),
    ("lost", "telemetry/tests/it/log_sinks.rs"),
    ("spans", "telemetry/tests/it/collector_faults.rs"),
    ("thread", "telemetry/tests/it/logs.rs"),
    ("file", "telemetry/tests/it/logs.rs"),
    ("event", "telemetry/tests/it/audit.rs"),
    ("segment", "telemetry/tests/it/audit.rs"),
    ("seconds", "telemetry/tests/it/health.rs"),
];

async fn enqueue(store: &JobStore, files: &ScanFiles) -> JobId {
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
        caller: "anonymous".into(),
        request_id: "r".into(),
        traceparent: None,
    };
    store.enqueue(&job, 9).await.unwrap();
    id
}

/// What a process may find: a record from long ago, a job that killed its process as often as it
/// may, and one that was running when the last process died.
async fn leave_behind(data: &Path) -> JobId {
    let files = ScanFiles::open(data).unwrap();
    let store = JobStore::open(&files.database()).await.unwrap();
    enqueue(&store, &files).await;
    let claim = store.claim(LEASE).await.unwrap().unwrap();
    assert!(store.finish(&claim, &Outcome::Succeeded("{}".into())).await.unwrap());
    let doomed = enqueue(&store, &files).await;
    for _ in 0..3 {
        store.claim(LEASE).await.unwrap().unwrap();
        store.requeue_orphans().await.unwrap();
    }
    enqueue(&store, &files).await;
    store.claim(LEASE).await.unwrap().unwrap();
    store.close().await;
    let url = format!("sqlite:{}", files.database().display());
    let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
    let long_ago = "UPDATE jobs SET updated_ms = 0 WHERE state = 'succeeded'";
    assert_eq!(sqlx::query(long_ago).execute(&pool).await.unwrap().rows_affected(), 1);
    pool.close().await;
    doomed
}

#[tokio::test]
async fn every_declared_field_is_seen_and_every_line_keeps_to_the_table() {
    let dir = Arc::new(TempDir::new().unwrap());
    let doomed = leave_behind(&dir.path().join("data")).await;
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.log.level = "debug".into();
        config.health.gpu.policy = CheckPolicy::Optional;
        config.health.gpu.fail_after = 1;
    })
    .await;
    let (_, job) = server.get(&format!("/v1/designs/{doomed}?wait=60")).await;
    assert_eq!(job["problem"]["code"], "attempts_exhausted", "{job}");
    let (status, job) = read(server.post("?wait=60", form(vec![1])).await).await;
    assert_eq!(status, 200, "{job}");
    assert_eq!(server.get("/v1/designs/none").await.0, 404);
    let told = async {
        while server.log().iter().all(|line| line["check"] != "gpu") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    let levels = format!("http://{}/loglevel", server.ready.admin);
    let put = server.client.put(levels).body("debug,microdiff=trace").send().await.unwrap();
    assert_eq!(put.status(), 200);
    let (_dir, log) = server.drain_and_read().await;
    let seen: BTreeSet<&str> = log
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|o| o.keys().map(String::as_str))
        .collect();
    let catalogue = log_catalogue().unwrap();
    let unseen: BTreeSet<&str> = catalogue
        .fields()
        .iter()
        .map(|field| field.name)
        .filter(|name| !seen.contains(name))
        .collect();
    let elsewhere = ELSEWHERE.iter().map(|(name, _)| *name);
    assert_eq!(unseen, elsewhere.collect());
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (name, test) in ELSEWHERE {
        let source = std::fs::read_to_string(crates.join(test)).unwrap();
        assert!(source.contains(&format!("\"{name}\"")), "{test} knows no {name}");
    }
}

#[tokio::test]
async fn probes_and_scrapes_leave_no_access_line() {
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    for path in ["/health", "/health/detailed", "/livez", "/readyz", "/startupz"] {
        server.get(path).await;
    }
    server.metrics().await;
    server.gpu_metrics().await;
    server.get("/v1/alloys").await;
    let (_dir, log) = server.drain_and_read().await;
    let access: Vec<&Value> =
        log.iter().filter(|line| line["message"] == "request").map(|l| &l["endpoint"]).collect();
    assert_eq!(access, ["/v1/alloys"]);
}

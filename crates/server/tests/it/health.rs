//! What the model check tells apart, with an engine that does what the test says. Faults of disk
//! and database are done to the real binary, in the tests of the command line.

use crate::engine::{Script, Scripted};
use crate::server::{PATIENCE, Server, form, start_with};
use microdiff_server::{Canary, Config};
use serde_json::Value;
use std::sync::{Arc, mpsc};
use tempfile::TempDir;

fn each_second(config: &mut Config) {
    for check in [&mut config.health.database, &mut config.health.model, &mut config.health.storage]
    {
        (check.every_seconds, check.fail_after) = (1, 1);
    }
    // A loaded machine must turn nothing.
    config.health.model.deadline_seconds = 60;
    config.health.database.deadline_seconds = 60;
    config.health.storage.deadline_seconds = 60;
}

async fn start(engine: &Arc<Scripted>, edit: impl FnOnce(&mut Config)) -> Server {
    let edit = |config: &mut Config| {
        each_second(config);
        edit(config);
    };
    let server = start_with(engine.clone(), Arc::new(TempDir::new().unwrap()), edit).await;
    server.until("/readyz", 200, "ready").await;
    server
}

/// The turns of a check in the log so far: level, from, to, reason.
fn turns(server: &Server, check: &str) -> Vec<[String; 4]> {
    let of = |line: &Value| line["message"] == "health check turned" && line["check"] == check;
    let keys = ["level", "from", "to", "reason"];
    let read = |line: &Value| keys.map(|key| line[key].as_str().unwrap_or_default().to_owned());
    server.log().iter().filter(|line| of(line)).map(read).collect()
}

/// Keeps the engine's canary from answering until it is dropped.
struct Stuck(Option<(mpsc::Sender<()>, std::thread::JoinHandle<()>)>);

impl Stuck {
    fn new(engine: &Arc<Scripted>) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (tell, told) = mpsc::channel();
        let engine = Arc::clone(engine);
        let holder = std::thread::spawn(move || {
            let _held = engine.canary.lock().unwrap();
            tell.send(()).unwrap();
            let _ = released.recv();
        });
        told.recv().unwrap();
        Self(Some((release, holder)))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        if let Some((release, holder)) = self.0.take() {
            drop(release);
            holder.join().unwrap();
        }
    }
}

#[tokio::test]
async fn a_canary_slower_than_its_deadline_turns_the_model_and_back() {
    let engine = Scripted::new(Script::Answer);
    let server = start(&engine, |config| config.health.model.deadline_seconds = 3).await;
    let stuck = Stuck::new(&engine);
    let body = server.until("/health/detailed", 503, "\"model\":false").await;
    assert_eq!(body["status"], "unhealthy");
    for other in ["database", "gpu", "storage"] {
        assert_eq!(body["checks"][other], true, "{body}");
    }
    assert_eq!(server.get("/readyz").await.0, 503);
    assert_eq!(server.get("/health").await.0, 200);
    let runs = |result: &str| {
        format!("microdiff_health_check_runs_total{{check=\"model\",result=\"{result}\"}}")
    };
    assert_eq!(server.metric("microdiff_health_check_status{check=\"model\"}").await, 0.0);
    assert_eq!(server.metric("microdiff_health_check_status{check=\"storage\"}").await, 1.0);
    assert_eq!(server.metric(&runs("deadline")).await, 1.0);
    // The canary cannot be stopped: no second one is started beside it.
    server.until("/health/detailed", 503, "still running").await;
    drop(stuck);
    server.until("/readyz", 200, "ready").await;
    assert_eq!(server.metric(&runs("deadline")).await, 1.0);
    assert_eq!(server.metric("microdiff_health_check_status{check=\"model\"}").await, 1.0);
    let told = turns(&server, "model");
    let told: Vec<[&str; 4]> =
        told.iter().map(|turn| turn.each_ref().map(String::as_str)).collect();
    assert_eq!(
        told,
        [
            ["INFO", "unknown", "ok", ""],
            ["ERROR", "ok", "failed", "deadline"],
            ["INFO", "failed", "ok", ""],
        ]
    );
    for other in ["database", "storage"] {
        assert_eq!(turns(&server, other).len(), 1, "{other} only came up");
    }
    server.drain().await;
}

/// A design takes every core: while one runs, a proven model counts as well and is not asked.
#[tokio::test]
async fn a_busy_model_is_neither_broken_nor_wrong() {
    let engine = Scripted::new(Script::Wait);
    let server = start(&engine, |_| {}).await;
    assert_eq!(server.post("", form(vec![1])).await.status(), 202);
    server.busy().await;
    server.until("/health/detailed", 200, "busy with a design").await;
    *engine.canary.lock().unwrap() = Ok(Canary { matched: false, deviation: 0.4 });
    // The next result of the check is still that of a busy model.
    let runs = "microdiff_health_check_runs_total{check=\"model\",result=\"ok\"}";
    let seen = server.metric(runs).await;
    let next = async { while server.metric(runs).await < seen + 1.0 {} };
    tokio::time::timeout(PATIENCE, next).await.unwrap();
    let (status, body) = server.get("/health/detailed").await;
    assert_eq!((status, &body["checks"]["model"]), (200, &Value::Bool(true)), "{body}");
    engine.release();
    server.until("/health/detailed", 503, "wrong answer").await;
    *engine.canary.lock().unwrap() = Err("a tensor is gone".into());
    server.until("/health/detailed", 503, "broken").await;
    *engine.canary.lock().unwrap() = Ok(Canary { matched: true, deviation: 0.0 });
    server.until("/readyz", 200, "ready").await;
    let told: Vec<String> = turns(&server, "model").into_iter().map(|[_, _, to, _]| to).collect();
    assert_eq!(told, ["ok", "failed", "ok"], "another reason is no other turn");
    server.drain().await;
}

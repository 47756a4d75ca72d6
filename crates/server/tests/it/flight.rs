//! The flight recorder and the objectives as the admin listener tells them.

use crate::engine::{Script, Scripted, bundled};
use crate::server::{PATIENCE, Server, form, read, scan, start, start_with};
use microdiff_server::{Config, Engine};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

async fn admin(server: &Server, path: &str) -> (u16, Value) {
    let url = format!("http://{}{path}", server.ready.admin);
    read(server.client.get(url).send().await.unwrap()).await
}

async fn records(server: &Server, class: &str) -> Vec<Value> {
    let (status, list) = admin(server, &format!("/flight?class={class}")).await;
    assert_eq!(status, 200, "{list}");
    list["records"].as_array().unwrap().clone()
}

fn files(dir: &TempDir, reason: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.path().join("data")).unwrap();
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("flight-") && name.ends_with(&format!("-{reason}.json"))
    };
    entries.map(|entry| entry.unwrap().path()).filter(named).collect()
}

async fn one_of(engine: Arc<dyn Engine>, edit: impl FnOnce(&mut Config)) -> Server {
    let server = start_with(engine, Arc::new(TempDir::new().unwrap()), edit).await;
    read(server.post("?wait=60", form(scan())).await).await;
    server
}

#[tokio::test]
async fn a_design_is_recorded_with_what_it_takes_to_repeat_it() {
    let server = start(bundled()).await;
    let client = server.client.post(server.url("/v1/designs?wait=60"));
    let client = client.header("x-request-id", "asked-7").header("cookie", "canary-cookie");
    let (status, design) = read(client.multipart(form(scan())).send().await.unwrap()).await;
    assert_eq!(status, 200, "{design}");
    let (status, record) = admin(&server, "/flight/asked-7").await;
    assert_eq!(status, 200, "{record}");
    for (key, value) in [
        ("id", design["id"].clone()),
        ("request_id", "asked-7".into()),
        ("endpoint", "/v1/designs".into()),
        ("status", "succeeded".into()),
        ("error_type", Value::Null),
        ("bytes", scan().len().into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
    ] {
        assert_eq!(record[key], value, "{key}: {record}");
    }
    assert_eq!(record["trace_id"].as_str().unwrap().len(), 32);
    let details = &record["details"];
    assert_eq!(
        details["request"],
        json!({
            "alloy": "Ti-6Al-4V", "process": "lpbf", "known": "", "spot_um": null,
            "machine": null, "voxel_size_um": 5.0, "samples": 64, "steps": 8, "seed": 11,
        })
    );
    assert_eq!(details["attempt"], 1);
    for (recorded, answered) in [
        ("scan_sha256", &design["scan"]["sha256"]),
        ("model_digest", &design["model"]["digest"]),
        ("draws_sha256", &design["draws_sha256"]),
        ("out_of_distribution", &design["out_of_distribution"]),
    ] {
        assert_eq!(&details[recorded], answered, "{recorded}");
    }
    let phases = record["phases_ms"].as_object().unwrap();
    for phase in microdiff_domain::Phase::ALL.map(microdiff_domain::Phase::name) {
        assert!(phases[phase].as_f64().unwrap() >= 0.0, "{phase}");
    }
    assert!(record["duration_ms"].as_f64().unwrap() >= phases["sample"].as_f64().unwrap());
    let (_, by_job) = admin(&server, &format!("/flight/{}", design["id"].as_str().unwrap())).await;
    assert_eq!(by_job, record);
    let text = record.to_string();
    assert!(!text.contains("part 7") && !text.contains("canary"), "{text}");
    server.drain().await;
}

#[tokio::test]
async fn each_end_of_a_design_has_its_class() {
    let strange = one_of(Scripted::new(Script::Answer), |_| {}).await;
    let found = records(&strange, "out_of_distribution").await;
    assert_eq!(found[0]["reasons"], json!(["out_of_distribution"]));
    let series = "microdiff_flight_records_total{class=\"out_of_distribution\"}";
    assert_eq!(strange.metric(series).await, 1.0);
    assert_eq!(strange.metric("microdiff_flight_held{class=\"failed\"}").await, 0.0);
    strange.drain().await;

    let refused = one_of(Scripted::new(Script::Refuse), |_| {}).await;
    let found = records(&refused, "refused").await;
    assert_eq!(
        (&found[0]["status"], &found[0]["error_type"]),
        (&json!("failed"), &json!("scripted"))
    );
    assert_eq!(found[0]["details"]["scan_sha256"].as_str().unwrap().len(), 64);
    assert!(records(&refused, "failed").await.is_empty());
    refused.drain().await;

    let slow = one_of(bundled(), |config| config.slo.latency_seconds = 0.001).await;
    let reasons = &records(&slow, "slow").await[0]["reasons"];
    assert!(reasons.as_array().unwrap().contains(&"slow".into()), "{reasons}");
    let (_, slo) = admin(&slow, "/slo").await;
    let latency = &slo["objectives"][1];
    assert_eq!((&latency["objective"], &latency["bad"]), (&json!("latency"), &json!(1)), "{slo}");
    slow.drain().await;
}

#[tokio::test]
async fn a_panic_leaves_a_file_with_the_design_that_panicked() {
    let server = one_of(Scripted::new(Script::Panic), |_| {}).await;
    let found = records(&server, "failed").await;
    assert_eq!(found[0]["error_type"], "panic");
    assert_eq!(found[0]["details"]["draws_sha256"], Value::Null);
    let [file] = &files(&server.dir, "panic")[..] else { panic!("one file is written") };
    let content: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(content["records"], json!(found));
    read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(files(&server.dir, "panic").len(), 1, "panics in a row write one file");
    let dir = server.drain().await;
    assert_eq!(files(&dir, "drain").len(), 1);
}

#[tokio::test]
async fn no_file_is_written_when_none_is_wanted() {
    let server = one_of(Scripted::new(Script::Panic), |config| config.flight.persist = false).await;
    assert_eq!(records(&server, "failed").await.len(), 1);
    let dir = server.drain().await;
    assert!(files(&dir, "drain").is_empty() && files(&dir, "panic").is_empty());
}

#[tokio::test]
async fn requests_that_fail_beside_a_design_are_recorded_apart() {
    let engine = Scripted::new(Script::Wait);
    let server = start(engine.clone()).await;
    let (_, job) = read(server.post("", form(scan())).await).await;
    server.busy().await;
    // A client that leaves while it waits. Leaving may be noticed before the request is, so again.
    let own = job["links"]["self"].as_str().unwrap();
    let ask = format!("GET {own}?wait=60 HTTP/1.1\r\nhost: x\r\nx-request-id: left-1\r\n\r\n");
    let missed = async {
        loop {
            let mut stream = TcpStream::connect(server.ready.api).await.unwrap();
            stream.write_all(ask.as_bytes()).await.unwrap();
            drop(stream);
            if let Some(left) = records(&server, "abandoned").await.pop() {
                break left;
            }
        }
    };
    let left = tokio::time::timeout(PATIENCE, missed).await.unwrap();
    for (key, value) in [
        ("id", "left-1"),
        ("status", "499"),
        ("error_type", "cancelled"),
        ("method", "GET"),
        ("endpoint", "/v1/designs/{id}"),
    ] {
        assert_eq!(left[key], value, "{left}");
    }
    // A service that stops refuses.
    server.stop.drain();
    let (status, problem) = read(server.post("", form(scan())).await).await;
    assert_eq!(status, 503, "{problem}");
    let refused = &records(&server, "request").await[0];
    assert_eq!((&refused["status"], &refused["error_type"]), (&json!("503"), &json!("draining")));
    assert_eq!(refused["request_id"], problem["request_id"]);
    assert_eq!(refused["details"], Value::Null);
    engine.release();
    server.drain().await;
}

#[tokio::test]
async fn availability_counts_users_routes_and_outlives_the_process() {
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    for path in ["/v1/models", "/v1/alloys", "/health", "/readyz", "/nowhere", "/"] {
        server.get(path).await;
    }
    read(server.post("?wait=60", form(scan())).await).await;
    let total = |slo: &Value, i: usize| slo["objectives"][i]["total"].as_u64().unwrap();
    // The answer is read before its record is written; the last request is awaited.
    let counted = async {
        loop {
            let (_, slo) = admin(&server, "/slo").await;
            if total(&slo, 0) == 3 {
                break slo;
            }
        }
    };
    let slo = tokio::time::timeout(PATIENCE, counted).await.unwrap();
    let availability = &slo["objectives"][0];
    assert_eq!((&availability["target"], &availability["bad"]), (&json!(0.995), &json!(0)));
    assert_eq!(availability["ratio"], 1.0);
    assert_eq!(availability["error_budget_remaining_ratio"], 1.0);
    assert_eq!(availability["low_traffic"], true, "{availability}");
    assert_eq!(total(&slo, 1), 1, "one inference");
    let gauge = "microdiff_slo_error_budget_remaining_ratio{objective=\"availability\"}";
    assert_eq!(server.metric(gauge).await, 1.0);
    let burn = "microdiff_slo_burn_rate{objective=\"latency\",window=\"1h\"}";
    assert_eq!(server.metric(burn).await, 0.0);
    let dir = server.drain().await;

    let server = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    let (_, again) = admin(&server, "/slo").await;
    assert_eq!((total(&again, 0), total(&again, 1)), (3, 1), "{again}");
    let dir = server.drain().await;

    std::fs::write(dir.path().join("data/slo.json"), "{ half a fi").unwrap();
    let server = start_with(Scripted::new(Script::Answer), dir, |_| {}).await;
    let (_, anew) = admin(&server, "/slo").await;
    assert_eq!((total(&anew, 0), total(&anew, 1)), (0, 0));
    let lost = |line: &Value| line["message"].as_str().unwrap_or("").contains("starts anew");
    let log = server.log();
    let line = log.iter().find(|line| lost(line)).unwrap_or_else(|| panic!("{log:#?}"));
    assert_eq!(line["level"], "WARN");
    server.drain().await;
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_what_can() {
    let server = start(Scripted::new(Script::Answer)).await;
    for (query, told) in [
        ("?class=odd", "known: failed, refused"),
        ("?limit=0", "outside 1 to 256"),
        ("?limit=257", "outside 1 to 256"),
        ("?limit=all", "class and limit"),
        ("?colour=blue", "class and limit"),
    ] {
        let (status, problem) = admin(&server, &format!("/flight{query}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_field")), "{query}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
    let (status, problem) = admin(&server, "/flight/nobody").await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_flight")));
    let (_, list) = admin(&server, "/flight?class=slow&limit=3").await;
    assert_eq!(list["records"], json!([]));
    let capacity: u64 =
        list["classes"].as_array().unwrap().iter().map(|c| c["capacity"].as_u64().unwrap()).sum();
    assert_eq!(capacity, 256);
    server.drain().await;
}

#[tokio::test]
async fn the_admin_listener_may_share_the_socket_of_the_api() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.listen.api = free;
        config.listen.admin = free;
    })
    .await;
    let (_, page) = server.get("/").await;
    assert!(page.as_str().unwrap().contains("<h1>microdiff</h1>"), "{page}");
    assert_eq!(server.get("/flight").await.0, 200);
    server.drain().await;
}

/// The page an operator reads: every endpoint of the listener, with an answer of the right form.
const PAGE: &str = include_str!("../../../../docs/reference/admin.md");

#[tokio::test]
async fn the_admin_reference_is_the_listener() {
    let server = one_of(bundled(), |_| {}).await;
    let (_, index) = admin(&server, "/").await;
    let served: Vec<String> = index["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["method"].as_str().unwrap(), one["path"].as_str().unwrap()))
        .collect();
    let headings = PAGE.lines().filter_map(|line| line.strip_prefix("## `")?.strip_suffix('`'));
    let mut described: Vec<&str> = headings.collect();
    let mut listed: Vec<&str> = served.iter().map(String::as_str).collect();
    described.sort_unstable();
    listed.sort_unstable();
    assert_eq!(described, listed, "docs/reference/admin.md and the router disagree");
    let (_, list) = admin(&server, "/flight").await;
    let id = list["records"][0]["id"].as_str().unwrap();
    for endpoint in &served {
        let Some(path) = endpoint.strip_prefix("GET ") else { continue };
        let (status, answer) = admin(&server, &path.replace("{id}", id)).await;
        assert_eq!(status, 200, "{endpoint}");
        let Some(example) = example(endpoint) else { continue };
        assert!(alike(&example, &answer), "{endpoint}\nexample {example:#}\nanswer {answer:#}");
    }
    for endpoint in ["GET /", "GET /flight", "GET /flight/{id}", "GET /slo", "GET /loglevel"] {
        assert!(example(endpoint).is_some(), "{endpoint} has an example");
    }
    server.drain().await;
}

/// The JSON block under an endpoint's heading.
fn example(endpoint: &str) -> Option<Value> {
    let (_, after) = PAGE.split_once(&format!("## `{endpoint}`\n"))?;
    let section = after.split("\n## ").next()?;
    let (_, block) = section.split_once("```json\n")?;
    let text = block.split("```").next()?;
    Some(serde_json::from_str(text).unwrap_or_else(|error| panic!("{endpoint}: {error}")))
}

/// Whether two documents have the same fields of the same types; `null` stands for any, a list's
/// first item for all.
fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => true,
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, one)| b.get(key).is_some_and(|other| alike(one, other)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.iter().zip(b).take(1).all(|(one, other)| alike(one, other))
        }
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

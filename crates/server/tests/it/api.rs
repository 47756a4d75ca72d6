use crate::engine::{Script, Scripted, bundled};
use crate::server::{PATIENCE, config, form, read, scan, start, start_with};
use microdiff_server::catalogue::METRICS;
use microdiff_server::store::{JobId, JobStore, ScanFiles};
use microdiff_server::{Parts, Stop};
use microdiff_telemetry::{Telemetry, TelemetryOptions};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A well-formed id that no job has.
const NOBODY: &str = "0190b3c4-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_scan_becomes_a_posterior_that_its_seed_reproduces() {
    let server = start(bundled()).await;
    let (status, first) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{first}");
    assert_eq!(first["state"], "succeeded");
    assert_eq!(first["upload"]["name"], "part 7.tif");
    let document = &first;
    assert_eq!(document["schema"], "microdiff.design/1");
    assert_eq!(document["seed"], 11);
    assert_eq!(document["scan"]["shape"], json!([48, 48, 48]));
    let power = &document["posterior"]["laser_power_w"];
    let value = |name: &str| power[name].as_f64().unwrap();
    assert!(60.0 <= value("p05") && value("p05") <= value("median"));
    assert!(value("median") <= value("p95") && value("p95") <= 400.0);

    let own = first["links"]["self"].as_str().unwrap();
    let (status, stored) = server.get(own).await;
    assert_eq!((status, &stored), (200, &first), "what is stored is what was answered");
    let (_, again) = read(server.post("?wait=60", form(scan())).await).await;
    for part in ["scan", "analysis", "posterior", "defects", "out_of_distribution"] {
        assert_eq!(again[part], document[part], "{part}");
    }
    server.drain().await;
}

#[tokio::test]
async fn a_job_is_on_disk_before_it_is_acknowledged() {
    let engine = Scripted::new(Script::Wait);
    let server = start(engine.clone()).await;
    let response = server.post("", form(b"scan bytes".to_vec())).await;
    assert_eq!(response.status(), 202);
    let place = response.headers()["location"].to_str().unwrap().to_owned();
    let (_, job) = read(response).await;
    assert_eq!(job["links"]["self"], place);
    assert_eq!(job["request"]["seed"], 11);
    // Another reader, as a process started after a crash would be.
    let data = server.dir.path().join("data");
    let store = JobStore::open(&data.join("jobs.sqlite3")).await.unwrap();
    let id = JobId::parse(job["id"].as_str().unwrap()).unwrap();
    let record = store.get(id).await.unwrap().unwrap();
    let stored = std::fs::read(data.join("scans").join(&record.scan)).unwrap();
    assert_eq!(stored, b"scan bytes");
    assert_eq!(record.request.samples, 64);
    store.close().await;
    engine.release();
    let (status, ended) = server.get(&format!("{place}?wait=60")).await;
    assert_eq!((status, &ended["state"]), (200, &Value::from("succeeded")));
    let dir = server.drain().await;
    let left = std::fs::read_dir(dir.path().join("data/scans")).unwrap().count();
    assert_eq!(left, 0, "the scan of an ended job is removed");
}

#[tokio::test]
async fn a_scan_that_cannot_be_used_is_the_clients_problem() {
    let server = start(bundled()).await;
    for bytes in [b"not a tiff at all".to_vec(), scan()[..300].to_vec(), b"II*\0".to_vec()] {
        let (status, problem) = read(server.post("?wait=60", form(bytes)).await).await;
        assert!(status == 422 || status == 400, "{status} {problem}");
        check_problem(&problem, status);
    }
    let (_, job) = read(server.post("", form(b"II*\0nonsense".to_vec())).await).await;
    let own = job["links"]["self"].as_str().unwrap();
    let (status, job) = server.get(&format!("{own}?wait=60")).await;
    assert_eq!((status, &job["state"]), (200, &Value::from("failed")));
    check_problem(&job["problem"], 422);
    assert_eq!(job["problem"]["instance"], own);
    server.drain().await;
}

#[tokio::test]
async fn a_scan_without_voxel_size_says_how_to_give_it() {
    let server = start(bundled()).await;
    let bare =
        Form::new().part("scan", Part::bytes(scan()).file_name("a.tif")).text("alloy", "316L");
    let (status, problem) = read(server.post("?wait=60", bare).await).await;
    assert_eq!(status, 400, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("voxel"), "{problem}");
    server.drain().await;
}

#[tokio::test]
async fn forms_are_refused_by_the_field_at_fault() {
    let server = start(Scripted::new(Script::Answer)).await;
    let part = |bytes: &[u8]| Part::bytes(bytes.to_vec()).file_name("a.tif");
    let scan = || Form::new().part("scan", part(&[1]));
    let good = || scan().text("alloy", "316L");
    let empty = Form::new().part("scan", part(&[])).text("alloy", "316L");
    let cases = [
        (scan(), "missing_field", "Ti-6Al-4V"),
        (Form::new().text("alloy", "316L"), "missing_field", "scan"),
        (scan().text("alloy", "brass"), "invalid_field", "316L"),
        (good().text("power", "3"), "unknown_field", "known: scan, alloy"),
        (good().text("alloy", "316L"), "invalid_field", "twice"),
        (good().part("scan", part(&[1])), "invalid_field", "twice"),
        (good().text("known", "hatch_spacing=9999"), "invalid_field", "50 to 200 um"),
        (good().text("voxel_size_um", "-1"), "invalid_field", "0.05 to 1000 um"),
        (good().text("samples", "0"), "invalid_field", "16 to 100000"),
        (good().text("known", "x".repeat(5000)), "invalid_field", "4096 bytes"),
        (empty, "invalid_field", "empty"),
    ];
    for (form, code, detail) in cases {
        let (status, problem) = read(server.post("", form).await).await;
        assert_eq!((status, &problem["code"]), (400, &Value::from(code)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{problem}");
        check_problem(&problem, 400);
    }
    for query in ["?wait=121", "?wait=soon", "?watt=3"] {
        let (status, _) = read(server.post(query, good()).await).await;
        assert_eq!(status, 400, "{query}");
    }
    assert_eq!(server.scans(), 0, "nothing refused is kept");
    assert_eq!(server.metric("microdiff_jobs_submitted_total").await, 0.0);
    server.drain().await;
}

#[tokio::test]
async fn other_faults_of_a_request_have_their_status() {
    let server = start(Scripted::new(Script::Answer)).await;
    let (status, problem) = server.get("/v2/anything").await;
    assert_eq!((status, &problem["code"]), (404, &Value::from("unknown_route")));
    check_problem(&problem, 404);
    for id in ["x", NOBODY, "..%2f..%2fetc%2fpasswd"] {
        let (status, problem) = server.get(&format!("/v1/designs/{id}")).await;
        assert_eq!((status, &problem["code"]), (404, &Value::from("unknown_design")));
    }
    let response = server.client.delete(server.url("/v1/models")).send().await.unwrap();
    assert_eq!(response.status(), 405);
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    check_problem(&read(response).await.1, 405);
    let plain = server.client.post(server.url("/v1/designs")).body("x").send().await.unwrap();
    assert_eq!(plain.status(), 415);
    check_problem(&read(plain).await.1, 415);
    server.drain().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_whether_declared_or_not() {
    let dir = Arc::new(TempDir::new().unwrap());
    let edit = |config: &mut microdiff_server::Config| config.limits.body_bytes = 2048;
    let server = start_with(Scripted::new(Script::Answer), dir, edit).await;
    let (status, problem) = read(server.post("", form(vec![7; 4096])).await).await;
    assert_eq!((status, &problem["code"]), (413, &Value::from("body_too_large")));
    // Chunked, so that the size is not known beforehand.
    let head = "POST /v1/designs HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; \
                boundary=b\r\ntransfer-encoding: chunked\r\n\r\n";
    let start = "--b\r\ncontent-disposition: form-data; name=\"scan\"; filename=\"a\"\r\n\r\n";
    let body = format!("{start}{}", "x".repeat(4000));
    let answer = raw(server.ready.api, &format!("{head}{:x}\r\n{body}\r\n", body.len())).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(server.scans(), 0);
    server.drain().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let dir = Arc::new(TempDir::new().unwrap());
    let edit = |config: &mut microdiff_server::Config| config.limits.body_idle_seconds = 1;
    let server = start_with(Scripted::new(Script::Answer), dir, edit).await;
    let half = "POST /v1/designs HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; \
                boundary=b\r\ncontent-length: 1000\r\n\r\n--b\r\n";
    let answer = raw(server.ready.api, half).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("slow_body"), "{answer}");
    server.drain().await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let dir = Arc::new(TempDir::new().unwrap());
    let edit = |config: &mut microdiff_server::Config| config.limits.header_read_seconds = 1;
    let server = start_with(Scripted::new(Script::Answer), dir, edit).await;
    // Reading comes to an end because the other side hangs up.
    let answer = raw(server.ready.api, "GET / HTTP/1.1\r\nhost: x\r\nx-slow: ").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    server.drain().await;
}

/// Sends bytes as they are and reads until the other side has answered or hung up.
async fn raw(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4096];
    let mut len = 0;
    loop {
        match timeout(PATIENCE, stream.read(&mut answer[len..])).await.unwrap() {
            Ok(read) if read > 0 => len += read,
            _ => break,
        }
        if answer[..len].ends_with(b"}") || len == answer.len() {
            break;
        }
    }
    String::from_utf8_lossy(&answer[..len]).into_owned()
}

#[tokio::test]
async fn reference_routes_answer() {
    let server = start(bundled()).await;
    let (_, models) = server.get("/v1/models").await;
    assert_eq!(models["models"][0]["digest"].as_str().unwrap().len(), 64);
    assert!(!models["models"][0]["evaluation"].as_array().unwrap().is_empty());
    assert_eq!(models["models"][0]["processes"], json!(["lpbf", "ebm", "ded"]));
    assert_eq!(models["models"][0]["alloys"], json!(["Ti-6Al-4V", "316L", "IN718", "AlSi10Mg"]));
    let (_, alloys) = server.get("/v1/alloys").await;
    assert_eq!(alloys["alloys"].as_array().unwrap().len(), 4);
    assert_eq!(alloys["alloys"][0]["parameters"][0]["unit"], "W");
    assert_eq!(alloys["processes"][0]["alloys"], alloys["alloys"]);
    assert_eq!(alloys["processes"][1]["name"], "ebm");
    assert_eq!(alloys["processes"][1]["validated"], false);
    assert_eq!(alloys["processes"][1]["alloys"].as_array().unwrap().len(), 2);
    let (_, page) = server.get("/").await;
    assert!(page.as_str().unwrap().contains("<h1>microdiff</h1>"));
    server.drain().await;
}

#[tokio::test]
async fn every_described_route_is_served() {
    let server = start(Scripted::new(Script::Answer)).await;
    let (status, openapi) = server.get("/openapi.json").await;
    assert_eq!(status, 200);
    for (path, methods) in openapi["paths"].as_object().unwrap() {
        let path = path.replace("{id}", NOBODY);
        for method in methods.as_object().unwrap().keys() {
            let method = method.to_uppercase().parse().unwrap();
            let request = server.client.request(method, server.url(&path));
            let (status, body) = read(request.send().await.unwrap()).await;
            assert_ne!(body["code"], "unknown_route", "{path}");
            assert_ne!(status, 405, "{path}");
        }
    }
    server.drain().await;
}

#[tokio::test]
async fn a_taken_port_names_the_address_and_the_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path());
    config.listen.metrics = address;
    let mut options = TelemetryOptions::new("x", "0", "microdiff", METRICS);
    options.logs.stdout = false;
    let (telemetry, _guard, _) = Telemetry::start_local(options).unwrap();
    let engine = Scripted::new(Script::Answer);
    let parts = Parts { engine, model_load: Duration::ZERO, telemetry, hangups: None };
    let outcome = microdiff_server::serve(config, parts, Stop::default(), |_| {}).await;
    let error = outcome.unwrap_err();
    let text = error.to_string();
    assert!(error.is_usage());
    assert!(text.contains(&address.to_string()) && text.contains("--metrics-listen"), "{text}");
    assert!(!dir.path().join("data").exists(), "nothing is opened before all is bound");
}

#[tokio::test]
async fn listeners_of_one_address_share_a_socket() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.listen.api = free;
        config.listen.metrics = free;
        config.listen.gpu = free;
    })
    .await;
    assert_eq!(server.ready.metrics, server.ready.api);
    assert!(server.metrics().await.contains("microdiff_build_info"));
    assert!(server.gpu_metrics().await.contains("microdiff_gpu_devices"));
    let (status, _) = server.get("/loglevel").await;
    assert_eq!(status, 404, "the admin routes stay on their own listener");
    server.drain().await;
}

#[tokio::test]
async fn a_served_data_directory_is_not_shared() {
    let server = start(Scripted::new(Script::Answer)).await;
    assert!(ScanFiles::open(&server.dir.path().join("data")).is_err());
    server.drain().await;
}

/// A problem document is complete and speaks of nothing inside.
fn check_problem(problem: &Value, status: u16) {
    assert_eq!(problem["status"], status, "{problem}");
    let text = |name: &str| problem[name].as_str().unwrap_or_else(|| panic!("{name}: {problem}"));
    assert_eq!(text("type"), format!("urn:microdiff:problem:{}", text("code")));
    assert!(!text("title").is_empty() && !text("detail").is_empty());
    assert!(text("instance").starts_with('/'));
    assert_eq!(text("trace_id").len(), 32);
    assert!(!text("request_id").is_empty());
    let whole = problem.to_string();
    let temporary = std::env::temp_dir().display().to_string();
    assert!(!whole.contains(&temporary) && !whole.contains(".scan"), "{whole}");
}

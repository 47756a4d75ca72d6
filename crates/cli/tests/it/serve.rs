//! `microdiff serve` as an operator meets it: started, probed, asked, killed and started again.

mod logs;

use crate::binary::{fixture, microdiff, refuse, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(120);

pub struct Service {
    pub child: Child,
    pub lines: Receiver<Value>,
    pub ready: Value,
}

impl Service {
    pub fn start(data: &Path, extra: &[&str]) -> Self {
        Self::start_by(microdiff(), data, extra)
    }

    /// Starts by a command that ends by becoming `microdiff` with the arguments it is given.
    pub fn start_by(mut command: Command, data: &Path, extra: &[&str]) -> Self {
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        command.args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--data-dir", text(data)]).args(extra);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = serde_json::from_str(&line).expect("stdout has one JSON object a line");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Self { child, lines, ready: Value::Null };
        service.ready = service.line(|line| line["ready"] == true);
        service
    }

    /// The next line of stdout that answers the description.
    pub fn line(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        while let Ok(line) = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            if wanted(&line) {
                return line;
            }
        }
        panic!("the line did not come within {DEADLINE:?}");
    }

    pub fn get(&self, listener: &str, path: &str) -> Answer {
        self.send(listener, &format!("GET {path} HTTP/1.1\r\n"), b"")
    }

    pub fn send(&self, listener: &str, head: &str, body: &[u8]) -> Answer {
        let address = self.ready[listener].as_str().expect("the ready line names the listener");
        let mut stream = TcpStream::connect(address).expect("the listener accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let length = body.len();
        write!(
            stream,
            "{head}host: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        )
        .expect("the head is sent");
        // A server may answer and close before it has read a body that it refuses.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        Answer::parse(&answer)
    }

    /// Posts the bundled scan; `fields` are further form fields.
    pub fn design(&self, path: &str, headers: &str, fields: &[(&str, &str)]) -> Answer {
        let scan = std::fs::read(fixture()).expect("the fixture is there");
        self.post_scan(path, headers, &scan, fields)
    }

    pub fn post_scan(
        &self,
        path: &str,
        headers: &str,
        scan: &[u8],
        fields: &[(&str, &str)],
    ) -> Answer {
        let boundary = "part-of-the-form";
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend(
                format!(
                    "--{boundary}\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .bytes(),
            );
        }
        body.extend(
            format!(
                "--{boundary}\r\ncontent-disposition: form-data; name=\"scan\"; \
                 filename=\"part.tif\"\r\ncontent-type: image/tiff\r\n\r\n"
            )
            .bytes(),
        );
        body.extend(scan);
        body.extend(format!("\r\n--{boundary}--\r\n").bytes());
        let head = format!(
            "POST {path} HTTP/1.1\r\n{headers}content-type: multipart/form-data; boundary={boundary}\r\n"
        );
        self.send("api", &head, &body)
    }

    /// Asks until the status is the wanted one.
    pub fn poll(&self, path: &str, status: u16) {
        let end = Instant::now() + DEADLINE;
        while self.get("api", path).status != status {
            assert!(Instant::now() < end, "{path} does not become {status}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Polls a job until it has ended.
    fn ended(&self, id: &str) -> Value {
        let answer = self.get("api", &format!("/v1/designs/{id}?wait=60"));
        let job = answer.json();
        assert!(job["state"] == "succeeded" || job["state"] == "failed", "{job}");
        job
    }

    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("metrics", "/metrics").body;
        let line = text.lines().find(|line| line.starts_with(series));
        let line = line.unwrap_or_else(|| panic!("no {series} in:\n{text}"));
        line.rsplit(' ').next().expect("a value").parse().expect("a number")
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                return status.code();
            }
            assert!(Instant::now() < end, "the service does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
        let body = if head.to_lowercase().contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Self { status, head: head.to_lowercase(), body }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk size");
        if size == 0 {
            break;
        }
        whole.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
    whole
}

pub fn data_dir() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

const FIELDS: [(&str, &str); 3] = [("alloy", "Ti-6Al-4V"), ("samples", "256"), ("seed", "5")];

#[test]
fn the_ready_line_names_listeners_that_answer() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let health = service.get("api", "/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &Value::from("healthy")));
    assert!(health.head.contains("cache-control: no-store"), "{}", health.head);
    assert_eq!(service.get("api", "/livez").status, 200);
    service.poll("/readyz", 200);
    let detailed = service.get("api", "/health/detailed").json();
    for check in ["database", "gpu", "model", "storage"] {
        assert_eq!(detailed["checks"][check], true, "{detailed}");
    }
    assert_eq!(
        service.get("api", "/openapi.json").json()["openapi"].as_str().map(|v| &v[..1]),
        Some("3")
    );
    let gpu = service.get("gpu", "/gpu-metrics").body;
    assert!(gpu.lines().any(|line| line == "microdiff_gpu_devices 0"), "{gpu}");
}

#[test]
fn one_request_is_told_alike_by_answer_log_and_metrics() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01\r\n");
    let answer = service.design("/v1/designs?wait=100", &headers, &FIELDS);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let summary = service.line(|line| line["logger"] == "microdiff.models");
    assert_eq!(summary["message"], "Model inference completed successfully");
    assert_eq!(summary["trace_id"], trace);
    assert_eq!(summary["success"], true);
    assert_eq!(summary["alloy"], "Ti-6Al-4V");
    for key in [
        "timestamp",
        "level",
        "module",
        "function",
        "line",
        "request_id",
        "duration_ms",
        "model_type",
    ] {
        assert!(!summary[key].is_null(), "{key} is missing: {summary}");
    }
    let requests =
        "microdiff_requests_total{method=\"POST\",endpoint=\"/v1/designs\",status=\"success\"}";
    assert_eq!(service.metric(requests), 1.0);
    let inference = "microdiff_model_inference_duration_seconds_count";
    assert_eq!(service.metric(inference), 1.0);
    assert!(service.get("metrics", "/metrics").body.contains("microdiff_model_accuracy{"));
}

#[test]
fn the_server_and_the_command_line_answer_alike() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let served = service.design("/v1/designs?wait=100", "", &FIELDS).json();
    let scan = fixture();
    let local = crate::binary::succeed_json(&[
        "design",
        text(&scan),
        "--alloy",
        "Ti-6Al-4V",
        "--samples",
        "256",
        "--seed",
        "5",
        "--json",
    ]);
    for part in ["scan", "analysis", "posterior", "defects", "model"] {
        assert_eq!(served[part], local[part], "{part}");
    }
}

#[test]
fn an_accepted_job_survives_kill_9() {
    let data = data_dir();
    let mut service = Service::start(data.path(), &[]);
    let accepted = service.design("/v1/designs", "", &[("alloy", "316L"), ("samples", "20000")]);
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    let id = accepted.json()["id"].as_str().expect("an id").to_owned();
    service.signal("KILL");
    assert_eq!(service.exit_code(), None);
    drop(service);
    let again = Service::start(data.path(), &[]);
    assert_eq!(again.ended(&id)["state"], "succeeded");
}

#[test]
fn sigterm_drains_and_ends_with_success() {
    let data = data_dir();
    let mut service = Service::start(data.path(), &[]);
    let accepted = service.design("/v1/designs", "", &FIELDS);
    assert_eq!(accepted.status, 202, "{}", accepted.body);
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
}

#[test]
fn bad_requests_are_problem_documents() {
    let data = data_dir();
    let service = Service::start(data.path(), &[]);
    let wait = "/v1/designs?wait=60";
    let cases = [
        (service.design(wait, "", &[]), "alloy"),
        (service.design(wait, "", &[("alloy", "unobtainium")]), "Ti-6Al-4V, 316L, IN718, AlSi10Mg"),
        (
            service.design(wait, "", &[("alloy", "316L"), ("known", "hatch_spacing=5000")]),
            "50 to 200 um",
        ),
        (service.design(wait, "", &[("alloy", "316L"), ("colour", "blue")]), "colour"),
        (
            service.post_scan(
                wait,
                "",
                b"no scan at all",
                &[("alloy", "316L"), ("voxel_size_um", "5")],
            ),
            "TIFF",
        ),
    ];
    for (answer, told) in cases {
        assert!((400..500).contains(&answer.status), "{} {}", answer.status, answer.body);
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
        let problem = answer.json();
        assert!(problem["detail"].as_str().expect("a detail").contains(told), "{problem}");
        assert!(!problem["request_id"].is_null(), "{problem}");
    }
    assert_eq!(service.get("api", "/nowhere").status, 404);
    assert_eq!(service.send("api", "DELETE /v1/models HTTP/1.1\r\n", b"").status, 405);
    assert_eq!(service.get("api", "/health").status, 200);
}

#[test]
fn a_dead_collector_does_not_touch_a_request() {
    let data = data_dir();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = closed.local_addr().expect("an address");
    drop(closed);
    let mut config = std::fs::File::create(data.path().join("config.toml")).expect("a file");
    writeln!(config, "[traces]\nendpoint = \"http://{address}\"").expect("written");
    let config = data.path().join("config.toml");
    let service = Service::start(data.path(), &["--config", text(&config)]);
    assert_eq!(service.design("/v1/designs?wait=100", "", &FIELDS).status, 200);
}

#[test]
fn a_taken_port_and_a_bad_configuration_stop_the_start() {
    let data = data_dir();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let line = refuse(
        &[
            "serve",
            "--listen",
            &address,
            "--metrics-listen",
            "127.0.0.1:0",
            "--gpu-listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--data-dir",
            text(data.path()),
        ],
        2,
    );
    assert!(line.contains(&address), "{line}");
    let config = data.path().join("config.toml");
    std::fs::write(&config, "unknown_field = 1\n").expect("written");
    let line = refuse(&["serve", "--check-config", "--config", text(&config)], 2);
    assert!(line.contains("unknown_field"), "{line}");
}

//! The standard `OTEL_*` variables, as the binary is given them.

use crate::binary::{microdiff, text};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(120);

struct Service {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    said: Vec<Value>,
    api: String,
}

impl Service {
    fn start(folder: &Path, config: &str, variables: &[(&str, &str)]) -> Self {
        let file = folder.join("microdiff.toml");
        std::fs::write(&file, config).expect("the file is written");
        let mut command = microdiff();
        command.args(["serve", "--config", text(&file), "--data-dir", text(&folder.join("data"))]);
        for listener in ["--listen", "--metrics-listen", "--gpu-listen", "--admin-listen"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        command.envs(variables.iter().copied()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut service = Self { child, stdout, said: Vec::new(), api: String::new() };
        while service.api.is_empty() {
            let line = service.line().expect("a ready line before the end");
            service.api =
                line["api"].as_str().filter(|_| line["ready"] == true).unwrap_or("").into();
            service.said.push(line);
        }
        service
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        let read = self.stdout.read_line(&mut line).expect("stdout is text");
        (read > 0).then(|| serde_json::from_str(&line).expect("one JSON object a line"))
    }

    /// Makes one span.
    fn ask(&self) {
        let mut stream = TcpStream::connect(&self.api).expect("the listener accepts");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        write!(stream, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .expect("a request is sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Stops it in order and returns all lines it wrote.
    fn stop(mut self) -> Vec<Value> {
        let id = self.child.id().to_string();
        let status = std::process::Command::new("kill").args(["-s", "TERM", &id]).status();
        assert!(status.expect("kill runs").success());
        while let Some(line) = self.line() {
            self.said.push(line);
        }
        assert_eq!(self.child.wait().expect("an exit").code(), Some(0));
        std::mem::take(&mut self.said)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The head and body of one request.
fn receive(listener: &TcpListener) -> (String, Vec<u8>) {
    let (stream, _) = listener.accept().expect("the service comes");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).expect("a head") > 0, "{head}");
    }
    let head = head.to_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length = length.split("\r\n").next().unwrap_or_default().parse().expect("a number");
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    reader.get_mut().write_all(answer).expect("an answer is taken");
    (head, body)
}

#[test]
fn the_variables_reach_the_collector_and_the_log() {
    let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", collector.local_addr().expect("an address"));
    let folder = tempfile::tempdir().expect("a folder");
    let service = Service::start(
        folder.path(),
        "",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=seven"),
            ("OTEL_SERVICE_NAME", "kiln"),
            ("OTEL_RESOURCE_ATTRIBUTES", "site.name=north%20hall"),
            ("OTEL_BSP_SCHEDULE_DELAY", "10"),
            ("OTEL_PROPAGATORS", "tracecontext,b3"),
            ("OTEL_TRACES_SAMPLER", "always_on"),
        ],
    );
    service.ask();
    let (head, body) = receive(&collector);
    assert!(head.starts_with("post /v1/traces ") && head.contains("x-tenant: seven"), "{head}");
    // Text stands in protobuf as it is.
    let body = String::from_utf8_lossy(&body);
    for part in ["kiln", "site.name", "north hall", "GET /health"] {
        assert!(body.contains(part), "no {part} in {body}");
    }
    drop(collector);
    let said = service.stop();
    let told = |line: &&Value| line["message"].as_str().is_some_and(|m| m.contains("OTEL_"));
    let told: Vec<&Value> = said.iter().filter(told).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["message"].as_str().is_some_and(|m| m.contains("OTEL_PROPAGATORS")));
}

#[test]
fn spans_that_are_switched_off_go_nowhere_whatever_the_file_says() {
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        let collector = TcpListener::bind("127.0.0.1:0").expect("a port");
        collector.set_nonblocking(true).expect("a socket that does not wait");
        let address = collector.local_addr().expect("an address");
        let folder = tempfile::tempdir().expect("a folder");
        let config = format!("[traces]\nendpoint = \"http://{address}\"\n");
        let delay = ("OTEL_BSP_SCHEDULE_DELAY", "1");
        let service = Service::start(folder.path(), &config, &[off, delay]);
        service.ask();
        // Its end would have flushed the span.
        service.stop();
        let came = collector.accept().expect_err("nobody comes");
        assert_eq!(came.kind(), ErrorKind::WouldBlock, "{off:?}");
        assert!(TcpStream::connect(address).is_ok(), "somebody would have been let in");
    }
}

#[test]
fn a_collector_whose_certificates_are_missing_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = microdiff()
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
        .args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--data-dir", text(&folder.path().join("data"))])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
        .env("OTEL_EXPORTER_OTLP_CERTIFICATE", "missing.pem")
        .output()
        .expect("it starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{told}");
    assert!(told.contains("OTEL_EXPORTER_OTLP_CERTIFICATE: cannot read `missing.pem`"), "{told}");
}

//! `microdiff serve` in a process of its own, and HTTP spoken by hand.

use crate::binary::{fixture, microdiff, text};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Long enough for any machine; only a hang meets it.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A running `microdiff serve`, killed when dropped.
pub struct Service {
    pub child: Child,
    pub lines: Receiver<Value>,
    /// All of stdout so far.
    output: Arc<Mutex<String>>,
    pub ready: Value,
}

impl Service {
    pub fn start(data: &Path, extra: &[&str]) -> Self {
        Self::start_by(microdiff(), data, extra)
    }

    /// Starts the service by a command that is prepared to be given its arguments.
    pub fn start_by(mut command: Command, data: &Path, extra: &[&str]) -> Self {
        command.args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
        command.args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--data-dir", text(data)]).args(extra);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("a pipe");
        let (sender, lines) = channel();
        let output = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&output);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                kept.lock().expect("no panic").push_str(&line);
                let line = serde_json::from_str(&line).expect("stdout has one JSON object a line");
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut service = Self { child, lines, output, ready: Value::Null };
        service.ready = service.line(|line| line["ready"] == true);
        service
    }

    /// A service whose standard output somebody else reads; the ready line is still to be set.
    pub fn unread(child: Child) -> Self {
        let (lines, output) = (channel().1, Arc::default());
        Self { child, lines, output, ready: Value::Null }
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
    pub fn ended(&self, id: &str) -> Value {
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

    /// Polls `/metrics` until a series shows a value.
    pub fn until_shown(&self, series: &str) {
        let end = Instant::now() + DEADLINE;
        while !self.get("metrics", "/metrics").body.contains(series) {
            assert!(Instant::now() < end, "{series} does not appear");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All of stdout, once the service has ended.
    pub fn stdout(&self) -> String {
        // The channel closes when the last line has been kept.
        while self.lines.recv().is_ok() {}
        self.output.lock().expect("no panic").clone()
    }

    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill runs");
        assert!(status.success());
    }

    pub fn exit_code(&mut self) -> Option<i32> {
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

/// What a listener answered.
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

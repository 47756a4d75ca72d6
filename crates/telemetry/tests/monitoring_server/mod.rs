//! Prometheus or Alertmanager in a process of its own, shared by the tests that need one.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

/// Long enough for any machine; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that runs until this is dropped.
pub struct MonitoringServer {
    process: Child,
    /// Where it listens.
    pub address: String,
}

impl MonitoringServer {
    /// Starts a program of a Debian package on a free port and waits until it listens.
    pub fn start(program: &str, package: &str, arguments: &[String]) -> Self {
        let mut process = Command::new(program)
            .args(arguments)
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the Debian package `{package}` is needed: {error}"));
        let log = BufReader::new(process.stderr.take().expect("a pipe"));
        let (send, receive) = channel();
        // Reads to the end, so that the pipe never fills.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["msg"] == "Listening on"
                    && let Some(address) = line["address"].as_str()
                {
                    let _ = send.send(address.to_owned());
                }
            }
        });
        let address = receive.recv_timeout(PATIENCE);
        let mut server = Self { process, address: String::new() };
        server.address = address.expect("it listens");
        server
    }
}

impl Drop for MonitoringServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

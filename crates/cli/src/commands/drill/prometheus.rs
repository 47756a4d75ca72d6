//! A real Prometheus with the kit's rules at the speed of the drill.

use super::patience::Patience;
use super::process::Process;
use super::service::Addresses;
use crate::failure::Failure;
use crate::http::Server;
use crate::output;
use microdiff_kit::{Compression, RULES_FOLDER, compress, files};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// It reads no data of its own here, so it starts within a second.
const START: Duration = Duration::from_secs(60);
const ANSWER: Duration = Duration::from_secs(20);

/// A running Prometheus; ends with this.
pub struct Prometheus {
    server: Server,
    _process: Process,
}

/// The alerts that are not silent.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Active {
    pub firing: BTreeSet<String>,
    pub pending: BTreeSet<String>,
}

impl Prometheus {
    /// Writes rules and configuration into `folder` and starts the program with them.
    pub fn start(
        plan: &Plan,
        folder: &Path,
        targets: Addresses,
        patience: &Patience,
    ) -> Result<Self, Failure> {
        let config = plan.write(folder, targets)?;
        let mut command = Command::new(&plan.program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = Process::spawn(&mut command).map_err(Failure::internal)?;
        let log = process.child().stderr.take();
        let log = log.ok_or_else(|| Failure::internal("Prometheus has no standard error"))?;
        let copy = File::create(folder.join("prometheus.log")).map_err(Failure::internal)?;
        let listening = follow(BufReader::new(log), copy);
        let address = patience.until(START, || {
            if let Ok(address) = listening.try_recv() {
                return Ok(Some(address));
            }
            if process.is_running() {
                return Ok(None);
            }
            let log = std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
            let told = log.lines().last().unwrap_or_default().to_owned();
            Err(Failure::internal(format!("Prometheus does not start: {told}")))
        })?;
        let address = address.ok_or_else(|| Failure::internal("Prometheus never listens"))?;
        let server = Server::at(&format!("http://{address}"), ANSWER)?;
        let prometheus = Self { server, _process: process };
        let ready = patience.until(START, || Ok(prometheus.ask("alerts").ok().map(drop)))?;
        ready.ok_or_else(|| Failure::internal("Prometheus listens and does not answer"))?;
        Ok(prometheus)
    }

    /// The alerts that are pending or firing now.
    pub fn active(&self) -> Result<Active, Failure> {
        let data = self.ask("alerts")?;
        let mut active = Active::default();
        for alert in data["alerts"].as_array().into_iter().flatten() {
            let Some(name) = alert["labels"]["alertname"].as_str() else { continue };
            let list =
                if alert["state"] == "firing" { &mut active.firing } else { &mut active.pending };
            list.insert(name.to_owned());
        }
        Ok(active)
    }

    /// How many targets were up at the last scrape.
    pub fn targets_up(&self) -> Result<usize, Failure> {
        let data = self.ask("targets?state=active")?;
        let targets = data["activeTargets"].as_array().into_iter().flatten();
        Ok(targets.filter(|target| target["health"] == "up").count())
    }

    fn ask(&self, path: &str) -> Result<Value, Failure> {
        let path = format!("/api/v1/{path}");
        let refuse = |told: &dyn std::fmt::Display| {
            Failure::internal(format!("{}{path} {told}", self.server.url()))
        };
        let mut answer = self.server.get_json(&path, &[]).map_err(|error| refuse(&error))?;
        if answer["status"] != "success" {
            return Err(refuse(&format!("answers {answer}")));
        }
        Ok(answer["data"].take())
    }
}

/// What is to run: known to work before anything is started.
pub struct Plan {
    program: PathBuf,
    rules: Vec<microdiff_kit::File>,
    every: Duration,
}

impl Plan {
    /// Looks whether `program` is there, and compresses the kit's rules.
    pub fn new(program: &Path, compression: &Compression) -> Result<Self, Failure> {
        let mut rules = compress(&files(), compression).map_err(Failure::usage)?;
        rules.retain(|file| file.path.starts_with(RULES_FOLDER));
        let version = Command::new(program).arg("--version").output();
        version.map_err(|error| {
            Failure::usage(format!(
                "cannot run `{}`: {error}; install the package prometheus, or name the program with \
                 --prometheus-command",
                program.display()
            ))
        })?;
        Ok(Self { program: program.to_owned(), rules, every: compression.resolution })
    }

    /// Writes the rules, and a configuration with the kit's two jobs. JSON is YAML.
    fn write(&self, folder: &Path, targets: Addresses) -> Result<PathBuf, Failure> {
        let rules = folder.join("rules");
        std::fs::create_dir_all(&rules).map_err(Failure::internal)?;
        for file in &self.rules {
            let name = file.path.strip_prefix(RULES_FOLDER).unwrap_or(&file.path);
            output::write_file(&rules.join(name), &file.bytes)?;
        }
        let every = format!("{}ms", self.every.as_millis());
        let job = |name: &str, path: &str, target: SocketAddr| {
            json!({
                "job_name": name,
                "metrics_path": path,
                "static_configs": [{ "targets": [target] }],
            })
        };
        let config = json!({
            "global": {
                "scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every,
            },
            "rule_files": ["rules/*.yml"],
            "scrape_configs": [
                job("microdiff-app", "/metrics", targets.metrics),
                job("microdiff-gpu", "/gpu-metrics", targets.gpu),
            ],
        });
        let path = folder.join("prometheus.yml");
        output::write_file(&path, output::json(&config)?.as_bytes())?;
        Ok(path)
    }
}

/// Copies the log to a file, so that its pipe never fills, and tells the address it names.
fn follow(log: impl BufRead + Send + 'static, mut copy: File) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            let told: Value = serde_json::from_str(&line).unwrap_or_default();
            if told["msg"] == "Listening on"
                && let Some(address) = told["address"].as_str()
            {
                // Nobody waits for a second one.
                let _ = sender.send(address.to_owned());
            }
            let _ = writeln!(copy, "{line}");
        }
    });
    receiver
}

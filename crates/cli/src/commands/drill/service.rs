//! This binary as a service: started, killed, started again where it was.

use super::patience::Patience;
use super::process::Process;
use crate::failure::Failure;
use crate::http::Server;
use rustix::process::Pid;
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A start that takes longer has failed: it loads a model of a few megabytes.
const START: Duration = Duration::from_secs(60);
/// Until the first known-answer canary has passed, on a machine that is busy.
const READY: Duration = Duration::from_secs(120);

/// Where the service listens, as its ready line says.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Addresses {
    pub api: SocketAddr,
    pub metrics: SocketAddr,
    pub gpu: SocketAddr,
    pub admin: SocketAddr,
}

/// How the service is started.
pub struct Launch {
    pub folder: PathBuf,
    pub config: PathBuf,
    /// The data directory, if it is to be a file system of its own; see [`super::disk`].
    pub own_disk: Option<PathBuf>,
}

/// The service, running or not.
pub struct Service {
    launch: Launch,
    process: Process,
    pub addresses: Addresses,
    log: Arc<LogReader>,
}

impl Service {
    /// Starts it on free ports and waits until its sockets accept.
    pub fn start(launch: Launch, patience: &Patience) -> Result<Self, Failure> {
        let log = Arc::<LogReader>::default();
        let (process, addresses) = begin(&launch, None, &log, patience)?;
        Ok(Self { launch, process, addresses, log })
    }

    /// Starts it again on the ports it had.
    pub fn start_again(&mut self, patience: &Patience) -> Result<(), Failure> {
        self.process.kill();
        (self.process, _) = begin(&self.launch, Some(self.addresses), &self.log, patience)?;
        Ok(())
    }

    pub fn kill(&mut self) {
        self.process.kill();
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Whether its standard output is read no longer.
    pub fn stall_log(&self, stalled: bool) {
        self.log.stall(stalled);
    }

    /// Waits until it says that it is ready for requests.
    pub fn until_ready(&self, server: &Server, patience: &Patience) -> Result<(), Failure> {
        let ready = patience.until(READY, || {
            let answer = server.get("/readyz");
            Ok(answer.is_ok_and(|answer| answer.status.is_success()).then_some(()))
        })?;
        ready.ok_or_else(|| {
            let told = server.get("/health/detailed").map(|answer| answer.body).unwrap_or_default();
            let told = String::from_utf8_lossy(&told);
            Failure::internal(format!("the service is not ready: {}", told))
        })
    }
}

fn begin(
    launch: &Launch,
    at: Option<Addresses>,
    log: &Arc<LogReader>,
    patience: &Patience,
) -> Result<(Process, Addresses), Failure> {
    let stderr = launch.folder.join("service.stderr");
    let refuse = |error: std::io::Error| Failure::internal(format!("cannot start it: {error}"));
    let mut command = command(launch, at)?;
    command.stdout(Stdio::piped()).stderr(File::create(&stderr).map_err(refuse)?);
    let mut process = Process::spawn(&mut command).map_err(refuse)?;
    let lines = process.child().stdout.take();
    let lines = lines.ok_or_else(|| Failure::internal("the service has no standard output"))?;
    let ready = log.follow(lines, &launch.folder.join("service.log"))?;
    let told = patience.until(START, || {
        if let Ok(addresses) = ready.try_recv() {
            return Ok(Some(addresses));
        }
        if process.is_running() {
            return Ok(None);
        }
        let told = std::fs::read_to_string(&stderr).unwrap_or_default();
        let told = told.lines().last().unwrap_or("it says nothing").to_owned();
        Err(Failure::internal(format!("the service does not start: {told}")))
    })?;
    let addresses = told.ok_or_else(|| Failure::internal("the service never says it is ready"))?;
    Ok((process, addresses))
}

fn command(launch: &Launch, at: Option<Addresses>) -> Result<Command, Failure> {
    let binary = std::env::current_exe().map_err(Failure::internal)?;
    let mut command = match &launch.own_disk {
        Some(data) => super::disk::with_own_disk(data, &binary),
        None => Command::new(binary),
    };
    command.arg("serve").arg("--config").arg(&launch.config);
    if let Some(at) = at {
        for (flag, address) in [
            ("--listen", at.api),
            ("--metrics-listen", at.metrics),
            ("--gpu-listen", at.gpu),
            ("--admin-listen", at.admin),
        ] {
            command.arg(flag).arg(address.to_string());
        }
    }
    // Spans go to the sandbox's collector, whatever this shell exports.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.env("OTEL_BSP_SCHEDULE_DELAY", "500");
    Ok(command)
}

/// Reads what the service writes to standard output, unless it is told not to.
#[derive(Default)]
struct LogReader {
    stalled: Mutex<bool>,
    turned: Condvar,
}

impl LogReader {
    fn stall(&self, stalled: bool) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = stalled;
        self.turned.notify_all();
    }

    fn wait_unless_read(&self) {
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        while *stalled {
            stalled = self.turned.wait(stalled).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Copies the lines to a file and tells the addresses of the ready line.
    fn follow(
        self: &Arc<Self>,
        lines: ChildStdout,
        copy: &Path,
    ) -> Result<Receiver<Addresses>, Failure> {
        let copy = File::options().create(true).append(true).open(copy);
        let copy = copy.map_err(Failure::internal)?;
        let (sender, receiver) = channel();
        let reader = Arc::clone(self);
        std::thread::spawn(move || reader.read(lines, copy, &sender));
        Ok(receiver)
    }

    fn read(&self, lines: ChildStdout, mut copy: File, ready: &Sender<Addresses>) {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            self.wait_unless_read();
            if line.contains("\"ready\":true")
                && let Ok(addresses) = serde_json::from_str(&line)
            {
                // Nobody waits for a second one.
                let _ = ready.send(addresses);
            }
            // The copy is for a later look; the drill goes on without it.
            let _ = writeln!(copy, "{line}");
        }
    }
}

//! Starting the servers that `.ci/servers` has.

use crate::binary::text;
use reqwest::blocking::{Client, RequestBuilder};
use serde_json::Value;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Long enough for any machine; only a hang meets it.
pub const DEADLINE: Duration = Duration::from_secs(180);

/// A server in a process of its own, killed when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `name` with its files in `directory`.
    pub fn start(name: &str, directory: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        std::fs::create_dir_all(directory).expect("a directory");
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).expect("a log");
        let mut command = Command::new(repository().join(".ci/servers/start"));
        command.args([name, text(directory)]).args(more).envs(variables.iter().copied());
        command.stdout(output.try_clone().expect("a handle")).stderr(output);
        Self { child: command.spawn().expect(".ci/servers/start runs"), log }
    }

    /// Asks until there is an answer; shows what the server said when it has ended without one.
    pub fn until<T>(&mut self, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(answer) = ask() {
                return answer;
            }
            let ended = self.child.try_wait().expect("the server can be waited for");
            let late = Instant::now() > end;
            assert!(ended.is_none() && !late, "no {what} ({ended:?}):\n{}", self.said());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it; its port is free afterwards.
    pub fn stop(&mut self) {
        self.child.kill().expect("it can be ended");
        self.child.wait().expect("it ends");
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log is there")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A port for a server that cannot choose one itself.
pub fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

pub fn client() -> Client {
    Client::builder().no_proxy().timeout(DEADLINE).build().expect("a client")
}

/// Status and body of an answer; `None` when there was none.
pub fn answer(request: RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.send().ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().unwrap_or_default()))
}

//! The figures of Python's `prometheus_client` and `logging`, from `peers.py`.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What the script measured.
#[derive(Clone)]
pub struct Figures(Value);

impl Figures {
    /// One figure; the script prints all of them.
    pub fn get(&self, key: &str) -> f64 {
        self.0[key].as_f64().unwrap_or(f64::NAN)
    }
}

/// Runs the script once, with the interpreter of `BENCH_PYTHON`, which needs `prometheus_client`.
pub fn figures() -> Result<Figures> {
    static ONCE: OnceLock<Figures> = OnceLock::new();
    if let Some(figures) = ONCE.get() {
        return Ok(figures.clone());
    }
    let python = std::env::var("BENCH_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/peers.py");
    let ran = Command::new(&python).arg(script).output().context("cannot run python")?;
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure!(ran.status.success(), "{python} {script} failed: {errors}");
    let figures = Figures(serde_json::from_slice(&ran.stdout).context("what peers.py printed")?);
    Ok(ONCE.get_or_init(|| figures).clone())
}

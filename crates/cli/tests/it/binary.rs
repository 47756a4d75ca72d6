//! Starting the binary and reading what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub fn microdiff() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_microdiff"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command
}

pub fn run(args: &[&str]) -> Output {
    microdiff().args(args).output().expect("the binary starts")
}

/// Runs and returns stdout; any failure shows stderr.
pub fn succeed(args: &[&str]) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{args:?} gave {:?}: {}",
        output.status.code(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("stdout is text")
}

pub fn succeed_json(args: &[&str]) -> serde_json::Value {
    serde_json::from_str(&succeed(args)).expect("stdout is JSON")
}

/// Runs, expects the exit code and exactly one line on stderr, and returns that line.
pub fn refuse(args: &[&str], code: i32) -> String {
    let output = run(args);
    let stderr = String::from_utf8(output.stderr).expect("stderr is text");
    assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{args:?} printed an answer beside the error");
    assert_eq!(stderr.trim_end().lines().count(), 1, "{args:?}: {stderr}");
    stderr
}

pub fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lack-of-fusion.tif")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

/// A small simulated scan with the settings that matter spelt out.
pub fn simulate(output: &Path, settings: &[&str]) {
    let mut args = vec!["simulate", "--alloy", "Ti-6Al-4V", "--voxel-size", "5"];
    args.extend(settings);
    args.extend(["-o", text(output)]);
    succeed(&args);
}

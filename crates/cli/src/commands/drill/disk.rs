//! A data directory that is a small file system of its own, seen by the service alone: what fills
//! it fills nothing else. Needs `unshare`, `nsenter` and `mount` of util-linux, and root or user
//! name spaces.

use crate::failure::Failure;
use rustix::process::Pid;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Well above what the rules call low; none of it is memory until it is written.
const SIZE: &str = "size=3g";
/// What is left once the fault is done, before it is filled.
const SHRUNK: &str = "size=64m";

/// Refuses where a file system cannot be mounted for a process alone.
pub fn check() -> Result<(), Failure> {
    let mut trial = unshared();
    trial.args(["mount", "-t", "tmpfs", "tmpfs"]).arg(std::env::temp_dir());
    let refused = match trial.output() {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::usage(format!(
        "this drill mounts a file system for the service alone, with `unshare` of the package \
         util-linux and as root or with user name spaces: {refused}"
    )))
}

/// Ends a command by the binary, which finds an empty disk at `data`.
pub fn with_own_disk(data: &Path, binary: &Path) -> Command {
    let script = format!("mount -t tmpfs -o {SIZE},mode=755 tmpfs \"$1\" && shift && exec \"$@\"");
    let mut command = unshared();
    command.args(["sh", "-c", &script, "sh"]).arg(data).arg(binary);
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command
}

/// Makes the disk of a running service small and full.
pub fn fill(service: Pid, data: &Path) -> Result<(), Failure> {
    resize(service, data, SHRUNK)?;
    let filler = filler(service, data);
    let refuse = |error| Failure::internal(format!("cannot fill {}: {error}", filler.display()));
    let mut file = File::create(&filler).map_err(refuse)?;
    let block = [1; 4096];
    // Until the disk refuses; only an empty filler says that nothing was filled.
    while file.write_all(&block).is_ok() {}
    let written = file.metadata().map_err(refuse)?.len();
    if written == 0 {
        return Err(Failure::internal("the disk was full before it was filled"));
    }
    Ok(())
}

/// Gives the space back.
pub fn free(service: Pid, data: &Path) -> Result<(), Failure> {
    let filler = filler(service, data);
    std::fs::remove_file(&filler)
        .map_err(|error| Failure::internal(format!("cannot remove the filler: {error}")))?;
    resize(service, data, SIZE)
}

/// The filler's path as this process sees it: the service's own view of the disk.
fn filler(service: Pid, data: &Path) -> PathBuf {
    let root = format!("/proc/{}/root", service.as_raw_nonzero());
    let mut path = std::ffi::OsString::from(root);
    path.push(data.join("filler"));
    path.into()
}

fn resize(service: Pid, data: &Path, size: &str) -> Result<(), Failure> {
    let mut command = Command::new("nsenter");
    command.args(["--target", &service.as_raw_nonzero().to_string(), "--mount"]);
    if !is_root() {
        command.args(["--user", "--preserve-credentials"]);
    }
    // With its source named, the options of before are left out: the owner that a name space of
    // one's own wrote there means nothing inside it.
    command.args(["mount", "-o", &format!("remount,{size}"), "tmpfs"]).arg(data);
    let output = command.output().map_err(Failure::internal)?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(Failure::internal(format!("cannot resize the disk: {}", told.trim())))
}

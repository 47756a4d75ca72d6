//! A stand-in for NVIDIA's library, for tests and drills of whatever watches GPUs: compiled when it
//! is asked for, scripted while it runs.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its head says what a script may hold.
const SOURCE: &str = include_str!("stand_in.c");

/// A script of two devices that are well, with every reading.
pub const TWO_DEVICES: &str = "devices 2\n\
    0.uuid 100\n0.total 16000\n0.used 4000\n0.utilisation 37\n0.temperature 64\n0.power 71500\n\
    0.energy 9000\n0.corrected 3\n0.uncorrected 0\n\
    1.uuid 101\n1.total 16000\n1.used 1000\n1.utilisation 0\n1.temperature 41\n1.power 20000\n\
    1.energy 5000\n1.corrected 0\n1.uncorrected 0\n";

/// A library of its own in a directory of its own.
#[derive(Debug)]
pub struct StandIn {
    library: PathBuf,
}

impl StandIn {
    /// Compiles the library into `directory` by the C compiler `cc`, or that of the variable `CC`, with
    /// nothing scripted: a driver without devices.
    ///
    /// # Errors
    /// When the compiler cannot be run, or what it says of the source.
    pub fn build(directory: &Path) -> io::Result<Self> {
        Self::build_with(directory, &[])
    }

    /// The same with further options for the compiler, as `-DWITHOUT_EVENTS`.
    ///
    /// # Errors
    /// As [`StandIn::build`].
    pub fn build_with(directory: &Path, options: &[&str]) -> io::Result<Self> {
        let (source, library) = (directory.join("nvml.c"), directory.join("libnvidia-ml.so.1"));
        std::fs::write(&source, SOURCE)?;
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("`{compiler}`: {error}"));
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1"])
            .args(options)
            .arg("-o")
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .map_err(named)?;
        if output.status.success() {
            return Ok(Self { library });
        }
        let told = String::from_utf8_lossy(&output.stderr);
        Err(named(io::Error::other(told.lines().next().unwrap_or_default())))
    }

    /// Path of the library.
    #[must_use]
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Replaces the script, whole: nobody reads half of it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn script(&self, lines: &str) -> io::Result<()> {
        let script = self.library.with_file_name("libnvidia-ml.so.1.script");
        let next = self.library.with_file_name("libnvidia-ml.so.1.script.next");
        std::fs::write(&next, lines)?;
        std::fs::rename(next, script)
    }
}

//! A stand-in for NVIDIA's library, compiled when a test asks for it and scripted while it runs.

use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../telemetry/tests/stub_nvml/nvml.c");

/// A library of its own in a directory of its own; `nvml.c` says what a script may hold.
pub struct StubNvml {
    library: PathBuf,
}

impl StubNvml {
    /// Compiles the library into `directory`, with nothing scripted: a driver without devices.
    pub fn build(directory: &Path) -> Self {
        Self::build_with(directory, &[])
    }

    /// The same with further options for the compiler, as `-DWITHOUT_EVENTS`.
    pub fn build_with(directory: &Path, options: &[&str]) -> Self {
        let library = directory.join("libnvidia-ml.so.1");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror"])
            .args(options)
            .arg("-o")
            .arg(&library)
            .args([SOURCE, "-ldl"])
            .output()
            .unwrap_or_else(|error| panic!("no C compiler {compiler}: {error}"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the stub does not compile: {said}");
        Self { library }
    }

    /// Path of the library.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Replaces the script, whole.
    pub fn script(&self, lines: &str) {
        let name = format!("{}.script", self.library.display());
        let next = format!("{name}.next");
        std::fs::write(&next, lines).unwrap();
        std::fs::rename(next, name).unwrap();
    }
}

/// Two devices with every reading.
pub const TWO_DEVICES: &str = "devices 2\n\
    0.uuid 100\n0.total 16000\n0.used 4000\n0.utilisation 37\n0.temperature 64\n0.power 71500\n\
    0.energy 9000\n0.corrected 3\n0.uncorrected 0\n\
    1.uuid 101\n1.total 16000\n1.used 1000\n1.utilisation 0\n1.temperature 41\n1.power 20000\n\
    1.energy 5000\n1.corrected 0\n1.uncorrected 0\n";

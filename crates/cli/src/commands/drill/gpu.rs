//! GPUs that do what a script says: a stand-in for the driver's library, compiled here.

use crate::failure::Failure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The one that the tests of the telemetry crate use; its head says what a script may hold.
const SOURCE: &str = include_str!("../../../../telemetry/tests/stub_nvml/nvml.c");

/// Two devices that are well.
pub const WELL: &str = "devices 2\n\
    0.uuid 100\n0.total 16000\n0.used 4000\n0.utilisation 37\n0.temperature 64\n0.corrected 0\n\
    0.uncorrected 0\n1.uuid 101\n1.total 16000\n1.used 1000\n1.utilisation 0\n1.temperature 41\n\
    1.corrected 0\n1.uncorrected 0\n";

/// The library, with a script beside it.
pub struct StandIn {
    library: PathBuf,
}

impl StandIn {
    /// Compiles the library into a directory, with two devices that are well.
    pub fn build(directory: &Path) -> Result<Self, Failure> {
        let source = directory.join("nvml.c");
        let library = directory.join("libnvidia-ml.so.1");
        std::fs::write(&source, SOURCE).map_err(Failure::internal)?;
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .map_err(|error| {
                Failure::usage(format!(
                    "this drill compiles a stand-in for the GPU driver and cannot run the C \
                     compiler `{compiler}`: {error}; install gcc, or name a compiler in CC"
                ))
            })?;
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr);
            let told = told.lines().next().unwrap_or_default();
            return Err(Failure::internal(format!("{compiler} refuses the stand-in: {told}")));
        }
        let stand_in = Self { library };
        stand_in.script(WELL)?;
        Ok(stand_in)
    }

    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Replaces the script in one step: nobody reads half of it.
    pub fn script(&self, lines: &str) -> Result<(), Failure> {
        let script = self.library.with_file_name("libnvidia-ml.so.1.script");
        let next = script.with_extension("next");
        std::fs::write(&next, lines)
            .and_then(|()| std::fs::rename(&next, script))
            .map_err(|error| Failure::internal(format!("cannot script the GPUs: {error}")))
    }
}

//! GPUs that do what a script says, by the telemetry crate's stand-in for the driver's library.

use crate::failure::Failure;
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};
use std::io::{Error, ErrorKind};
use std::path::Path;

/// Makes the library in a directory, with two devices that are well.
pub fn build(directory: &Path) -> Result<StandIn, Failure> {
    let gpus = StandIn::build(directory).map_err(|error| {
        let told = format!("this drill compiles a stand-in for the GPU driver: {error}");
        match error.kind() {
            ErrorKind::NotFound => {
                Failure::usage(format!("{told}; install gcc, or name a C compiler in CC"))
            }
            _ => Failure::internal(told),
        }
    })?;
    script(&gpus, TWO_DEVICES)?;
    Ok(gpus)
}

/// Has the devices do this from now on.
pub fn script(gpus: &StandIn, lines: &str) -> Result<(), Failure> {
    let refuse = |error: Error| Failure::internal(format!("cannot script the GPUs: {error}"));
    gpus.script(lines).map_err(refuse)
}

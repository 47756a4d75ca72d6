//! `microdiff healthcheck`: asks a running service once, for images that have no shell and no other
//! program to ask with. The exit code is the answer.

use crate::args::HealthcheckArgs;
use crate::failure::Failure;
use crate::http::Server;
use crate::output;
use std::time::Duration;

/// Asks the address; any status but 2xx, or none in time, is exit code 1.
pub fn run(args: &HealthcheckArgs) -> Result<(), Failure> {
    let server = Server::at(&args.url, Duration::from_secs(args.timeout_seconds))?;
    let url = server.url();
    if !url.starts_with("http:") {
        return Err(Failure::usage("the service speaks plain HTTP: give an http:// URL"));
    }
    let answer = server.get("").and_then(|answer| answer.accepted().map(|()| answer));
    let answer = answer.map_err(|error| Failure::internal(format!("{url} {error}")))?;
    output::print(&format!("{url} answers {}\n", answer.status))
}

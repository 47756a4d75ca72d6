//! `microdiff healthcheck`: asks a running service once, for images that have no shell and no other
//! program to ask with. The exit code is the answer.

use crate::args::HealthcheckArgs;
use crate::failure::Failure;
use crate::output;
use std::error::Error;
use std::time::Duration;

/// Asks the address; any status but 2xx, or none in time, is exit code 1.
pub fn run(args: &HealthcheckArgs) -> Result<(), Failure> {
    let url = reqwest::Url::parse(&args.url)
        .map_err(|error| Failure::usage(format!("{} is no URL: {error}", args.url)))?;
    if url.scheme() != "http" {
        return Err(Failure::usage("the service speaks plain HTTP: give an http:// URL"));
    }
    // A proxy of the environment is for other machines; and an answer elsewhere is no answer.
    let client = reqwest::blocking::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(args.timeout_seconds))
        .build()
        .map_err(Failure::internal)?;
    let answer = client.get(url).send().map_err(|error| {
        Failure::internal(format!("{} gives no answer: {}", args.url, innermost(&error)))
    })?;
    let status = answer.status();
    if !status.is_success() {
        return Err(Failure::internal(format!("{} answers {status}", args.url)));
    }
    output::print(&format!("{} answers {status}\n", args.url))
}

/// The cause that says something: "Connection refused" rather than "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

//! `microdiff replay`: does a recorded design again and compares the draws to the last bit.

use super::designer;
use crate::args::ReplayArgs;
use crate::failure::Failure;
use crate::http::Server;
use crate::output;
use microdiff_server::{DesignDetails, Engine};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The admin listener answers from memory; only a dead one meets this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A record of a design.
struct Recorded {
    id: String,
    error_type: Option<String>,
    details: DesignDetails,
}

pub fn run(args: &ReplayArgs) -> Result<(), Failure> {
    let recorded = parse(&match &args.file {
        Some(file) => find(file, &args.id)?,
        None => ask(&args.admin, &args.id)?,
    })?;
    let scan = scan(args, &recorded.id)?;
    let found = microdiff_design::scan_sha256(&scan)?;
    let details = &recorded.details;
    let wanted = details.scan_sha256.as_deref().ok_or_else(|| {
        Failure::data("the record has no digest of the scan, so nothing can be told from a replay")
    })?;
    same("scan", wanted, &found)?;
    let designer = designer(args.model.as_deref())?;
    same("model", &details.model_digest, &designer.model().digest)?;
    // The service's own way from a stored request to an answer.
    let answer = Engine::design(&designer, &scan, &details.request, &mut ());
    let outcome = match (&details.draws_sha256, answer) {
        (Some(recorded), Ok(document)) => {
            same("draws", recorded, &document.draws_sha256)?;
            format!(
                "recorded draws  {recorded}\nreplayed draws  {}\n\
                 matched: the draws are the same to the last bit\n",
                document.draws_sha256
            )
        }
        (Some(_), Err(failure)) => {
            let told = failure.public.detail;
            return Err(Failure::data(format!("the recorded design succeeded, this one: {told}")));
        }
        (None, Ok(_)) => {
            let code = recorded.error_type.as_deref().unwrap_or("unknown");
            let told = format!("the recorded design failed ({code}), this one succeeded");
            return Err(Failure::data(told));
        }
        (None, Err(failure)) => {
            let code = recorded.error_type.as_deref().unwrap_or_default();
            if code != failure.public.code {
                let now = failure.public.code;
                let told = format!("the recorded design failed as {code}, this one as {now}");
                return Err(Failure::data(told));
            }
            format!("matched: failed again as {code}: {}\n", failure.public.detail)
        }
    };
    output::print(&format!(
        "design          {}\nscan            {wanted}\nmodel           {}\n{outcome}",
        recorded.id, details.model_digest
    ))
}

fn same(what: &str, recorded: &str, found: &str) -> Result<(), Failure> {
    if recorded == found {
        return Ok(());
    }
    Err(Failure::data(format!("digests of the {what} differ: recorded {recorded}, here {found}")))
}

/// The scan that was named, or the one that a service kept for the design.
fn scan(args: &ReplayArgs, id: &str) -> Result<PathBuf, Failure> {
    if let Some(scan) = &args.scan {
        return Ok(scan.clone());
    }
    let kept = args.data_dir.as_deref().map(|dir| dir.join("scans").join(format!("{id}.scan")));
    kept.filter(|path| path.is_file()).ok_or_else(|| {
        Failure::data(
            "the data directory holds no scan of this design; a service keeps scans with \
             jobs.keep_scans = true",
        )
    })
}

fn parse(record: &Value) -> Result<Recorded, Failure> {
    let text = |key: &str| record[key].as_str().map(str::to_owned);
    if record["details"].is_null() {
        return Err(Failure::data("the record is of a failed request, not of a design"));
    }
    let details = serde_json::from_value(record["details"].clone())
        .map_err(|error| Failure::data(format!("the record cannot be read: {error}")))?;
    let id = text("id").ok_or_else(|| Failure::data("the record has no id"))?;
    if !is_id(&id) {
        return Err(Failure::data("the record's id is not one"));
    }
    Ok(Recorded { id, error_type: text("error_type"), details })
}

/// Ids become part of a URL and of a path.
fn is_id(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    plain && !text.is_empty() && !text.starts_with('.')
}

/// The record in a file that a service wrote when it stopped.
fn find(file: &Path, id: &str) -> Result<Value, Failure> {
    let refuse = |reason: String| Failure::data(format!("{}: {reason}", file.display()));
    let bytes = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
    let content: Value =
        serde_json::from_slice(&bytes).map_err(|error| refuse(format!("is not JSON: {error}")))?;
    let records = content["records"].as_array().ok_or_else(|| refuse("has no records".into()))?;
    let named = |record: &&Value| record["id"] == id || record["request_id"] == id;
    records.iter().find(named).cloned().ok_or_else(|| refuse(format!("has no record {id}")))
}

/// The record that a running service holds.
fn ask(admin: &str, id: &str) -> Result<Value, Failure> {
    if !is_id(id) {
        return Err(Failure::usage("an id has letters, digits, -, _ and . only"));
    }
    let server = Server::at(admin, PATIENCE)?;
    server
        .get_json(&format!("/flight/{id}"), &[])
        .map_err(|error| Failure::data(format!("{}/flight/{id} {error}", server.url())))
}

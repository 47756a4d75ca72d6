//! From a multipart body to a stored scan and the fields beside it.

use super::unparsed::Unparsed;
use crate::App;
use crate::jobs::JobRequest;
use crate::problem::{Problem, echo};
use crate::store::{JobId, ScanWriter};
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use http::StatusCode;
use microdiff_telemetry::redaction::Scrubber;
use std::collections::BTreeMap;

/// Longest value of a field other than the scan, bytes.
const FIELD_BYTES: usize = 4096;
/// Longest declared name that is kept, characters.
const NAME_CHARS: usize = 100;

/// A form received whole. The scan is not durable until it is committed.
pub(super) struct Form {
    pub(super) scan: ScanWriter,
    pub(super) scan_name: String,
    pub(super) request: JobRequest,
}

/// A submission as it comes in.
pub(super) struct Intake<'a> {
    pub(super) app: &'a App,
    pub(super) id: JobId,
    pub(super) unparsed: Unparsed,
}

/// Receives the form of a submission, storing the scan as it comes.
pub(super) async fn receive(intake: &Intake<'_>, mut body: Multipart) -> Result<Form, Problem> {
    let mut fields = BTreeMap::<&'static str, String>::new();
    let mut scan = None;
    while let Some(field) = in_time(intake, body.next_field()).await? {
        match field.name() {
            Some("scan") if scan.is_some() => return Err(twice("scan")),
            Some("scan") => {
                let scrubber = intake.app.telemetry.scrubber();
                let name = clean_name(scrubber, field.file_name().unwrap_or_default());
                scan = Some((store(intake, field).await?, name));
            }
            name => {
                let name = known_field(name.unwrap_or_default())?;
                let value = text(intake, name, field).await?;
                if fields.insert(name, value).is_some() {
                    return Err(twice(name));
                }
            }
        }
    }
    let request = JobRequest::from_fields(&fields)?;
    match scan {
        None => Err(Problem::missing_field("field \"scan\" is missing; it must be a file")),
        Some((scan, _)) if scan.bytes() == 0 => Err(Problem::invalid_field("the scan is empty")),
        Some((scan, scan_name)) => Ok(Form { scan, scan_name, request }),
    }
}

async fn store(intake: &Intake<'_>, mut field: Field<'_>) -> Result<ScanWriter, Problem> {
    let mut scan = intake.app.files.create(intake.id).await.map_err(|error| disk(&error))?;
    while let Some(piece) = in_time(intake, field.chunk()).await? {
        scan.write(&piece).await.map_err(|error| disk(&error))?;
    }
    Ok(scan)
}

async fn text(intake: &Intake<'_>, name: &str, mut field: Field<'_>) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = in_time(intake, field.chunk()).await? {
        if bytes.len() + piece.len() > FIELD_BYTES {
            let reason = format!("field \"{name}\" is longer than {FIELD_BYTES} bytes");
            return Err(Problem::invalid_field(&reason));
        }
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes)
        .map_err(|_| Problem::invalid_field(&format!("field \"{name}\" is not UTF-8 text")))
}

/// Awaits the next piece of the body, but not for longer than a body may idle.
async fn in_time<T>(
    intake: &Intake<'_>,
    piece: impl Future<Output = Result<T, MultipartError>>,
) -> Result<T, Problem> {
    let limits = &intake.app.config.limits;
    let idle = limits.body_idle();
    match tokio::time::timeout(idle, piece).await {
        Ok(Ok(value)) => {
            intake.unparsed.reset();
            Ok(value)
        }
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(Problem::body_too_large(limits.body_bytes))
        }
        Ok(Err(_)) => Err(Problem::malformed_body(
            "the body breaks off or is not well-formed multipart/form-data",
        )),
        Err(_) => {
            let text = format!("no byte of the body came for {} s", idle.as_secs());
            Err(Problem::slow_body(&text))
        }
    }
}

pub(super) fn disk(error: &std::io::Error) -> Problem {
    tracing::error!(error = %error, "cannot store the scan");
    if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        return Problem::no_room();
    }
    Problem::internal("storage_failed")
}

fn known_field(name: &str) -> Result<&'static str, Problem> {
    JobRequest::FIELDS.into_iter().find(|known| *known == name).ok_or_else(|| {
        let known = JobRequest::FIELDS.join(", ");
        Problem::unknown_field(&format!("unknown field \"{}\"; known: scan, {known}", echo(name)))
    })
}

fn twice(name: &str) -> Problem {
    Problem::invalid_field(&format!("field \"{name}\" is given twice"))
}

/// The name a client gave its file, made harmless: the last path component, of letters, digits and
/// a little punctuation. It is shown to people and never opened.
fn clean_name(scrubber: &Scrubber, name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let kept: String = scrubber
        .scrub(last)
        .chars()
        .map(|c| if c.is_alphanumeric() || "._- ()+".contains(c) { c } else { '_' })
        .take(NAME_CHARS)
        .collect();
    if kept.trim_matches(['.', ' ']).is_empty() { "scan".into() } else { kept }
}

#[cfg(test)]
mod tests {
    use microdiff_telemetry::redaction::Scrubber;

    fn clean_name(name: &str) -> String {
        super::clean_name(&Scrubber::default(), name)
    }

    #[test]
    fn a_declared_name_keeps_no_path_and_no_control_characters() {
        assert_eq!(clean_name("part 7 (b).tif"), "part 7 (b).tif");
        assert_eq!(clean_name("../../etc/passwd"), "passwd");
        assert_eq!(clean_name("C:\\scans\\a.tif"), "a.tif");
        assert_eq!(clean_name("a\u{1b}[31m\n.tif"), "a__31m_.tif");
        assert_eq!(clean_name("for ada@example.org.tif"), "for _email_");
        assert_eq!(clean_name("token=abcdef.tif"), "token__redacted_");
        assert_eq!(clean_name(".."), "scan");
        assert_eq!(clean_name(""), "scan");
        assert_eq!(clean_name(&"x".repeat(500)).len(), 100);
    }
}

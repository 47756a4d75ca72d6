//! Printing and writing: a closed pipe is an end, not a crash; a file appears whole or not at all.

use crate::failure::Failure;
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Prints text on stdout. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::internal(format!("cannot write to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value as indented JSON on stdout.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    print(&(json(value)? + "\n"))
}

/// A value as indented JSON.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::internal)
}

/// Writes a file beside its final place and renames it there, so that no reader sees half of it.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let refuse = |error: std::io::Error| {
        Failure::internal(format!("cannot write {}: {error}", path.display()))
    };
    // A link is followed, and what is no file (a pipe, a device) is written to, not replaced.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.is_dir() {
        let reason = "it is a directory; name a file";
        return Err(Failure::usage(format!("cannot write {}: {reason}", path.display())));
    }
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return std::fs::write(path, content).map_err(refuse);
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if !directory.is_dir() {
        let reason = "its directory does not exist";
        return Err(Failure::usage(format!("cannot write {}: {reason}", path.display())));
    }
    // A temporary file is private by default; a result is as readable as the user's umask says.
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(directory)
        .map_err(refuse)?;
    file.write_all(content).map_err(refuse)?;
    file.as_file().sync_all().map_err(refuse)?;
    file.persist(path).map_err(|error| refuse(error.error))?;
    Ok(())
}

/// Six significant digits, without an exponent.
pub fn six_digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let decimals = (5 - value.abs().log10().floor() as i32).clamp(0, 12) as usize;
    let text = format!("{value:.decimals$}");
    if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::six_digits;

    #[test]
    fn numbers_have_six_significant_digits() {
        for (value, text) in [
            (1_234_567.8, "1234568"),
            (100.0, "100"),
            (99.123_456_7, "99.1235"),
            (0.0, "0"),
            (1.0, "1"),
            (0.000_123_456_78, "0.000123457"),
            (1e-15, "0"),
        ] {
            assert_eq!(six_digits(value), text);
        }
    }
}

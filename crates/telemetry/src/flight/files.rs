use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::recorder::FlightRecorder;
use crate::clock::rfc3339;
use crate::files;

/// What each file says it is.
const SCHEMA: &str = "flight/1";
const START: &str = "flight-";
const END: &str = ".json";

/// Files of records in one directory, `flight-<time>-<reason>.json`, the newest few of them.
#[derive(Clone, Debug)]
pub struct FlightFiles {
    directory: PathBuf,
    most: usize,
}

impl FlightFiles {
    /// Files in `directory`, of which the newest `most` stay.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, most: usize) -> Self {
        Self { directory: directory.into(), most: most.max(1) }
    }

    /// Writes all that the recorder holds to a new file, private to its owner, and removes the
    /// oldest beyond their number. `None` when there is nothing to write. Waits for no lock, so a
    /// panic hook may call it.
    ///
    /// # Errors
    /// When the file cannot be written, or an old one cannot be removed.
    pub fn write(&self, recorder: &FlightRecorder, reason: &str) -> io::Result<Option<PathBuf>> {
        let (records, left_out) = recorder.snapshot();
        if records.is_empty() {
            return Ok(None);
        }
        let written = rfc3339(SystemTime::now());
        let content = json!({
            "schema": SCHEMA,
            "written": written,
            "reason": reason,
            "version": recorder.version(),
            "classes_left_out": left_out,
            "records": records,
        });
        // The basic form of ISO 8601, which sorts by time and has no colon.
        let time: String = written.chars().filter(|c| !"-:".contains(*c)).collect();
        let path = self.directory.join(format!("{START}{time}-{reason}{END}"));
        files::replace(&path, format!("{content:#}\n").as_bytes())?;
        self.remove_old()?;
        Ok(Some(path))
    }

    fn remove_old(&self) -> io::Result<()> {
        let mut held = self.list()?;
        let surplus = held.len().saturating_sub(self.most);
        held.drain(..surplus).try_for_each(std::fs::remove_file)
    }

    /// The files there are, oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn list(&self) -> io::Result<Vec<PathBuf>> {
        let ours = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(START) && name.ends_with(END))
        };
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if ours(&path) {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

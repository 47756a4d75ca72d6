//! The counts in a file, from one run of the process to the next.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde_json::{Value, json};

use super::ring::{Ring, Tally};
use super::state::{Objective, Slo};
use crate::files;

const VERSION: u64 = 1;
/// Far beyond what the longest window writes; more is not ours.
const LARGEST_FILE: u64 = 16 * 1024 * 1024;
/// Saved that far in the future, the file was written under a wrong clock.
const SKEW_SECONDS: u64 = 3600;

/// Why saved counts could not be taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SavedError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// What it says cannot be.
    #[error("cannot be used: {0}")]
    Content(String),
}

fn content(reason: impl Into<String>) -> SavedError {
    SavedError::Content(reason.into())
}

/// Bucket, events, bad events.
type Row = (u64, u64, u64);
/// The rows of the two rings.
type Saved = (Vec<Row>, Vec<Row>);

impl Slo {
    /// Writes the counts to a file, which is replaced whole and private to its owner.
    ///
    /// # Errors
    /// When the file cannot be written; the old one is still there then.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        self.advance();
        let objectives: HashMap<&str, Value> = self
            .inner
            .objectives
            .iter()
            .map(|objective| (objective.options.name, objective.saved()))
            .collect();
        let saved_at = (self.inner.clock)().as_secs();
        let file = json!({ "version": VERSION, "saved_at": saved_at, "objectives": objectives });
        files::replace(path, file.to_string().as_bytes())
    }

    /// Adds the counts of a file that [`Slo::save`] wrote. A missing file is no error, nor is one
    /// without an objective of ours or with another definition of it: there is nothing to add then.
    /// On an error nothing was added. Returns the objectives that were taken over.
    ///
    /// # Errors
    /// When the file is not one that this program wrote, or was written in the future.
    pub fn load(&self, path: &Path) -> Result<Vec<&'static str>, SavedError> {
        let bytes = match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
            Ok(found) if found.len() > LARGEST_FILE => {
                return Err(content(format!("{} bytes are too many", found.len())));
            }
            Ok(_) => std::fs::read(path)?,
        };
        let file: Value =
            serde_json::from_slice(&bytes).map_err(|error| content(error.to_string()))?;
        if file["version"] != VERSION {
            return Err(content(format!("version {} is not {VERSION}", file["version"])));
        }
        let now = (self.inner.clock)().as_secs();
        let saved_at = file["saved_at"].as_u64().ok_or_else(|| content("no time of saving"))?;
        if saved_at > now.saturating_add(SKEW_SECONDS) {
            return Err(content(format!("saved at {saved_at}, after the present {now}")));
        }
        let mut taken = Vec::new();
        for objective in &self.inner.objectives {
            let saved = &file["objectives"][objective.options.name];
            if saved["definition"] == objective.options.definition.as_str() {
                taken.push((objective, read(saved, saved_at)?));
            }
        }
        Ok(taken
            .into_iter()
            .map(|(objective, saved)| objective.restore(&saved, saved_at))
            .collect())
    }
}

impl Objective {
    fn saved(&self) -> Value {
        let history = self.history();
        let rows = |ring: &Ring| -> Vec<Row> {
            ring.filled().map(|(index, tally)| (index, tally.total, tally.bad)).collect()
        };
        json!({
            "definition": self.options.definition,
            "minutes": rows(&history.fine),
            "five_minutes": rows(&history.coarse),
        })
    }

    fn restore(&self, (fine, coarse): &Saved, saved_at: u64) -> &'static str {
        let mut history = self.history();
        history.latest = history.latest.max(saved_at);
        for &(index, total, bad) in fine {
            history.fine.restore(index, Tally { total, bad });
        }
        for &(index, total, bad) in coarse {
            history.coarse.restore(index, Tally { total, bad });
        }
        self.options.name
    }
}

fn read(saved: &Value, saved_at: u64) -> Result<Saved, SavedError> {
    let rows = |name: &str, width: u64| -> Result<Vec<Row>, SavedError> {
        let rows: Vec<Row> = serde_json::from_value(saved[name].clone())
            .map_err(|error| content(format!("{name}: {error}")))?;
        let last = saved_at / width;
        match rows.iter().find(|(index, total, bad)| *index > last || bad > total) {
            Some(row) => Err(content(format!("{name}: bucket {} cannot be", row.0))),
            None => Ok(rows),
        }
    };
    Ok((rows("minutes", super::state::FINE.0)?, rows("five_minutes", super::state::COARSE)?))
}

//! Reading segments: their names, and their lines one by one.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use super::record::{Head, Record};

pub(super) const HEAD: &str = "head.json";
/// What a crash while [`HEAD`] was written leaves, see [`crate::files::replace`].
const HEAD_DRAFT: &str = "head.json.part";
pub(super) const LOCK: &str = "lock";

/// A line longer than any record is not held whole: no crash leaves one, so it was altered.
const LONGEST_LINE: u64 = 16 << 20;

pub(super) fn segment_name(number: u64) -> String {
    format!("audit-{number:06}.jsonl")
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(segment_name(number))
}

/// Reads the number in a segment's name; `None` for any other name.
fn segment_number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("audit-")?.strip_suffix(".jsonl")?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// What lies in the directory: the numbers of the segments, ascending, and names that are not ours.
pub(super) struct Listing {
    pub(super) segments: Vec<u64>,
    pub(super) foreign: Vec<String>,
}

pub(super) fn list(dir: &Path) -> io::Result<Listing> {
    let mut listing = Listing { segments: Vec::new(), foreign: Vec::new() };
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match segment_number(&name) {
            Some(number) if entry.file_type()?.is_file() => listing.segments.push(number),
            _ if [HEAD, HEAD_DRAFT, LOCK].contains(&name.as_str()) => {}
            _ => listing.foreign.push(name),
        }
    }
    listing.segments.sort_unstable();
    listing.foreign.sort_unstable();
    Ok(listing)
}

/// What is said of the head by the file.
pub(super) enum StoredHead {
    Missing,
    Damaged,
    Read(Head),
}

pub(super) fn read_head(dir: &Path) -> io::Result<StoredHead> {
    match std::fs::read(dir.join(HEAD)) {
        Ok(bytes) => Ok(Head::parse(&bytes).map_or(StoredHead::Damaged, StoredHead::Read)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(StoredHead::Missing),
        Err(error) => Err(error),
    }
}

/// One line of a segment.
pub(super) enum Line {
    /// A record whose hash is right.
    Whole(Record),
    /// A line that is not as it was written.
    Altered,
    /// Bytes at the end without a line feed.
    Torn(Vec<u8>),
}

/// The lines of one segment, from its first.
pub(super) struct Lines {
    input: BufReader<File>,
    pub(super) bytes: u64,
}

impl Lines {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { input: BufReader::with_capacity(64 * 1024, File::open(path)?), bytes: 0 })
    }

    /// The next line as it lies in the file; `bytes` counts the whole lines so far.
    pub(super) fn next(&mut self, raw: &mut Vec<u8>) -> io::Result<Option<Line>> {
        use std::io::Read as _;
        raw.clear();
        self.input.by_ref().take(LONGEST_LINE).read_until(b'\n', raw)?;
        if raw.is_empty() {
            return Ok(None);
        }
        if raw.last() != Some(&b'\n') {
            if (raw.len() as u64) < LONGEST_LINE {
                return Ok(Some(Line::Torn(raw.clone())));
            }
            self.bytes += LONGEST_LINE + self.input.skip_until(b'\n')? as u64;
            return Ok(Some(Line::Altered));
        }
        self.bytes += raw.len() as u64;
        let record = Record::parse(raw.get(..raw.len() - 1).unwrap_or_default());
        Ok(Some(record.map_or(Line::Altered, Line::Whole)))
    }
}

/// What a segment holds.
#[derive(Default)]
pub(super) struct Survey {
    pub(super) first: Option<Record>,
    pub(super) last: Option<Record>,
    /// Latest time of its records, µs since 1970.
    pub(super) newest_us: u64,
    /// Bytes of its whole lines.
    pub(super) bytes: u64,
    /// Whole lines that are not as they were written.
    pub(super) altered: u64,
    /// What stands after the last line feed.
    pub(super) torn: Vec<u8>,
}

pub(super) fn survey(path: &Path) -> io::Result<Survey> {
    let mut lines = Lines::open(path)?;
    let mut survey = Survey::default();
    let mut raw = Vec::new();
    while let Some(line) = lines.next(&mut raw)? {
        match line {
            Line::Whole(record) => {
                // A time that cannot be read is later than any: its segment is never removed.
                survey.newest_us = survey.newest_us.max(record.micros().unwrap_or(u64::MAX));
                if survey.first.is_none() {
                    survey.first = Some(record.clone());
                }
                survey.last = Some(record);
            }
            Line::Altered => survey.altered += 1,
            Line::Torn(bytes) => survey.torn = bytes,
        }
    }
    survey.bytes = lines.bytes;
    Ok(survey)
}

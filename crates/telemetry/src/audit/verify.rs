//! From the directory of an audit log to what is wrong with it.
//!
//! Reads each line once and keeps one record in memory; the log may belong to a running service.
//! The rules: numbers go up by one from the head's first to at least its newest; each record names
//! the hash of the one before; each line's own hash is right. What breaks a rule is told by the
//! rule it breaks.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use super::AuditError;
use super::record::{Head, Record};
use super::scan::{self, LOCK, Line, Lines, StoredHead};

/// Times that a log is read again because its service removed a segment meanwhile.
const ATTEMPTS: u32 = 5;

/// One thing that is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// A line is not as it was written.
    Altered {
        /// The segment.
        segment: String,
        /// Number of the line in it, from 1.
        line: u64,
        /// Number of the record.
        seq: u64,
    },
    /// Records are missing where their neighbours are there.
    Removed {
        /// Where the gap shows.
        segment: String,
        /// First record that is missing.
        from: u64,
        /// Last record that is missing.
        to: u64,
    },
    /// A whole segment is missing.
    SegmentRemoved {
        /// The segment.
        segment: String,
    },
    /// A record stands where another should.
    Reordered {
        /// The segment.
        segment: String,
        /// Number of the line in it, from 1.
        line: u64,
        /// Number of the record that stands there.
        seq: u64,
        /// Number of the record that should.
        expected: u64,
    },
    /// The newest segment ends in half a line, as a crash leaves it.
    TornTail {
        /// The segment.
        segment: String,
        /// Bytes after the last whole line.
        bytes: u64,
        /// The record before them.
        after: u64,
    },
    /// Something in the directory that is not part of the log.
    Foreign {
        /// Its name.
        name: String,
    },
    /// The head is missing or not as it was written.
    HeadLost,
    /// The head was once lost and made anew from the segments.
    HeadRebuilt {
        /// The record that says so.
        seq: u64,
    },
    /// The log begins late, and no record of retention says why.
    RetentionUnrecorded {
        /// First record that is there.
        first: u64,
    },
    /// The hash kept elsewhere is not that of any record.
    AnchorMissing,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { segment, line, seq } => {
                write!(f, "altered: record {seq} ({segment} line {line}) is not as it was written")
            }
            Self::Removed { segment, from, to } if from == to => {
                write!(f, "removed: record {from} is missing from {segment}")
            }
            Self::Removed { segment, from, to } => {
                write!(f, "removed: records {from} to {to} are missing from {segment}")
            }
            Self::SegmentRemoved { segment } => write!(f, "segment removed: {segment} is missing"),
            Self::Reordered { segment, line, seq, expected } => write!(
                f,
                "reordered: record {seq} stands at {segment} line {line} instead of {expected}"
            ),
            Self::TornTail { segment, bytes, after } => write!(
                f,
                "torn tail: {bytes} bytes of an unfinished record after record {after} in \
                 {segment}, as a crash leaves them; the next start puts it right"
            ),
            Self::Foreign { name } => write!(f, "foreign: {name:?} is not part of the log"),
            Self::HeadLost => write!(f, "head lost: head.json is missing or altered"),
            Self::HeadRebuilt { seq } => write!(
                f,
                "head rebuilt: record {seq} says that head.json was lost; records before it may \
                 be missing"
            ),
            Self::RetentionUnrecorded { first } => write!(
                f,
                "removed: no record says that retention removed the records before {first}"
            ),
            Self::AnchorMissing => write!(f, "anchor missing: no record has the expected hash"),
        }
    }
}

/// What a log holds and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Records that are as they were written.
    pub records: u64,
    /// Segments that are there.
    pub segments: u64,
    /// Number of the first record.
    pub first_seq: u64,
    /// Number of the last record.
    pub last_seq: u64,
    /// Time of the first record, RFC 3339.
    pub first_time: String,
    /// Time of the last record, RFC 3339.
    pub last_time: String,
    /// Hash of the last record: what to keep elsewhere.
    pub head: String,
    /// Crashes that were put right.
    pub recoveries: u64,
    /// What is wrong; empty for a whole log.
    pub findings: Vec<Finding>,
}

/// Reads the log in `dir` and reports. `anchor`: the hash of a record, kept elsewhere.
///
/// # Errors
/// When the directory cannot be read.
pub fn verify(dir: &Path, anchor: Option<&str>) -> Result<Report, AuditError> {
    let unreadable = |error: io::Error| AuditError::Unreadable(error.to_string());
    for _ in 1..ATTEMPTS {
        match attempt(dir, anchor) {
            // Retention took a segment between the listing and the reading.
            Err(error) if error.kind() == io::ErrorKind::NotFound && dir.is_dir() => {}
            other => return other.map_err(unreadable),
        }
    }
    attempt(dir, anchor).map_err(unreadable)
}

fn attempt(dir: &Path, anchor: Option<&str>) -> io::Result<Report> {
    // The head first: by the time the segments are read they can only have grown beyond it.
    let stored = scan::read_head(dir)?;
    let listing = scan::list(dir)?;
    let mut walk = Walk::new(anchor);
    walk.report.findings.extend(listing.foreign.into_iter().map(|name| Finding::Foreign { name }));
    let head = match stored {
        StoredHead::Read(head) => Some(head),
        StoredHead::Missing if listing.segments.is_empty() => None,
        StoredHead::Missing | StoredHead::Damaged => {
            walk.report.findings.push(Finding::HeadLost);
            None
        }
    };
    let first = head.as_ref().map_or(0, |head| head.first_segment);
    if let Some(head) = head.as_ref() {
        walk.expected = head.first_seq;
        walk.prev = Some(head.first_prev.clone());
        walk.boundary = Some((head.first_seq, head.first_prev.clone()));
        walk.next_segment = first;
        walk.head_at = Some(head.seq);
    }
    // A segment before the head's first was given up by retention and not yet removed.
    let numbers: Vec<u64> = listing.segments.into_iter().filter(|n| *n >= first).collect();
    for number in &numbers {
        walk.segment(dir, *number, numbers.last() == Some(number))?;
    }
    walk.finish(head.as_ref());
    Ok(walk.report)
}

struct Walk<'a> {
    report: Report,
    anchor: Option<&'a str>,
    anchored: bool,
    /// Number that the next record should have; 0 before the first when no head says.
    expected: u64,
    /// Hash that the next record should name; unknown after a damaged one.
    prev: Option<String>,
    next_segment: u64,
    /// Gaps, so that a record that turns up later is known to be out of order.
    gaps: Vec<(String, u64, u64)>,
    /// What retention must have recorded: the first record that is left and the hash before it.
    boundary: Option<(u64, String)>,
    retained: bool,
    /// Where the last whole record stands.
    place: (String, u64),
    head_seen: Option<String>,
    head_at: Option<u64>,
}

impl<'a> Walk<'a> {
    fn new(anchor: Option<&'a str>) -> Self {
        Self {
            report: Report::default(),
            anchor,
            anchored: false,
            expected: 0,
            prev: None,
            next_segment: 0,
            gaps: Vec::new(),
            boundary: None,
            retained: false,
            place: (String::new(), 0),
            head_seen: None,
            head_at: None,
        }
    }

    fn segment(&mut self, dir: &Path, number: u64, newest: bool) -> io::Result<()> {
        let name = scan::segment_name(number);
        if self.next_segment > 0 {
            let missing = (self.next_segment..number).map(scan::segment_name);
            let found: Vec<_> =
                missing.map(|segment| Finding::SegmentRemoved { segment }).collect();
            self.report.findings.extend(found);
        }
        self.next_segment = number + 1;
        self.report.segments += 1;
        let mut lines = Lines::open(&scan::segment_path(dir, number))?;
        let mut raw = Vec::new();
        let mut at = 0;
        while let Some(line) = lines.next(&mut raw)? {
            at += 1;
            match line {
                Line::Whole(record) => self.record(&name, at, record),
                Line::Altered => self.altered(&name, at),
                Line::Torn(_) if newest && is_being_written(dir) => {}
                Line::Torn(bytes) if newest => self.report.findings.push(Finding::TornTail {
                    segment: name.clone(),
                    bytes: bytes.len() as u64,
                    after: self.expected.saturating_sub(1),
                }),
                Line::Torn(_) => self.altered(&name, at),
            }
        }
        Ok(())
    }

    fn altered(&mut self, segment: &str, line: u64) {
        let seq = self.expected.max(1);
        self.report.findings.push(Finding::Altered { segment: segment.to_owned(), line, seq });
        self.expected = seq + 1;
        self.prev = None;
    }

    fn record(&mut self, segment: &str, line: u64, record: Record) {
        if self.expected == 0 {
            self.expected = record.seq;
        }
        self.note(&record);
        let expected = self.expected;
        if record.seq < expected {
            self.fill_gap(record.seq);
            let segment = segment.to_owned();
            let found = Finding::Reordered { segment, line, seq: record.seq, expected };
            self.report.findings.push(found);
            return;
        }
        if record.seq > expected {
            self.gaps.push((segment.to_owned(), expected, record.seq - 1));
        } else if self.prev.as_ref().is_some_and(|prev| *prev != record.prev) {
            // The line before has a right hash of its own, but it is not the line that was here.
            let (segment, line) = self.place.clone();
            let seq = expected.saturating_sub(1);
            self.report.findings.push(Finding::Altered { segment, line, seq });
        }
        self.expected = record.seq + 1;
        self.place = (segment.to_owned(), line);
        self.report.last_seq = record.seq;
        self.report.last_time = record.time;
        self.report.head.clone_from(&record.hash);
        self.prev = Some(record.hash);
    }

    /// What a record says beside its place in the chain.
    fn note(&mut self, record: &Record) {
        self.report.records += 1;
        if self.report.records == 1 {
            self.report.first_seq = record.seq;
            self.report.first_time.clone_from(&record.time);
        }
        self.anchored |= self.anchor == Some(record.hash.as_str());
        if self.head_at == Some(record.seq) {
            self.head_seen = Some(record.hash.clone());
        }
        match (record.event.as_str(), record.text("reason")) {
            ("audit.recovered", Some("head_lost")) => {
                self.report.findings.push(Finding::HeadRebuilt { seq: record.seq });
            }
            ("audit.recovered", _) => self.report.recoveries += 1,
            ("audit.retention", _) => {
                let names = record.number("last_seq").zip(record.text("last_hash"));
                self.retained |= self.boundary.as_ref().is_some_and(|(first, prev)| {
                    names.is_some_and(|(seq, hash)| seq + 1 == *first && hash == prev)
                });
            }
            _ => {}
        }
    }

    /// Takes a record that turned up late out of the gaps.
    fn fill_gap(&mut self, seq: u64) {
        let mut left = Vec::new();
        for (segment, from, to) in self.gaps.drain(..) {
            if !(from..=to).contains(&seq) {
                left.push((segment, from, to));
                continue;
            }
            if from < seq {
                left.push((segment.clone(), from, seq - 1));
            }
            if seq < to {
                left.push((segment, seq + 1, to));
            }
        }
        self.gaps = left;
    }

    fn finish(&mut self, head: Option<&Head>) {
        if let Some(head) = head {
            let missing = (self.next_segment..=head.segment).map(scan::segment_name);
            let found: Vec<_> = missing
                .filter(|_| head.seq > 0)
                .map(|segment| Finding::SegmentRemoved { segment })
                .collect();
            self.report.findings.extend(found);
            if self.expected <= head.seq {
                let segment = scan::segment_name(head.segment);
                self.gaps.push((segment, self.expected.max(1), head.seq));
            } else if self.head_seen.as_ref().is_some_and(|hash| *hash != head.hash) {
                let (segment, line) = self.place.clone();
                self.report.findings.push(Finding::Altered { segment, line, seq: head.seq });
            }
            if head.first_seq > 1 && !self.retained {
                let first = head.first_seq;
                self.report.findings.push(Finding::RetentionUnrecorded { first });
            }
        }
        for (segment, from, to) in std::mem::take(&mut self.gaps) {
            self.report.findings.push(Finding::Removed { segment, from, to });
        }
        if self.anchor.is_some() && !self.anchored {
            self.report.findings.push(Finding::AnchorMissing);
        }
    }
}

/// Whether a service holds the log open: then half a line is one that is just being written.
fn is_being_written(dir: &Path) -> bool {
    let Ok(lock) = File::open(dir.join(LOCK)) else { return false };
    // Closing the file lets go of the lock.
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
}

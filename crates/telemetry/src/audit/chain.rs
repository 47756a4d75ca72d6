//! The chain as its only writer sees it: opened, appended to, rotated, and cut at its old end.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::record::{Head, Stamp, micros_of, push_record, sha256_hex};
use super::scan::{self, HEAD, LOCK, StoredHead, Survey};
use super::{AuditClock, AuditOptions};
use crate::files;

const DAY_US: u64 = 86_400_000_000;
/// How often a reader that holds the lock for a moment is waited for.
const LOCK_ATTEMPTS: u32 = 40;

/// An event with its fields, not yet in the chain.
pub(super) type Event<'a> = (&'a str, &'a Map<String, Value>);

pub(super) struct Chain {
    dir: PathBuf,
    segment_bytes: u64,
    retention: Duration,
    clock: Arc<dyn AuditClock>,
    /// The segment being written; without one the next record begins a new one.
    open: Option<Segment>,
    head: Head,
    /// The head's seconds of running when the clock began to run, and what it said then.
    run_base: (u64, Duration),
    lock: File,
}

struct Segment {
    file: File,
    path: PathBuf,
    bytes: u64,
    day: u64,
}

impl Segment {
    /// Appends and syncs; on failure the file is as before, or this says that it is not.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(lines).and_then(|()| self.file.sync_data());
        written.and_then(|()| self.prove_in_place())?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// A file that was removed or replaced would go on taking records that nobody finds again.
    fn prove_in_place(&self) -> io::Result<()> {
        let (own, named) = (self.file.metadata()?, std::fs::metadata(&self.path)?);
        if (own.dev(), own.ino()) == (named.dev(), named.ino()) {
            return Ok(());
        }
        Err(io::Error::other("the segment being written is not the one in the directory"))
    }
}

impl Chain {
    /// Opens the chain and puts right what a crash left.
    pub(super) fn open(options: &AuditOptions) -> io::Result<Self> {
        std::fs::create_dir_all(&options.dir)?;
        let lock = lock(&options.dir)?;
        let mut chain = Self {
            dir: options.dir.clone(),
            segment_bytes: options.segment_bytes,
            retention: options.retention,
            clock: Arc::clone(&options.clock),
            open: None,
            head: Head::empty(),
            run_base: (0, options.clock.running()),
            lock,
        };
        for fields in chain.take_up()? {
            chain.append(&[("audit.recovered", &fields)])?;
        }
        // Also for an empty log: a segment without a head is one whose head was lost.
        chain.write_head()?;
        Ok(chain)
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Lets another process have the directory.
    pub(super) fn release(&self) -> io::Result<()> {
        self.lock.unlock()
    }

    /// Finds where the chain goes on. Returns what had to be put right, as fields of records.
    fn take_up(&mut self) -> io::Result<Vec<Map<String, Value>>> {
        let mut told = Vec::new();
        let mut numbers = scan::list(&self.dir)?.segments;
        let stored = scan::read_head(&self.dir)?;
        let mut survey = Survey::default();
        while let Some(&number) = numbers.last() {
            let path = scan::segment_path(&self.dir, number);
            survey = scan::survey(&path)?;
            if !survey.torn.is_empty() {
                told.push(torn(number, &survey.torn));
                let file = OpenOptions::new().write(true).open(&path)?;
                file.set_len(survey.bytes)?;
                file.sync_all()?;
            }
            if survey.bytes > 0 {
                break;
            }
            // Begun by a process that ended before the first record was whole.
            std::fs::remove_file(&path)?;
            numbers.pop();
        }
        let newest = numbers.last().copied().unwrap_or(0);
        match stored {
            StoredHead::Read(head) => self.head = head,
            StoredHead::Missing if numbers.is_empty() => {}
            StoredHead::Missing | StoredHead::Damaged => {
                told.push(object(json!({ "reason": "head_lost" })));
                self.head = self.rebuilt_head(&numbers)?;
            }
        }
        self.run_base.0 = self.head.run_seconds;
        self.finish_removal(&numbers)?;
        self.take_up_at(newest, &survey, &mut told)?;
        Ok(told)
    }

    /// Goes on after the newest record if that is the head or follows it, else after the head.
    fn take_up_at(
        &mut self,
        newest: u64,
        survey: &Survey,
        told: &mut Vec<Map<String, Value>>,
    ) -> io::Result<()> {
        let Some(last) = survey.last.as_ref().filter(|_| survey.altered == 0) else {
            if newest > 0 || self.head.seq > 0 {
                told.push(object(json!({ "reason": "newest_segment_damaged" })));
            }
            self.head.segment = self.head.segment.max(newest);
            return Ok(());
        };
        let (held, kept) = (last.seq, self.head.seq);
        if held < kept || (held == kept && last.hash != self.head.hash) {
            let reason = if held < kept { "records_missing" } else { "newest_record_altered" };
            told.push(object(json!({ "reason": reason, "newest": held, "expected": kept })));
            self.head.segment = self.head.segment.max(newest);
            return Ok(());
        }
        self.head.seq = last.seq;
        self.head.hash.clone_from(&last.hash);
        self.head.segment = newest;
        self.head.newest_us = self.head.newest_us.max(survey.newest_us);
        let path = scan::segment_path(&self.dir, newest);
        let file = OpenOptions::new().append(true).open(&path)?;
        let day = survey.first.as_ref().and_then(|first| first.micros()).unwrap_or(0) / DAY_US;
        self.open = Some(Segment { file, path, bytes: survey.bytes, day });
        Ok(())
    }

    /// What the segments themselves say, when nothing else does.
    fn rebuilt_head(&self, numbers: &[u64]) -> io::Result<Head> {
        let mut head = Head::empty();
        let Some((&first, &last)) = numbers.first().zip(numbers.last()) else { return Ok(head) };
        for number in [first, last] {
            let survey = scan::survey(&scan::segment_path(&self.dir, number))?;
            head.newest_us = head.newest_us.max(survey.newest_us);
            if let Some(record) = survey.first.as_ref().filter(|_| number == first) {
                head.first_seq = record.seq;
                head.first_prev.clone_from(&record.prev);
            }
            if let Some(record) = &survey.first {
                head.run_seconds = record.number("run_seconds").unwrap_or(head.run_seconds);
            }
            if let Some(record) = survey.last {
                head.seq = record.seq;
                head.hash = record.hash;
            }
        }
        head.first_segment = first;
        head.segment = last;
        Ok(head)
    }

    /// Removes what retention had given up before the process ended.
    fn finish_removal(&self, numbers: &[u64]) -> io::Result<()> {
        for number in numbers.iter().filter(|number| **number < self.head.first_segment) {
            std::fs::remove_file(scan::segment_path(&self.dir, *number))?;
        }
        Ok(())
    }

    /// Puts events into the chain; all are on the disk when this returns, or none is in the chain.
    pub(super) fn append(&mut self, events: &[Event<'_>]) -> io::Result<()> {
        let now = self.clock.now();
        let today = micros_of(now) / DAY_US;
        self.close_full_segment(today);
        let mut head = self.head.clone();
        head.run_seconds = self.run_seconds();
        head.newest_us = head.newest_us.max(micros_of(now));
        let mut lines = Vec::new();
        if self.open.is_none() {
            head.segment += 1;
            let opening = object(json!({
                "segment": scan::segment_name(head.segment),
                "run_seconds": head.run_seconds,
            }));
            link(&mut lines, &mut head, now, ("audit.segment", &opening));
        }
        for event in events {
            link(&mut lines, &mut head, now, *event);
        }
        let (mut segment, fresh) = match self.open.take() {
            Some(segment) => (segment, false),
            None => (self.create(head.segment, today)?, true),
        };
        match segment.write(&lines) {
            Ok(()) => {
                self.open = Some(segment);
                self.head = head;
                Ok(())
            }
            Err(error) => {
                self.undo(segment, fresh);
                Err(error)
            }
        }
    }

    /// Takes back what a failed write left. A segment that cannot be put right is given up, and the
    /// next record begins another.
    fn undo(&mut self, segment: Segment, fresh: bool) {
        if fresh {
            // Emptied first: if the directory itself is out of place, the file cannot be found to
            // be removed, and must not stand in the way when the directory is back.
            let _ = segment.file.set_len(0);
            let _ = std::fs::remove_file(&segment.path);
            return;
        }
        let restored = segment.file.set_len(segment.bytes).and_then(|()| segment.prove_in_place());
        if restored.is_ok() {
            self.open = Some(segment);
        }
    }

    fn close_full_segment(&mut self, today: u64) {
        let full = |open: &Segment| open.bytes >= self.segment_bytes || today != open.day;
        if self.open.as_ref().is_some_and(full) {
            self.open = None;
            let head = &self.head;
            tracing::info!(
                segment = head.segment,
                seq = head.seq,
                head = %head.hash,
                "audit segment closed"
            );
        }
    }

    fn create(&self, number: u64, day: u64) -> io::Result<Segment> {
        std::fs::create_dir_all(&self.dir)?;
        let path = scan::segment_path(&self.dir, number);
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        if file.metadata()?.len() > 0 {
            return Err(io::Error::other("a segment of the next number is there already"));
        }
        File::open(&self.dir)?.sync_all()?;
        Ok(Segment { file, path, bytes: 0, day })
    }

    /// Seconds that the service has been running since the first record of all.
    fn run_seconds(&self) -> u64 {
        let (base, origin) = self.run_base;
        base + self.clock.running().saturating_sub(origin).as_secs()
    }

    /// Makes the head on the disk the one of the chain.
    pub(super) fn write_head(&mut self) -> io::Result<()> {
        self.head.run_seconds = self.run_seconds();
        files::replace(&self.dir.join(HEAD), &self.head.to_line())
    }

    /// Whether the directory takes writes: the head is written again.
    pub(super) fn probe(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            open.prove_in_place()?;
        }
        self.write_head()
    }

    /// Removes the oldest segments as far as they may go. Returns how many went.
    pub(super) fn sweep(&mut self) -> io::Result<u64> {
        let mut removed = 0;
        while let Some(oldest) = self.removable()? {
            let number = self.head.first_segment;
            let last = oldest.last.as_ref();
            let (Some(first), Some(last)) = (oldest.first.as_ref(), last) else { break };
            let fields = object(json!({
                "segment": scan::segment_name(number),
                "first_seq": first.seq,
                "last_seq": last.seq,
                "last_hash": last.hash,
                "retention_seconds": self.retention.as_secs(),
            }));
            self.append(&[("audit.retention", &fields)])?;
            self.head.first_seq = last.seq + 1;
            self.head.first_prev.clone_from(&last.hash);
            self.head.first_segment = number + 1;
            // First the head: a segment that the head does not ask for any more may go.
            self.write_head()?;
            std::fs::remove_file(scan::segment_path(&self.dir, number))?;
            File::open(&self.dir)?.sync_all()?;
            removed += 1;
        }
        Ok(removed)
    }

    /// The oldest segment, if every doubt about its age is settled.
    ///
    /// Its records must be too old by their own times, and the service must have been running for
    /// that long since the segment was closed: a clock that was set ahead, while running or between
    /// two runs, ages nothing. A clock that stands before the newest record is not believed at all.
    fn removable(&self) -> io::Result<Option<Survey>> {
        let number = self.head.first_segment;
        if number >= self.head.segment {
            return Ok(None);
        }
        let now = micros_of(self.clock.now());
        let retention = u64::try_from(self.retention.as_micros()).unwrap_or(u64::MAX);
        let next = scan::segment_path(&self.dir, number + 1);
        let closed_at = match scan::Lines::open(&next)?.next(&mut Vec::new())? {
            Some(scan::Line::Whole(record)) => record.number("run_seconds"),
            _ => None,
        };
        let run_since = closed_at.map(|closed| self.run_seconds().saturating_sub(closed));
        if now < self.head.newest_us
            || run_since.is_none_or(|seconds| seconds <= self.retention.as_secs())
        {
            return Ok(None);
        }
        let oldest = scan::survey(&scan::segment_path(&self.dir, number))?;
        let whole = oldest.altered == 0 && oldest.torn.is_empty();
        let old = now.saturating_sub(oldest.newest_us) > retention;
        Ok((whole && old).then_some(oldest))
    }
}

/// Appends one event to the lines and moves the head onto it.
fn link(lines: &mut Vec<u8>, head: &mut Head, time: SystemTime, event: Event<'_>) {
    let stamp = Stamp { seq: head.seq + 1, time, prev: &head.hash };
    let hash = push_record(lines, &stamp, event.0, event.1);
    head.seq += 1;
    head.hash = hash;
}

fn torn(number: u64, bytes: &[u8]) -> Map<String, Value> {
    object(json!({
        "reason": "torn_tail",
        "segment": scan::segment_name(number),
        "bytes_dropped": bytes.len(),
        "dropped_sha256": sha256_hex(bytes),
    }))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The lock of the directory. A reader may hold it for a moment; another writer does so for good.
fn lock(dir: &Path) -> io::Result<File> {
    let options = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).clone();
    let lock = options.open(dir.join(LOCK))?;
    for _ in 0..LOCK_ATTEMPTS {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::other("another process writes this audit log"))
}

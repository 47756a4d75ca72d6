use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use serde_json::Value;

use super::record::FlightRecord;
use crate::redaction::Scrubber;

/// Which records of a class stay when it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest.
    Newest,
    /// A sample that thins out with age: each newcomer takes a place at random, so the age of what
    /// is held is exponentially distributed (Aggarwal 2006, "On biased reservoir sampling in the
    /// presence of stream evolution", algorithm 2.1 with a full reservoir).
    Sample,
}

/// One class of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlightClass {
    /// Its name, also the reason that puts a record into it.
    pub name: &'static str,
    /// Its part of the whole, relative to the other classes'.
    pub share: usize,
    /// Which records stay.
    pub keep: Keep,
}

/// How much is kept, and under which names.
#[derive(Clone, Debug)]
pub struct FlightOptions {
    /// The classes; a record goes into the first one of these it has a reason for.
    pub classes: &'static [FlightClass],
    /// Records in all; each class has one at least.
    pub capacity: usize,
    /// Bytes in all, as far as they can be counted.
    pub bytes: usize,
    /// Version of the service, in each record.
    pub version: String,
}

/// What became of the records of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// The class.
    pub class: &'static str,
    /// Records held now.
    pub held: usize,
    /// Records it may hold.
    pub capacity: usize,
    /// Bytes held now.
    pub bytes: usize,
    /// Records that came.
    pub recorded: u64,
    /// Records that had to go, or were too large to be kept.
    pub evicted: u64,
}

/// Keeps records by class. Cheap to clone; clones are the same recorder.
#[derive(Clone)]
pub struct FlightRecorder {
    inner: Arc<Inner>,
}

struct Inner {
    classes: Vec<Mutex<Shelf>>,
    options: FlightOptions,
    scrubber: Scrubber,
    sequence: AtomicU64,
}

struct Shelf {
    class: FlightClass,
    capacity: usize,
    most_bytes: usize,
    held: VecDeque<Arc<Held>>,
    bytes: usize,
    recorded: u64,
    evicted: u64,
    random: u64,
}

struct Held {
    sequence: u64,
    /// One bit for each class that is a reason.
    reasons: u64,
    size: usize,
    record: FlightRecord,
}

impl FlightRecorder {
    /// An empty recorder.
    #[must_use]
    pub fn new(options: FlightOptions, scrubber: Scrubber) -> Self {
        let shares: usize = options.classes.iter().map(|class| class.share).sum();
        let part = |whole: usize, class: &FlightClass| (whole * class.share) / shares.max(1);
        let shelf = |(seed, class): (usize, &FlightClass)| {
            Mutex::new(Shelf {
                class: *class,
                capacity: part(options.capacity, class).max(1),
                most_bytes: part(options.bytes, class),
                held: VecDeque::new(),
                bytes: 0,
                recorded: 0,
                evicted: 0,
                random: seed as u64 + 0x9e37_79b9_7f4a_7c15,
            })
        };
        let classes = options.classes.iter().enumerate().map(shelf).collect();
        let sequence = AtomicU64::new(0);
        Self { inner: Arc::new(Inner { classes, options, scrubber, sequence }) }
    }

    /// Keeps a record for these reasons, which are names of classes; without a known one it is not
    /// kept.
    pub fn record(&self, reasons: &[&str], record: FlightRecord) {
        let inner = &self.inner;
        let mut bits = 0;
        for (i, class) in inner.options.classes.iter().enumerate().take(64) {
            bits |= u64::from(reasons.contains(&class.name)) << i;
        }
        let Some(shelf) = inner.classes.get(bits.trailing_zeros() as usize) else { return };
        let record = record.bounded();
        let sequence = inner.sequence.fetch_add(1, Ordering::Relaxed);
        let held = Arc::new(Held { sequence, reasons: bits, size: record.size(), record });
        // What had to go is dropped after the lock.
        let _gone = lock(shelf).put(held);
    }

    /// The newest records as JSON, newest first; of one class (that is one of their reasons) or all.
    #[must_use]
    pub fn list(&self, class: Option<&str>, limit: usize) -> Vec<Value> {
        let bits = class.map_or(u64::MAX, |name| self.bit(name));
        self.newest(|held| held.reasons & bits != 0, limit)
    }

    /// The newest record of this id or request id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<Value> {
        let wanted = |held: &Held| held.record.id == id || held.record.request_id == id;
        self.newest(wanted, 1).pop()
    }

    /// What became of the records, by class.
    #[must_use]
    pub fn counts(&self) -> Vec<ClassCount> {
        let count = |shelf: &Mutex<Shelf>| {
            let shelf = lock(shelf);
            ClassCount {
                class: shelf.class.name,
                held: shelf.held.len(),
                capacity: shelf.capacity,
                bytes: shelf.bytes,
                recorded: shelf.recorded,
                evicted: shelf.evicted,
            }
        };
        self.inner.classes.iter().map(count).collect()
    }

    /// Every record as JSON, newest first, without waiting for a lock: for a thread that panics and
    /// may hold one. The second value counts the classes that had to be left out.
    pub(super) fn snapshot(&self) -> (Vec<Value>, usize) {
        let mut all = Vec::new();
        let mut left_out = 0;
        for shelf in &self.inner.classes {
            match shelf.try_lock() {
                Ok(shelf) => all.extend(shelf.held.iter().cloned()),
                Err(TryLockError::Poisoned(shelf)) => {
                    all.extend(shelf.into_inner().held.iter().cloned());
                }
                Err(TryLockError::WouldBlock) => left_out += 1,
            }
        }
        (self.told(all, usize::MAX), left_out)
    }

    pub(super) fn version(&self) -> &str {
        &self.inner.options.version
    }

    fn bit(&self, name: &str) -> u64 {
        let found = self.inner.options.classes.iter().take(64).position(|held| held.name == name);
        found.map_or(0, |i| 1 << i)
    }

    fn newest(&self, wanted: impl Fn(&Held) -> bool, limit: usize) -> Vec<Value> {
        let mut all: Vec<Arc<Held>> = Vec::new();
        for shelf in &self.inner.classes {
            all.extend(lock(shelf).held.iter().filter(|held| wanted(held)).cloned());
        }
        self.told(all, limit)
    }

    fn told(&self, mut all: Vec<Arc<Held>>, limit: usize) -> Vec<Value> {
        all.sort_by_key(|held| std::cmp::Reverse(held.sequence));
        all.truncate(limit);
        let Inner { options, scrubber, .. } = &*self.inner;
        let tell = |held: &Arc<Held>| {
            let names = options.classes.iter().enumerate();
            let reasons: Vec<&str> = names
                .filter(|(i, _)| held.reasons >> i & 1 == 1)
                .map(|(_, class)| class.name)
                .collect();
            held.record.json(&reasons, &options.version, scrubber)
        };
        all.iter().map(tell).collect()
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shelf {
    /// Takes a record in and returns what had to go for it.
    fn put(&mut self, held: Arc<Held>) -> Vec<Arc<Held>> {
        self.recorded += 1;
        if held.size > self.most_bytes {
            self.evicted += 1;
            return vec![held];
        }
        let mut gone = Vec::new();
        while self.held.len() >= self.capacity || self.bytes + held.size > self.most_bytes {
            let place = self.place();
            let Some(old) = self.held.remove(place) else { break };
            self.bytes -= old.size;
            self.evicted += 1;
            gone.push(old);
        }
        self.bytes += held.size;
        self.held.push_back(held);
        gone
    }

    /// Which record goes next.
    fn place(&mut self) -> usize {
        match self.class.keep {
            Keep::Newest => 0,
            Keep::Sample => {
                // Marsaglia 2003, "Xorshift RNGs": enough to spread what is kept.
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                (self.random % self.held.len().max(1) as u64) as usize
            }
        }
    }
}

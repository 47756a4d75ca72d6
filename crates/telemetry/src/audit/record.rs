//! The bytes of one record, and of the head.
//!
//! A sealed line is `BODY,"hash":"HEX"}` where HEX is the SHA-256 of BODY exactly as it lies in the
//! file: no canonical form has to be agreed on, and no byte of the line can change unnoticed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::clock::push_rfc3339;

/// What the first record of all names as the hash before it.
pub(super) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const HASH_KEY: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";

/// SHA-256 in lower-case hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// Appends the hash of what was appended since `start`, and the line feed.
fn seal(out: &mut Vec<u8>, start: usize) -> String {
    let hash = sha256_hex(out.get(start..).unwrap_or_default());
    out.extend_from_slice(HASH_KEY);
    out.extend_from_slice(hash.as_bytes());
    out.extend_from_slice(END);
    out.push(b'\n');
    hash
}

/// The hash of a sealed line (without line feed), if it is the right one.
fn unseal(line: &[u8]) -> Option<&str> {
    let split = line.len().checked_sub(HASH_KEY.len() + 64 + END.len())?;
    let (body, tail) = line.split_at(split);
    let hash = std::str::from_utf8(tail.strip_prefix(HASH_KEY)?.strip_suffix(END)?).ok()?;
    (sha256_hex(body) == hash).then_some(hash)
}

/// What the chain gives a record.
pub(super) struct Stamp<'a> {
    pub(super) seq: u64,
    pub(super) time: SystemTime,
    pub(super) prev: &'a str,
}

/// Appends a record as a line; returns its hash.
pub(super) fn push_record(
    out: &mut Vec<u8>,
    stamp: &Stamp<'_>,
    event: &str,
    fields: &Map<String, Value>,
) -> String {
    let start = out.len();
    out.extend_from_slice(format!("{{\"seq\":{},\"time\":\"", stamp.seq).as_bytes());
    push_rfc3339(out, stamp.time);
    out.extend_from_slice(b"\",\"prev\":\"");
    out.extend_from_slice(stamp.prev.as_bytes());
    out.extend_from_slice(b"\",\"event\":");
    out.extend_from_slice(Value::from(event).to_string().as_bytes());
    out.extend_from_slice(b",\"fields\":");
    out.extend_from_slice(json!(fields).to_string().as_bytes());
    seal(out, start)
}

/// A record as it was read, its own hash proven.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) seq: u64,
    pub(super) time: String,
    pub(super) prev: String,
    pub(super) event: String,
    pub(super) fields: Map<String, Value>,
    pub(super) hash: String,
}

impl Record {
    /// Reads a line (without line feed); `None` when a byte of it is not as it was written.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let hash = unseal(line)?.to_owned();
        let Value::Object(mut map) = serde_json::from_slice(line).ok()? else { return None };
        let mut text = |key: &str| match map.remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let (time, prev, event) = (text("time")?, text("prev")?, text("event")?);
        let Some(Value::Object(fields)) = map.remove("fields") else { return None };
        Some(Self { seq: map.get("seq")?.as_u64()?, time, prev, event, fields, hash })
    }

    pub(super) fn micros(&self) -> Option<u64> {
        micros(&self.time)
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.fields.get(key)?.as_u64()
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }
}

/// What must be in the directory: written after the records it names are on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// Number of the newest record; 0 when there is none.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
    /// Number of the segment it is in.
    pub segment: u64,
    /// Number of the oldest record that has not been removed by retention.
    pub first_seq: u64,
    /// The hash of the record before that.
    pub first_prev: String,
    /// Number of the segment it is in.
    pub first_segment: u64,
    /// Seconds that the service has been running since the first record of all.
    pub run_seconds: u64,
    /// The latest time of any record, µs since 1970.
    pub newest_us: u64,
}

impl Head {
    /// The head of an empty log.
    pub(super) fn empty() -> Self {
        Self {
            seq: 0,
            hash: GENESIS.to_owned(),
            segment: 0,
            first_seq: 1,
            first_prev: GENESIS.to_owned(),
            first_segment: 1,
            run_seconds: 0,
            newest_us: 0,
        }
    }

    pub(super) fn to_line(&self) -> Vec<u8> {
        let mut out = format!(
            "{{\"seq\":{},\"last\":\"{}\",\"segment\":{},\"first_seq\":{},\"first_prev\":\"{}\",\
             \"first_segment\":{},\"run_seconds\":{},\"newest_us\":{}",
            self.seq,
            self.hash,
            self.segment,
            self.first_seq,
            self.first_prev,
            self.first_segment,
            self.run_seconds,
            self.newest_us,
        )
        .into_bytes();
        seal(&mut out, 0);
        out
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let line = text.strip_suffix(b"\n")?;
        unseal(line)?;
        let value: Value = serde_json::from_slice(line).ok()?;
        let number = |key: &str| value.get(key)?.as_u64();
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        Some(Self {
            seq: number("seq")?,
            hash: text("last")?,
            segment: number("segment")?,
            first_seq: number("first_seq")?,
            first_prev: text("first_prev")?,
            first_segment: number("first_segment")?,
            run_seconds: number("run_seconds")?,
            newest_us: number("newest_us")?,
        })
    }
}

/// µs since 1970 of a moment; 0 before.
pub(super) fn micros_of(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Reads `2026-01-02T03:04:05.000006Z` as µs since 1970.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub(super) fn micros(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    if bytes.len() != 27 || marks.iter().any(|&(at, mark)| bytes.get(at) != Some(&mark)) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let from_march = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = days * 86_400 + number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000_000 + number(20, 26)?)
}

//! RFC 3339 text for a moment in time.

use std::time::{SystemTime, UNIX_EPOCH};

/// A moment as `2026-01-02T03:04:05.000006Z`: UTC, microseconds.
#[must_use]
pub fn rfc3339(at: SystemTime) -> String {
    let mut out = Vec::with_capacity(27);
    push_rfc3339(&mut out, at);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends [`rfc3339`]. Moments before 1970 are shown as 1970, beyond the year 9999 as its end.
pub(crate) fn push_rfc3339(out: &mut Vec<u8>, at: SystemTime) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    push_second(out, since.as_secs());
    push_digits(out, since.subsec_micros(), 6);
    out.push(b'Z');
}

/// Writes moments one after the other: what is the same within a second is worked out once.
#[derive(Debug, Default)]
pub(crate) struct Stamps {
    second: u64,
    shown: Vec<u8>,
}

impl Stamps {
    /// Appends [`rfc3339`] of `at`.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, at: SystemTime) {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.shown.is_empty() || self.second != since.as_secs() {
            self.second = since.as_secs();
            self.shown.clear();
            push_second(&mut self.shown, self.second);
        }
        out.extend_from_slice(&self.shown);
        let micros = since.subsec_micros();
        let pairs = [micros / 10_000, micros / 100 % 100, micros % 100];
        let digits = pairs.map(|pair| [b'0' + (pair / 10) as u8, b'0' + (pair % 10) as u8]);
        out.extend_from_slice(digits.as_flattened());
        out.push(b'Z');
    }
}

/// Appends date and time up to the point before the fraction.
fn push_second(out: &mut Vec<u8>, seconds: u64) {
    const LAST: u64 = 253_402_300_799;
    let seconds = seconds.min(LAST);
    let (year, month, day) = civil(seconds / 86_400);
    let second = (seconds % 86_400) as u32;
    push_digits(out, year, 4);
    out.push(b'-');
    push_digits(out, month, 2);
    out.push(b'-');
    push_digits(out, day, 2);
    out.push(b'T');
    push_digits(out, second / 3600, 2);
    out.push(b':');
    push_digits(out, second / 60 % 60, 2);
    out.push(b':');
    push_digits(out, second % 60, 2);
    out.push(b'.');
}

/// Appends the last `width` digits of a number, with leading zeros.
pub(crate) fn push_digits(out: &mut Vec<u8>, value: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (value / 10_u32.pow(place) % 10) as u8);
    }
}

/// Year, month and day of a day counted from 1970-01-01.
///
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
pub(crate) fn civil(days: u64) -> (u32, u32, u32) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year as u32, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_moments_read_as_they_should() {
        let mut stamps = Stamps::default();
        let mut at = |seconds, micros| {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
            let mut stamp = Vec::new();
            stamps.push(&mut stamp, at);
            assert_eq!(rfc3339(at).as_bytes(), stamp);
            rfc3339(at)
        };
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(at(0, 123_456), "1970-01-01T00:00:00.123456Z");
        assert_eq!(at(951_782_400, 7), "2000-02-29T00:00:00.000007Z");
        assert_eq!(at(1_709_251_199, 999_999), "2024-02-29T23:59:59.999999Z");
        assert_eq!(at(253_402_300_799, 0), "9999-12-31T23:59:59.000000Z");
        assert_eq!(at(253_402_300_800, 0), "9999-12-31T23:59:59.000000Z");
    }
}

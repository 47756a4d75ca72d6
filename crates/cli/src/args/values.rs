//! One text of the command line → one value, or what should have been typed.

use microdiff_domain::{DomainError, SpotDiameter, VoxelSize};
use std::net::SocketAddr;
use std::ops::RangeInclusive;

pub(super) fn number<T>(
    text: &str,
    bound: impl Fn(f64) -> Result<T, DomainError>,
) -> Result<T, String> {
    bound(bare_number(text)?).map_err(|error| error.to_string())
}

pub(super) fn bare_number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "not a number; give it without a unit".to_owned())
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "not an address with a port, as in 127.0.0.1:8080".to_owned())
}

/// RFC 3339 in UTC, or the beginning of it from the year on.
pub(super) fn time_or_beginning(text: &str) -> Result<String, String> {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'd' => byte.is_ascii_digit(),
        _ => byte == *form,
    };
    let (whole, rest) = text.split_at_checked(FORM.len()).unwrap_or((text, ""));
    let rest = rest.strip_suffix('Z').unwrap_or(rest);
    let fraction = rest.strip_prefix('.').unwrap_or_default();
    let is_fraction = rest.is_empty() || !fraction.is_empty();
    if text.len() >= 4
        && whole.bytes().zip(FORM).all(fits)
        && is_fraction
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        Ok(text.to_owned())
    } else {
        Err("not a time; give RFC 3339 in UTC or its beginning, as in 2026-01-31".to_owned())
    }
}

pub(super) fn count(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let value = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if range.contains(&value) {
        Ok(value)
    } else {
        Err(format!("{value} is outside {} to {}", range.start(), range.end()))
    }
}

pub(super) fn voxel_size(text: &str) -> Result<VoxelSize, String> {
    number(text, VoxelSize::micrometres)
}

pub(super) fn spot(text: &str) -> Result<SpotDiameter, String> {
    number(text, SpotDiameter::micrometres)
}

pub(super) fn shape(text: &str) -> Result<[usize; 3], String> {
    let axes: Result<Vec<usize>, _> = text.split(',').map(|axis| axis.trim().parse()).collect();
    let axes = axes.map_err(|_| "expected three whole numbers, as in 128,128,128".to_owned())?;
    let shape: [usize; 3] =
        axes.try_into().map_err(|_| "expected three axes, as in 128,128,128".to_owned())?;
    if shape.iter().any(|&n| !(8..=4096).contains(&n)) {
        return Err("each axis must have 8 to 4096 voxels".to_owned());
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::time_or_beginning;

    #[test]
    fn a_time_is_whole_or_its_beginning() {
        let whole = ["2026-01-31T12:00:05", "2026-01-31T12:00:05Z", "2026-01-31T12:00:05.25Z"];
        for text in ["2026", "2026-01", "2026-01-31T12:"].into_iter().chain(whole) {
            assert_eq!(time_or_beginning(text).as_deref(), Ok(text));
        }
        let not = ["", "202", "yesterday", "2026-01-31 12:00", "2026-01-31T12:00:055"];
        for text in not.into_iter().chain(["2026-01-31T12:00:05.", "2026-01-31T12:00:05+01"]) {
            assert!(time_or_beginning(text).is_err(), "{text}");
        }
    }
}

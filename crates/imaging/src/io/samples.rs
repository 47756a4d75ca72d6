//! Decoded voxels of any type, gathered page by page, and their way to 8 or 16 bit.

use super::shown;
use crate::{GreyMap, ImagingError, Voxels};
use microdiff_domain::Volume;
use std::path::Path;
use tiff::decoder::DecodingResult;

/// Values looked at to find the grey range of a float scan.
const RANGE_SAMPLE: usize = 1 << 20;

/// Pages of equal size, one after the other.
pub(super) struct Samples {
    shape: [usize; 3],
    kind: &'static str,
    values: Values,
}

enum Values {
    U8(Vec<u8>, GreyMap),
    U16(Vec<u16>, GreyMap),
    F32 { values: Vec<f32>, bad: u64, first_bad: Option<usize> },
}

impl Samples {
    /// Room for a volume of a type as named by [`kind_name`]. The caller has checked the budget.
    pub(super) fn new(shape: [usize; 3], kind: &'static str) -> Option<Self> {
        let len = shape.iter().try_fold(1usize, |acc, &n| acc.checked_mul(n))?;
        let values = match kind {
            "u8" => Values::U8(room(len)?, GreyMap::IDENTITY),
            "i8" => Values::U8(room(len)?, GreyMap { offset: -128.0, scale: 1.0 }),
            "u16" => Values::U16(room(len)?, GreyMap::IDENTITY),
            "i16" => Values::U16(room(len)?, GreyMap { offset: -32768.0, scale: 1.0 }),
            _ => Values::F32 { values: room(len)?, bad: 0, first_bad: None },
        };
        Some(Self { shape, kind, values })
    }

    /// Type of the source's voxels.
    pub(super) fn source_type(&self) -> &'static str {
        self.kind
    }

    /// Appends page `page`, counted from 0. False if it is of another type or size.
    pub(super) fn push(&mut self, page: usize, decoded: DecodingResult) -> bool {
        let wanted = self.shape[1] * self.shape[2];
        if decoded_len(&decoded) != wanted {
            return false;
        }
        match (&mut self.values, decoded) {
            (Values::U8(all, _), DecodingResult::U8(new)) => all.extend(new),
            (Values::U8(all, _), DecodingResult::I8(new)) => {
                all.extend(new.into_iter().map(|v| (v as u8) ^ 0x80));
            }
            (Values::U16(all, _), DecodingResult::U16(new)) => all.extend(new),
            (Values::U16(all, _), DecodingResult::I16(new)) => {
                all.extend(new.into_iter().map(|v| (v as u16) ^ 0x8000));
            }
            (Values::F32 { values, bad, first_bad }, decoded) => {
                let before = values.len();
                extend_f32(values, decoded);
                let found = values[before..].iter().filter(|v| !v.is_finite()).count();
                *bad += found as u64;
                if found > 0 && first_bad.is_none() {
                    *first_bad = Some(page);
                }
            }
            _ => return false,
        }
        true
    }

    /// Voxels as kept, and how they relate to the source. Refuses values that are no numbers.
    pub(super) fn into_voxels(self, path: &Path) -> Result<(Voxels, GreyMap), ImagingError> {
        Ok(match self.values {
            Values::U8(data, map) => (Volume::new(self.shape, data)?.into(), map),
            Values::U16(data, map) => (Volume::new(self.shape, data)?.into(), map),
            Values::F32 { bad, first_bad: Some(page), .. } => {
                return Err(ImagingError::NotFinite {
                    path: shown(path),
                    count: bad,
                    page: page + 1,
                });
            }
            Values::F32 { values, .. } => {
                let map = grey_range(&values);
                let level = |v: f32| {
                    ((f64::from(v) - map.offset) / map.scale + 0.5).clamp(0.0, 65535.0) as u16
                };
                let data = values.iter().map(|&v| level(v)).collect();
                (Volume::new(self.shape, data)?.into(), map)
            }
        })
    }
}

fn room<T>(len: usize) -> Option<Vec<T>> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).ok()?;
    Some(values)
}

/// Range of levels for a float scan: from the smallest to the largest value, but no further than
/// half the central range beyond it, so that one hot voxel does not take all levels; from zero where
/// the values lie not far above it.
fn grey_range(values: &[f32]) -> GreyMap {
    let (low, high) =
        values.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    let stride = (values.len() / RANGE_SAMPLE).max(1) | 1;
    let mut sample: Vec<f32> = values.iter().step_by(stride).copied().collect();
    sample.sort_by(f32::total_cmp);
    let at = |share: f64| f64::from(sample[(share * (sample.len() - 1) as f64) as usize]);
    let (low, high) = (f64::from(low), f64::from(high));
    let (inner_low, inner_high) =
        if sample.is_empty() { (low, high) } else { (at(0.0005), at(0.9995)) };
    let slack = 0.5 * (inner_high - inner_low);
    let (from, to) = if slack > 0.0 {
        (low.max(inner_low - slack), high.min(inner_high + slack))
    } else {
        (low, high)
    };
    // Contrast is read against zero, as in integer scans, where that costs at most two bits.
    let from = if from >= 0.0 && to <= 4.0 * (to - from) { 0.0 } else { from };
    let scale = (to - from) / 65535.0;
    GreyMap { offset: from, scale: if scale > 0.0 { scale } else { 1.0 } }
}

fn extend_f32(values: &mut Vec<f32>, decoded: DecodingResult) {
    match decoded {
        DecodingResult::U8(new) => values.extend(new.into_iter().map(f32::from)),
        DecodingResult::I8(new) => values.extend(new.into_iter().map(f32::from)),
        DecodingResult::U16(new) => values.extend(new.into_iter().map(f32::from)),
        DecodingResult::I16(new) => values.extend(new.into_iter().map(f32::from)),
        DecodingResult::U32(new) => values.extend(new.into_iter().map(|v| v as f32)),
        DecodingResult::I32(new) => values.extend(new.into_iter().map(|v| v as f32)),
        DecodingResult::U64(new) => values.extend(new.into_iter().map(|v| v as f32)),
        DecodingResult::I64(new) => values.extend(new.into_iter().map(|v| v as f32)),
        DecodingResult::F16(new) => values.extend(new.into_iter().map(|v| v.to_f32())),
        DecodingResult::F32(new) => values.extend(new),
        DecodingResult::F64(new) => values.extend(new.into_iter().map(|v| v as f32)),
    }
}

fn decoded_len(decoded: &DecodingResult) -> usize {
    match decoded {
        DecodingResult::U8(v) => v.len(),
        DecodingResult::I8(v) => v.len(),
        DecodingResult::U16(v) => v.len(),
        DecodingResult::I16(v) => v.len(),
        DecodingResult::U32(v) => v.len(),
        DecodingResult::I32(v) => v.len(),
        DecodingResult::U64(v) => v.len(),
        DecodingResult::I64(v) => v.len(),
        DecodingResult::F16(v) => v.len(),
        DecodingResult::F32(v) => v.len(),
        DecodingResult::F64(v) => v.len(),
    }
}

/// Name of a voxel type from its bits and the value of the SampleFormat tag.
pub(super) fn kind_name(bits: u8, format: u16) -> Option<&'static str> {
    Some(match (bits, format) {
        (8, 1) => "u8",
        (16, 1) => "u16",
        (32, 1) => "u32",
        (64, 1) => "u64",
        (8, 2) => "i8",
        (16, 2) => "i16",
        (32, 2) => "i32",
        (64, 2) => "i64",
        (16, 3) => "f16",
        (32, 3) => "f32",
        (64, 3) => "f64",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::grey_range;

    #[test]
    fn zero_stays_zero_unless_it_would_cost_too_many_levels() {
        assert_eq!(grey_range(&[20.0, 30.0, 40.0]).offset, 0.0);
        assert_eq!(grey_range(&[1000.0, 1000.5, 1001.0]).offset, 1000.0);
        assert_eq!(grey_range(&[-1.0, 0.0, 1.0]).offset, -1.0);
    }
}

//! Grey values → 0 to 1 between two percentiles.

use crate::ImagingError;
use crate::arguments::check_range;
use crate::filter::histogram::{histogram, level_at};
use crate::memory::zeroed;
use rayon::prelude::*;

/// Values given to one task.
const CHUNK: usize = 1 << 16;

/// The percentiles that become 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormaliseOptions {
    /// Share of voxels at or below the level that becomes 0, from 0 to 1.
    pub low: f64,
    /// The same for the level that becomes 1.
    pub high: f64,
}

impl Default for NormaliseOptions {
    /// Half a percent left out on each side.
    fn default() -> Self {
        Self { low: 0.005, high: 0.995 }
    }
}

/// Maps grey linearly so that the two percentiles become 0 and 1; what lies beyond is held at
/// them. Percentiles are levels that occur, without interpolation. Refuses options that are not
/// shares, and grey whose two percentiles are the same level.
pub fn normalise(grey: &[u16], options: &NormaliseOptions) -> Result<Vec<f32>, ImagingError> {
    check_range("low percentile", options.low, [0.0, 1.0], "as a share")?;
    check_range("high percentile", options.high, [options.low, 1.0], "as a share")?;
    let counts = histogram(grey);
    let (low, high) = (level_at(&counts, options.low), level_at(&counts, options.high));
    if low >= high {
        return Err(ImagingError::Constant { value: f64::from(low) });
    }
    let span = f32::from(high - low);
    let table: Vec<f32> =
        (0..=u16::MAX).map(|v| f32::from(v.clamp(low, high) - low) / span).collect();
    let mut out = zeroed(grey.len());
    out.par_chunks_mut(CHUNK).zip(grey.par_chunks(CHUNK)).for_each(|(out, grey)| {
        out.iter_mut().zip(grey).for_each(|(out, &grey)| *out = table[usize::from(grey)]);
    });
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_become_zero_and_one() {
        let all = NormaliseOptions { low: 0.0, high: 1.0 };
        assert_eq!(normalise(&[10, 20, 30], &all).unwrap(), [0.0, 0.5, 1.0]);
        let middle = NormaliseOptions { low: 0.25, high: 0.75 };
        assert_eq!(normalise(&[0, 10, 14, 18, 90], &middle).unwrap(), [0.0, 0.0, 0.5, 1.0, 1.0]);
        assert!(normalise(&[5; 9], &all).is_err());
        assert!(normalise(&[1, 2], &NormaliseOptions { low: 0.9, high: 0.1 }).is_err());
    }
}

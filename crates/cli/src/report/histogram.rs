//! A marginal as one line of block characters, so that posterior and prior can be compared by eye.

const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Share of `values` in each of `bins` equal bins of the unit interval. Values outside count in
/// the outermost bins.
pub fn shares(units: impl Iterator<Item = f64>, bins: usize) -> Vec<f64> {
    let mut counts = vec![0u64; bins];
    let mut total = 0u64;
    for unit in units {
        let bin = (unit.clamp(0.0, 1.0) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
        total += 1;
    }
    counts.into_iter().map(|count| count as f64 / total.max(1) as f64).collect()
}

/// Draws shares against a common full scale. A share that is not zero is never drawn as a blank.
pub fn bars(shares: &[f64], full_scale: f64) -> String {
    let top = (BLOCKS.len() - 1) as f64;
    shares
        .iter()
        .map(|&share| {
            let height =
                if share > 0.0 { (share / full_scale * top).round().max(1.0) } else { 0.0 };
            BLOCKS[(height as usize).min(BLOCKS.len() - 1)]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_land_in_their_bins() {
        assert_eq!(shares([0.0, 0.1, 0.6, 1.0, 7.0].into_iter(), 2), [0.4, 0.6]);
        assert_eq!(shares(std::iter::empty(), 2), [0.0, 0.0]);
    }

    #[test]
    fn bars_scale_and_small_shares_stay_visible() {
        assert_eq!(bars(&[0.0, 0.001, 0.25, 0.5], 0.5), " ▁▄█");
    }
}

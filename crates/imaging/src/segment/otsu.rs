//! Grey histogram → the threshold that best parts it in two.

/// Otsu's threshold (1979, IEEE Trans. Syst. Man Cybern. 9:62) of a histogram: the level, counted
/// to the darker class, after which the variance between the two classes is largest; the lowest
/// of equal ones. Nothing when fewer than two levels occur.
pub fn otsu(counts: &[u64]) -> Option<u16> {
    let total: u64 = counts.iter().sum();
    let weighted = |(level, &count): (usize, &u64)| level as f64 * count as f64;
    let sum: f64 = counts.iter().enumerate().map(weighted).sum();
    let (mut below, mut below_sum) = (0u64, 0.0);
    let mut best: Option<(f64, u16)> = None;
    for (level, count) in counts.iter().enumerate() {
        below += count;
        below_sum += level as f64 * *count as f64;
        let above = total - below;
        if *count == 0 || above == 0 {
            continue;
        }
        let apart = below_sum / below as f64 - (sum - below_sum) / above as f64;
        let between = below as f64 * above as f64 * apart * apart;
        if best.is_none_or(|(most, _)| between > most) {
            best = u16::try_from(level).ok().map(|level| (between, level));
        }
    }
    best.map(|(_, level)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_peaks_are_parted() {
        let mut counts = vec![0; 100];
        (10..20).for_each(|level| counts[level] = 5);
        (60..70).for_each(|level| counts[level] = 50);
        assert_eq!(otsu(&counts), Some(19));
    }

    #[test]
    fn one_level_has_no_threshold() {
        let mut counts = vec![0; 100];
        assert_eq!(otsu(&counts), None);
        counts[7] = 9;
        assert_eq!(otsu(&counts), None);
        counts[8] = 1;
        assert_eq!(otsu(&counts), Some(7));
    }
}

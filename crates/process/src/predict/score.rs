//! Predictions and measurements → the errors, coverages and rank correlations of the validation
//! page.

use super::Interval;
use super::law::{Track, TrackLaw};

/// How far predictions lie from measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Measurements that could be compared.
    pub count: usize,
    /// Median of |predicted − measured| over measured. A law that says nothing of a measurement
    /// is off by all of it.
    pub median: f64,
    /// Geometric mean of predicted over measured, of those predicted.
    pub bias: f64,
}

/// Compares pairs of (predicted, measured), both positive. `None` without any.
pub fn errors(pairs: &[(Option<f64>, f64)]) -> Option<Errors> {
    let relative = |(predicted, measured): &(Option<f64>, f64)| {
        predicted.map_or(1.0, |predicted| (predicted / measured - 1.0).abs())
    };
    let logs: Vec<f64> = pairs
        .iter()
        .filter_map(|(predicted, measured)| predicted.map(|p| (p / measured).ln()))
        .collect();
    let median = median(pairs.iter().map(relative).collect())?;
    let bias = (logs.iter().sum::<f64>() / logs.len().max(1) as f64).exp();
    Some(Errors { count: pairs.len(), median, bias })
}

/// Share of measurements inside their intervals; `None` without any.
pub fn coverage(pairs: &[(Interval, f64)]) -> Option<f64> {
    let inside = pairs.iter().filter(|(interval, x)| (interval.p05..=interval.p95).contains(x));
    (!pairs.is_empty()).then(|| inside.count() as f64 / pairs.len() as f64)
}

/// Middle of the values, the mean of two middles; `None` without any.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(0.5 * (values[middle - 1] + upper)) }
}

/// The sources of tracks, in order of appearance.
pub fn sources(tracks: &[Track]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for track in tracks {
        if !names.contains(&track.source) {
            names.push(track.source.clone());
        }
    }
    names
}

/// The law fitted on the tracks of every source but one.
pub fn fit_without(tracks: &[Track], source: &str) -> Option<TrackLaw> {
    let others: Vec<&Track> = tracks.iter().filter(|track| track.source != source).collect();
    TrackLaw::fit(&others)
}

/// Spearman's rank correlation, ties sharing their mean rank; `None` when one side is constant.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    let x = ranks(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
    let y = ranks(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
    let mean = 0.5 * (pairs.len() as f64 - 1.0);
    let product =
        |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let scale = (product(&x, &x) * product(&y, &y)).sqrt();
    (scale > 0.0).then(|| product(&x, &y) / scale)
}

/// Probability that a positive case scores higher than a negative one; `None` without both.
pub fn area_under_curve(cases: &[(f64, bool)]) -> Option<f64> {
    let ranked = ranks(&cases.iter().map(|case| case.0).collect::<Vec<_>>());
    let positive = cases.iter().filter(|case| case.1).count() as f64;
    let negative = cases.len() as f64 - positive;
    let sum: f64 = ranked.iter().zip(cases).filter(|(_, case)| case.1).map(|(rank, _)| rank).sum();
    let above = sum - 0.5 * positive * (positive - 1.0);
    (positive > 0.0 && negative > 0.0).then(|| above / (positive * negative))
}

/// Ranks from 0, ties sharing their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let value = values[order[start]];
        let tied = order[start..].iter().take_while(|i| values[**i] == value).count();
        for place in &order[start..start + tied] {
            ranks[*place] = start as f64 + 0.5 * (tied as f64 - 1.0);
        }
        start += tied;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_by_hand() {
        let found = errors(&[(Some(90.0), 100.0), (Some(130.0), 100.0), (None, 50.0)]).unwrap();
        assert!((found.median - 0.3).abs() < 1e-12 && found.count == 3);
        assert!((found.bias - (0.9f64 * 1.3).sqrt()).abs() < 1e-12);
        assert_eq!(errors(&[]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0, 10.0]), Some(2.5));
        let interval = Interval { p05: 1.0, p50: 2.0, p95: 3.0 };
        assert_eq!(coverage(&[(interval, 1.0), (interval, 3.1)]), Some(0.5));
    }

    #[test]
    fn ranks_by_hand() {
        let rising = [(1.0, 10.0), (2.0, 20.0), (2.0, 20.0), (5.0, 21.0)];
        assert!((spearman(&rising).unwrap() - 1.0).abs() < 1e-12);
        let falling = rising.map(|(x, y)| (x, -y));
        assert!((spearman(&falling).unwrap() + 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 1.0), (1.0, 2.0)]), None);
        // 3 of 4 pairs in order.
        let cases = [(0.1, false), (0.4, true), (0.3, false), (0.2, true)];
        assert_eq!(area_under_curve(&cases), Some(0.75));
    }
}

//! Posterior draws of power and speed → the smallest regions that hold half and nine tenths of them.

use microdiff_process::predict::map::{Grid, Plane};

/// Nodes along speed and along power; smoothing in nodes.
const NODES: [usize; 2] = [72, 54];
const SMOOTHING: f64 = 2.0;

/// Lines around the smallest regions with 90 % and with 50 % of the draws, as (speed, power).
/// Draws outside the plane count and are not shown.
pub fn regions(draws: &[[f64; 2]], plane: Plane) -> [Vec<Vec<[f64; 2]>>; 2] {
    let grid = density(draws, plane);
    [0.9, 0.5].map(|share| {
        let level = level(&grid, share * grid.values.iter().sum::<f64>());
        grid.lines(plane, level)
    })
}

/// Counts of draws at each node, smoothed.
fn density(draws: &[[f64; 2]], plane: Plane) -> Grid {
    let [columns, rows] = NODES;
    let mut counts = vec![0.0; columns * rows];
    let node = |[low, high]: [f64; 2], value: f64, nodes: usize| {
        let at = ((value - low) / (high - low) * (nodes - 1) as f64).round();
        (0.0..nodes as f64).contains(&at).then_some(at as usize)
    };
    for [speed, power] in draws {
        let column = node(plane.speed_mm_s, *speed, columns);
        let row = node(plane.power_w, *power, rows);
        if let (Some(column), Some(row)) = (column, row) {
            counts[row * columns + column] += 1.0;
        }
    }
    let along_rows =
        smooth(&counts, |index| (index / columns * columns, 1, columns, index % columns));
    let values = smooth(&along_rows, |index| (index % columns, columns, rows, index / columns));
    Grid { columns, rows, values }
}

/// Gaussian smoothing along lines; a line is (first, step, count, place on it) of an index.
fn smooth(values: &[f64], line: impl Fn(usize) -> (usize, usize, usize, usize)) -> Vec<f64> {
    let reach = (3.0 * SMOOTHING) as usize;
    let mut smoothed = vec![0.0; values.len()];
    for (index, value) in values.iter().enumerate().filter(|(_, value)| **value > 0.0) {
        let (first, step, count, place) = line(index);
        for to in place.saturating_sub(reach)..(place + reach + 1).min(count) {
            let distance = (to as f64 - place as f64) / SMOOTHING;
            smoothed[first + to * step] += value * (-0.5 * distance * distance).exp();
        }
    }
    smoothed
}

/// The value above which nodes together hold `mass`.
fn level(grid: &Grid, mass: f64) -> f64 {
    let mut sorted = grid.values.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut sum = 0.0;
    let reached = sorted.iter().find(|value| {
        sum += **value;
        sum >= mass
    });
    reached.copied().unwrap_or(f64::INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_regions_hold_their_share_and_the_larger_contains_the_smaller() {
        let plane = Plane { speed_mm_s: [0.0, 2000.0], power_w: [0.0, 400.0] };
        // A normal cloud by its quantiles: radius of share s is sqrt(-2 ln(1 - s)).
        let draws: Vec<[f64; 2]> = (0..4000)
            .map(|i| {
                let radius = (-2.0 * (1.0 - (f64::from(i) + 0.5) / 4000.0).ln()).sqrt();
                let angle = f64::from(i) * 2.399_963;
                [1000.0 + 200.0 * radius * angle.cos(), 200.0 + 40.0 * radius * angle.sin()]
            })
            .collect();
        let extent = |lines: &[Vec<[f64; 2]>]| {
            let speeds = lines.iter().flatten().map(|point| point[0]);
            let (low, high) =
                speeds.fold((f64::MAX, f64::MIN), |(l, h), speed| (l.min(speed), h.max(speed)));
            0.5 * (high - low)
        };
        let [wide, narrow] = regions(&draws, plane);
        // sqrt(-2 ln 0.1) and sqrt(-2 ln 0.5) standard deviations, widened by the smoothing.
        assert!((extent(&wide) / (2.146 * 208.0) - 1.0).abs() < 0.1, "{}", extent(&wide));
        assert!((extent(&narrow) / (1.177 * 208.0) - 1.0).abs() < 0.1, "{}", extent(&narrow));
    }
}

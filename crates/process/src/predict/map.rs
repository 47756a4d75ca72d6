//! An alloy, a spot, a layer and a hatch → the defect probabilities over the plane of power and
//! speed, and the lines between.

use super::{Condition, ConditionError, Predictor, Quantity, Setting, Validity};
use microdiff_domain::{Alloy, Process};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Nodes along speed and along power.
const NODES: [usize; 2] = [96, 72];

/// Values on an even grid: `values[row * columns + column]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Number of columns, along speed.
    pub columns: usize,
    /// Number of rows, along power.
    pub rows: usize,
    /// Values, rows slow.
    pub values: Vec<f64>,
}

/// Where the plane is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// Slowest and fastest speed, mm/s.
    pub speed_mm_s: [f64; 2],
    /// Smallest and largest power, W.
    pub power_w: [f64; 2],
}

/// Defect probabilities over the plane.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessMap {
    /// The plane.
    pub plane: Plane,
    /// Of lack of fusion.
    pub lack_of_fusion: Grid,
    /// Of keyhole pores.
    pub keyhole: Grid,
    /// Of balling, where it is predicted.
    pub balling: Option<Grid>,
    /// What it rests on.
    pub validity: Validity,
}

/// Computes the map; power and speed of the setting are those of the plane.
///
/// # Errors
/// When hatch or layer are missing, or a number is outside what the process accepts.
pub fn process_map(
    predictor: &Predictor,
    (alloy, process): (Alloy, Process),
    setting: &Setting,
    plane: Plane,
) -> Result<ProcessMap, ConditionError> {
    for quantity in [Quantity::Layer, Quantity::Hatch] {
        if setting.get(quantity).is_none_or(|value| value == 0.0) {
            return Err(ConditionError::Missing(quantity));
        }
    }
    let nodes = over(plane, |power_w, speed_mm_s| {
        let (power_w, speed_mm_s) = (Some(power_w), Some(speed_mm_s));
        let setting = Setting { power_w, speed_mm_s, ..*setting };
        Ok(predictor.predict(&Condition::new(alloy, process, &setting)?))
    });
    let nodes: Vec<super::Prediction> = nodes?;
    let validity = nodes.first().map_or(Validity::Unvalidated, |node| node.validity);
    let grid_of = |value: fn(&super::Prediction) -> f64| grid(nodes.iter().map(value).collect());
    let balling: Option<Vec<f64>> = nodes.iter().map(|node| node.p_balling).collect();
    Ok(ProcessMap {
        plane,
        lack_of_fusion: grid_of(|node| node.p_lack_of_fusion.unwrap_or(1.0)),
        keyhole: grid_of(|node| node.p_keyhole),
        balling: balling.map(grid),
        validity,
    })
}

/// A value at each node of a plane, which the closure is given as power and speed, on all cores.
pub(crate) fn over<T: Send, E: Send>(
    plane: Plane,
    value: impl Fn(f64, f64) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let [columns, rows] = NODES;
    let at = |[low, high]: [f64; 2], index: usize, count: usize| {
        low + (high - low) * index as f64 / (count - 1) as f64
    };
    (0..columns * rows)
        .into_par_iter()
        .map(|index| {
            let power_w = at(plane.power_w, index / columns, rows);
            value(power_w, at(plane.speed_mm_s, index % columns, columns))
        })
        .collect()
}

/// The grid of values in the order of [`over`].
pub(crate) fn grid(values: Vec<f64>) -> Grid {
    let [columns, rows] = NODES;
    Grid { columns, rows, values }
}

/// Edge of the grid that a line crosses: the node below or left of it, and whether it runs along a
/// row.
type Edge = (usize, bool);

impl Grid {
    /// Value at a node.
    pub fn at(&self, column: usize, row: usize) -> f64 {
        self.values.get(row * self.columns + column).copied().unwrap_or(0.0)
    }

    /// Lines on which the values are `level`, by marching squares; each a run of (column, row) in
    /// nodes, closed ones ending where they began.
    pub fn contours(&self, level: f64) -> Vec<Vec<[f64; 2]>> {
        let mut ends: BTreeMap<Edge, Vec<Edge>> = BTreeMap::new();
        for row in 0..self.rows.saturating_sub(1) {
            for column in 0..self.columns.saturating_sub(1) {
                for [a, b] in self.crossings(column, row, level) {
                    ends.entry(a).or_default().push(b);
                    ends.entry(b).or_default().push(a);
                }
            }
        }
        let mut lines = Vec::new();
        // Open lines from their ends first; what is left is closed.
        for open in [true, false] {
            let starts: Vec<Edge> = ends
                .iter()
                .filter(|(_, to)| !open || to.len() == 1)
                .map(|(edge, _)| *edge)
                .collect();
            for start in starts {
                let mut line = vec![start];
                while let Some(next) = line.last().and_then(|edge| take(&mut ends, *edge)) {
                    line.push(next);
                }
                if line.len() > 1 {
                    lines.push(line.iter().map(|edge| self.place(*edge, level)).collect());
                }
            }
        }
        lines
    }

    /// The lines of [`Grid::contours`] in the units of the plane, as (speed, power).
    pub fn lines(&self, plane: Plane, level: f64) -> Vec<Vec<[f64; 2]>> {
        let at = |[low, high]: [f64; 2], node: f64, nodes: usize| {
            low + (high - low) * node / (nodes - 1) as f64
        };
        let place = |[x, y]: [f64; 2]| {
            [at(plane.speed_mm_s, x, self.columns), at(plane.power_w, y, self.rows)]
        };
        let lines = self.contours(level);
        lines.into_iter().map(|line| line.into_iter().map(place).collect()).collect()
    }

    /// Pairs of edges of one cell that lines run between.
    fn crossings(&self, column: usize, row: usize, level: f64) -> Vec<[Edge; 2]> {
        let node = row * self.columns + column;
        let above = |column, row| self.at(column, row) >= level;
        let [a, b] = [above(column, row), above(column + 1, row)];
        let [d, c] = [above(column, row + 1), above(column + 1, row + 1)];
        let bottom = (a != b).then_some((node, true));
        let right = (b != c).then_some((node + 1, false));
        let top = (d != c).then_some((node + self.columns, true));
        let left = (a != d).then_some((node, false));
        let crossed: Vec<Edge> = [bottom, right, top, left].into_iter().flatten().collect();
        match crossed.as_slice() {
            [one, two] => vec![[*one, *two]],
            // A saddle: what is above stays apart.
            [bottom, right, top, left] if a => vec![[*bottom, *left], [*right, *top]],
            [bottom, right, top, left] => vec![[*bottom, *right], [*top, *left]],
            _ => Vec::new(),
        }
    }

    /// Where a line crosses an edge.
    fn place(&self, (node, along_row): Edge, level: f64) -> [f64; 2] {
        let (column, row) = (node % self.columns, node / self.columns);
        let [dx, dy] = if along_row { [1, 0] } else { [0, 1] };
        let (from, to) = (self.at(column, row), self.at(column + dx, row + dy));
        let part = if from == to { 0.5 } else { (level - from) / (to - from) };
        [column as f64 + part * dx as f64, row as f64 + part * dy as f64]
    }
}

/// Takes one way on from an edge, in both directions.
fn take(ends: &mut BTreeMap<Edge, Vec<Edge>>, from: Edge) -> Option<Edge> {
    let to = ends.get_mut(&from)?.pop()?;
    if let Some(back) = ends.get_mut(&to)
        && let Some(index) = back.iter().position(|edge| *edge == from)
    {
        back.remove(index);
    }
    Some(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_is_cut_by_one_straight_line() {
        let values = (0..12).map(|i| f64::from(i % 4)).collect();
        let grid = Grid { columns: 4, rows: 3, values };
        assert_eq!(grid.contours(1.25), [[[1.25, 0.0], [1.25, 1.0], [1.25, 2.0]]]);
        assert!(grid.contours(9.0).is_empty());
    }

    #[test]
    fn a_hill_is_ringed_by_a_closed_line() {
        let mut values = vec![0.0; 25];
        values[12] = 1.0;
        let lines = Grid { columns: 5, rows: 5, values }.contours(0.5);
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].len(), lines[0].first()), (5, lines[0].last()));
        for [x, y] in &lines[0] {
            assert!(((x - 2.0).abs() + (y - 2.0).abs() - 0.5).abs() < 1e-12);
        }
    }

    #[test]
    fn defects_lie_in_their_corners() {
        let setting = Setting {
            spot_um: Some(80.0),
            layer_um: Some(40.0),
            hatch_um: Some(100.0),
            ..Setting::default()
        };
        let plane = Plane { speed_mm_s: [100.0, 2500.0], power_w: [40.0, 420.0] };
        let asked = (Alloy::Ss316L, Process::Lpbf);
        let map = process_map(&Predictor::new(0), asked, &setting, plane).unwrap();
        let [fast, strong] = [map.keyhole.columns - 1, map.keyhole.rows - 1];
        assert!(map.lack_of_fusion.at(fast, 0) > 0.9 && map.lack_of_fusion.at(0, strong) < 0.1);
        assert!(map.keyhole.at(0, strong) > 0.9 && map.keyhole.at(fast, 0) < 0.1);
        let balling = map.balling.unwrap();
        assert!(balling.at(fast, strong) > 0.9 && balling.at(0, 0) < 0.1);
        assert!(!map.keyhole.contours(0.5).is_empty());
        let bare = Setting { layer_um: Some(0.0), ..setting };
        let refused = process_map(&Predictor::new(0), asked, &bare, plane).unwrap_err();
        assert_eq!(refused, ConditionError::Missing(Quantity::Layer));
    }
}

//! The plainest posterior there is: the parameters of those simulations whose descriptors lie
//! nearest (rejection ABC: Pritchard et al. 1999). A model that does not beat it has learnt nothing
//! that a look into the table of simulations would not tell.

use crate::condition::Normaliser;
use crate::rows::Row;
use crate::space;
use microdiff_domain::{DESCRIPTOR_COUNT, PARAMETER_COUNT};

/// Simulations to look the nearest up in.
pub(super) struct Neighbours<'a> {
    normaliser: Normaliser,
    rows: Vec<(&'a Row, [f64; DESCRIPTOR_COUNT])>,
}

impl<'a> Neighbours<'a> {
    pub(super) fn new(rows: &'a [Row]) -> Self {
        let normaliser = Normaliser::fit(rows.iter().map(|row| &row.descriptors));
        let rows = rows.iter().map(|row| (row, normaliser.apply(&row.descriptors))).collect();
        Self { normaliser, rows }
    }

    /// Positions of θ in the prior's ranges, of the nearest simulations of the same alloy and
    /// process, nearest first; fewer than `count` when there are no more.
    pub(super) fn nearest(&self, row: &Row, count: usize) -> Vec<[f64; PARAMETER_COUNT]> {
        let at = self.normaliser.apply(&row.descriptors);
        let distance = |other: &[f64; DESCRIPTOR_COUNT]| -> f64 {
            at.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum()
        };
        let pair = |row: &Row| (row.process, row.alloy);
        let same = self.rows.iter().filter(|(other, _)| pair(other) == pair(row));
        let mut found: Vec<(f64, &Row)> =
            same.map(|(other, normal)| (distance(normal), *other)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let units = |(_, row): &(f64, &Row)| space::to_unit(&row.theta, row.process, row.alloy);
        found.iter().take(count).map(units).collect()
    }
}

//! What a scrape reads: the columns of all threads added up, once.

use std::sync::atomic::Ordering;

use super::cells::read_record;
use super::histogram::{EXEMPLAR, HistogramLayout, micros};
use super::shards::{Arena, Cells};
use crate::traces::TraceId;

/// The sums of all cells at one moment, and access to what cannot be summed as an integer.
pub(super) struct Totals<'a> {
    /// Computed column by column, which is how they lie in memory.
    cells: Vec<u64>,
    arena: &'a Arena,
}

/// The newest observation of a bucket that came with a trace.
pub(super) struct Exemplar {
    pub(super) trace: TraceId,
    pub(super) value: f64,
    /// Microseconds since 1970.
    pub(super) micros: u64,
}

impl<'a> Totals<'a> {
    pub(super) fn of(arena: &'a Arena) -> Self {
        Self { cells: arena.totals(), arena }
    }

    /// The sum of the integer cell at `index` of a run.
    pub(super) fn get(&self, cells: Cells, index: usize) -> u64 {
        self.cells.get(cells.position() + index).copied().unwrap_or(0)
    }

    /// The sum of all observations of a histogram.
    pub(super) fn sum(&self, cells: Cells, layout: &HistogramLayout) -> f64 {
        let mut sum = 0.0;
        self.arena.each_column(cells, |own| {
            if let Some(cell) = own.get(layout.sum()) {
                sum += f64::from_bits(cell.load(Ordering::Relaxed));
            }
        });
        sum
    }

    /// The newest exemplar of a bucket over all threads.
    pub(super) fn exemplar(
        &self,
        cells: Cells,
        layout: &HistogramLayout,
        bucket: usize,
    ) -> Option<Exemplar> {
        let mut newest: Option<[u64; EXEMPLAR]> = None;
        self.arena.each_column(cells, |own| {
            if let Some(record) = read_record::<EXEMPLAR>(own, layout.exemplar(bucket))
                && newest.is_none_or(|held| record[3] > held[3])
            {
                newest = Some(record);
            }
        });
        newest.map(|[high, low, value, at]| Exemplar {
            trace: TraceId::from_halves(high, low),
            value: f64::from_bits(value),
            micros: micros(at),
        })
    }
}

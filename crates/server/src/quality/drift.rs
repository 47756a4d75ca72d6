//! The descriptors of the last answered designs, and how far they have moved from the training
//! scans. The window lives in memory only: a new process starts with an empty one.

use microdiff_design::{DescriptorReference, DesignDocument};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{DESCRIPTOR_COUNT, Descriptors};
use std::collections::VecDeque;

/// Designs below which no drift is shown: the sampling error would be as large as what is looked
/// for.
pub(super) const LEAST_DESIGNS: usize = 30;

/// A bounded window of normalised descriptors, oldest first.
pub(super) struct DriftWindow {
    rows: VecDeque<[f32; DESCRIPTOR_COUNT]>,
    capacity: usize,
    changed: bool,
}

impl DriftWindow {
    pub(super) fn new(capacity: usize) -> Self {
        Self { rows: VecDeque::new(), capacity: capacity.max(LEAST_DESIGNS), changed: false }
    }

    pub(super) fn push(&mut self, row: [f32; DESCRIPTOR_COUNT]) {
        if self.rows.len() == self.capacity {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
        self.changed = true;
    }

    /// Whether a design came since this was last asked.
    pub(super) fn take_change(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The drift of every descriptor, in schema order; `None` with too few designs.
    pub(super) fn drifts(&self, reference: &DescriptorReference) -> Option<Vec<f64>> {
        if self.rows.len() < LEAST_DESIGNS {
            return None;
        }
        let mut column = Vec::with_capacity(self.rows.len());
        let drift = |index: usize| {
            column.clear();
            column.extend(self.rows.iter().map(|row| row[index]));
            reference.drift(index, &mut column)
        };
        Some((0..DESCRIPTOR_COUNT).map(drift).collect())
    }
}

/// The descriptors a document holds; `None` unless it holds them all.
pub(super) fn descriptors(document: &DesignDocument) -> Option<Descriptors> {
    let mut values = [0.0; DESCRIPTOR_COUNT];
    for (value, spec) in values.iter_mut().zip(DESCRIPTORS) {
        *value = document.quality.descriptors.get(spec.name)?.value;
    }
    Descriptors::new(values).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_forgets_the_oldest() {
        let mut window = DriftWindow::new(30);
        for i in 0..100 {
            window.push([i as f32; DESCRIPTOR_COUNT]);
        }
        assert_eq!((window.len(), window.rows[0][5], window.rows[29][5]), (30, 70.0, 99.0));
    }
}

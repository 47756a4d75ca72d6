//! Counts by time, in a ring of equal buckets.

use std::ops::AddAssign;

/// How many events there were and how many of them were bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events.
    pub total: u64,
    /// Events that miss the objective; at most `total`.
    pub bad: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.total = self.total.saturating_add(other.total);
        self.bad = self.bad.saturating_add(other.bad);
    }
}

/// The newest buckets of a fixed width. A bucket is named by its time divided by the width, so the
/// same moment falls into the same bucket before and after a restart.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    width: u64,
    buckets: Vec<Tally>,
    /// The newest bucket.
    head: u64,
}

impl Ring {
    /// Buckets of `width` seconds for the last `span` seconds.
    pub(super) fn new(width: u64, span: u64) -> Self {
        let width = width.max(1);
        let length = usize::try_from(span.div_ceil(width)).unwrap_or(usize::MAX).max(1);
        Self { width, buckets: vec![Tally::default(); length], head: 0 }
    }

    /// Counts into the bucket of the moment `now`, in seconds; into the newest one when `now` lies
    /// before it.
    pub(super) fn add(&mut self, now: u64, tally: Tally) {
        self.turn_to(now / self.width);
        let slot = self.slot(self.head);
        if let Some(bucket) = self.buckets.get_mut(slot) {
            *bucket += tally;
        }
    }

    /// The events of the last `span` seconds before the end of `now`'s bucket.
    pub(super) fn sum(&self, now: u64, span: u64) -> Tally {
        let last = (now / self.width).max(self.head);
        let first = (last + 1).saturating_sub(span.div_ceil(self.width)).max(self.oldest());
        let mut sum = Tally::default();
        for index in first..=self.head {
            sum += self.at(index);
        }
        sum
    }

    /// The buckets that hold anything, oldest first.
    pub(super) fn filled(&self) -> impl Iterator<Item = (u64, Tally)> {
        (self.oldest()..=self.head)
            .map(|index| (index, self.at(index)))
            .filter(|(_, tally)| tally.total > 0)
    }

    /// Puts a bucket back under its name; too old a one is left out.
    pub(super) fn restore(&mut self, index: u64, tally: Tally) {
        self.turn_to(index);
        if index >= self.oldest() {
            let slot = self.slot(index);
            if let Some(bucket) = self.buckets.get_mut(slot) {
                *bucket += tally;
            }
        }
    }

    fn turn_to(&mut self, index: u64) {
        if index <= self.head {
            return;
        }
        let length = self.buckets.len() as u64;
        // After a gap longer than the ring every bucket is too old; no need to go round twice.
        for passed in self.head.max(index.saturating_sub(length)) + 1..=index {
            let slot = self.slot(passed);
            if let Some(bucket) = self.buckets.get_mut(slot) {
                *bucket = Tally::default();
            }
        }
        self.head = index;
    }

    fn oldest(&self) -> u64 {
        (self.head + 1).saturating_sub(self.buckets.len() as u64)
    }

    fn at(&self, index: u64) -> Tally {
        self.buckets.get(self.slot(index)).copied().unwrap_or_default()
    }

    fn slot(&self, index: u64) -> usize {
        (index % self.buckets.len() as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Tally = Tally { total: 1, bad: 0 };

    fn total(ring: &Ring, now: u64, span: u64) -> u64 {
        ring.sum(now, span).total
    }

    #[test]
    fn an_event_leaves_a_span_when_its_bucket_does() {
        let mut ring = Ring::new(60, 300);
        ring.add(59, ONE);
        ring.add(60, ONE);
        assert_eq!(total(&ring, 60, 60), 1, "second 59 is the bucket before");
        assert_eq!(total(&ring, 119, 120), 2);
        assert_eq!(total(&ring, 299, 300), 2, "buckets 0 to 4");
        assert_eq!(total(&ring, 300, 300), 1, "bucket 0 has gone");
        assert_eq!(total(&ring, 360, 300), 0);
    }

    #[test]
    fn a_gap_longer_than_the_ring_leaves_nothing_behind() {
        let mut ring = Ring::new(60, 300);
        for now in [0, 100, 200, 290] {
            ring.add(now, ONE);
        }
        ring.add(1_000_000_000, ONE);
        assert_eq!(total(&ring, 1_000_000_000, 300), 1);
        assert_eq!(ring.filled().count(), 1);
    }

    #[test]
    fn a_moment_before_the_newest_counts_as_the_newest() {
        let mut ring = Ring::new(60, 300);
        ring.add(6000, ONE);
        ring.add(10, ONE);
        assert_eq!(total(&ring, 6000, 60), 2);
        assert_eq!(total(&ring, 10, 60), 2, "asked for the past, it answers for the newest");
    }
}

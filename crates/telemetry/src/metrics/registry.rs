//! The registry: the catalogue's rows with their series.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::encode::Rendered;
use super::handle::{ABSENT, Counter, Gauge, ObservedCounter};
use super::histogram::{Histogram, HistogramLayout};
use super::shards::{Arena, Cells};
use super::spec::{Initial, LabelValues, MetricKind, MetricSpec, Source};
use super::{Format, encode, lint};
use crate::TelemetryError;
use crate::builtin;

/// The value that takes the place of open labels once a metric has its full number of series.
pub(super) const OVERFLOW: &str = "_overflow";
/// Longer label values are cut: a label is a name, not a document.
const MAX_LABEL_BYTES: usize = 256;

/// Every metric of a listener. Cheap to clone; clones are the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    prefix: String,
    arena: Arc<Arena>,
    families: Vec<Family>,
    by_name: HashMap<String, usize>,
    collectors: Mutex<Vec<Collector>>,
    refused: AtomicU64,
}

type Collector = Arc<dyn Fn() + Send + Sync>;

pub(super) struct Family {
    pub(super) spec: MetricSpec,
    /// Of a histogram; the same for all its series.
    layout: Option<Arc<HistogramLayout>>,
    pub(super) state: RwLock<FamilyState>,
    overflowed: AtomicU64,
}

#[derive(Default)]
pub(super) struct FamilyState {
    pub(super) series: Vec<Series>,
    by_labels: HashMap<Vec<String>, usize>,
}

pub(super) struct Series {
    pub(super) rendered: Rendered,
    pub(super) storage: Storage,
}

#[derive(Clone)]
pub(super) enum Storage {
    /// One integer cell.
    Count(Cells),
    Histogram(Cells, Arc<HistogramLayout>),
    Value(Arc<AtomicU64>),
}

/// How many series a metric has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeriesCount {
    /// The metric's name.
    pub metric: String,
    /// Series it has.
    pub series: usize,
    /// Series it may have.
    pub cap: usize,
    /// Requests for a further series that were answered with `_overflow`.
    pub overflowed: u64,
}

impl Registry {
    /// Builds a registry from `specs` and from the rows this crate keeps about the registry itself
    /// under `prefix`. Series with known labels exist from here on.
    ///
    /// # Errors
    /// [`TelemetryError::Catalogue`] when a row breaks a naming rule, two rows collide, or the
    /// known series do not fit.
    pub fn new(prefix: &str, specs: &[MetricSpec]) -> Result<Self, TelemetryError> {
        let own = builtin::REGISTRY.iter().map(|spec| spec.clone().prefixed(prefix));
        let specs: Vec<MetricSpec> = specs.iter().cloned().chain(own).collect();
        lint::check(&specs)?;
        let by_name =
            specs.iter().enumerate().map(|(i, spec)| (spec.name.clone().into_owned(), i)).collect();
        let families = specs.into_iter().map(Family::new).collect();
        let registry = Self {
            inner: Arc::new(Inner {
                prefix: prefix.to_owned(),
                arena: Arc::new(Arena::new()),
                families,
                by_name,
                collectors: Mutex::default(),
                refused: AtomicU64::new(0),
            }),
        };
        registry.create_known_series()?;
        Ok(registry)
    }

    fn create_known_series(&self) -> Result<(), TelemetryError> {
        for family in &self.inner.families {
            if family.spec.initial == Initial::Zero && family.spec.is_closed() {
                for row in family.spec.known_series() {
                    self.series(family, &row)?;
                }
            }
        }
        Ok(())
    }

    /// The rows of this registry, in the order of the catalogue.
    pub fn specs(&self) -> impl Iterator<Item = &MetricSpec> {
        self.inner.families.iter().map(|family| &family.spec)
    }

    /// The prefix of the metrics this crate declares itself.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.inner.prefix
    }

    /// The counter of this label set.
    ///
    /// A metric that is not in the catalogue, or labels that do not fit it, give a counter that
    /// counts nowhere; the refusal itself is counted. Use [`Registry::try_counter`] to see why.
    #[must_use]
    pub fn counter(&self, spec: &MetricSpec, labels: &[&str]) -> Counter {
        self.try_counter(spec, labels).unwrap_or_else(|_| {
            self.refuse();
            Counter { run: None }
        })
    }

    /// The counter of this label set.
    ///
    /// # Errors
    /// [`TelemetryError::Metric`] when the metric is not in the catalogue, is of another kind, or
    /// the labels do not fit.
    pub fn try_counter(
        &self,
        spec: &MetricSpec,
        labels: &[&str],
    ) -> Result<Counter, TelemetryError> {
        match self.resolve(spec, MetricKind::Counter, labels)? {
            Storage::Count(cells) => Ok(Counter { run: self.inner.arena.run(cells) }),
            _ => Err(refusal(spec, "its total is kept elsewhere")),
        }
    }

    /// The counter of this label set whose total is copied in; refusals as in [`Self::counter`].
    #[must_use]
    pub fn observed_counter(&self, spec: &MetricSpec, labels: &[&str]) -> ObservedCounter {
        let bits = match self.resolve(spec, MetricKind::Counter, labels) {
            Ok(Storage::Value(bits)) => bits,
            _ => self.detached(),
        };
        ObservedCounter { bits }
    }

    /// The gauge of this label set; refusals as in [`Self::counter`].
    #[must_use]
    pub fn gauge(&self, spec: &MetricSpec, labels: &[&str]) -> Gauge {
        self.try_gauge(spec, labels).unwrap_or_else(|_| Gauge { bits: self.detached() })
    }

    /// The gauge of this label set.
    ///
    /// # Errors
    /// As [`Registry::try_counter`].
    pub fn try_gauge(&self, spec: &MetricSpec, labels: &[&str]) -> Result<Gauge, TelemetryError> {
        match self.resolve(spec, MetricKind::Gauge, labels)? {
            Storage::Value(bits) => Ok(Gauge { bits }),
            _ => Err(refusal(spec, "it is not a gauge")),
        }
    }

    /// The histogram of this label set; refusals as in [`Self::counter`].
    #[must_use]
    pub fn histogram(&self, spec: &MetricSpec, labels: &[&str]) -> Histogram {
        self.try_histogram(spec, labels).unwrap_or_else(|_| {
            self.refuse();
            let layout = Arc::new(HistogramLayout::new(spec.buckets));
            Histogram { run: None, layout }
        })
    }

    /// The histogram of this label set.
    ///
    /// # Errors
    /// As [`Registry::try_counter`].
    pub fn try_histogram(
        &self,
        spec: &MetricSpec,
        labels: &[&str],
    ) -> Result<Histogram, TelemetryError> {
        match self.resolve(spec, MetricKind::Histogram, labels)? {
            Storage::Histogram(cells, layout) => {
                Ok(Histogram { run: self.inner.arena.run(cells), layout })
            }
            _ => Err(refusal(spec, "it is not a histogram")),
        }
    }

    /// Runs `collect` before every scrape, to set gauges that are cheap to read then (a queue
    /// length, the process's memory). It must not block.
    pub fn on_scrape(&self, collect: impl Fn() + Send + Sync + 'static) {
        self.collectors().push(Arc::new(collect));
    }

    fn collectors(&self) -> std::sync::MutexGuard<'_, Vec<Collector>> {
        self.inner.collectors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page in text 0.0.4, to look a value up in.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8(self.encode(Format::Text)).unwrap_or_default()
    }

    /// The page for a scraper.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        let collectors = self.collectors().clone();
        for collect in &collectors {
            collect();
        }
        self.refresh_own();
        encode::encode(&self.inner.families, &self.inner.arena, format)
    }

    /// Series per metric, for a cardinality page.
    #[must_use]
    pub fn series_counts(&self) -> Vec<SeriesCount> {
        self.inner
            .families
            .iter()
            .map(|family| SeriesCount {
                metric: family.spec.name.clone().into_owned(),
                series: family.read().series.len(),
                cap: family.spec.max_series,
                overflowed: family.overflowed.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// How often a handle was asked for that the catalogue does not allow. Zero in a right program.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.load(Ordering::Relaxed)
    }

    /// Tells of the registry itself: series, overflow, refusals.
    fn refresh_own(&self) {
        let own = |spec: &MetricSpec| spec.clone().prefixed(&self.inner.prefix);
        let counts = self.series_counts();
        let total: usize = counts.iter().map(|count| count.series).sum();
        self.gauge(&own(&builtin::SERIES), &[]).set(total as f64);
        for count in counts.iter().filter(|count| count.overflowed > 0) {
            self.observed_counter(&own(&builtin::SERIES_OVERFLOW), &[&count.metric])
                .set(count.overflowed as f64);
        }
        self.observed_counter(&own(&builtin::SERIES_REFUSED), &[]).set(self.refused() as f64);
    }

    fn refuse(&self) {
        self.inner.refused.fetch_add(1, Ordering::Relaxed);
    }

    fn detached(&self) -> Arc<AtomicU64> {
        self.refuse();
        Arc::new(AtomicU64::new(ABSENT))
    }

    fn family(&self, spec: &MetricSpec) -> Result<&Family, TelemetryError> {
        self.inner
            .by_name
            .get(spec.name.as_ref())
            .and_then(|index| self.inner.families.get(*index))
            .ok_or_else(|| refusal(spec, "it is not in the catalogue"))
    }

    fn resolve(
        &self,
        spec: &MetricSpec,
        kind: MetricKind,
        labels: &[&str],
    ) -> Result<Storage, TelemetryError> {
        let family = self.family(spec)?;
        if family.spec.kind != kind {
            return Err(refusal(spec, &format!("it is a {}", family.spec.kind.as_str())));
        }
        if family.spec.labels.len() != labels.len() {
            let expected = family.spec.labels.len();
            return Err(refusal(spec, &format!("it has {expected} labels, not {}", labels.len())));
        }
        let values = admitted(&family.spec, labels)?;
        self.series(family, &values)
    }

    fn series(&self, family: &Family, values: &[&str]) -> Result<Storage, TelemetryError> {
        let key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        if let Some(storage) = family.read().find(&key) {
            return Ok(storage);
        }
        let mut state = family.state.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(storage) = state.find(&key) {
            return Ok(storage);
        }
        let full = state.series.len() >= family.spec.max_series;
        let key = if full { overflow_key(&family.spec, &key) } else { key };
        if full {
            family.overflowed.fetch_add(1, Ordering::Relaxed);
            if let Some(storage) = state.find(&key) {
                return Ok(storage);
            }
        }
        let storage = self.storage(family)?;
        let rendered = Rendered::new(&family.spec, &key);
        let index = state.series.len();
        state.series.push(Series { rendered, storage: storage.clone() });
        state.by_labels.insert(key, index);
        Ok(storage)
    }

    fn storage(&self, family: &Family) -> Result<Storage, TelemetryError> {
        let spec = &family.spec;
        if spec.kind == MetricKind::Gauge || spec.source == Source::Observed {
            let initial = if spec.initial == Initial::Zero { 0.0_f64.to_bits() } else { ABSENT };
            return Ok(Storage::Value(Arc::new(AtomicU64::new(initial))));
        }
        let reserve = |cells| {
            self.inner.arena.reserve(cells).ok_or_else(|| refusal(spec, "the registry is full"))
        };
        Ok(match &family.layout {
            Some(layout) => Storage::Histogram(reserve(layout.cells())?, Arc::clone(layout)),
            None => Storage::Count(reserve(1)?),
        })
    }
}

impl Family {
    fn new(spec: MetricSpec) -> Self {
        let layout = (spec.kind == MetricKind::Histogram)
            .then(|| Arc::new(HistogramLayout::new(spec.buckets)));
        Self { spec, layout, state: RwLock::default(), overflowed: AtomicU64::new(0) }
    }

    pub(super) fn read(&self) -> std::sync::RwLockReadGuard<'_, FamilyState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FamilyState {
    fn find(&self, key: &[String]) -> Option<Storage> {
        let index = self.by_labels.get(key)?;
        self.series.get(*index).map(|series| series.storage.clone())
    }
}

/// The label values as they will be shown: closed sets enforced, long values cut.
fn admitted<'a>(spec: &MetricSpec, labels: &[&'a str]) -> Result<Vec<&'a str>, TelemetryError> {
    let mut values = Vec::with_capacity(labels.len());
    for (label, value) in spec.labels.iter().zip(labels) {
        let shown = match label.values {
            LabelValues::Open => cut(value),
            LabelValues::Closed(known) if known.contains(value) => value,
            LabelValues::Closed(known) if known.contains(&"other") => "other",
            LabelValues::Closed(_) => {
                let text = cut(value).escape_debug().to_string();
                return Err(refusal(spec, &format!("`{}` cannot be `{text}`", label.name)));
            }
        };
        values.push(shown);
    }
    Ok(values)
}

fn cut(value: &str) -> &str {
    let end = (0..=value.len().min(MAX_LABEL_BYTES)).rev().find(|i| value.is_char_boundary(*i));
    value.get(..end.unwrap_or(0)).unwrap_or("")
}

fn overflow_key(spec: &MetricSpec, key: &[String]) -> Vec<String> {
    spec.labels
        .iter()
        .zip(key)
        .map(|(label, value)| match label.values {
            LabelValues::Open => OVERFLOW.to_owned(),
            LabelValues::Closed(_) => value.clone(),
        })
        .collect()
}

fn refusal(spec: &MetricSpec, reason: &str) -> TelemetryError {
    TelemetryError::Metric {
        metric: spec.name.escape_debug().to_string(),
        reason: reason.to_owned(),
    }
}

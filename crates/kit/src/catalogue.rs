//! What Prometheus can know of the service: every sample name with its labels and their values.

use std::collections::BTreeMap;

use microdiff_server::catalogue::{METRICS, PREFIX, known_values};
use microdiff_telemetry::builtin;
use microdiff_telemetry::metrics::{LabelSpec, LabelValues, MetricKind, MetricSpec};

/// Values a label may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Values {
    /// Exactly these.
    Closed(Vec<String>),
    /// Known at run time only.
    Open,
}

/// The labels of one sample name.
pub(crate) type Labels = BTreeMap<String, Values>;

/// Every sample name, with its labels.
#[derive(Debug, Clone)]
pub struct Catalogue {
    samples: BTreeMap<String, Labels>,
}

/// The scrape jobs of `prometheus.yml`; rules and dashboards select on them.
pub const JOBS: [&str; 2] = ["microdiff-app", "microdiff-gpu"];
/// Series that Prometheus itself makes for each target.
const OF_TARGETS: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];
/// The series that Prometheus makes for each alert.
const ALERTS: &str = "ALERTS";

impl Catalogue {
    /// The catalogue of this version of the service.
    #[must_use]
    pub fn of_service() -> Self {
        let mut specs = METRICS.to_vec();
        specs.extend(builtin::specs(PREFIX));
        specs.extend(builtin::gpu_specs(PREFIX));
        specs.extend(builtin::registry_specs(PREFIX));
        Self::of(&specs)
    }

    /// The catalogue of these rows.
    #[must_use]
    pub fn of(specs: &[MetricSpec]) -> Self {
        let mut samples = BTreeMap::new();
        for name in OF_TARGETS {
            samples.insert(name.to_owned(), target_labels());
        }
        for spec in specs {
            let labels = labels_of(spec);
            if spec.kind == MetricKind::Histogram {
                let mut with_bound = labels.clone();
                with_bound.insert("le".to_owned(), Values::Closed(bounds(spec)));
                samples.insert(format!("{}_bucket", spec.name), with_bound);
                samples.insert(format!("{}_sum", spec.name), labels.clone());
                samples.insert(format!("{}_count", spec.name), labels);
            } else {
                samples.insert(spec.name.clone().into_owned(), labels);
            }
        }
        Self { samples }
    }

    pub(crate) fn labels(&self, name: &str) -> Option<&Labels> {
        self.samples.get(name)
    }

    /// Adds a recorded metric.
    pub(crate) fn record(&mut self, name: &str, labels: Labels) {
        self.samples.insert(name.to_owned(), labels);
    }

    /// Adds the series that Prometheus makes of alerts with these names.
    pub(crate) fn record_alerts(&mut self, names: &[&str]) {
        let closed = |values: &[&str]| {
            Values::Closed(values.iter().map(|value| (*value).to_owned()).collect())
        };
        let mut labels = target_labels();
        labels.insert("alertname".to_owned(), closed(names));
        labels.insert("alertstate".to_owned(), closed(&["pending", "firing"]));
        labels.insert("severity".to_owned(), closed(&crate::check::SEVERITIES));
        labels.insert("team".to_owned(), Values::Open);
        self.record(ALERTS, labels);
    }
}

fn target_labels() -> Labels {
    let jobs = JOBS.map(str::to_owned).to_vec();
    Labels::from([("job".to_owned(), Values::Closed(jobs)), ("instance".to_owned(), Values::Open)])
}

fn labels_of(spec: &MetricSpec) -> Labels {
    let mut labels = target_labels();
    for label in spec.labels {
        labels.insert(label.name.to_owned(), values_of(label));
    }
    labels
}

fn values_of(label: &LabelSpec) -> Values {
    let closed = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
    match label.values {
        LabelValues::Closed(values) => Values::Closed(closed(values)),
        // Open to the registry, but the service knows which it uses.
        LabelValues::Open => {
            known_values(label.name).map_or(Values::Open, |values| Values::Closed(closed(&values)))
        }
    }
}

/// Bounds as they are exposed: always with a point or an exponent.
fn bounds(spec: &MetricSpec) -> Vec<String> {
    let shown = spec.buckets.iter().map(|bound| format!("{bound:?}"));
    shown.chain(["+Inf".to_owned()]).collect()
}

//! What the flight recorder keeps of designs: enough to tell what happened and to do it again, and
//! nothing that says whose part it was. No file name, no header, no address of a client.

mod requests;

pub(crate) use requests::watch;

use crate::catalogue as rows;
use crate::config::Config;
use crate::jobs::JobRequest;
use crate::problem::{Failure, FailureKind};
use crate::store::Job;
use microdiff_design::{DesignDocument, OutOfDistributionSummary};
use microdiff_telemetry::Telemetry;
use microdiff_telemetry::flight::{
    FlightClass, FlightDetails, FlightFiles, FlightOptions, FlightRecord, FlightRecorder, Keep,
};
use microdiff_telemetry::metrics::Registry;
use microdiff_telemetry::traces::TraceContext;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, TryLockError, Weak};
use std::time::{Duration, Instant, SystemTime};

const FAILED: &str = "failed";
const REFUSED: &str = "refused";
const OUT_OF_DISTRIBUTION: &str = "out_of_distribution";
const SLOW: &str = "slow";
const REQUEST: &str = "request";
const ABANDONED: &str = "abandoned";
const NORMAL: &str = "normal";

const fn newest(name: &'static str, share: usize) -> FlightClass {
    FlightClass { name, share, keep: Keep::Newest }
}

/// The classes, the gravest first: a record is held by the first that it has a reason for. Designs
/// that failed by our own fault stand apart from those whose scan or request was refused, so that
/// no series of bad uploads evicts a fault; failed requests beside a design stand apart from both,
/// and from those whose client left, which is an everyday thing.
pub(crate) static CLASSES: &[FlightClass] = &[
    newest(FAILED, 4),
    newest(REFUSED, 2),
    newest(OUT_OF_DISTRIBUTION, 3),
    newest(SLOW, 3),
    newest(REQUEST, 2),
    newest(ABANDONED, 1),
    FlightClass { name: NORMAL, share: 1, keep: Keep::Sample },
];

/// Panics in a row write one file: the first tells as much as the next.
const PANIC_EVERY: Duration = Duration::from_secs(60);

/// What a record says of a design beside what it says of every request: the field `details`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesignDetails {
    /// What was asked beside the scan.
    pub request: JobRequest,
    /// Time of this, counted from 1.
    pub attempt: u32,
    /// SHA-256 of the scan; absent when it could not be read.
    pub scan_sha256: Option<String>,
    /// Digest of the model that was asked.
    pub model_digest: String,
    /// SHA-256 of the draws, see [`microdiff_design::draws_sha256`]; absent when it failed.
    pub draws_sha256: Option<String>,
    /// How strange the scan was; absent when it failed.
    pub out_of_distribution: Option<OutOfDistributionSummary>,
}

impl FlightDetails for DesignDetails {
    fn json(&self) -> serde_json::Value {
        // A record without its details still tells more than none.
        serde_json::to_value(self).unwrap_or_default()
    }

    fn heap_bytes(&self) -> usize {
        let texts = [&self.scan_sha256, &self.draws_sha256];
        size_of::<Self>()
            + self.request.known.capacity()
            + self.model_digest.capacity()
            + texts.into_iter().flatten().map(String::capacity).sum::<usize>()
    }
}

/// A design that came to an end.
pub(crate) struct EndedDesign<'a> {
    pub(crate) job: &'a Job,
    pub(crate) outcome: Result<&'a DesignDocument, &'a Failure>,
    /// Digest of a scan that led to no document.
    pub(crate) scan_sha256: Option<String>,
    pub(crate) took: Duration,
    /// The wait for a worker and the engine's phases.
    pub(crate) phases: Vec<(&'static str, Duration)>,
}

/// The flight recorder of the service.
pub(crate) struct Flight {
    recorder: FlightRecorder,
    files: Option<FlightFiles>,
    slow: Duration,
    model_digest: String,
    last_panic: Mutex<Option<Instant>>,
}

impl Flight {
    pub(crate) fn new(config: &Config, model_digest: String, telemetry: &Telemetry) -> Arc<Self> {
        let options = FlightOptions {
            classes: CLASSES,
            capacity: config.flight.capacity,
            bytes: config.flight.bytes,
            version: telemetry.version().to_owned(),
        };
        let recorder = FlightRecorder::new(options, telemetry.scrubber().clone());
        show(&recorder, telemetry.registry());
        let files = FlightFiles::new(&config.data_dir, config.flight.files);
        let flight = Arc::new(Self {
            recorder,
            files: config.flight.persist.then_some(files),
            slow: config.slo.latency(),
            model_digest,
            last_panic: Mutex::new(None),
        });
        if let Ok(mut live) = LIVE.lock() {
            live.retain(|held| held.strong_count() > 0);
            live.push(Arc::downgrade(&flight));
        }
        flight
    }

    pub(crate) fn recorder(&self) -> &FlightRecorder {
        &self.recorder
    }

    /// Keeps a design, for every reason that it gives.
    pub(crate) fn design(&self, ended: EndedDesign<'_>) {
        let EndedDesign { job, outcome, scan_sha256, took, phases } = ended;
        let document = outcome.ok();
        let mut reasons = Vec::with_capacity(3);
        match outcome {
            Err(failure) if failure.kind == FailureKind::Internal => reasons.push(FAILED),
            Err(_) => reasons.push(REFUSED),
            Ok(document) if document.out_of_distribution.flagged => {
                reasons.push(OUT_OF_DISTRIBUTION);
            }
            Ok(_) => {}
        }
        if took > self.slow {
            reasons.push(SLOW);
        }
        if reasons.is_empty() {
            reasons.push(NORMAL);
        }
        let details = DesignDetails {
            request: job.request.clone(),
            attempt: job.attempts,
            scan_sha256: document.map(|document| document.scan.sha256.clone()).or(scan_sha256),
            model_digest: self.model_digest.clone(),
            draws_sha256: document.map(|document| document.draws_sha256.clone()),
            out_of_distribution: document.map(|document| document.out_of_distribution),
        };
        let trace = job.traceparent.as_deref().and_then(TraceContext::parse);
        self.recorder.record(
            &reasons,
            FlightRecord {
                id: job.id.to_string(),
                request_id: job.request_id.clone(),
                trace_id: trace.map(|trace| trace.trace_id),
                time: SystemTime::now(),
                method: "POST",
                endpoint: "/v1/designs".into(),
                status: if document.is_some() { "succeeded" } else { "failed" }.into(),
                error_type: outcome.err().map(|failure| failure.code.clone().into()),
                duration: took,
                phases,
                bytes: job.scan_bytes,
                details: Some(Box::new(details)),
            },
        );
    }

    /// Writes what is held to a file, if the configuration says so.
    pub(crate) fn write(&self, reason: &str) {
        match self.store(reason) {
            Ok(None) => {}
            Ok(Some(path)) => {
                tracing::info!(flight_file = %path.display(), reason, "flight records written");
            }
            Err(error) => tracing::warn!(error = %error, reason, "cannot write flight records"),
        }
    }

    /// Writes what is held after the panic of a design, unless that was done a moment ago.
    pub(crate) fn write_after_panic(&self) {
        if self.is_first_panic() {
            self.write("panic");
        }
    }

    fn store(&self, reason: &str) -> std::io::Result<Option<PathBuf>> {
        self.files.as_ref().map_or(Ok(None), |files| files.write(&self.recorder, reason))
    }

    /// Whether no panic was written a moment ago; counts this one as written.
    fn is_first_panic(&self) -> bool {
        // Whoever holds the lock is asking for the same.
        let Ok(mut last) = self.last_panic.try_lock() else { return false };
        let first = last.is_none_or(|at| at.elapsed() > PANIC_EVERY);
        if first {
            *last = Some(Instant::now());
        }
        first
    }
}

/// The recorders of this process that are in use.
static LIVE: Mutex<Vec<Weak<Flight>>> = Mutex::new(Vec::new());
/// Name of the threads whose panics are caught and recorded before the file is written.
pub(crate) const DESIGN_THREAD: &str = "design";

/// Makes every panic of this process write the records, after what the present hook does.
pub(crate) fn write_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if std::thread::current().name() == Some(DESIGN_THREAD) {
            return;
        }
        // A thread that panics may hold any lock, so nothing here waits for one.
        let live: Vec<Arc<Flight>> = match LIVE.try_lock() {
            Ok(live) => live.iter().filter_map(Weak::upgrade).collect(),
            Err(TryLockError::Poisoned(live)) => {
                live.into_inner().iter().filter_map(Weak::upgrade).collect()
            }
            Err(TryLockError::WouldBlock) => return,
        };
        for flight in live.iter().filter(|flight| flight.is_first_panic()) {
            // The panic has its log line; a further one might go through what has just broken.
            let _ = flight.store("panic");
        }
    }));
}

/// Shows the recorder's own counts, read at each scrape.
fn show(recorder: &FlightRecorder, registry: &Registry) {
    let recorder = recorder.clone();
    let series = CLASSES.iter().map(|class| {
        let name = [class.name];
        (
            registry.observed_counter(&rows::FLIGHT_RECORDS, &name),
            registry.observed_counter(&rows::FLIGHT_EVICTIONS, &name),
            registry.gauge(&rows::FLIGHT_HELD, &name),
        )
    });
    let series: Vec<_> = series.collect();
    registry.on_scrape(move || {
        for (count, (recorded, evicted, held)) in recorder.counts().iter().zip(&series) {
            recorded.set(count.recorded as f64);
            evicted.set(count.evicted as f64);
            held.set(count.held as f64);
        }
    });
}

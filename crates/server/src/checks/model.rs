//! The model in memory answers as recorded, and the bundle it came from is still the same on disk.
//!
//! The two are told apart on purpose. A model in memory that is broken or wrong must not answer:
//! the check fails. A bundle that was damaged or swapped on disk harms only the next start: the
//! check degrades, and the service goes on answering with the model it has proven.

use super::CheckResult;
use crate::App;
use crate::engine::{Engine, EngineFailure};
use crate::metrics::Metrics;
use microdiff_design::{BundleContent, Designer};
use microdiff_telemetry::health::{CheckDetail, CheckFailure};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long running designs stand in for the canary before it runs beside them all the same.
const BUSY_LIMIT: Duration = Duration::from_secs(900);
/// Files that look untouched are read whole this often: a disk may lose a bit by itself.
const READ_EVERY: Duration = Duration::from_secs(3600);

/// The known-answer canary and the watch over the bundle; tells a busy model from a broken and
/// from a wrong one, and from one whose bundle on disk is another.
pub(super) struct ModelCheck {
    engine: Arc<dyn Engine>,
    metrics: Arc<Metrics>,
    busy: Arc<AtomicUsize>,
    /// When the canary last passed.
    last_proof: Mutex<Option<Instant>>,
    /// Absent for the model that is part of the binary.
    bundle: Option<BundleWatch>,
}

impl ModelCheck {
    pub(super) fn new(app: &App, busy: Arc<AtomicUsize>) -> Self {
        let digest = app.engine.model().digest;
        Self {
            engine: Arc::clone(&app.engine),
            metrics: Arc::clone(&app.metrics),
            busy,
            last_proof: Mutex::new(None),
            bundle: app.config.model_dir.as_deref().map(|dir| BundleWatch::new(dir, digest)),
        }
    }

    /// Runs the check. Blocks for as long as the canary computes.
    pub(super) fn run(&self) -> CheckResult {
        let busy = self.busy.load(Ordering::Acquire) > 0 && self.proven_lately();
        if !busy {
            self.prove()?;
        }
        Ok(match self.bundle.as_ref().and_then(BundleWatch::look) {
            Some(difference) => difference,
            None if busy => CheckDetail::noted("busy with a design"),
            None => CheckDetail::ok(),
        })
    }

    /// A running design needs every core, and is itself a sign that a proven model answers.
    fn proven_lately(&self) -> bool {
        self.last_proof().is_some_and(|proof| proof.elapsed() < BUSY_LIMIT)
    }

    fn prove(&self) -> Result<(), CheckFailure> {
        let failed =
            |failure: EngineFailure| CheckFailure::new("broken").caused_by(failure.internal);
        let canary = self.engine.canary().map_err(failed)?;
        self.metrics.canary_deviation.set(canary.deviation);
        if !canary.matched {
            let cause = format!("the canary's answer deviates by {}", canary.deviation);
            return Err(CheckFailure::new("wrong answer").caused_by(cause));
        }
        *self.last_proof() = Some(Instant::now());
        Ok(())
    }

    fn last_proof(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.last_proof.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches the files that the loaded model came from.
struct BundleWatch {
    directory: PathBuf,
    /// Of the loaded model.
    digest: String,
    /// As they were when the service started; absent when they could not be read even then.
    content: Option<BundleContent>,
    seen: Mutex<Option<Seen>>,
}

/// The last time the files were read whole.
struct Seen {
    at: Instant,
    stamps: Vec<Stamp>,
    verdict: Option<CheckDetail>,
}

/// What changes with every write to a file: device, inode, size, and the time of the last change,
/// which no program can set back.
type Stamp = Option<[i64; 5]>;

impl BundleWatch {
    fn new(directory: &Path, digest: String) -> Self {
        let content = BundleContent::read(directory).ok();
        Self { directory: directory.to_owned(), digest, content, seen: Mutex::new(None) }
    }

    /// Says how the bundle on disk differs from the loaded one. Reads the files only when they
    /// were touched, or not for an hour.
    fn look(&self) -> Option<CheckDetail> {
        // Stamps first: a file that changes while it is read is read again at the next turn.
        let stamps: Vec<Stamp> =
            BundleContent::FILES.iter().map(|name| stamp(&self.directory.join(name))).collect();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(seen) = &*seen
            && seen.stamps == stamps
            && seen.at.elapsed() < READ_EVERY
        {
            return seen.verdict.clone();
        }
        let verdict = self.compare();
        *seen = Some(Seen { at: Instant::now(), stamps, verdict: verdict.clone() });
        verdict
    }

    fn compare(&self) -> Option<CheckDetail> {
        let found = BundleContent::read(&self.directory);
        let is_loaded = |found: &BundleContent| {
            found.digest == self.digest && self.content.as_ref().is_none_or(|was| was == found)
        };
        if found.as_ref().is_ok_and(is_loaded) {
            return None;
        }
        let opened = found.and_then(|found| Designer::open(&self.directory).map(|_| found.digest));
        Some(match opened {
            Ok(digest) => CheckDetail::degraded("bundle changed on disk")
                .caused_by(format!("the next start would load the model {digest}")),
            Err(error) => CheckDetail::degraded("bundle damaged on disk").caused_by(error),
        })
    }
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    let [device, inode, size] =
        [found.dev(), found.ino(), found.size()].map(|n| i64::from_ne_bytes(n.to_ne_bytes()));
    Some([device, inode, size, found.ctime(), found.ctime_nsec()])
}

use super::queue::JobQueue;
use super::watch::{OpenSpans, Watch};
use crate::audit::AuditLog;
use crate::engine::{Engine, EngineFailure};
use crate::flight::{DESIGN_THREAD, EndedDesign, Flight};
use crate::metrics::{Metrics, observe};
use crate::objectives::Objectives;
use crate::problem::{
    ANSWER_UNWRITABLE, ATTEMPTS_EXHAUSTED, Failure, FailureKind, PANIC, THREAD_FAILED,
};
use crate::quality::Quality;
use crate::spans;
use crate::stop::Stop;
use crate::store::{Claim, Outcome, ScanFiles, now_ms};
use microdiff_design::DesignDocument;
use microdiff_domain::Phase;
use microdiff_telemetry::traces::{Span, TraceContext, Tracer};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// What every worker needs.
pub(crate) struct Crew {
    pub(crate) queue: Arc<JobQueue>,
    pub(crate) files: ScanFiles,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) quality: Arc<Quality>,
    pub(crate) tracer: Tracer,
    pub(crate) flight: Arc<Flight>,
    pub(crate) objectives: Arc<Objectives>,
    pub(crate) stop: Stop,
    pub(crate) audit: AuditLog,
    pub(crate) keep_scans: bool,
    /// Jobs running now; the canary stands back while there are any.
    pub(crate) busy: Arc<AtomicUsize>,
}

/// A failed scan up to this size is digested for its flight record: a moment's work.
const DIGESTED_BYTES: u64 = 256 * 1024 * 1024;

/// The running workers.
pub(crate) struct Workers(JoinSet<()>);

impl Workers {
    /// Starts `count` workers.
    pub(crate) fn start(crew: &Arc<Crew>, count: usize) -> Self {
        let mut set = JoinSet::new();
        for _ in 0..count {
            set.spawn(work(Arc::clone(crew)));
        }
        Self(set)
    }

    /// Returns when every worker has ended.
    pub(crate) async fn ended(&mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

async fn work(crew: Arc<Crew>) {
    while !crew.stop.is_draining() {
        match crew.queue.claim().await {
            Ok(Some(claim)) => crew.run(claim).await,
            Ok(None) => tokio::select! {
                () = crew.queue.bell() => {}
                () = crew.stop.draining() => {}
            },
            Err(error) => {
                tracing::error!(error = %error, "cannot claim a job");
                let pause = tokio::time::sleep(Duration::from_secs(1));
                tokio::select! { () = pause => {} () = crew.stop.draining() => {} }
            }
        }
    }
}

/// What the engine's thread sends back: the answer, and the job's span to be ended with its record.
struct Answer {
    document: Result<DesignDocument, EngineFailure>,
    span: Span,
    took: Duration,
    phases: Vec<(&'static str, Duration)>,
    /// Digest of a scan that led to no document.
    scan_sha256: Option<String>,
}

/// How the wait for the engine ended.
enum Waited {
    Answered(Box<Answer>),
    Lost,
    Abandoned,
}

impl Crew {
    /// Runs one claimed job to its end, or hands it back when the drain's deadline
    /// comes first.
    async fn run(self: &Arc<Self>, claim: Claim) {
        let waited = now_ms().saturating_sub(claim.job.created_ms).max(0) as f64 / 1000.0;
        self.observe_wait(&claim, Duration::from_secs_f64(waited));
        if claim.job.attempts > self.queue.max_attempts() {
            return self.give_up(&claim).await;
        }
        let _busy = Busy::begin(self);
        match self.answer(&claim).await {
            Waited::Answered(mut answer) => {
                let queue = (Phase::Queue.name(), Duration::from_secs_f64(waited));
                answer.phases.insert(0, queue);
                let (outcome, span) = self.conclude(&claim, *answer);
                let mut store = span.child(spans::STORE_FINISH.name);
                if !self.write_end(&claim, &outcome).await {
                    store.fail("not_recorded");
                }
            }
            Waited::Lost => self.lose(&claim).await,
            Waited::Abandoned => self.hand_back(&claim).await,
        }
    }

    fn observe_wait(&self, claim: &Claim, waited: Duration) {
        let trace = claim.job.traceparent.as_deref().and_then(TraceContext::parse);
        for histogram in [&self.metrics.queue_wait, self.metrics.phase(Phase::Queue)] {
            match trace {
                Some(trace) => observe(histogram, waited, trace),
                None => histogram.observe(waited.as_secs_f64()),
            }
        }
    }

    /// Awaits the engine, renewing the lease meanwhile.
    async fn answer(self: &Arc<Self>, claim: &Claim) -> Waited {
        let open = OpenSpans::begin(&self.tracer, &claim.job);
        let mut answer = self.spawn(claim, open.clone());
        let mut renewal = tokio::time::interval(self.queue.lease() / 3);
        loop {
            tokio::select! {
                answer = &mut answer => return match answer {
                    Ok(answer) => Waited::Answered(Box::new(answer)),
                    Err(_) => {
                        drop(open.finish(Some(THREAD_FAILED)));
                        Waited::Lost
                    }
                },
                () = self.stop.abandoning() => {
                    // The engine's thread may outlive the process's patience; its spans must not.
                    drop(open.finish(Some("drain")));
                    return Waited::Abandoned;
                }
                _ = renewal.tick() => self.renew(claim).await,
            }
        }
    }

    /// The thread could not be started: the job failed, and not by its own fault.
    async fn lose(&self, claim: &Claim) {
        self.metrics.job_error(THREAD_FAILED);
        let failure = Failure::internal(THREAD_FAILED);
        self.record_unrun(claim, &failure);
        self.write_end(claim, &Outcome::Failed(failure)).await;
    }

    async fn renew(&self, claim: &Claim) {
        match self.queue.store().renew(claim, self.queue.lease()).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!(job_id = %claim.job.id, "the lease of a running job is lost")
            }
            Err(error) => tracing::error!(error = %error, "cannot renew the lease of a job"),
        }
    }

    /// Runs the engine in a thread of its own: it is busy for seconds, and at the end of a drain it
    /// must not keep the runtime from stopping.
    fn spawn(self: &Arc<Self>, claim: &Claim, open: OpenSpans) -> oneshot::Receiver<Answer> {
        let (send, receive) = oneshot::channel();
        let crew = Arc::clone(self);
        let job = claim.job.clone();
        let run = move || {
            let started = Instant::now();
            let scan = crew.files.path(&job.scan);
            let mut watch = Watch::new(Arc::clone(&crew.metrics), open, &job);
            // The engine is shared but never changed, so a panic leaves nothing half-written.
            let document = std::panic::catch_unwind(AssertUnwindSafe(|| {
                crew.engine.design(&scan, &job.request, &mut watch)
            }))
            .unwrap_or_else(|_| Err(panicked()));
            let took = started.elapsed();
            let failed = document.as_ref().err();
            // A design that answered says it in its document; one that did not is rare.
            let small = failed.filter(|_| job.scan_bytes <= DIGESTED_BYTES);
            let scan_sha256 = small.and_then(|_| crew.engine.scan_sha256(&scan));
            let phases = watch.times();
            let code = failed.map(|failure| failure.public.code.as_str());
            // Once the job was handed back its spans are over, and nobody listens any more.
            if let Some(span) = watch.finish(code) {
                let _ = send.send(Answer { document, span, took, phases, scan_sha256 });
            }
        };
        let spawned = std::thread::Builder::new().name(DESIGN_THREAD.into()).spawn(run);
        if let Err(error) = spawned {
            // The sender went with the closure, so the receiver reports a failure.
            tracing::error!(error = %error, "cannot start a thread for a design");
        }
        receive
    }

    /// Records what became of the inference: metrics and the summary line.
    fn conclude(&self, claim: &Claim, answer: Answer) -> (Outcome, Span) {
        let Answer { document, mut span, took, phases, scan_sha256 } = answer;
        let known = document.as_ref().map_err(|failure| &failure.public);
        let panicked = known.is_err_and(|failure| failure.code == PANIC);
        let job = &claim.job;
        self.flight.design(EndedDesign { job, outcome: known, scan_sha256, took, phases });
        self.objectives.inference(took);
        if panicked {
            self.flight.write_after_panic();
        }
        let handles = self.metrics.inference(claim.job.request.alloy);
        // A design that is kept because it failed or was slow is the one an exemplar should show.
        let kept = span.settle();
        let context = TraceContext { sampled: span.context().sampled || kept, ..span.context() };
        observe(&handles.duration, took, context);
        let _ids = span.context().log_span().entered();
        let text = document.and_then(|document| {
            self.count_answer(&document);
            log_stages(claim, &document);
            serde_json::to_string(&document).map_err(|error| EngineFailure {
                public: Failure::internal(ANSWER_UNWRITABLE),
                internal: error.to_string(),
            })
        });
        let outcome = match text {
            Ok(text) => {
                handles.success.inc();
                self.log_success(claim, took);
                Outcome::Succeeded(text)
            }
            Err(failure) => {
                handles.error.inc();
                self.metrics.job_error(&failure.public.code);
                self.log_failure(claim, took, &failure);
                Outcome::Failed(self.publish(claim, failure.public))
            }
        };
        (outcome, span)
    }

    /// A job that never ran: the flight recorder has its request and the reason.
    fn record_unrun(&self, claim: &Claim, failure: &Failure) {
        self.flight.design(EndedDesign {
            job: &claim.job,
            outcome: Err(failure),
            scan_sha256: None,
            took: Duration::ZERO,
            phases: Vec::new(),
        });
    }

    fn log_success(&self, claim: &Claim, took: Duration) {
        let job = &claim.job;
        tracing::info!(
            target: "microdiff_models",
            request_id = %job.request_id,
            user_id = %job.caller,
            job_id = %job.id,
            model_type = %self.metrics.model_type(),
            alloy = job.request.alloy.name(),
            duration_ms = took.as_secs_f64() * 1e3,
            success = true,
            "Model inference completed successfully"
        );
    }

    fn log_failure(&self, claim: &Claim, took: Duration, failure: &EngineFailure) {
        let job = &claim.job;
        tracing::error!(
            target: "microdiff_models",
            request_id = %job.request_id,
            user_id = %job.caller,
            job_id = %job.id,
            model_type = %self.metrics.model_type(),
            alloy = job.request.alloy.name(),
            duration_ms = took.as_secs_f64() * 1e3,
            success = false,
            error.type = %failure.public.code,
            error.message = %failure.internal,
            "Model inference failed"
        );
    }

    fn count_answer(&self, document: &DesignDocument) {
        self.metrics.samples.add(document.request.samples as u64);
        self.quality.record(document);
        self.metrics.ood_score.observe(document.out_of_distribution.score);
        if document.out_of_distribution.flagged {
            self.metrics.ood_flagged.inc();
        }
    }

    /// The public side of a failure, with the scan's path replaced by its declared name.
    fn publish(&self, claim: &Claim, mut failure: Failure) -> Failure {
        if failure.kind == FailureKind::Internal {
            return Failure::internal(&failure.code);
        }
        let path = self.files.path(&claim.job.scan).display().to_string();
        failure.detail = failure.detail.replace(&path, &claim.job.scan_name);
        failure
    }

    /// Puts the end of a job on record, then records it; says whether it is recorded.
    async fn write_end(&self, claim: &Claim, outcome: &Outcome) -> bool {
        self.audit.ended(&claim.job, outcome).await;
        let recorded = self.record_end(claim, outcome).await;
        if recorded
            && !self.keep_scans
            && let Err(error) = self.files.remove(&claim.job.scan)
        {
            tracing::warn!(error = %error, job_id = %claim.job.id, "cannot remove a scan");
        }
        recorded
    }

    async fn record_end(&self, claim: &Claim, outcome: &Outcome) -> bool {
        match self.queue.end(claim, outcome).await {
            Ok(true) => match outcome {
                Outcome::Succeeded(_) => self.metrics.succeeded.inc(),
                Outcome::Failed(_) => self.metrics.failed.inc(),
            },
            Ok(false) => {
                tracing::warn!(job_id = %claim.job.id, "a job ended after its lease was lost");
                return false;
            }
            Err(error) => {
                // The lease runs out and the job is run again: late, not lost.
                tracing::error!(error = %error, job_id = %claim.job.id, "cannot record a job's end");
                return false;
            }
        }
        true
    }

    async fn hand_back(&self, claim: &Claim) {
        match self.queue.store().hand_back(claim).await {
            Ok(_) => {
                self.metrics.requeued_drain.inc();
                tracing::info!(job_id = %claim.job.id, "job handed back to the queue");
            }
            // The lease runs out all the same, and the next start finds the job.
            Err(error) => tracing::error!(error = %error, "cannot hand a job back"),
        }
    }

    async fn give_up(&self, claim: &Claim) {
        let attempts = self.queue.max_attempts();
        tracing::error!(job_id = %claim.job.id, attempts, "a job never came to an end; given up");
        self.metrics.job_error(ATTEMPTS_EXHAUSTED);
        let failure = Failure::internal(ATTEMPTS_EXHAUSTED);
        self.record_unrun(claim, &failure);
        self.write_end(claim, &Outcome::Failed(failure)).await;
    }
}

/// What each stage found, for whoever turns its logger to `debug`.
fn log_stages(claim: &Claim, document: &DesignDocument) {
    let (job_id, request_id) = (&claim.job.id, &claim.job.request_id);
    tracing::debug!(
        target: "microdiff_imaging",
        %request_id,
        %job_id,
        porosity = document.analysis.porosity,
        pores = document.analysis.pore_count,
        "Scan measured"
    );
    tracing::debug!(
        target: "microdiff_optimization",
        %request_id,
        %job_id,
        samples = document.request.samples,
        steps = document.request.steps,
        out_of_distribution = document.out_of_distribution.score,
        "Posterior drawn"
    );
}

fn panicked() -> EngineFailure {
    EngineFailure {
        public: Failure::internal(PANIC),
        internal: "the design panicked; the panic is logged before this line".into(),
    }
}

/// Counts one job as running for as long as it lives.
struct Busy(Arc<Crew>);

impl Busy {
    fn begin(crew: &Arc<Crew>) -> Self {
        crew.busy.fetch_add(1, Ordering::AcqRel);
        crew.metrics.busy.inc();
        Self(Arc::clone(crew))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.busy.dec();
    }
}

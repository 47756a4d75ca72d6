//! Scores the model on its validation set while the service runs.
//!
//! It begins when every health check has had its first result, so that readiness never waits for
//! it; it runs one case at a time in one thread of low priority and stands back while a design
//! runs. A scoring that fails is counted and logged, and what was found before stays, with its
//! time.

use super::{LiveEvaluation, Quality};
use crate::App;
use crate::engine::{EngineFailure, ValidationFacts};
use crate::problem::Failure;
use crate::stop::Stop;
use microdiff_design::{CaseScore, set_scores};
use microdiff_telemetry::health::Health;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longest wait for the first health results.
const FIRST_RESULTS: Duration = Duration::from_secs(600);
/// Longest that one scoring stands back for designs before it runs beside them all the same: a
/// service that is never idle must be scored, too.
const PATIENCE: Duration = Duration::from_secs(900);
/// How often it looks whether a design still runs.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Added to the nice value of the scoring thread.
const NICE: i32 = 10;

/// Starts the evaluator if it is configured; it ends with the drain.
pub(crate) fn start(app: &Arc<App>, health: Health, busy: Arc<AtomicUsize>) -> JoinHandle<()> {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        if !app.config.quality.evaluate {
            return;
        }
        let pool = match one_thread() {
            Ok(pool) => pool,
            Err(error) => {
                tracing::error!(error = %error, "cannot start a thread to evaluate the model in");
                return;
            }
        };
        let evaluator = Evaluator { quality: Arc::clone(&app.quality), pool, busy };
        tokio::select! {
            () = app.stop.draining() => return,
            _ = health.checked_once(FIRST_RESULTS) => {}
        }
        evaluator.keep_scoring(app.config.quality.every(), &app.stop).await;
    })
}

/// A pool of one thread: the numeric code uses the pool it is called in, so it takes one core.
fn one_thread() -> Result<ThreadPool, rayon::ThreadPoolBuildError> {
    ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "evaluate".to_owned())
        .start_handler(|_| {
            // On Linux this is the thread's own; where it is refused, standing back must do.
            let _ = rustix::process::nice(NICE);
        })
        .build()
}

struct Evaluator {
    quality: Arc<Quality>,
    pool: ThreadPool,
    busy: Arc<AtomicUsize>,
}

impl Evaluator {
    async fn keep_scoring(&self, every: Option<Duration>, stop: &Stop) {
        loop {
            let began = Instant::now();
            let outcome = tokio::select! {
                () = stop.draining() => return,
                outcome = self.score_all() => outcome,
            };
            self.conclude(outcome, began.elapsed());
            let Some(every) = every else { return };
            tokio::select! {
                () = stop.draining() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    async fn score_all(&self) -> Result<(ValidationFacts, Vec<CaseScore>), EngineFailure> {
        let facts = self.quality.engine.validation()?;
        let mut patience = PATIENCE;
        let mut cases = Vec::with_capacity(facts.cases);
        for case in 0..facts.cases {
            while self.busy.load(Ordering::Acquire) > 0 && !patience.is_zero() {
                tokio::time::sleep(LOOK_EVERY).await;
                patience = patience.saturating_sub(LOOK_EVERY);
            }
            cases.push(self.score(case).await?);
        }
        Ok((facts, cases))
    }

    async fn score(&self, case: usize) -> Result<CaseScore, EngineFailure> {
        let (send, receive) = oneshot::channel();
        let engine = Arc::clone(&self.quality.engine);
        self.pool.spawn(move || {
            // The engine is shared but never changed, so a panic leaves nothing half-written.
            let scored = std::panic::catch_unwind(AssertUnwindSafe(|| engine.score(case)));
            // Nobody listens any more once the service drains.
            let _ = send.send(scored.unwrap_or_else(|_| Err(lost("the scoring panicked"))));
        });
        receive.await.unwrap_or_else(|_| Err(lost("the scoring thread is gone")))
    }

    fn conclude(
        &self,
        outcome: Result<(ValidationFacts, Vec<CaseScore>), EngineFailure>,
        took: Duration,
    ) {
        match outcome {
            Ok((facts, cases)) => {
                let scores = set_scores(&cases, &facts.class_shares);
                let all = scores.first();
                tracing::info!(
                    target: "microdiff_models",
                    validation_set = %facts.digest,
                    cases = facts.cases,
                    skill = all.map_or(f64::NAN, |score| score.skill),
                    coverage_90 = all.map_or(f64::NAN, |score| score.coverage_90),
                    duration_ms = took.as_secs_f64() * 1e3,
                    success = true,
                    "Model evaluated"
                );
                self.quality.conclude(LiveEvaluation {
                    facts,
                    scores,
                    at: SystemTime::now(),
                    seconds: took.as_secs_f64(),
                });
            }
            Err(failure) => {
                self.quality.handles.failed.inc();
                tracing::error!(
                    target: "microdiff_models",
                    duration_ms = took.as_secs_f64() * 1e3,
                    success = false,
                    error.type = %failure.public.code,
                    error.message = %failure.internal,
                    "Model evaluation failed"
                );
            }
        }
    }
}

fn lost(reason: &str) -> EngineFailure {
    EngineFailure { public: Failure::internal("panic"), internal: reason.to_owned() }
}

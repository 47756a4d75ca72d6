use crate::ServerError;
use crate::config::JobConfig;
use crate::store::{Claim, Job, JobId, JobStore, NewJob, Outcome};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The queue of designs: the records are in the store, this adds the bell that wakes workers and
/// the one that wakes whoever waits for an answer.
#[derive(Debug)]
pub struct JobQueue {
    store: JobStore,
    config: JobConfig,
    submitted: Notify,
    ended: watch::Sender<u64>,
}

impl JobQueue {
    /// A queue over the records of `store`.
    #[must_use]
    pub fn new(store: JobStore, config: JobConfig) -> Self {
        Self { store, config, submitted: Notify::new(), ended: watch::Sender::new(0) }
    }

    /// The records.
    #[must_use]
    pub fn store(&self) -> &JobStore {
        &self.store
    }

    /// Jobs that may wait.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.config.queue_length
    }

    /// How long a claim holds without renewal.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.config.lease()
    }

    /// Times a job is begun before it is given up.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.config.attempts
    }

    /// Whether one more job would find room now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_room(&self) -> Result<bool, ServerError> {
        Ok(self.store.queued().await? < self.capacity())
    }

    /// Records the job durably and wakes a worker; false when there is no room.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn submit(&self, job: &NewJob) -> Result<bool, ServerError> {
        let accepted = self.store.enqueue(job, self.capacity()).await?;
        if accepted {
            self.submitted.notify_one();
        }
        Ok(accepted)
    }

    /// Claims the next job if there is one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn claim(&self) -> Result<Option<Claim>, ServerError> {
        self.store.claim(self.lease()).await
    }

    /// Returns when a job may be waiting: on a submission, or after half a lease, when a dead
    /// worker's job may have come free.
    pub async fn bell(&self) {
        let _ = tokio::time::timeout(self.lease() / 2, self.submitted.notified()).await;
    }

    /// Writes the end of a job and wakes whoever waits for it; false when the claim was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(&self, claim: &Claim, outcome: &Outcome) -> Result<bool, ServerError> {
        let written = self.store.finish(claim, outcome).await?;
        self.ended.send_modify(|count| *count = count.wrapping_add(1));
        Ok(written)
    }

    /// The job as it stands when it has ended or `deadline` has come, whichever is first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn wait(&self, id: JobId, deadline: Instant) -> Result<Option<Job>, ServerError> {
        let mut ended = self.ended.subscribe();
        loop {
            let job = self.store.get(id).await?;
            let open = job.as_ref().is_some_and(|job| !job.state.is_final());
            if !open || Instant::now() >= deadline {
                return Ok(job);
            }
            let _ = tokio::time::timeout_at(deadline, ended.changed()).await;
        }
    }
}

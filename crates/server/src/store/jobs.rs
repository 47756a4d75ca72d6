use super::now_ms;
use super::record::{Claim, Job, JobId, JobState, NewJob, Outcome};
use crate::ServerError;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr};
use std::borrow::Cow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the health check waits for the lock of a writer: longer than any write of this
/// service, shorter than the check's own deadline, so that the check can tell a lock.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Job records in SQLite. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobStore {
    pool: SqlitePool,
    /// One connection for the health check, which must not wait as long as a job may.
    probe: SqlitePool,
    path: PathBuf,
    /// Which file was opened: a removed one would go on taking records that nobody finds again.
    identity: (u64, u64),
}

impl JobStore {
    /// Opens the database at `path`, creating it if missing, and brings its schema up to date.
    /// Write-ahead log with `synchronous=FULL`: a committed record survives a power cut.
    ///
    /// # Errors
    /// When the file cannot be opened, or was written by a newer version.
    pub async fn open(path: &Path) -> Result<Self, ServerError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options.clone())
            .await?;
        migrator().run(&pool).await?;
        // A later connection that finds no file must fail, not begin an empty database.
        let options = options.create_if_missing(false);
        pool.set_connect_options(options.clone());
        let probe = SqlitePoolOptions::new()
            .max_connections(1)
            .connect_lazy_with(options.busy_timeout(PROBE_PATIENCE));
        let identity = identity(path).ok_or_else(|| ServerError::DataDir {
            path: path.display().to_string(),
            reason: "the database file vanished".to_owned(),
        })?;
        Ok(Self { pool, probe, path: path.to_owned(), identity })
    }

    /// Whether the file that was opened still bears the database's name.
    fn prove_in_place(&self) -> Result<(), ServerError> {
        if identity(&self.path) == Some(self.identity) {
            return Ok(());
        }
        Err(ServerError::Displaced { path: self.path.display().to_string() })
    }

    /// Records a job as queued unless `capacity` jobs already wait; says whether it did. Returns
    /// after the record is on disk.
    ///
    /// # Errors
    /// When the database fails or its file was removed.
    pub async fn enqueue(&self, job: &NewJob, capacity: usize) -> Result<bool, ServerError> {
        // A removed file would take the record with it when this process ends.
        self.prove_in_place()?;
        let request = serde_json::to_string(&job.request).map_err(|e| record(&job.id, &e))?;
        let now = now_ms();
        // One statement, so that two submitters cannot both take the last place.
        let done = sqlx::query(
            "INSERT INTO jobs (id, created_ms, updated_ms, state, request, scan, scan_bytes, \
             scan_name, request_id, traceparent, caller) \
             SELECT ?1, ?2, ?2, 'queued', ?3, ?4, ?5, ?6, ?7, ?8, ?9 \
             WHERE (SELECT count(*) FROM jobs WHERE state = 'queued') < ?10",
        )
        .bind(job.id.to_string())
        .bind(now)
        .bind(request)
        .bind(&job.scan)
        .bind(signed(job.scan_bytes))
        .bind(&job.scan_name)
        .bind(&job.request_id)
        .bind(&job.traceparent)
        .bind(&job.caller)
        .bind(signed(capacity as u64))
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The job of that identity.
    ///
    /// # Errors
    /// When the database fails or the record cannot be understood.
    pub async fn get(&self, id: JobId) -> Result<Option<Job>, ServerError> {
        let row = sqlx::query("SELECT * FROM jobs WHERE id = ?1")
            .bind(id.to_string())
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| read(&row).map(|claim| claim.job)).transpose()
    }

    /// Hands out the job that has waited longest, or one whose worker let its lease run out.
    /// The claim is void `lease` from now unless renewed.
    ///
    /// # Errors
    /// When the database fails or the record cannot be understood.
    pub async fn claim(&self, lease: Duration) -> Result<Option<Claim>, ServerError> {
        let now = now_ms();
        let row = sqlx::query(
            "UPDATE jobs SET state = 'running', attempts = attempts + 1, fence = fence + 1, \
             lease_expires_ms = ?1, updated_ms = ?2 \
             WHERE id = (SELECT id FROM jobs WHERE state = 'queued' \
                         OR (state = 'running' AND lease_expires_ms < ?2) \
                         ORDER BY created_ms, id LIMIT 1) \
             RETURNING *",
        )
        .bind(now.saturating_add(millis(lease)))
        .bind(now)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        match read(&row) {
            Ok(claim) => Ok(Some(claim)),
            Err(error) => {
                self.fail_unreadable(&row).await?;
                Err(error)
            }
        }
    }

    /// Ends a job whose record this version cannot understand; it would come back for ever.
    async fn fail_unreadable(&self, row: &SqliteRow) -> Result<(), ServerError> {
        let id: String = row.try_get("id")?;
        sqlx::query("UPDATE jobs SET state = 'failed', lease_expires_ms = NULL WHERE id = ?1")
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Puts the end of a claim's lease `lease` from now; false when the claim was lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn renew(&self, claim: &Claim, lease: Duration) -> Result<bool, ServerError> {
        let done = sqlx::query(
            "UPDATE jobs SET lease_expires_ms = ?1 WHERE id = ?2 AND state = 'running' \
             AND fence = ?3",
        )
        .bind(now_ms().saturating_add(millis(lease)))
        .bind(claim.job.id.to_string())
        .bind(claim.fence)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Writes the end of a job; false when the claim was lost and nothing was written.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn finish(&self, claim: &Claim, outcome: &Outcome) -> Result<bool, ServerError> {
        let (state, result, problem) = match outcome {
            Outcome::Succeeded(document) => (JobState::Succeeded, Some(document.clone()), None),
            Outcome::Failed(failure) => {
                let text = serde_json::to_string(failure).map_err(|e| record(&claim.job.id, &e))?;
                (JobState::Failed, None, Some(text))
            }
        };
        let done = sqlx::query(
            "UPDATE jobs SET state = ?1, result = ?2, problem = ?3, updated_ms = ?4, \
             lease_expires_ms = NULL WHERE id = ?5 AND state = 'running' AND fence = ?6",
        )
        .bind(state.name())
        .bind(result)
        .bind(problem)
        .bind(now_ms())
        .bind(claim.job.id.to_string())
        .bind(claim.fence)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a claimed job back unfinished, as if it had not been begun; false when the claim was
    /// lost.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn hand_back(&self, claim: &Claim) -> Result<bool, ServerError> {
        let done = sqlx::query(
            "UPDATE jobs SET state = 'queued', attempts = attempts - 1, lease_expires_ms = NULL, \
             fence = fence + 1, updated_ms = ?1 \
             WHERE id = ?2 AND state = 'running' AND fence = ?3",
        )
        .bind(now_ms())
        .bind(claim.job.id.to_string())
        .bind(claim.fence)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts every running job back into the queue: right only while no worker of any process can
    /// be alive. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn requeue_orphans(&self) -> Result<u64, ServerError> {
        let done = sqlx::query(
            "UPDATE jobs SET state = 'queued', lease_expires_ms = NULL, fence = fence + 1, \
             updated_ms = ?1 WHERE state = 'running'",
        )
        .bind(now_ms())
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// Number of jobs in each state, in the order of [`JobState::ALL`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counts(&self) -> Result<[u64; 4], ServerError> {
        let rows = sqlx::query("SELECT state, count(*) AS n FROM jobs GROUP BY state")
            .fetch_all(&self.pool)
            .await?;
        let mut counts = [0; 4];
        for row in rows {
            let name: String = row.try_get("state")?;
            let n: i64 = row.try_get("n")?;
            if let Some(state) = JobState::parse(&name) {
                counts[state as usize] = u64::try_from(n).unwrap_or(0);
            }
        }
        Ok(counts)
    }

    /// Number of jobs that wait.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn queued(&self) -> Result<usize, ServerError> {
        let row = sqlx::query("SELECT count(*) AS n FROM jobs WHERE state = 'queued'")
            .fetch_one(&self.pool)
            .await?;
        let n: i64 = row.try_get("n")?;
        Ok(usize::try_from(n).unwrap_or(0))
    }

    /// File names of the scans that unfinished jobs still need.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn scans_in_use(&self) -> Result<Vec<String>, ServerError> {
        let rows = sqlx::query("SELECT scan FROM jobs WHERE state IN ('queued', 'running')")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(|row| row.try_get("scan").map_err(ServerError::from)).collect()
    }

    /// Removes records of jobs that ended before `before_ms`. Returns how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_ended_before(&self, before_ms: i64) -> Result<u64, ServerError> {
        let done = sqlx::query(
            "DELETE FROM jobs WHERE state IN ('succeeded', 'failed') AND updated_ms < ?1",
        )
        .bind(before_ms)
        .execute(&self.pool)
        .await?;
        Ok(done.rows_affected())
    }

    /// A round trip on a pooled connection; checks that the schema is the one this program wrote
    /// and that the lock of a writer can be had.
    ///
    /// # Errors
    /// When the database does not answer, its file was removed, its schema is not current, or
    /// another process keeps it locked.
    pub async fn ping(&self) -> Result<(), ServerError> {
        self.prove_in_place()?;
        let row =
            sqlx::query("SELECT max(version) AS version FROM _sqlx_migrations WHERE success = 1")
                .fetch_one(&self.pool)
                .await?;
        let version: Option<i64> = row.try_get("version")?;
        let newest = migrator().iter().map(|migration| migration.version).max();
        if version == newest {
            // Dropping the transaction rolls it back.
            let lock = self.probe.begin_with("BEGIN IMMEDIATE").await?;
            return Ok(lock.rollback().await?);
        }
        Err(ServerError::Record {
            id: "_sqlx_migrations".into(),
            reason: format!("schema is at {version:?}, this program needs {newest:?}"),
        })
    }

    /// Connections open and connections idle.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        (self.pool.size() as usize, self.pool.num_idle())
    }

    /// Closes the database after running statements have ended.
    pub async fn close(&self) {
        self.probe.close().await;
        self.pool.close().await;
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

fn migrator() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let sql = sql.into_sql_str();
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(vec![
        migration(1, "jobs", include_str!("../../migrations/0001_jobs.sql")),
        migration(2, "caller", include_str!("../../migrations/0002_caller.sql")),
    ])
}

fn read(row: &SqliteRow) -> Result<Claim, ServerError> {
    let text: String = row.try_get("id")?;
    let bad = |reason: &str| ServerError::Record { id: text.clone(), reason: reason.into() };
    let id = JobId::parse(&text).ok_or_else(|| bad("its id is malformed"))?;
    let state: String = row.try_get("state")?;
    let request: String = row.try_get("request")?;
    let problem: Option<String> = row.try_get("problem")?;
    let failure = problem.map(|problem| serde_json::from_str(&problem)).transpose();
    let job = Job {
        id,
        created_ms: row.try_get("created_ms")?,
        updated_ms: row.try_get("updated_ms")?,
        state: JobState::parse(&state).ok_or_else(|| bad("its state is unknown"))?,
        request: serde_json::from_str(&request).map_err(|error| record(&id, &error))?,
        scan: row.try_get("scan")?,
        scan_bytes: unsigned(row.try_get("scan_bytes")?),
        scan_name: row.try_get("scan_name")?,
        result: row.try_get("result")?,
        failure: failure.map_err(|error| record(&id, &error))?,
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(0),
        request_id: row.try_get("request_id")?,
        traceparent: row.try_get("traceparent")?,
        caller: row.try_get("caller")?,
    };
    Ok(Claim { job, fence: row.try_get("fence")? })
}

fn record(id: &JobId, error: &serde_json::Error) -> ServerError {
    ServerError::Record { id: id.to_string(), reason: error.to_string() }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

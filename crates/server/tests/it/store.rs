use microdiff_server::ServerError;
use microdiff_server::jobs::JobRequest;
use microdiff_server::problem::{Failure, FailureKind};
use microdiff_server::store::{JobId, JobState, JobStore, NewJob, Outcome, ScanFiles};
use std::collections::HashSet;
use std::time::Duration;
use tempfile::TempDir;

const LEASE: Duration = Duration::from_secs(3600);

fn job() -> NewJob {
    let fields = [("alloy", "316L".to_owned())].into_iter().collect();
    let id = JobId::fresh();
    NewJob {
        id,
        request: JobRequest::from_fields(&fields).unwrap(),
        scan: format!("{id}.scan"),
        scan_bytes: 7,
        scan_name: "a.tif".into(),
        request_id: "r".into(),
        traceparent: None,
        caller: "c".into(),
    }
}

async fn open(dir: &TempDir) -> JobStore {
    JobStore::open(&dir.path().join("jobs.sqlite3")).await.unwrap()
}

#[test]
fn ids_sort_by_time_and_read_back() {
    let (first, second) = (JobId::fresh(), JobId::fresh());
    assert!(first.to_string() < second.to_string());
    assert_eq!(JobId::parse(&first.to_string()), Some(first));
    for bad in ["", "../../etc/passwd", &first.to_string().replace('-', "")] {
        assert_eq!(JobId::parse(bad), None);
    }
}

#[tokio::test]
async fn a_record_survives_reopening_and_jobs_come_in_order() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (job(), job());
    let store = open(&dir).await;
    assert!(store.enqueue(&first, 2).await.unwrap());
    assert!(store.enqueue(&second, 2).await.unwrap());
    assert!(!store.enqueue(&job(), 2).await.unwrap(), "the queue holds two");
    store.close().await;
    let store = open(&dir).await;
    assert_eq!(store.counts().await.unwrap(), [2, 0, 0, 0]);
    assert_eq!(store.claim(LEASE).await.unwrap().unwrap().job.id, first.id);
    assert_eq!(store.claim(LEASE).await.unwrap().unwrap().job.id, second.id);
    assert!(store.claim(LEASE).await.unwrap().is_none());
    store.ping().await.unwrap();
}

#[tokio::test]
async fn an_end_is_written_once_and_read_back() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await;
    store.enqueue(&job(), 9).await.unwrap();
    let claim = store.claim(LEASE).await.unwrap().unwrap();
    let failure =
        Failure { kind: FailureKind::Data, code: "not_a_tiff".into(), detail: "no".into() };
    assert!(store.finish(&claim, &Outcome::Failed(failure.clone())).await.unwrap());
    let late = Outcome::Succeeded("{}".into());
    assert!(!store.finish(&claim, &late).await.unwrap(), "it has ended already");
    let read = store.get(claim.job.id).await.unwrap().unwrap();
    assert_eq!((read.state, read.failure, read.result), (JobState::Failed, Some(failure), None));
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await;
    store.enqueue(&job(), 9).await.unwrap();
    // A lease that ends as it begins: the worker is taken for dead at once.
    let slow = store.claim(Duration::ZERO).await.unwrap().unwrap();
    let quick = loop {
        // Free as soon as the clock's next millisecond has begun.
        if let Some(claim) = store.claim(LEASE).await.unwrap() {
            break claim;
        }
    };
    assert_eq!(quick.job.id, slow.job.id);
    assert_eq!(quick.job.attempts, 2);
    assert!(!store.renew(&slow, LEASE).await.unwrap());
    assert!(!store.hand_back(&slow).await.unwrap());
    let outcome = Outcome::Succeeded("{\"late\":true}".into());
    assert!(!store.finish(&slow, &outcome).await.unwrap());
    assert!(store.renew(&quick, LEASE).await.unwrap());
    assert!(store.finish(&quick, &Outcome::Succeeded("{}".into())).await.unwrap());
    let read = store.get(quick.job.id).await.unwrap().unwrap();
    assert_eq!(read.result.as_deref(), Some("{}"));
}

#[tokio::test]
async fn a_job_handed_back_counts_as_not_begun_and_one_orphaned_as_begun() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await;
    store.enqueue(&job(), 9).await.unwrap();
    let claim = store.claim(LEASE).await.unwrap().unwrap();
    assert!(store.hand_back(&claim).await.unwrap());
    let claim = store.claim(LEASE).await.unwrap().unwrap();
    assert_eq!(claim.job.attempts, 1);
    assert_eq!(store.requeue_orphans().await.unwrap(), 1);
    let outcome = Outcome::Succeeded("{}".into());
    assert!(!store.finish(&claim, &outcome).await.unwrap(), "the orphan's fence is void");
    assert_eq!(store.claim(LEASE).await.unwrap().unwrap().job.attempts, 2);
}

#[tokio::test]
async fn only_old_ended_records_are_removed() {
    let dir = TempDir::new().unwrap();
    let store = open(&dir).await;
    store.enqueue(&job(), 9).await.unwrap();
    store.enqueue(&job(), 9).await.unwrap();
    let claim = store.claim(LEASE).await.unwrap().unwrap();
    store.finish(&claim, &Outcome::Succeeded("{}".into())).await.unwrap();
    assert_eq!(store.remove_ended_before(0).await.unwrap(), 0);
    assert_eq!(store.remove_ended_before(i64::MAX).await.unwrap(), 1);
    assert_eq!(store.counts().await.unwrap(), [1, 0, 0, 0]);
}

#[tokio::test]
async fn a_database_from_the_future_is_refused() {
    let dir = TempDir::new().unwrap();
    open(&dir).await.close().await;
    let file = dir.path().join("jobs.sqlite3");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET version = 999 WHERE version = 2")
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
    let error = JobStore::open(&file).await.unwrap_err();
    assert!(matches!(error, ServerError::Migration(_)), "{error}");
}

#[tokio::test]
async fn a_scan_appears_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let files = ScanFiles::open(dir.path()).unwrap();
    let scans = || std::fs::read_dir(dir.path().join("scans")).unwrap().count();
    let mut left = files.create(JobId::fresh()).await.unwrap();
    left.write(b"half").await.unwrap();
    assert_eq!(scans(), 1);
    drop(left);
    assert_eq!(scans(), 0, "an upload that breaks off leaves nothing");
    let mut whole = files.create(JobId::fresh()).await.unwrap();
    whole.write(b"who").await.unwrap();
    whole.write(b"le").await.unwrap();
    let name = whole.commit().await.unwrap();
    assert_eq!(std::fs::read(files.path(&name)).unwrap(), b"whole");
    std::fs::write(files.path("stray.part"), b"x").unwrap();
    assert_eq!(files.sweep(&HashSet::from([name.clone()])).unwrap(), 1);
    assert_eq!(scans(), 1);
    files.remove(&name).unwrap();
    files.remove(&name).unwrap();
    files.prove_writable().unwrap();
    assert!(files.free_bytes().unwrap() > 0);
}

#[test]
fn a_data_directory_has_one_owner() {
    let dir = TempDir::new().unwrap();
    let owner = ScanFiles::open(dir.path()).unwrap();
    let error = ScanFiles::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("in use by another"), "{error}");
    drop(owner);
    ScanFiles::open(dir.path()).unwrap();
}

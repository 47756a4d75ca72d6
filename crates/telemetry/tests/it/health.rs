//! Checks and probes, with time standing still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use microdiff_telemetry::Telemetry;
use microdiff_telemetry::health::{CheckDetail, CheckFailure, CheckOptions, Health};

use crate::{LONG, lines, options, sample};

const GOOD: u8 = 0;
const BAD: u8 = 1;
const WARNING: u8 = 2;
const HANGS: u8 = 3;
const PANICS: u8 = 4;

fn status(health: &Health) -> (u16, String) {
    let answer = health.detailed();
    (answer.status.as_u16(), answer.body["status"].as_str().unwrap().to_owned())
}

async fn after_runs(runs: u32) {
    // The cadence is 10 s and a deadline 5 s; a little more than both.
    for _ in 0..runs {
        tokio::time::sleep(Duration::from_millis(15_100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_turns_exactly_its_own_answer_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (telemetry, _guard, _) = Telemetry::start_local(options(&folder.path().join("l"))).unwrap();
    let (oven, radio) = (Arc::new(AtomicU8::new(GOOD)), Arc::new(AtomicU8::new(GOOD)));
    let run = |state: &Arc<AtomicU8>| {
        let state = Arc::clone(state);
        move || {
            let state = state.load(Ordering::SeqCst);
            async move {
                match state {
                    GOOD => Ok(CheckDetail::ok()),
                    WARNING => Ok(CheckDetail::degraded("warm")),
                    HANGS => std::future::pending().await,
                    PANICS => panic!("on purpose"),
                    _ => Err(CheckFailure::new("cold").caused_by("secret detail")),
                }
            }
        }
    };
    let health = Health::builder(&telemetry)
        .check(CheckOptions::required("oven").streaks(2, 2), run(&oven))
        .check(CheckOptions::optional("radio").streaks(1, 1), run(&radio))
        .check(CheckOptions::disabled("gpu"), run(&radio))
        .start();
    assert_eq!(status(&health), (503, "unhealthy".to_owned()), "nothing is known yet");
    assert!(health.checked_once(LONG).await);
    assert_eq!(health.readiness().body["status"], "loading");
    assert_eq!(health.startup().status, 503);
    health.set_ready();
    assert_eq!(health.startup().status, 200);
    assert_eq!(health.readiness().status, 200);
    assert_eq!(status(&health), (200, "healthy".to_owned()));
    let checks = health.detailed().body["checks"].clone();
    assert_eq!(checks, serde_json::json!({"oven": true, "radio": true, "gpu": true}));
    let passed = |check| {
        let name = "bakery_health_check_last_success_timestamp_seconds";
        sample(&telemetry, &format!("{name}{{check=\"{check}\"}}"))
    };
    assert!(passed("oven").is_some());
    assert_eq!(passed("gpu"), None, "what never runs has no last success that could be old");

    radio.store(BAD, Ordering::SeqCst);
    after_runs(1).await;
    assert_eq!(status(&health), (200, "degraded".to_owned()));
    assert_eq!(health.readiness().status, 200);
    radio.store(WARNING, Ordering::SeqCst);
    after_runs(2).await;
    assert_eq!(status(&health), (200, "degraded".to_owned()));
    assert_eq!(health.detailed().body["checks"]["radio"], true);
    let radio_status = sample(&telemetry, "bakery_health_check_status{check=\"radio\"}");
    assert_eq!(radio_status, Some(0.5));
    radio.store(GOOD, Ordering::SeqCst);

    for trouble in [BAD, HANGS, PANICS] {
        oven.store(trouble, Ordering::SeqCst);
        after_runs(4).await;
        let detailed = health.detailed();
        assert_eq!(detailed.status, 503, "{trouble}");
        assert_eq!(detailed.retry_after, Some(5));
        assert_eq!(detailed.body["checks"]["oven"], false);
        assert!(!detailed.body.to_string().contains("secret detail"));
        let reason = ["", "cold", "", "deadline", "panic"][usize::from(trouble)];
        assert_eq!(detailed.body["components"][0]["reason"], reason);
        assert_eq!(health.readiness().body["status"], "failing");
        assert_eq!(health.liveness().status, 200, "no dependency is consulted");
        oven.store(GOOD, Ordering::SeqCst);
        after_runs(4).await;
        assert_eq!(status(&health), (200, "healthy".to_owned()));
    }
    health.set_draining();
    health.set_ready();
    assert_eq!(health.readiness().body["status"], "draining");
    assert_eq!(health.liveness().status, 200);
}

#[tokio::test(start_paused = true)]
async fn one_lost_result_turns_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (telemetry, _guard, _) = Telemetry::start_local(options(&folder.path().join("l"))).unwrap();
    let run = Arc::new(AtomicU8::new(0));
    let counted = Arc::clone(&run);
    let health = Health::builder(&telemetry)
        .check(CheckOptions::required("oven").streaks(2, 1), move || {
            let fails = counted.fetch_add(1, Ordering::SeqCst) == 1;
            async move {
                if fails { Err(CheckFailure::new("blink")) } else { Ok(CheckDetail::noted("fine")) }
            }
        })
        .start();
    assert!(health.checked_once(LONG).await);
    while run.load(Ordering::SeqCst) < 4 {
        assert_eq!(status(&health), (200, "healthy".to_owned()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(health.detailed().body["components"][0]["reason"], "fine");
    let failed = "bakery_health_check_runs_total{check=\"oven\",result=\"failed\"}";
    assert_eq!(sample(&telemetry, failed), Some(1.0));
}

#[tokio::test(start_paused = true)]
async fn each_turn_is_one_line_and_a_result_that_turns_nothing_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    let log = tracing::dispatcher::set_default(&dispatch);
    // One result a run, and the last for ever.
    let script = [GOOD, BAD, GOOD, BAD, BAD, BAD, GOOD, WARNING, WARNING, GOOD];
    let run = Arc::new(AtomicU8::new(0));
    let counted = Arc::clone(&run);
    let health = Health::builder(&telemetry)
        .check(CheckOptions::required("oven").streaks(2, 1), move || {
            let now = usize::from(counted.fetch_add(1, Ordering::SeqCst));
            let result = match *script.get(now).unwrap_or(&GOOD) {
                BAD => Err(CheckFailure::new("cold").caused_by("no gas")),
                WARNING => Ok(CheckDetail::degraded("warm").caused_by("door open")),
                _ => Ok(CheckDetail::ok()),
            };
            async move { result }
        })
        .check(CheckOptions::optional("radio").streaks(1, 1), || async {
            Err(CheckFailure::new("noise"))
        })
        .start();
    while usize::from(run.load(Ordering::SeqCst)) < script.len() + 3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let runs = |result: &str| {
        let series =
            format!("bakery_health_check_runs_total{{check=\"oven\",result=\"{result}\"}}");
        sample(&telemetry, &series)
    };
    assert_eq!((runs("failed"), runs("degraded")), (Some(4.0), Some(2.0)));
    drop((health, log));
    let told = lines(guard, &file);
    let turned = |check: &str| -> Vec<String> {
        let of = told.iter().filter(|line| line["check"] == check);
        of.map(|line| {
            assert_eq!(line["message"], "health check turned");
            let [level, from, to, reason, cause] =
                ["level", "from", "to", "reason", "error.message"]
                    .map(|key| line[key].as_str().unwrap_or("-"));
            format!("{level} {from} {to} {reason:?} {cause}")
        })
        .collect()
    };
    assert_eq!(
        turned("oven"),
        [
            "INFO unknown ok \"\" -",
            "ERROR ok failed \"cold\" no gas",
            "INFO failed ok \"\" -",
            "WARN ok degraded \"warm\" door open",
            "INFO degraded ok \"\" -",
        ]
    );
    assert_eq!(turned("radio"), ["WARN unknown failed \"noise\" noise"]);
}

/// In real time: the point is a runtime that runs nothing at all.
#[test]
fn a_runtime_that_stands_still_is_not_alive_until_it_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("l");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let builder = Health::builder(&telemetry).watchdog(Duration::from_millis(200));
    let started = tracing::dispatcher::with_default(&dispatch, || {
        let _inside = runtime.enter();
        builder.start()
    });
    let until = |status: u16| {
        let end = std::time::Instant::now() + LONG;
        while started.liveness().status != status {
            assert!(std::time::Instant::now() < end, "liveness does not become {status}");
            std::thread::yield_now();
        }
    };
    let told = |message: &str| {
        let end = std::time::Instant::now() + LONG;
        loop {
            telemetry.logs().flush(LONG);
            if std::fs::read_to_string(&file).unwrap().contains(message) {
                break;
            }
            assert!(std::time::Instant::now() < end, "no line says: {message}");
            std::thread::yield_now();
        }
    };
    until(200);
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    runtime.spawn(async move { blocked.recv() });
    until(503);
    assert_eq!(started.liveness().body["status"], "unhealthy");
    assert_eq!(started.liveness().retry_after, Some(5));
    started.set_ready();
    assert_eq!(started.readiness().body["status"], "failing");
    told("the runtime stands still");
    assert!(sample(&telemetry, "bakery_health_runtime_stalls_total").unwrap() >= 1.0);
    drop(release);
    until(200);
    told("the runtime runs again");
    assert_eq!(started.readiness().status, 200);
    drop((started, runtime));
    let log = lines(guard, &file);
    let still = log.iter().find(|line| line["message"] == "the runtime stands still").unwrap();
    assert_eq!(still["level"], "ERROR");
    assert!(still["seconds"].as_f64().unwrap() > 0.0, "{still}");
}

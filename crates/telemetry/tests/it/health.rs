//! Checks and probes, with time standing still.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use microdiff_telemetry::Telemetry;
use microdiff_telemetry::health::{CheckDetail, CheckFailure, CheckOptions, Health};

use crate::{LONG, options, sample};

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

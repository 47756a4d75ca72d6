use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use microdiff_telemetry::slo::{
    BurnWindow, ObjectiveOptions, ObjectiveReport, Slo, SloOptions, Tally,
};
use proptest::prelude::*;

use crate::{options, sample};

const DAY: u64 = 86_400;
const WINDOW: u64 = 28 * DAY;
const START: u64 = 1_800_000_000;
const TARGET: f64 = 0.99;

/// A clock that a test turns.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn at(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    fn turn(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

fn kept(hands: &Hands, definition: &str) -> Slo {
    let hands = hands.clone();
    let objective = ObjectiveOptions {
        name: "latency",
        definition: definition.to_owned(),
        target: TARGET,
        totals: None,
    };
    Slo::new(SloOptions {
        window: Duration::from_secs(WINDOW),
        objectives: vec![objective],
        clock: Arc::new(move || Duration::from_secs(hands.0.load(Ordering::Relaxed))),
    })
}

fn only(slo: &Slo) -> ObjectiveReport {
    slo.report().remove(0)
}

/// What the buckets must say, counted from the events themselves: those of the last `span / width`
/// buckets up to and with the one of `now`.
fn counted(events: &[(u64, bool)], now: u64, span: u64) -> Tally {
    let width = if span <= 6 * 3600 { 60 } else { 300 };
    let inside = |at: &u64| at / width + span / width > now / width;
    let mut tally = Tally::default();
    for (_, bad) in events.iter().filter(|(at, _)| inside(at)) {
        tally.total += 1;
        tally.bad += u64::from(*bad);
    }
    tally
}

/// Steps between events: mostly short, some that jump over whole windows.
fn steps() -> impl Strategy<Value = Vec<(u64, bool)>> {
    let step = prop_oneof![
        6 => 0..120_u64,
        3 => 0..4000_u64,
        2 => 0..4 * DAY,
        1 => 20 * DAY..40 * DAY,
    ];
    prop::collection::vec((step, prop::bool::weighted(0.2)), 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn figures_are_those_of_the_events(steps in steps(), rest in 0..10_000_u64) {
        let hands = Hands::at(START);
        let slo = kept(&hands, "d");
        let meter = slo.meter("latency").unwrap();
        let mut events = Vec::new();
        let mut now = START;
        for (step, bad) in steps {
            now += step;
            hands.turn(now);
            meter.record(bad);
            events.push((now, bad));
            slo.advance();
        }
        now += rest;
        hands.turn(now);
        let report = only(&slo);
        let tally = counted(&events, now, WINDOW);
        prop_assert_eq!(report.tally, tally);
        let allowed = tally.total as f64 * (1.0 - TARGET);
        if tally.total > 0 {
            let left = 1.0 - tally.bad as f64 / allowed;
            prop_assert!((report.budget_remaining() - left).abs() < 1e-9);
            let good = (tally.total - tally.bad) as f64 / tally.total as f64;
            prop_assert!((report.ratio().unwrap() - good).abs() < 1e-12);
        }
        for (burn, window) in report.burns.iter().zip(BurnWindow::ALL) {
            let tally = counted(&events, now, window.seconds());
            prop_assert_eq!(burn.tally, tally, "{}", window.name());
            let rate = if tally.total == 0 {
                0.0
            } else {
                tally.bad as f64 / (tally.total as f64 * (1.0 - TARGET))
            };
            prop_assert!((burn.rate - rate).abs() < 1e-9, "{}: {}", window.name(), burn.rate);
        }
    }

    #[test]
    fn a_clock_that_goes_back_loses_and_repeats_nothing(
        moments in prop::collection::vec(0..2 * DAY, 1..60),
    ) {
        let hands = Hands::at(START);
        let slo = kept(&hands, "d");
        let meter = slo.meter("latency").unwrap();
        for (i, moment) in moments.iter().enumerate() {
            hands.turn(START + moment);
            meter.record(i % 2 == 0);
            slo.advance();
        }
        let tally = only(&slo).tally;
        let bad = moments.len().div_ceil(2) as u64;
        prop_assert_eq!(tally, Tally { total: moments.len() as u64, bad });
    }

    #[test]
    fn a_restart_changes_no_figure(steps in steps(), idle in 0..3 * DAY) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("slo.json");
        let hands = Hands::at(START);
        let slo = kept(&hands, "d");
        let meter = slo.meter("latency").unwrap();
        let mut now = START;
        for (step, bad) in steps {
            now += step;
            hands.turn(now);
            meter.record(bad);
            slo.advance();
        }
        slo.save(&file).unwrap();
        now += idle;
        hands.turn(now);
        let again = kept(&hands, "d");
        prop_assert_eq!(again.load(&file).unwrap(), vec!["latency"]);
        prop_assert_eq!(only(&again), only(&slo));
    }

    #[test]
    fn no_file_makes_loading_panic_or_half_succeed(
        bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..400_usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("slo.json");
        let hands = Hands::at(START);
        let slo = kept(&hands, "d");
        slo.meter("latency").unwrap().record(true);
        slo.save(&file).unwrap();
        let whole = std::fs::read(&file).unwrap();
        for content in [bytes, whole[..cut.min(whole.len() - 1)].to_vec()] {
            std::fs::write(&file, content).unwrap();
            let fresh = kept(&hands, "d");
            prop_assert!(fresh.load(&file).is_err());
            prop_assert_eq!(only(&fresh).tally, Tally::default());
        }
    }
}

#[test]
fn a_saved_file_that_cannot_be_is_refused_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("slo.json");
    let hands = Hands::at(START);
    let load = |text: &str| {
        std::fs::write(&file, text).unwrap();
        kept(&hands, "d").load(&file).unwrap_err().to_string()
    };
    let with = |saved_at: u64, row: &str| {
        format!(
            "{{\"version\":1,\"saved_at\":{saved_at},\"objectives\":{{\"latency\":{{\
             \"definition\":\"d\",\"minutes\":[{row}],\"five_minutes\":[]}}}}}}"
        )
    };
    let bucket = START / 60;
    assert!(load("{}").contains("version"));
    assert!(load(&with(START + 2 * 3600, "")).contains("after the present"));
    assert!(load(&with(START, &format!("[{bucket},1,2]"))).contains("cannot be"));
    assert!(load(&with(START, &format!("[{},1,0]", bucket + 1))).contains("cannot be"));
    assert!(load(&with(START, "[-1,1,0]")).contains("minutes"));
    std::fs::write(&file, with(START, &format!("[{bucket},2,1]"))).unwrap();
    assert_eq!(kept(&hands, "d").load(&file).unwrap(), ["latency"]);
    assert!(kept(&hands, "another").load(&file).unwrap().is_empty(), "another definition");
    std::fs::remove_file(&file).unwrap();
    assert!(kept(&hands, "d").load(&file).unwrap().is_empty(), "the first start has no file");
}

#[test]
fn gauges_show_what_the_report_says() {
    let dir = tempfile::tempdir().unwrap();
    let options = options(&dir.path().join("log"));
    let (telemetry, _guard, _) = microdiff_telemetry::Telemetry::start_local(options).unwrap();
    let hands = Hands::at(START);
    let slo = kept(&hands, "d");
    slo.show(telemetry.registry());
    let ratio = "bakery_slo_objective_ratio{objective=\"latency\"}";
    let budget = "bakery_slo_error_budget_remaining_ratio{objective=\"latency\"}";
    let burn = |window: &str| {
        sample(
            &telemetry,
            &format!("bakery_slo_burn_rate{{objective=\"latency\",window=\"{window}\"}}"),
        )
    };
    assert_eq!((sample(&telemetry, ratio), sample(&telemetry, budget)), (None, Some(1.0)));
    assert_eq!((burn("5m"), burn("3d")), (Some(0.0), Some(0.0)));
    let meter = slo.meter("latency").unwrap();
    (0..4).for_each(|i| meter.record(i == 0));
    assert_eq!(sample(&telemetry, ratio), Some(0.75));
    let report = only(&slo);
    assert_eq!(sample(&telemetry, budget), Some(report.budget_remaining()));
    assert_eq!(burn("1h"), Some(report.burns[2].rate));
    hands.turn(START + 2 * 3600);
    assert_eq!((burn("1h"), burn("6h")), (Some(0.0), Some(report.burns[3].rate)));
}

#[test]
fn events_of_two_threads_are_all_counted() {
    let slo = kept(&Hands::at(START), "d");
    let meter = slo.meter("latency").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..10_000).for_each(|i| meter.record(i % 4 == 0)));
        }
        for _ in 0..100 {
            slo.advance();
            let tally = only(&slo).tally;
            assert!(tally.bad <= tally.total, "{tally:?}");
        }
    });
    assert_eq!(only(&slo).tally, Tally { total: 20_000, bad: 5000 });
    assert!(slo.meter("availability").is_none());
}

//! GPUs that do what a script says, behind a library built here.

use std::path::Path;
use std::time::{Duration, Instant};

use microdiff_telemetry::Telemetry;
use microdiff_telemetry::gpu::{GpuMonitor, GpuOptions, GpuStatus};
use serde_json::Value;
use tempfile::TempDir;

use crate::{LONG, lines, options};
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};

const EVERY: Duration = Duration::from_millis(5);

fn watch(library: &Path) -> GpuMonitor {
    let library = Some(library.as_os_str().to_owned());
    let options = GpuOptions { every: EVERY, library, ..GpuOptions::default() };
    GpuMonitor::start("t", options).unwrap()
}

/// Polls until the page satisfies; returns it.
fn page_when(monitor: &GpuMonitor, what: &str, wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + LONG;
    loop {
        let page = monitor.registry().text();
        if wanted(&page) {
            return page;
        }
        assert!(Instant::now() < end, "never {what}:\n{page}");
        std::thread::yield_now();
    }
}

/// Waits until a poll that began after now has ended.
fn polled_anew(monitor: &GpuMonitor) -> GpuStatus {
    let (end, before) = (Instant::now() + LONG, monitor.status().polls);
    while monitor.status().polls < before + 2 {
        assert!(Instant::now() < end, "no poll");
        std::thread::yield_now();
    }
    monitor.status()
}

fn has(page: &str, series: &str) -> bool {
    page.lines().any(|line| line == series)
}

/// Runs `act` with a log; returns its lines by message.
fn logged(act: impl FnOnce()) -> Vec<Value> {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("log");
    let (telemetry, guard, dispatch) = Telemetry::start_local(options(&file)).unwrap();
    tracing::dispatcher::with_default(&dispatch, act);
    drop(telemetry);
    lines(guard, &file)
}

fn told<'l>(log: &'l [Value], message: &str) -> Vec<&'l Value> {
    log.iter().filter(|line| line["message"] == message).collect()
}

#[test]
fn two_devices_show_every_reading() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let monitor = watch(stub.library());
    let page = page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
    for series in [
        "t_gpu_up 1",
        "t_gpu_devices_lost_total 0",
        "t_gpu_poll_failures_total 0",
        "t_gpu_memory_usage_bytes{device=\"cuda:0\"} 4000",
        "t_gpu_memory_total_bytes{device=\"cuda:0\"} 16000",
        "t_gpu_memory_free_bytes{device=\"cuda:0\"} 12000",
        "t_gpu_memory_usage_bytes{device=\"cuda:1\"} 1000",
        "t_gpu_utilization_ratio{device=\"cuda:0\"} 0.37",
        "t_gpu_temperature_celsius{device=\"cuda:0\"} 64",
        "t_gpu_temperature_celsius{device=\"cuda:1\"} 41",
        "t_gpu_power_watts{device=\"cuda:0\"} 71.5",
        "t_gpu_energy_joules_total{device=\"cuda:0\"} 9",
        "t_gpu_ecc_errors_total{device=\"cuda:0\",error=\"corrected\"} 3",
        "t_gpu_ecc_errors_total{device=\"cuda:0\",error=\"uncorrected\"} 0",
        "t_gpu_xid_errors_total{device=\"cuda:1\",xid=\"79\"} 0",
    ] {
        assert!(has(&page, series), "{series} is not in\n{page}");
    }
    assert!(page.contains("\nt_gpu_poll_duration_seconds "), "{page}");
    assert!(!page.contains("t_gpu_last_xid{"), "no error was seen\n{page}");
    assert_eq!(monitor.registry().refused(), 0);
}

#[test]
fn a_device_that_falls_off_the_bus_is_an_event_and_no_stale_gauge() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let log = logged(|| {
        let monitor = watch(stub.library());
        page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
        stub.script(&format!("{TWO_DEVICES}1.error 15\n")).expect("scripted");
        let page = page_when(&monitor, "one device", |page| has(page, "t_gpu_devices 1"));
        assert!(has(&page, "t_gpu_devices_lost_total 1") && has(&page, "t_gpu_up 1"), "{page}");
        let stale = "temperature usage_bytes total_bytes free_bytes utilization power energy ecc";
        for reading in stale.split(' ') {
            let shown = |device: &str| {
                page.lines().any(|line| line.contains(reading) && line.contains(device))
            };
            assert!(!shown("cuda:1") && shown("cuda:0"), "{reading} in\n{page}");
        }
        let status = polled_anew(&monitor);
        assert_eq!((status.devices, status.lost, status.driver), (1, 1, true));
        stub.script(TWO_DEVICES).expect("scripted");
        let page = page_when(&monitor, "two devices again", |page| has(page, "t_gpu_devices 2"));
        assert!(has(&page, "t_gpu_temperature_celsius{device=\"cuda:1\"} 41"), "{page}");
        assert!(has(&page, "t_gpu_devices_lost_total 1"), "{page}");
        assert_eq!(monitor.status().lost, 0);
    });
    let lost = told(&log, "GPU lost");
    assert_eq!(lost.len(), 1, "{log:#?}");
    assert_eq!((&lost[0]["level"], &lost[0]["device"]), (&"ERROR".into(), &"cuda:1".into()));
    assert!(lost[0]["reason"].as_str().unwrap().contains("bus"), "{}", lost[0]);
    assert_eq!(told(&log, "GPU answers").len(), 3, "two at first, one again: {log:#?}");
}

/// A driver begun anew counts without the lost device: its neighbour moves up and keeps its label.
#[test]
fn a_device_keeps_its_label_when_the_driver_counts_anew() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let monitor = watch(stub.library());
    page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
    stub.script("devices 1\n0.uuid 101\n0.total 16000\n0.temperature 43\n").expect("scripted");
    let page = page_when(&monitor, "one device", |page| has(page, "t_gpu_devices 1"));
    assert!(has(&page, "t_gpu_temperature_celsius{device=\"cuda:1\"} 43"), "{page}");
    assert!(!page.contains("t_gpu_temperature_celsius{device=\"cuda:0\"}"), "{page}");
    stub.script("devices 2\n0.uuid 7\n0.total 1\n0.temperature 20\n1.uuid 101\n1.total 1\n")
        .expect("scripted");
    let page = page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
    assert!(has(&page, "t_gpu_temperature_celsius{device=\"cuda:2\"} 20"), "{page}");
}

#[test]
fn memory_errors_and_critical_errors_are_counted() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(&format!("{TWO_DEVICES}1.xid 48\n1.xid_serial 4\n")).expect("scripted");
    let log = logged(|| {
        let monitor = watch(stub.library());
        page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
        let grown = TWO_DEVICES.replace("0.uncorrected 0", "0.uncorrected 2");
        stub.script(&format!("{grown}0.xid 79\n0.xid_serial 1\n1.xid 48\n1.xid_serial 4\n"))
            .expect("scripted");
        let page = page_when(&monitor, "XID 79", |page| {
            has(page, "t_gpu_xid_errors_total{device=\"cuda:0\",xid=\"79\"} 1")
                && has(page, "t_gpu_ecc_errors_total{device=\"cuda:0\",error=\"uncorrected\"} 2")
        });
        assert!(has(&page, "t_gpu_last_xid{device=\"cuda:0\"} 79"), "{page}");
        let past = "t_gpu_xid_errors_total{device=\"cuda:1\",xid=\"48\"} 0";
        assert!(has(&page, past), "errors before the start are not counted\n{page}");
        stub.script(&format!("{grown}0.xid 31\n0.xid_serial 3\n1.xid 1234\n1.xid_serial 5\n"))
            .expect("scripted");
        page_when(&monitor, "later errors", |page| {
            has(page, "t_gpu_xid_errors_total{device=\"cuda:0\",xid=\"31\"} 2")
                && has(page, "t_gpu_xid_errors_total{device=\"cuda:1\",xid=\"other\"} 1")
                && has(page, "t_gpu_last_xid{device=\"cuda:1\"} 1234")
        });
    });
    let critical: Vec<_> = told(&log, "critical GPU error");
    let codes: Vec<_> = critical.iter().map(|line| line["xid"].as_u64().unwrap()).collect();
    assert_eq!(codes, [79, 1234], "{log:#?}");
    assert!(critical.iter().all(|line| line["level"] == "ERROR"));
    let program = told(&log, "a program failed on the GPU");
    assert_eq!(program.len(), 2);
    assert_eq!((&program[0]["level"], &program[0]["xid"]), (&"WARN".into(), &31.into()));
}

/// The device that reports XID 79 is gone with the next call; its error must not go with it.
#[test]
fn the_last_error_of_a_lost_device_is_told() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let monitor = watch(stub.library());
    page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
    stub.script(&format!("{TWO_DEVICES}1.error 15\n1.xid 79\n1.xid_serial 1\n")).expect("scripted");
    page_when(&monitor, "its loss and its error", |page| {
        has(page, "t_gpu_devices 1")
            && has(page, "t_gpu_xid_errors_total{device=\"cuda:1\",xid=\"79\"} 1")
    });
}

#[test]
fn a_driver_that_dies_takes_its_devices_and_brings_them_back() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let log = logged(|| {
        let monitor = watch(stub.library());
        page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
        stub.script("count.error 999\ninit.error 9\n").expect("scripted");
        let page = page_when(&monitor, "no driver", |page| has(page, "t_gpu_up 0"));
        assert!(has(&page, "t_gpu_devices 0") && has(&page, "t_gpu_devices_lost_total 2"));
        assert!(!page.contains("t_gpu_temperature_celsius{"), "{page}");
        let failures = |page: &str| {
            let line = page.lines().find_map(|l| l.strip_prefix("t_gpu_poll_failures_total "));
            line.unwrap().parse::<u64>().unwrap()
        };
        page_when(&monitor, "counted failures", |page| failures(page) >= 3);
        assert!(!polled_anew(&monitor).driver);
        stub.script(TWO_DEVICES).expect("scripted");
        let page = page_when(&monitor, "two devices again", |page| has(page, "t_gpu_devices 2"));
        assert!(has(&page, "t_gpu_up 1"), "{page}");
    });
    let dead = told(&log, "GPU driver no longer answers");
    assert_eq!((dead.len(), &dead[0]["level"]), (1, &"ERROR".into()), "{log:#?}");
    assert_eq!(told(&log, "GPU driver answers").len(), 2);
    assert_eq!(told(&log, "GPU lost").len(), 2);
}

/// A lost device is often one whose driver call never returns.
#[test]
fn a_driver_that_hangs_is_overdue_and_shows_nothing_stale() {
    let folder = TempDir::new().unwrap();
    let stub = StandIn::build(folder.path()).expect("a stand-in");
    stub.script(TWO_DEVICES).expect("scripted");
    let library = Some(stub.library().as_os_str().to_owned());
    let deadline = Duration::from_millis(300);
    let monitor = GpuMonitor::start("t", GpuOptions { every: EVERY, deadline, library }).unwrap();
    page_when(&monitor, "two devices", |page| has(page, "t_gpu_devices 2"));
    stub.script("hang 1\ndevices 2\n").expect("scripted");
    let page = page_when(&monitor, "an overdue poll", |page| has(page, "t_gpu_up 0"));
    assert!(monitor.status().overdue);
    assert!(has(&page, "t_gpu_devices 0"), "{page}");
    assert!(!page.contains("t_gpu_temperature_celsius{"), "{page}");
    stub.script(TWO_DEVICES).expect("scripted");
    page_when(&monitor, "two devices again", |page| {
        has(page, "t_gpu_up 1") && page.contains("t_gpu_temperature_celsius{device=\"cuda:1\"} 41")
    });
    assert!(!monitor.status().overdue);
}

#[test]
fn what_a_device_or_library_lacks_is_absent_and_nothing_panics() {
    let sparse = "devices 1\n0.temperature 50\n";
    for (option, devices) in [
        ("-DWITHOUT_MEMORY", 1),
        ("-DWITHOUT_EVENTS", 1),
        ("-DNOTHING", 1),
        ("-DWITHOUT_SHUTDOWN", 0),
    ] {
        let folder = TempDir::new().unwrap();
        let stub =
            StandIn::build_with(folder.path(), &["-Wall", "-Werror", option]).expect("a stand-in");
        stub.script(sparse).expect("scripted");
        let log = logged(|| {
            let monitor = watch(stub.library());
            let status = polled_anew(&monitor);
            assert_eq!((status.devices, status.driver), (devices, devices == 1), "{option}");
            let page = monitor.registry().text();
            let warm = has(&page, "t_gpu_temperature_celsius{device=\"cuda:0\"} 50");
            assert_eq!(warm, devices == 1, "{option}\n{page}");
            for absent in ["memory", "power", "energy", "ecc", "utilization"] {
                let shown = page.lines().any(|l| l.contains(absent) && l.contains("cuda:0"));
                assert!(!shown, "{option}: {absent} in\n{page}");
            }
        });
        let refused = told(&log, "GPU driver does not answer");
        assert_eq!(refused.len(), 1 - devices as usize, "{option} {log:#?}");
    }
}

#[test]
fn no_library_is_no_error_and_no_noise() {
    let folder = TempDir::new().unwrap();
    let log = logged(|| {
        // The system's own, if there is one, is none of this test's business: a named library that
        // is missing is told once, an unnamed one not at all.
        let monitor = watch(&folder.path().join("libthere-is-none.so"));
        let status = polled_anew(&monitor);
        assert_eq!((status.devices, status.driver, status.lost), (0, false, 0));
        let page = monitor.registry().text();
        assert!(has(&page, "t_gpu_devices 0") && has(&page, "t_gpu_up 0"), "{page}");
        assert!(!page.contains("cuda:"), "{page}");
        assert_eq!(monitor.registry().refused(), 0);
        polled_anew(&monitor);
    });
    assert_eq!(log.len(), 1, "{log:#?}");
    assert_eq!(log[0]["message"], "GPU driver does not answer");
    assert_eq!(log[0]["level"], "WARN");
}

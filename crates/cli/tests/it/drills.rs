//! Every drill, done: this binary in its sandbox, a real Prometheus, the kit's rules at sixty times
//! their speed. Needs `prometheus` and `cc`, and for the disk root or user name spaces.

use crate::binary::{microdiff, refuse, run, succeed, text};
use crate::serve::data_dir;
use crate::service::DEADLINE;
use microdiff_kit::{DRILLS, Drill, UNDRILLED};
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Drills at a time: most of a drill is waiting.
const TOGETHER: usize = 7;

/// What is wrong with a drill; nothing when its alerts fired and cleared.
fn fault(drill: &Drill) -> Option<String> {
    let output = run(&["drill", drill.name, "--json"]);
    let told = String::from_utf8_lossy(&output.stdout);
    let report: Value = serde_json::from_str(&told).unwrap_or_default();
    let expected = report["expected"].as_array().cloned().unwrap_or_default();
    let number = |alert: &Value, key: &str| alert[key].as_f64().is_some_and(|s| s > 0.0);
    let all = expected.iter().all(|alert| {
        number(alert, "fired_after_seconds") && number(alert, "cleared_after_seconds")
    });
    let whole = output.status.success() && all && expected.len() == drill.expects.len();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    (!whole).then(|| format!("{}: {error}{told}", drill.name))
}

#[test]
fn every_drill_fires_its_alerts_and_clears_them() {
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(drill) = DRILLS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = fault(drill);
                    faults.lock().expect("no panic").extend(found);
                }
            });
        }
    });
    let faults = faults.into_inner().expect("no panic");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_drill_whose_fault_is_not_injected_fails_and_a_configuration_of_ones_own_is_drilled() {
    let folder = data_dir();
    let (config, data) = (folder.path().join("microdiff.toml"), folder.path().join("data"));
    std::fs::write(&config, format!("data_dir = {data:?}\n[jobs]\nqueue_length = 37\n"))
        .expect("written");
    let kept = folder.path().join("kept");
    let mut arguments = vec!["drill", "collector-down", "--json", "--without-fault"];
    arguments.extend(["--patience", "8", "--config", text(&config), "--keep", text(&kept)]);
    let output = run(&arguments);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("CollectorDown did not fire; SpansLost did not fire"), "{told}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["injected"], false);
    assert!(report["expected"][0]["fired_after_seconds"].is_null(), "{report}");
    let drilled = std::fs::read_to_string(kept.join("config.toml")).expect("it is kept");
    assert!(drilled.contains("queue_length = 37"), "{drilled}");
    assert!(!data.exists(), "nothing is done where the configuration keeps its data");
}

#[test]
fn the_list_has_every_drill_and_every_reason() {
    let listed = succeed(&["drill"]);
    assert_eq!(listed, succeed(&["drill", "--list"]));
    for drill in DRILLS {
        assert!(listed.contains(drill.injects), "{}", drill.name);
    }
    for undrilled in UNDRILLED {
        assert!(listed.contains(undrilled.reason), "{}", undrilled.alert);
    }
    let json = crate::binary::succeed_json(&["drill", "--json"]);
    assert_eq!(json["drills"].as_array().map(Vec::len), Some(DRILLS.len()));
}

#[test]
fn what_cannot_be_drilled_is_refused() {
    let unknown = refuse(&["drill", "earthquake"], 2);
    assert!(unknown.contains("database-gone"), "{unknown}");
    let absent = refuse(&["drill", "gpu-hang", "--json", "--prometheus-command", "/no/where"], 2);
    assert!(absent.contains("package prometheus"), "{absent}");
    let fast = refuse(&["drill", "gpu-hang", "--json", "--compression", "1000"], 2);
    assert!(fast.contains("is shorter than 4 scrapes"), "{fast}");

    let folder = data_dir();
    let kept = refuse(&["drill", "gpu-hang", "--keep", "/proc"], 2);
    assert!(kept.contains("not empty"), "{kept}");
    let (config, data) = (folder.path().join("microdiff.toml"), folder.path().join("data"));
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("jobs.sqlite3"), "somebody's").expect("a file");
    std::fs::write(&config, format!("data_dir = {data:?}\n")).expect("written");
    let used = refuse(&["drill", "gpu-hang", "--config", text(&config)], 2);
    assert!(used.contains("looks like production") && used.contains("--force"), "{used}");
    std::fs::write(&config, "thresholds = 1\n").expect("written");
    let unread = refuse(&["drill", "gpu-hang", "--config", text(&config)], 2);
    assert!(unread.contains("thresholds"), "{unread}");
}

/// The processes that a drill in `folder` has started.
fn children(folder: &Path) -> Vec<String> {
    let named = |entry: std::fs::DirEntry| {
        let command = std::fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let started = [" serve ", "--storage.tsdb.path"].iter().any(|word| command.contains(word));
        (started && command.contains(text(folder))).then_some(command)
    };
    let processes = std::fs::read_dir("/proc").expect("/proc is there");
    processes.flatten().filter_map(named).collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nothing_of_a_sandbox_outlives_its_drill() {
    for signal in ["TERM", "KILL"] {
        let folder = data_dir();
        let kept = std::fs::canonicalize(folder.path()).expect("a path").join("kept");
        let mut drill = microdiff()
            .args(["drill", "process-killed", "--json", "--keep", text(&kept)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        until("service and Prometheus run", || children(&kept).len() == 2);
        let sent = std::process::Command::new("kill")
            .args(["-s", signal, &drill.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
        assert!(!drill.wait().expect("it ends").success());
        until("both are gone", || children(&kept).is_empty());
        assert!(kept.join("rules/availability.yml").is_file());
    }
}

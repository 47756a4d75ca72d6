//! Faults done to a running service: each turns exactly its own check, endpoint, metric and log
//! line, and all of them back when it is lifted.

use crate::binary::{microdiff, text};
use crate::bundle::spoil;
use crate::serve::data_dir;
use crate::service::{DEADLINE, Service};
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::fs::{File, Permissions, copy, read, rename, set_permissions, write};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const CHECKS: [&str; 4] = ["database", "gpu", "model", "storage"];
const BUNDLE: [&str; 4] = ["manifest.json", "weights.safetensors", "phantom.json", "phantom.raw"];

/// Where a service keeps what can be broken. The model directory is a link, which can be turned to
/// another bundle in one step.
struct Place {
    directory: TempDir,
}

impl Place {
    /// A data directory and a copy of the bundled model.
    fn new() -> Self {
        let place = Self { directory: data_dir() };
        std::fs::create_dir(place.data()).expect("a data directory");
        place.copy_bundle("right");
        place.turn_model_to("right");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn copy_bundle(&self, name: &str) -> PathBuf {
        let target = self.path(name);
        std::fs::create_dir(&target).expect("a directory");
        for file in BUNDLE {
            copy(bundled(file), target.join(file)).expect("the bundle is copied");
        }
        target
    }

    fn turn_model_to(&self, name: &str) {
        let next = self.path("model.next");
        std::os::unix::fs::symlink(self.path(name), &next).expect("a link");
        rename(next, self.model()).expect("the link is turned");
    }

    /// Replaces a file in one step: nobody reads half of it.
    fn replace(&self, file: &Path, bytes: &[u8]) {
        let next = self.path("file.next");
        write(&next, bytes).expect("written");
        rename(next, file).expect("replaced");
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn model(&self) -> PathBuf {
        self.path("model")
    }

    fn database(&self) -> PathBuf {
        self.data().join("jobs.sqlite3")
    }

    /// Starts a service whose checks run each second and turn at once.
    fn start(&self, command: Command) -> Service {
        let config = self.path("config.toml");
        let mut lines = String::from("[limits]\nfree_bytes = 0\n");
        for check in ["database", "model", "storage"] {
            lines += &format!(
                "[health.{check}]\nevery_seconds = 1\ndeadline_seconds = 60\nfail_after = 1\n"
            );
        }
        write(&config, lines).expect("the configuration is written");
        let model = self.model();
        let arguments = ["--config", text(&config), "--model", text(&model)];
        Service::start_by(command, &self.data(), &arguments)
    }
}

fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lpbf-descriptors").join(name)
}

/// The binary without the right of root to write where permissions forbid it; without root there
/// is nothing to take away.
fn ordinary() -> Command {
    if !is_root() {
        return microdiff();
    }
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]);
    become_microdiff(&mut command);
    command
}

/// Ends a command by the binary, in the environment that tests give it.
fn become_microdiff(command: &mut Command) {
    let binary = microdiff();
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg(binary.get_program());
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").expect("/proc is there").uid() == 0
}

/// What a fault must do.
struct Fault {
    name: &'static str,
    check: &'static str,
    /// What the check turns to, `failed` or `degraded`.
    to: &'static str,
    reason: &'static str,
    /// What the log alone says, in part.
    cause: &'static str,
    /// What a new design is answered meanwhile.
    submission: Submission,
    inflict: fn(&Place) -> Lift,
}

/// Status, code and whether `Retry-After` is there.
type Submission = (u16, Option<&'static str>, bool);
type Lift = Box<dyn FnOnce(&Place)>;

const ACCEPTED: Submission = (202, None, false);

/// The components of the detailed answer by name.
fn component(body: &Value, name: &str) -> Value {
    let components = body["components"].as_array().expect("components");
    let found = components.iter().find(|component| component["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {body}")).clone()
}

/// Polls the detailed answer until a check has the status; no other may turn meanwhile.
fn until(service: &Service, fault: &Fault, status: &str) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let body = service.get("api", "/health/detailed").json();
        others_are_well(fault, &body);
        if component(&body, fault.check)["status"] == status {
            return body;
        }
        assert!(Instant::now() < end, "{}: never {status}: {body}", fault.name);
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn others_are_well(fault: &Fault, body: &Value) {
    for other in CHECKS.into_iter().filter(|name| *name != fault.check) {
        let status = component(body, other)["status"].clone();
        assert!(status == "ok" || status == "disabled", "{}: {other} in {body}", fault.name);
    }
}

fn status(service: &Service, check: &str) -> f64 {
    service.metric(&format!("microdiff_health_check_status{{check=\"{check}\"}}"))
}

/// How often a check has ended as `to`; a database or disk may also keep it past its deadline.
fn runs(service: &Service, check: &str, to: &str) -> f64 {
    let of = |result: &str| {
        let labels = format!("check=\"{check}\",result=\"{result}\"");
        service.metric(&format!("microdiff_health_check_runs_total{{{labels}}}"))
    };
    if to == "failed" { of("failed") + of("deadline") } else { of(to) }
}

fn prove(service: &Service, place: &Place, fault: &Fault) {
    service.poll("/readyz", 200);
    until(service, fault, "ok");
    service.lines.try_iter().for_each(drop);
    let before = runs(service, fault.check, fault.to);
    let lift = (fault.inflict)(place);

    let body = until(service, fault, fault.to);
    let failed = fault.to == "failed";
    let (answer, ready) = if failed { (503, 503) } else { (200, 200) };
    let detailed = service.get("api", "/health/detailed");
    let told = format!("{}: {body}", fault.name);
    assert_eq!(component(&body, fault.check)["reason"], fault.reason, "{told}");
    assert_eq!(body["status"], if failed { "unhealthy" } else { "degraded" }, "{told}");
    assert_eq!(body["checks"][fault.check], !failed, "{told}");
    assert_eq!(detailed.status, answer, "{told}");
    assert_eq!(detailed.head.contains("retry-after:"), failed, "{told}");
    assert!(detailed.head.contains("cache-control: no-store"), "{told}");
    assert_eq!(service.get("api", "/readyz").status, ready, "{told}");
    assert_eq!(service.get("api", "/health").status, 200, "{told}");
    assert_eq!(service.get("api", "/startupz").status, 200, "{told}");
    assert_eq!(status(service, fault.check), if failed { 0.0 } else { 0.5 }, "{told}");
    for other in CHECKS.into_iter().filter(|name| *name != fault.check) {
        assert_eq!(status(service, other), 1.0, "{other} of {told}");
    }
    assert!(runs(service, fault.check, fault.to) > before, "{told}");
    let draft = service.send(
        "api",
        "GET /health/detailed HTTP/1.1\r\naccept: application/health+json\r\n",
        b"",
    );
    assert!(draft.head.contains("content-type: application/health+json"), "{told}");
    assert_eq!(draft.status, answer, "{told}");
    let draft = draft.json();
    assert_eq!(draft["status"], if failed { "fail" } else { "warn" }, "{draft}");
    assert_eq!(draft["checks"][fault.check][0]["output"], fault.reason, "{draft}");
    submit(service, fault);

    lift(place);
    until(service, fault, "ok");
    service.poll("/readyz", 200);
    assert_eq!(status(service, fault.check), 1.0, "{}", fault.name);
    let healthy = service.get("api", "/health/detailed");
    assert_eq!(healthy.json()["status"], "healthy", "{}: {}", fault.name, healthy.body);
    told_once(service, fault);
}

/// Posts a scan that can be stored and not be used: the record is what matters here.
fn submit(service: &Service, fault: &Fault) {
    let (status, code, retry) = fault.submission;
    let fields = [("alloy", "316L"), ("voxel_size_um", "5")];
    let answer = service.post_scan("/v1/designs", "", b"no scan", &fields);
    if fault.submission == ACCEPTED {
        // The worker may have refused the scan before the answer was written; the record is there.
        assert!(answer.head.contains("location:"), "{}: {}", fault.name, answer.body);
        return;
    }
    assert_eq!(answer.status, status, "{}: {}", fault.name, answer.body);
    if let Some(code) = code {
        assert_eq!(answer.json()["code"], code, "{}", fault.name);
        assert!(answer.head.contains("application/problem+json"), "{}", answer.head);
    }
    assert_eq!(answer.head.contains("retry-after:"), retry, "{}: {}", fault.name, answer.head);
}

/// One line for each of the two turns, none of another check.
fn told_once(service: &Service, fault: &Fault) {
    let mut turns: Vec<Value> = Vec::new();
    let end = Instant::now() + DEADLINE;
    while turns.last().is_none_or(|last| last["to"] != "ok") {
        let left = end.saturating_duration_since(Instant::now());
        let line = service.lines.recv_timeout(left).expect("a line for each turn");
        // The lines of the start may still be under way.
        if line["message"] == "health check turned" && line["from"] != "unknown" {
            turns.push(line);
        }
    }
    assert_eq!(turns.len(), 2, "{}: {turns:#?}", fault.name);
    let (bad, good) = (&turns[0], &turns[1]);
    let level = if fault.to == "failed" { "ERROR" } else { "WARN" };
    for (line, level, from, to) in [(bad, level, "ok", fault.to), (good, "INFO", fault.to, "ok")] {
        let expected = [level, fault.check, from, to].map(Value::from);
        let found = ["level", "check", "from", "to"].map(|key| line[key].clone());
        assert_eq!(found, expected, "{}: {line}", fault.name);
        assert_eq!(line["logger"], "microdiff.health");
    }
    assert_eq!(bad["reason"], fault.reason, "{}", fault.name);
    let cause = bad["error.message"].as_str().expect("a cause");
    assert!(cause.contains(fault.cause), "{}: {cause}", fault.name);
}

fn lock_database(place: &Place) -> Lift {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let options = SqliteConnectOptions::new().filename(place.database()).busy_timeout(DEADLINE);
    let held: sqlx::Result<SqliteConnection> = runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await?;
        Ok(connection)
    });
    let held = held.expect("the lock is had");
    Box::new(move |_| runtime.block_on(held.close()).expect("the lock is given back"))
}

fn remove_database(place: &Place) -> Lift {
    rename(place.database(), place.path("removed")).expect("removed");
    Box::new(|place| {
        assert!(!place.database().exists(), "nothing may take the place of a removed database");
        rename(place.path("removed"), place.database()).expect("put back");
    })
}

fn forbid_writing(place: &Place) -> Lift {
    set_permissions(place.data(), Permissions::from_mode(0o555)).expect("read-only");
    Box::new(|place| set_permissions(place.data(), Permissions::from_mode(0o755)).expect("lifted"))
}

fn damage_weights(place: &Place) -> Lift {
    let file = place.path("right").join("weights.safetensors");
    let good = read(&file).expect("weights");
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    place.replace(&file, &bad);
    Box::new(move |place| place.replace(&file, &good))
}

fn swap_bundle(place: &Place) -> Lift {
    wrong_bundle(place);
    place.turn_model_to("wrong");
    Box::new(|place| place.turn_model_to("right"))
}

/// A bundle that is whole, says all the right things of itself, and answers wrongly.
fn wrong_bundle(place: &Place) {
    spoil(&place.path("right"), &place.path("wrong")).expect("the wrong bundle is made");
}

#[test]
fn each_fault_turns_its_own_check_and_back() {
    let place = Place::new();
    let service = place.start(ordinary());
    let locked = (503, Some("database_unavailable"), true);
    let faults = [
        Fault {
            name: "database locked by another process",
            check: "database",
            to: "failed",
            reason: "locked",
            cause: "database is locked",
            submission: locked,
            inflict: lock_database,
        },
        Fault {
            name: "database file removed",
            check: "database",
            to: "failed",
            reason: "database file removed",
            cause: "not the one that was opened",
            submission: locked,
            inflict: remove_database,
        },
        Fault {
            name: "data directory read-only",
            check: "storage",
            to: "failed",
            reason: "data directory not writable",
            cause: "ermission denied",
            // Scans go to a directory below, which is as it was.
            submission: ACCEPTED,
            inflict: forbid_writing,
        },
        Fault {
            name: "a bit of the weights turned on disk",
            check: "model",
            to: "degraded",
            reason: "bundle damaged on disk",
            cause: "SHA-256",
            submission: ACCEPTED,
            inflict: damage_weights,
        },
        Fault {
            name: "another bundle in the place of the loaded one",
            check: "model",
            to: "degraded",
            reason: "bundle changed on disk",
            cause: "the next start",
            submission: ACCEPTED,
            inflict: swap_bundle,
        },
    ];
    for fault in &faults {
        prove(&service, &place, fault);
    }
}

/// The binary with a file system of 16 MiB at its data directory, seen by it alone.
fn on_a_small_disk(place: &Place) -> Command {
    let alone = Command::new("unshare").args(["--mount", "true"]).output().expect("unshare runs");
    let mut command = Command::new("unshare");
    command.arg("--mount");
    if !alone.status.success() {
        // Without root, as root of a name space of one's own.
        command.args(["--user", "--map-root-user"]);
    }
    let script = "mount -t tmpfs -o size=16m,mode=755 tmpfs \"$1\" && shift && exec \"$@\"";
    command.args(["sh", "-c", script, "sh"]).arg(place.data());
    become_microdiff(&mut command);
    command
}

#[test]
fn a_full_disk_turns_storage_and_back() {
    let place = Place::new();
    let service = place.start(on_a_small_disk(&place));
    let root = format!("/proc/{}/root", service.child.id());
    let filler = PathBuf::from(root + text(&place.data())).join("filler");
    // Where the fault finds its file: the place knows the path outside alone.
    std::os::unix::fs::symlink(&filler, place.path("filler")).expect("a link");
    let fault = Fault {
        name: "data directory full",
        check: "storage",
        to: "failed",
        reason: "no free space",
        cause: "No space left",
        submission: (507, Some("no_room"), true),
        inflict: |place| {
            let mut file = File::create(place.path("filler")).expect("a file");
            let block = [1; 4096];
            while file.write_all(&block).is_ok() {}
            Box::new(|place| {
                let filler = std::fs::read_link(place.path("filler")).expect("a link");
                std::fs::remove_file(filler).expect("removed");
            })
        },
    };
    prove(&service, &place, &fault);
}

#[test]
fn a_bundle_that_answers_wrongly_is_never_ready() {
    let place = Place::new();
    wrong_bundle(&place);
    place.turn_model_to("wrong");
    let service = place.start(microdiff());
    let end = Instant::now() + DEADLINE;
    let body = loop {
        let body = service.get("api", "/health/detailed").json();
        if component(&body, "model")["status"] == "failed" {
            break body;
        }
        assert!(component(&body, "model")["status"] == "unknown" && Instant::now() < end, "{body}");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(component(&body, "model")["reason"], "wrong answer");
    let ready = service.get("api", "/readyz");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &"failing".into()));
    assert!(ready.head.contains("retry-after:"), "{}", ready.head);
    assert_eq!(service.get("api", "/health").status, 200);
    assert_eq!(status(&service, "model"), 0.0);
    assert!(service.metric("microdiff_model_canary_deviation") > 1e-3);
    let line = service.line(|line| line["check"] == "model");
    assert_eq!((&line["level"], &line["reason"]), (&"ERROR".into(), &"wrong answer".into()));
    drop(service);
    place.turn_model_to("right");
    place.start(microdiff()).poll("/readyz", 200);
}

#[test]
fn a_damaged_bundle_stops_the_start() {
    let place = Place::new();
    let _damaged = damage_weights(&place);
    let (model, data) = (place.model(), place.data());
    let arguments = ["serve", "--model", text(&model), "--data-dir", text(&data)];
    let free = ["--listen", "--metrics-listen", "--gpu-listen", "--admin-listen"];
    let free = free.iter().flat_map(|flag| [*flag, "127.0.0.1:0"]);
    let output = microdiff().args(arguments).args(free).output().expect("it runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("SHA-256"), "{output:?}");
}

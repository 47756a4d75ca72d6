//! The catalogue of metrics, held against what the binary shows: everything on its pages is
//! declared, and everything declared is seen to happen.
//!
//! The service is driven through success, refusal, failure and loss until every row has moved: a
//! counter that stays at its first zero may never be counted, so it does not pass as seen.

mod page;

use crate::binary::{microdiff, simulate, text};
use crate::collector::Collector;
use crate::service::{Answer, DEADLINE, Service};
use microdiff_server::catalogue::{METRICS, PREFIX};
use microdiff_telemetry::builtin;
use microdiff_telemetry::gpu::{StandIn, TWO_DEVICES};
use microdiff_telemetry::metrics::{Initial, LabelValues, MetricKind, MetricSpec, Registry};
use page::{Family, Labels, Series};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows that stay still here, and the test in which each moves.
const STILL: &[(&str, &str)] = &[
    // No label of this service has more values than its metric may have series.
    ("microdiff_telemetry_series_overflow_total", "telemetry/tests/it/metrics.rs"),
    // A programming error: that it is 0 is what this test asks for.
    ("microdiff_telemetry_series_refused_total", "telemetry/tests/it/metrics.rs"),
    // Needs a writer that stands still for as long as 16 MiB of lines last.
    ("microdiff_telemetry_log_lines_dropped_total", "telemetry/tests/it/log_sinks.rs"),
    // Needs a runtime that stands still.
    ("microdiff_health_runtime_stalls_total", "telemetry/tests/it/health.rs"),
];

/// Fields of log lines that only a service driven as here writes.
const FIELDS: &[&str] = &[
    "cases",
    "coverage_90",
    "device",
    "devices",
    "driver",
    "sink",
    "skill",
    "uuid",
    "validation_set",
    "xid",
];

/// The pages: which listener, where, and the rows it has.
fn pages() -> [(&'static str, &'static str, Vec<MetricSpec>); 2] {
    let whole = |specs: &[MetricSpec]| {
        // The registry adds the rows about itself.
        let registry = Registry::new(PREFIX, specs).expect("a catalogue");
        registry.specs().cloned().collect::<Vec<_>>()
    };
    let application = [METRICS, &builtin::specs(PREFIX)].concat();
    [
        ("metrics", "/metrics", whole(&application)),
        ("gpu", "/gpu-metrics", whole(&builtin::gpu_specs(PREFIX))),
    ]
}

/// Which rows of which listener have been seen with a value other than their first zero.
#[derive(Default)]
struct Seen(BTreeMap<(&'static str, String), bool>);

impl Seen {
    /// Reads both pages in every format, holds each against the catalogue and remembers.
    fn scrape(&mut self, service: &Service) {
        for (listener, path, specs) in pages() {
            let get = |accept: &str| fetch(service, listener, path, accept);
            let string = |bytes| String::from_utf8(bytes).expect("text");
            let formats = [
                page::text(&string(get("text/plain; version=0.0.4")), false),
                page::text(&string(get("application/openmetrics-text; version=1.0.0")), true),
                page::protobuf(&get(
                    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                     encoding=delimited",
                )),
            ];
            for families in formats {
                hold(&families, &specs);
                for family in families {
                    // What is absent until it is set was set, to whatever value.
                    let counts = |spec: &MetricSpec| spec.initial == Initial::Zero;
                    let counts = specs.iter().any(|s| s.name == family.name && counts(s));
                    let moved = family.series.values().any(|s| s.value != 0.0 || !counts);
                    *self.0.entry((listener, family.name)).or_default() |= moved;
                }
            }
        }
    }

    fn moved(&self, name: &str) -> bool {
        self.0.iter().any(|((_, seen), moved)| seen == name && *moved)
    }

    /// Scrapes until these rows have moved; `meanwhile` may help them.
    fn until(&mut self, service: &Service, names: &[&str], mut meanwhile: impl FnMut()) {
        let end = Instant::now() + DEADLINE;
        loop {
            meanwhile();
            self.scrape(service);
            let still: Vec<_> = names.iter().filter(|name| !self.moved(name)).collect();
            if still.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "{still:?} never moved");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn fetch(service: &Service, listener: &str, path: &str, accept: &str) -> Vec<u8> {
    let address = service.ready[listener].as_str().expect("an address");
    let request = reqwest::blocking::Client::new().get(format!("http://{address}{path}"));
    let answer = request.header("accept", accept).send().expect("an answer");
    let kind = answer.headers()["content-type"].to_str().expect("text").to_owned();
    assert!(kind.starts_with(accept.split(';').next().expect("a type")), "{kind} for {accept}");
    answer.bytes().expect("a body").to_vec()
}

/// Everything on the page is declared as it is shown, and what is known beforehand is there.
fn hold(families: &[Family], specs: &[MetricSpec]) {
    for family in families {
        let spec = specs.iter().find(|spec| spec.name == family.name);
        let spec = spec.unwrap_or_else(|| panic!("{} is not in the catalogue", family.name));
        assert_eq!((family.kind.as_str(), family.help.as_str()), (spec.kind.as_str(), spec.help));
        if let Some(unit) = &family.unit {
            assert_eq!(unit, spec.unit.suffix(), "{}", spec.name);
        }
        for (labels, series) in &family.series {
            admit(spec, labels, series);
        }
    }
    for spec in specs.iter().filter(|spec| spec.initial == Initial::Zero && spec.is_closed()) {
        let family = families.iter().find(|family| family.name == spec.name);
        let family = family.unwrap_or_else(|| panic!("{} is not on the page", spec.name));
        for values in spec.known_series() {
            let names = spec.labels.iter().map(|label| label.name.to_owned());
            let mut labels: Labels = names.zip(values.iter().map(|v| (*v).to_owned())).collect();
            labels.sort();
            assert!(family.series.contains_key(&labels), "{} lacks {labels:?}", spec.name);
        }
    }
}

/// Labels and buckets are the declared ones, and closed labels have declared values.
fn admit(spec: &MetricSpec, labels: &Labels, series: &Series) {
    let mut declared: Vec<_> = spec.labels.iter().collect();
    declared.sort_by_key(|label| label.name);
    let told = format!("{}{labels:?}", spec.name);
    assert_eq!(labels.len(), declared.len(), "{told}");
    for ((name, value), label) in labels.iter().zip(declared) {
        assert_eq!(name, label.name, "{told}");
        match label.values {
            LabelValues::Closed(known) => assert!(known.contains(&value.as_str()), "{told}"),
            LabelValues::Open => assert!(!value.is_empty() && value != "_overflow", "{told}"),
        }
    }
    let histogram = spec.kind == MetricKind::Histogram;
    let bounds = spec.buckets.iter().copied().chain(histogram.then_some(f64::INFINITY));
    assert_eq!(series.bounds, bounds.collect::<Vec<_>>(), "{told}");
    assert_eq!(series.has_sum, histogram, "{told}");
}

/// What the service is started with, and what stands around it.
struct Place {
    folder: tempfile::TempDir,
    stub: StandIn,
    collector: Collector,
    scan: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let stub = StandIn::build(folder.path()).expect("a stand-in");
        stub.script(TWO_DEVICES).expect("scripted");
        let collector = Collector::start();
        let log = folder.path().join("full.log");
        // A disk without room for the log.
        std::os::unix::fs::symlink("/dev/full", &log).expect("a link");
        let (address, library) = (collector.address, text(stub.library()));
        let mut lines = format!(
            "[log]\nlevel = \"debug\"\nfile = {log:?}\n\
             [traces]\nendpoint = \"http://{address}\"\n\
             [gpu]\nlibrary = \"{library}\"\nevery_seconds = 1\ndeadline_seconds = 5\n\
             [limits]\nbody_bytes = 2000000\nuploads = 1\nfree_bytes = 0\n\
             [jobs]\nqueue_length = 1\n[flight]\ncapacity = 7\n"
        );
        for check in ["database", "gpu", "model", "storage"] {
            let policy = if check == "gpu" { "policy = \"optional\"\n" } else { "" };
            lines += &format!("[health.{check}]\n{policy}every_seconds = 1\n");
        }
        std::fs::write(folder.path().join("config.toml"), lines).expect("written");
        let part = folder.path().join("part.tif");
        let laser = ["--power", "170", "--speed", "1300", "--hatch", "140", "--layer", "50"];
        simulate(&part, &[&laser[..], &["--shape", "64,64,64"]].concat());
        let scan = std::fs::read(part).expect("a scan");
        Self { folder, stub, collector, scan }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self) -> Service {
        let mut command = microdiff();
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
        let config = self.path("config.toml");
        Service::start_by(command, &self.path("data"), &["--config", text(&config)])
    }
}

const WAIT: &str = "/v1/designs?wait=100";
/// Draws that keep a worker busy for a while.
const LONG: [(&str, &str); 4] =
    [("alloy", "316L"), ("voxel_size_um", "5"), ("samples", "20000"), ("steps", "64")];

/// Kills a service in the middle of its work and starts another in its place.
fn restart(place: &Place) -> Service {
    let mut service = place.start();
    assert_eq!(service.post_scan("/v1/designs", "", &place.scan, &LONG).status, 202);
    service.until_shown("microdiff_workers{state=\"busy\"} 1");
    service.signal("KILL");
    service.exit_code();
    drop(service);
    place.start()
}

/// Fills the queue while an upload is held open, whose client then leaves.
fn overload(service: &Service, place: &Place, seen: &mut Seen) {
    let held = hold_upload(service);
    let full = ["microdiff_requests_in_flight", "microdiff_active_connections"];
    seen.until(service, &full, || {});
    drop(held);
    let wanted = ["microdiff_request_errors_total", "microdiff_queue_rejections_total"];
    let waits = ["microdiff_queue_depth"];
    seen.until(service, &[&wanted[..], &waits].concat(), || {
        let status = service.post_scan("/v1/designs", "", &place.scan, &LONG).status;
        assert!([202, 429, 503].contains(&status), "{status}");
    });
}

/// A submission whose body does not end.
fn hold_upload(service: &Service) -> TcpStream {
    let address = service.ready["api"].as_str().expect("an address");
    let mut stream = TcpStream::connect(address).expect("a connection");
    write!(
        stream,
        "POST {WAIT} HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\ncontent-disposition: form-data; name=\"scan\"; filename=\"a.tif\"\r\n\r\nII"
    )
    .expect("half a request");
    stream
}

/// Posts until there was room for it in the queue.
fn answered(service: &Service, scan: &[u8], more: &[(&str, &str)]) -> Answer {
    let short = [("alloy", "Ti-6Al-4V"), ("samples", "64"), ("steps", "8")];
    let fields = [&short[..], more].concat();
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = service.post_scan(WAIT, "", scan, &fields);
        if ![202, 429].contains(&answer.status) {
            return answer;
        }
        assert!(Instant::now() < end, "there is never room: {}", answer.body);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Designs that succeed, as many as drift needs, and designs and requests that do not.
fn ask(service: &Service, place: &Place) {
    let voxel = [("voxel_size_um", "5")];
    for _ in 0..31 {
        let answer = answered(service, &place.scan, &voxel);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    // Pores of a size that no training scan has.
    assert_eq!(answered(service, &place.scan, &[("voxel_size_um", "20")]).status, 200);
    // Settings that melt everything, and a part full of holes.
    let dense = ("known", "laser_power=350,scan_speed=700,hatch_spacing=70,layer_thickness=30");
    assert_eq!(answered(service, &place.scan, &[voxel[0], dense]).status, 200);
    assert_eq!(answered(service, b"no scan", &voxel).status, 422);
    assert_eq!(service.post_scan(WAIT, "", b"x", &[("alloy", "unobtainium")]).status, 400);
    let json = "POST /v1/designs HTTP/1.1\r\ncontent-type: application/json\r\n";
    assert_eq!(service.send("api", json, b"{}").status, 415);
    let large = service.post_scan(WAIT, "", &vec![0; 2_100_000], &[]);
    assert_eq!(large.status, 413, "{}", large.body);
    assert_eq!(service.get("api", "/nowhere").status, 404);
    assert_eq!(service.send("api", "BREW /v1/models HTTP/1.1\r\n", b"").status, 405);
}

/// A device that falls off the bus with a critical error.
fn lose_a_gpu(service: &Service, place: &Place, seen: &mut Seen) {
    place
        .stub
        .script(&format!("{TWO_DEVICES}1.error 15\n1.xid 79\n1.xid_serial 1\n"))
        .expect("scripted");
    let rows = ["poll_failures_total", "devices_lost_total", "xid_errors_total", "last_xid"];
    let names = rows.map(|row| format!("{PREFIX}_gpu_{row}"));
    seen.until(service, &names.each_ref().map(String::as_str), || {});
    place.stub.script(TWO_DEVICES).expect("scripted");
}

#[test]
fn whatever_is_shown_is_declared_and_whatever_is_declared_is_seen() {
    let place = Place::new();
    let mut seen = Seen::default();
    let mut service = restart(&place);
    seen.scrape(&service);
    service.poll("/readyz", 200);
    overload(&service, &place, &mut seen);
    ask(&service, &place);
    lose_a_gpu(&service, &place, &mut seen);
    let spans = "microdiff_telemetry_collector_up";
    seen.until(&service, &[spans], || drop(service.get("api", "/v1/models")));
    place.collector.refuse(true);
    let changes = ["microdiff_telemetry_collector_changes_total"];
    seen.until(&service, &changes, || drop(service.get("api", "/v1/models")));
    place.collector.refuse(false);
    // The model is scored when no design is.
    seen.until(&service, &["microdiff_model_accuracy"], || {});
    let mut still = Vec::new();
    for (listener, _, specs) in pages() {
        let name = |spec: MetricSpec| spec.name.into_owned();
        let names = specs.into_iter().map(name);
        still.extend(names.filter(|name| seen.0.get(&(listener, name.clone())) != Some(&true)));
    }
    still.sort();
    still.dedup();
    let mut expected: Vec<_> = STILL.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(still, expected, "rows that never moved");
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let stdout = service.stdout();
    let lines = serde_json::Deserializer::from_str(&stdout).into_iter::<serde_json::Value>();
    let lines: Vec<_> = lines.map(|line| line.expect("JSON")).collect();
    let unseen = FIELDS.iter().filter(|field| lines.iter().all(|line| line[**field].is_null()));
    assert_eq!(unseen.collect::<Vec<_>>(), [&""; 0], "fields that no line has");
}

/// The tests that the table of exceptions points at speak of what they are to prove.
#[test]
fn what_stays_still_here_moves_in_the_test_that_is_named() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (metric, test) in STILL {
        let source = std::fs::read_to_string(crates.join(test)).expect("a test");
        let own = metric.trim_start_matches("microdiff_").trim_start_matches("telemetry_");
        assert!(source.contains(own.trim_end_matches("_total")), "{test} knows no {metric}");
    }
}

//! A distinct canary in everything that comes from outside, the whole service driven with the log
//! turned to `trace`, and every place where something is written searched for each of them.
//!
//! The table says where a canary may legitimately be; it is nowhere else.

use crate::binary::{microdiff, text};
use crate::collector::Collector;
use crate::service::Service;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Mutex;
use tiff::encoder::{TiffEncoder, colortype};
use tiff::tags::Tag;

/// Where something may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sink {
    /// What the caller itself is answered, problem documents included.
    Answer,
    /// Lines of stdout.
    Stdout,
    /// Anything on stderr.
    Stderr,
    /// The rotated log file.
    LogFile,
    /// What a collector received.
    Spans,
    /// `/metrics` in every format, exemplars included, and `/gpu-metrics`.
    Metrics,
    /// The audit log.
    Audit,
    /// The job database with its journal.
    Database,
    /// Any other file in the data directory after all designs have ended.
    OtherFiles,
}

/// What may be where. A canary that is not listed may be nowhere at all.
const LEGITIMATE: &[(&str, &[Sink])] = &[
    // The plain name of a scan is how people tell their designs apart.
    ("file_name", &[Sink::Answer, Sink::Database, Sink::Spans, Sink::Audit]),
    // A refusal quotes to its own caller what it refuses, cut short; nothing else keeps it.
    ("unknown_field_name", &[Sink::Answer]),
    ("field_alloy", &[Sink::Answer]),
    ("field_process", &[Sink::Answer]),
    ("field_machine", &[Sink::Answer]),
    ("field_known", &[Sink::Answer]),
    ("path_segment", &[Sink::Answer]),
    ("design_id", &[Sink::Answer]),
    ("admin_levels", &[Sink::Answer]),
];

/// Hands out canaries: letters and digits that occur nowhere by chance and survive any encoding.
#[derive(Default)]
struct Canaries(Mutex<BTreeMap<String, String>>);

impl Canaries {
    fn plant(&self, name: &str) -> String {
        let mut planted = self.0.lock().expect("no panic");
        let number = planted.len();
        planted.entry(name.to_owned()).or_insert_with(|| format!("cnry{number:03}Zq7Xw4Kp")).clone()
    }
}

/// A stack with pores whose tags hold canaries.
fn scan(canaries: &Canaries, ome: bool) -> Vec<u8> {
    const N: usize = 48;
    let mut out = std::io::Cursor::new(Vec::new());
    let mut file = TiffEncoder::new(&mut out).expect("a TIFF");
    let mut noise = 1_u32;
    for z in 0..N {
        let mut page = Vec::new();
        for (y, x) in (0..N * N).map(|i| (i / N, i % N)) {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let hole = [(12, 14, 15, 4), (30, 25, 20, 5), (38, 36, 33, 3)].iter().any(
                |&(a, b, c, r): &(usize, usize, usize, usize)| {
                    a.abs_diff(z).pow(2) + b.abs_diff(y).pow(2) + c.abs_diff(x).pow(2) <= r * r
                },
            );
            page.push((if hole { 40 } else { 190 }) + (noise >> 28) as u8);
        }
        let mut image = file.new_image::<colortype::Gray8>(N as u32, N as u32).expect("a page");
        let description = if ome {
            let mark = canaries.plant("tag_ome_xml");
            format!(
                "<?xml version=\"1.0\"?><OME Creator=\"{mark}\"><Image Name=\"{mark}\"><Pixels \
                 SizeX=\"{N}\" PhysicalSizeX=\"5\" PhysicalSizeXUnit=\"{mark}\"/></Image></OME>"
            )
        } else {
            format!("ImageJ=1.54\nunit={}\n", canaries.plant("tag_description"))
        };
        let tags = image.encoder();
        tags.write_tag(Tag::ImageDescription, &*description).expect("a tag");
        for (tag, name) in [
            (Tag::Software, "tag_software"),
            (Tag::Artist, "tag_artist"),
            (Tag::HostComputer, "tag_host_computer"),
            (Tag::Copyright, "tag_copyright"),
        ] {
            tags.write_tag(tag, &*canaries.plant(name)).expect("a tag");
        }
        image.write_data(&page).expect("data");
    }
    out.into_inner()
}

/// Every header that a service could look at, each with a canary of its own.
fn headers(canaries: &Canaries) -> String {
    let mark = |name: &str| canaries.plant(name);
    format!(
        "authorization: Bearer {}\r\nproxy-authorization: Basic {}\r\ncookie: session={}\r\n\
         x-api-key: {}\r\nuser-agent: {}/1.0\r\nreferer: http://example.org/{}\r\n\
         x-forwarded-for: {}\r\nforwarded: for={}\r\nfrom: {}@example.org\r\n\
         x-request-id: bad id {}\r\ntraceparent: 00-{}-zz-01\r\ntracestate: vendor={}\r\n\
         baggage: user={}\r\nx-custom-thing: {}\r\nb3: {}\r\nuber-trace-id: {}\r\n\
         accept-language: {}\r\nif-none-match: \"{}\"\r\n",
        mark("authorization"),
        mark("proxy_authorization"),
        mark("cookie"),
        mark("x_api_key"),
        mark("user_agent"),
        mark("referer"),
        mark("x_forwarded_for"),
        mark("forwarded"),
        mark("from"),
        mark("x_request_id"),
        mark("traceparent"),
        mark("tracestate"),
        mark("baggage"),
        mark("custom_header"),
        mark("b3"),
        mark("uber_trace_id"),
        mark("accept_language"),
        mark("if_none_match"),
    )
}

/// A body of one file part and further fields.
fn form(file: &str, scan: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n");
        body.extend(head.bytes().chain(value.bytes()).chain(*b"\r\n"));
    }
    let head = format!(
        "--b\r\ncontent-disposition: form-data; name=\"scan\"; filename=\"{file}\"\r\n\r\n"
    );
    body.extend(head.bytes());
    body.extend(scan);
    body.extend(b"\r\n--b--\r\n");
    body
}

/// Speaks to a service and keeps what it answers.
struct Driver<'a> {
    service: &'a Service,
    canaries: &'a Canaries,
    answers: Vec<u8>,
    metrics: Vec<u8>,
}

const WAIT: &str = "/v1/designs?wait=100";
const GOOD: [(&str, &str); 4] =
    [("alloy", "Ti-6Al-4V"), ("voxel_size_um", "5"), ("samples", "64"), ("steps", "8")];

impl Driver<'_> {
    fn send(&mut self, listener: &str, line: &str, more: &str, body: &[u8]) -> u16 {
        let head = format!("{line} HTTP/1.1\r\n{}{more}", headers(self.canaries));
        let answer = self.service.send(listener, &head, body);
        self.answers.extend(answer.head.bytes().chain(answer.body.bytes()));
        answer.status
    }

    fn post(&mut self, path: &str, body: &[u8]) -> u16 {
        let kind = "content-type: multipart/form-data; boundary=b\r\n";
        self.send("api", &format!("POST {path}"), kind, body)
    }

    /// Designs that succeed and designs that fail.
    fn designs(&mut self) {
        let file = format!("/home/{}/it/{} 7.tif", self.mark("home"), self.mark("file_name"));
        for ome in [false, true] {
            let body = form(&file, &scan(self.canaries, ome), &GOOD);
            assert_eq!(self.post(WAIT, &body), 200);
        }
        let mail = format!("{}@example.org.tif", self.mark("file_mail"));
        let token = format!("ghp_{}0123456789.tif", self.mark("file_token"));
        let windows = format!("C:\\Users\\{}\\a.tif", self.mark("file_windows"));
        let mut broken = scan(self.canaries, false);
        broken.truncate(broken.len() / 2);
        for file in [mail, token, windows] {
            assert_eq!(self.post(WAIT, &form(&file, &broken, &GOOD)), 422);
        }
        let nothing = self.mark("corrupt_content");
        assert_eq!(self.post(WAIT, &form("a.tif", nothing.as_bytes(), &GOOD)), 422);
    }

    /// Requests that are refused, each for another reason.
    fn refusals(&mut self) {
        for field in microdiff_server::jobs::JobRequest::FIELDS {
            let value = self.mark(&format!("field_{field}"));
            let mut fields = vec![(field, value.as_str())];
            fields.extend(GOOD.iter().filter(|(name, _)| *name != field));
            assert_eq!(self.post(WAIT, &form("a.tif", b"x", &fields)), 400, "{field}");
        }
        let secret = format!("password={}", self.mark("field_secret"));
        assert_eq!(self.post(WAIT, &form("a.tif", b"x", &[("alloy", &secret)])), 400);
        let (name, value) = (self.mark("unknown_field_name"), self.mark("unknown_field_value"));
        assert_eq!(self.post(WAIT, &form("a.tif", b"x", &[(&name, &value)])), 400);
        let token = format!("token={}", self.mark("unknown_field_token"));
        assert_eq!(self.post(WAIT, &form("a.tif", b"x", &[(&token, "1")])), 400);
        for name in ["api_key", "token", "access_token", "anything"] {
            let query = format!("/v1/designs?{name}={}", self.mark(&format!("query_{name}")));
            assert_eq!(self.post(&query, b""), 400, "{name}");
            self.send("api", &format!("GET {}", query.replace("designs", "models")), "", b"");
        }
        let mark = self.mark("json_body");
        let json = format!("{{\"password\":\"{mark}\",\"alloy\":\"{mark}\"}}");
        let kind = format!("content-type: application/json; x={}\r\n", self.mark("media_type"));
        assert_eq!(self.send("api", "POST /v1/designs", &kind, json.as_bytes()), 415);
        let malformed = self.mark("malformed_body");
        assert_eq!(self.post(WAIT, format!("--b\r\n{malformed}").as_bytes()), 400);
        self.declare_large();
        let odd = format!("{} /v1/models", self.mark("method").to_uppercase());
        assert_eq!(self.send("api", &odd, "", b""), 405);
    }

    /// Addresses with something in them, on every listener.
    fn addresses(&mut self) {
        for (name, status) in [("path_segment", 404), ("design_id", 404)] {
            let folder = if name == "design_id" { "v1/designs" } else { "nowhere" };
            let line = format!("GET /{folder}/{}", self.mark(name));
            assert_eq!(self.send("api", &line, "", b""), status);
        }
        let token = format!("GET /v1/designs/ghp_{}0123456789", self.mark("path_token"));
        assert_eq!(self.send("api", &token, "", b""), 404);
        let mail = format!("GET /{}@example.org", self.mark("path_mail"));
        assert_eq!(self.send("api", &mail, "", b""), 404);
        for path in ["/health", "/health/detailed", "/readyz", "/", "/openapi.json", "/v1/alloys"] {
            self.send("api", &format!("GET {path}?token={}", self.mark("query_token")), "", b"");
        }
        for line in ["GET /loglevel", "GET /cardinality", "GET /flight", "GET /slo"] {
            self.send("admin", line, "", b"");
        }
        let levels = format!("info,x={}", self.mark("admin_levels"));
        assert_eq!(self.send("admin", "PUT /loglevel", "", levels.as_bytes()), 400);
        let origin = format!("origin: http://{}.example\r\n", self.mark("origin"));
        assert_eq!(self.send("admin", "POST /drain", &origin, b""), 403);
    }

    /// A body that is refused for its declared length, before a byte of it is sent.
    fn declare_large(&mut self) {
        let kind = "content-type: multipart/form-data; boundary=b\r\n";
        let mut stream = self.begin(&format!("{kind}content-length: 99999999\r\n"));
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
        self.answers.extend(answer);
    }

    /// Sends the head of a submission.
    fn begin(&self, more: &str) -> TcpStream {
        let address = self.service.ready["api"].as_str().expect("an address");
        let mut stream = TcpStream::connect(address).expect("a connection");
        let head = headers(self.canaries);
        let host = "host: x\r\nconnection: close\r\n";
        write!(stream, "POST {WAIT} HTTP/1.1\r\n{host}{head}{more}\r\n").expect("a head");
        stream
    }

    /// A client that leaves in the middle of its body.
    fn leave(&self) {
        let file = format!("{}.tif", self.mark("left_file_name"));
        let body = form(&file, self.mark("left_content").as_bytes(), &GOOD);
        let kind = "content-type: multipart/form-data; boundary=b\r\n";
        let mut stream = self.begin(&format!("{kind}content-length: 500000\r\n"));
        stream.write_all(&body[..body.len() - 20]).expect("half a body");
    }

    fn metrics(&mut self) {
        let protobuf = "application/vnd.google.protobuf; \
                        proto=io.prometheus.client.MetricFamily; encoding=delimited";
        for accept in ["text/plain", "application/openmetrics-text; version=1.0.0", protobuf] {
            for (listener, path) in [("metrics", "/metrics"), ("gpu", "/gpu-metrics")] {
                let query = self.mark("query_metrics");
                let head = format!(
                    "GET {path}?name={query} HTTP/1.1\r\naccept: {accept}\r\n{}",
                    headers(self.canaries)
                );
                let answer = self.service.send(listener, &head, b"");
                assert_eq!(answer.status, 200);
                self.metrics.extend(answer.body.bytes());
            }
        }
    }

    fn mark(&self, name: &str) -> String {
        self.canaries.plant(name)
    }
}

/// The bytes of every file under `folder` that `wanted` picks by its path.
fn files(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            bytes.extend(files(&path, wanted));
        } else if wanted(text(&path)) {
            bytes.extend(std::fs::read(&path).expect("a file"));
        }
    }
    bytes
}

fn configuration(folder: &Path, collector: SocketAddr) -> String {
    let path = folder.join("config.toml");
    let log = folder.join("logs/microdiff.log");
    let content = format!(
        "[log]\nlevel = \"trace\"\nfile = {log:?}\n[traces]\nendpoint = \"http://{collector}\"\n\
         [limits]\nbody_bytes = 2000000\n"
    );
    std::fs::write(&path, content).expect("written");
    text(&path).to_owned()
}

#[test]
fn no_canary_is_where_it_should_not_be() {
    let folder = tempfile::tempdir().expect("a directory");
    let data = folder.path().join("data");
    let canaries = Canaries::default();
    let collector = Collector::start();
    let config = configuration(folder.path(), collector.address);
    let mut command = microdiff();
    let stderr = folder.path().join("stderr");
    command
        .stderr(std::fs::File::create(&stderr).expect("a file"))
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_TRACES_SAMPLER", "always_on")
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            format!("authorization=Bearer%20{}", canaries.plant("environment")),
        );
    let mut service = Service::start_by(command, &data, &["--config", &config]);
    let mut driver =
        Driver { service: &service, canaries: &canaries, answers: Vec::new(), metrics: Vec::new() };
    driver.designs();
    driver.refusals();
    driver.addresses();
    driver.leave();
    driver.metrics();
    let Driver { answers, metrics, .. } = driver;
    service.signal("TERM");
    assert_eq!(service.exit_code(), Some(0));
    let stdout = service.stdout().into_bytes();
    let of_audit = |path: &str| path.contains("/data/audit/");
    let of_database = |path: &str| path.contains("jobs.sqlite3");
    let other = |path: &str| !of_audit(path) && !of_database(path);
    let sinks = [
        (Sink::Answer, answers),
        (Sink::Stdout, stdout),
        (Sink::Stderr, std::fs::read(stderr).expect("a file")),
        (Sink::LogFile, files(&folder.path().join("logs"), &|_| true)),
        (Sink::Spans, collector.bodies()),
        (Sink::Metrics, metrics),
        (Sink::Audit, files(&data, &of_audit)),
        (Sink::Database, files(&data, &of_database)),
        (Sink::OtherFiles, files(&data, &other)),
    ];
    let has = |bytes: &[u8], mark: &str| bytes.windows(mark.len()).any(|w| w == mark.as_bytes());
    // The search can find something: each sink holds what it must.
    let name = canaries.plant("file_name");
    for (sink, bytes) in &sinks {
        let expected = match sink {
            Sink::Stdout | Sink::LogFile => "Model inference failed",
            Sink::Metrics => "microdiff_requests_total",
            // The flight recorder's file is written when the service stops.
            Sink::OtherFiles => "draws_sha256",
            Sink::Stderr => continue,
            Sink::Answer | Sink::Spans | Sink::Audit | Sink::Database => name.as_str(),
        };
        assert!(has(bytes, expected), "{sink:?} does not hold {expected}");
    }
    let mut leaks = Vec::new();
    for (name, mark) in canaries.0.lock().expect("no panic").iter() {
        let allowed = LEGITIMATE.iter().find(|(held, _)| held == name).map_or(&[][..], |row| row.1);
        for (sink, bytes) in &sinks {
            // A method comes back in upper case if it comes back at all.
            let found = has(bytes, mark) || has(bytes, &mark.to_uppercase());
            if found && !allowed.contains(sink) {
                leaks.push(format!("{name} in {sink:?}"));
            }
        }
    }
    assert_eq!(leaks, [""; 0]);
}

/// A model that cannot be loaded: the operator's own terminal may name the path, the log may not.
#[test]
fn a_failed_start_does_not_log_a_path() {
    let folder = tempfile::tempdir().expect("a directory");
    let mark = "cnryPathZq7Xw4Kp";
    let model = folder.path().join(mark).join("model");
    let output = microdiff()
        .args(["serve", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"])
        .args(["--gpu-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .args(["--log-level", "trace", "--data-dir", text(&folder.path().join("data"))])
        .args(["--model", text(&model)])
        .output()
        .expect("the binary starts");
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains(mark));
}

//! What a real Prometheus makes of the pages: it scrapes both listeners of a running service, and
//! is then asked for the values. One with native histograms, which scrapes protobuf and keeps the
//! native ones; one without, which scrapes OpenMetrics and keeps the classic buckets.
//!
//! Needs `prometheus` and `promtool`, version 2.40 or newer (Debian: package `prometheus`).

use crate::engine::{Script, Scripted};
use crate::monitoring_server::MonitoringServer;
use crate::server::{PATIENCE, Server, start};
use microdiff_server::catalogue::QUEUE_WAIT;
use microdiff_telemetry::traces::TraceId;
use serde_json::Value;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use tokio::time::timeout;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const QUEUE_TRACE: &str = "5bd66ef5095369c7b0d1f8f4bd33716a";
const NEEDS: &str = "this test needs the programs of the Debian package `prometheus`";
/// Growth from one native bucket to the next at schema 3.
const BUCKET_GROWTH: f64 = 1.090_507_732_665_257_7;

struct Prometheus {
    server: MonitoringServer,
    client: reqwest::Client,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts one that scrapes both listeners of the service each second.
    async fn start(server: &Server, features: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{ scrape_interval: 1s }}\n\
             scrape_configs:\n\
             - job_name: microdiff-app\n  static_configs: [{{ targets: ['{}'] }}]\n\
             - job_name: microdiff-gpu\n  metrics_path: /gpu-metrics\n  \
             static_configs: [{{ targets: ['{}'] }}]\n",
            server.ready.metrics, server.ready.gpu
        );
        std::fs::write(&config, text).unwrap();
        let arguments = [
            format!("--config.file={}", config.display()),
            format!("--storage.tsdb.path={}", dir.path().join("data").display()),
            format!("--enable-feature={features}"),
        ];
        let server = MonitoringServer::start("prometheus", "prometheus", &arguments);
        Self { server, client: reqwest::Client::new(), _dir: dir }
    }

    async fn ask(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let base = format!("http://{}/api/v1/{path}", self.server.address);
        let url = reqwest::Url::parse_with_params(&base, params).unwrap();
        let answer = self.client.get(url).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default()
    }

    /// The value of a query that has one; `None` while it has none.
    async fn value(&self, query: &str) -> Option<f64> {
        let answer = self.ask("query", &[("query", query)]).await;
        let results = answer["data"]["result"].as_array()?;
        assert!(results.len() <= 1, "{query} has several answers: {answer}");
        results.first()?["value"][1].as_str()?.parse().ok()
    }

    /// Polls until a query gives the value.
    async fn until(&self, query: &str, value: f64) {
        let mut last = None;
        let reached = async {
            while last != Some(value) {
                last = self.value(query).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reached = timeout(PATIENCE, reached).await.is_ok();
        assert!(reached, "{query} is {last:?}, not {value}");
    }

    /// Polls until an exemplar of `series` has the trace id; gives its value.
    async fn exemplar(&self, series: &str, trace: &str) -> f64 {
        let (start, end) = (unix(-3600), unix(3600));
        let params = [("query", series), ("start", &start), ("end", &end)];
        let find = async {
            loop {
                let answer = self.ask("query_exemplars", &params).await;
                let series = answer["data"].as_array().into_iter().flatten();
                let mut found = series.flat_map(|one| one["exemplars"].as_array()).flatten();
                if let Some(one) = found.find(|one| one["labels"]["trace_id"] == trace) {
                    return one["value"].as_str().unwrap().parse().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let found = timeout(PATIENCE, find).await;
        found.unwrap_or_else(|_| panic!("no exemplar {trace} of {series}"))
    }
}

/// Seconds since 1970, a little away from now.
fn unix(away: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    (i64::try_from(now.as_secs()).unwrap() + away).to_string()
}

/// From 10 ms to 10 s, evenly by ratio, ascending.
fn observations() -> Vec<f64> {
    (0..1000).map(|i| 0.01 * 1000_f64.powf(f64::from(i) / 999.0)).collect()
}

/// A service with three requests and known times in the queue behind it.
async fn observed() -> Server {
    let server = start(Scripted::new(Script::Answer)).await;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    for _ in 0..3 {
        let request = server.client.get(server.url("/v1/models")).header("traceparent", &parent);
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
    let wait = server.telemetry.registry().histogram(&QUEUE_WAIT, &[]);
    for value in observations() {
        wait.observe(value);
    }
    wait.observe_traced(7.5, TraceId::parse(QUEUE_TRACE).unwrap(), SystemTime::now());
    server
}

const REQUESTS: &str =
    "microdiff_requests_total{endpoint=\"/v1/models\",method=\"GET\",status=\"success\"}";

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_with_native_histograms_reads_them() {
    let server = observed().await;
    let prometheus = Prometheus::start(&server, "native-histograms,exemplar-storage").await;
    for job in ["microdiff-app", "microdiff-gpu"] {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), 1.0).await;
    }
    prometheus.until(REQUESTS, 3.0).await;
    let capacity = server.metric("microdiff_queue_capacity").await;
    prometheus.until("microdiff_queue_capacity", capacity).await;
    prometheus.until("microdiff_gpu_devices{job=\"microdiff-gpu\"}", 0.0).await;
    prometheus.until("histogram_count(microdiff_queue_wait_seconds)", 1001.0).await;
    let sum = prometheus.value("histogram_sum(microdiff_queue_wait_seconds)").await.unwrap();
    let exact: f64 = observations().iter().sum::<f64>() + 7.5;
    assert!((sum / exact - 1.0).abs() < 1e-9, "{sum} is not {exact}");
    let classic = prometheus.value("microdiff_queue_wait_seconds_count").await;
    assert_eq!(classic, None, "the native histogram stands in for the classic one");
    for (quantile, index) in [(0.01, 9), (0.25, 249), (0.5, 499), (0.9, 899), (0.99, 989)] {
        let query = format!("histogram_quantile({quantile}, microdiff_queue_wait_seconds)");
        let (told, exact) = (prometheus.value(&query).await.unwrap(), observations()[index]);
        let ratio = if told > exact { told / exact } else { exact / told };
        assert!(ratio < BUCKET_GROWTH, "quantile {quantile} is {told}, not {exact}");
    }
    assert_eq!(prometheus.exemplar("microdiff_queue_wait_seconds", QUEUE_TRACE).await, 7.5);
    let took = prometheus.exemplar("microdiff_request_duration_seconds", TRACE).await;
    assert!(took > 0.0);
    drop(prometheus);
    server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_without_them_reads_classic_buckets_and_exemplars() {
    let server = observed().await;
    let prometheus = Prometheus::start(&server, "exemplar-storage").await;
    prometheus.until(REQUESTS, 3.0).await;
    prometheus.until("microdiff_gpu_devices{job=\"microdiff-gpu\"}", 0.0).await;
    prometheus.until("microdiff_queue_wait_seconds_count", 1001.0).await;
    for bound in ["0.05", "0.5", "5.0", "10.0"] {
        let query = format!("microdiff_queue_wait_seconds_bucket{{le=\"{bound}\"}}");
        let bound: f64 = bound.parse().unwrap();
        let seen = observations().into_iter().chain([7.5]).filter(|value| *value <= bound);
        assert_eq!(prometheus.value(&query).await, Some(seen.count() as f64), "{query}");
    }
    let buckets = "microdiff_queue_wait_seconds_bucket";
    assert_eq!(prometheus.exemplar(buckets, QUEUE_TRACE).await, 7.5);
    let took = prometheus.exemplar("microdiff_request_duration_seconds_bucket", TRACE).await;
    assert!(took > 0.0);
    drop(prometheus);
    server.drain().await;
}

#[tokio::test]
async fn promtool_finds_no_fault_with_the_pages() {
    let server = observed().await;
    for page in [server.metrics().await, server.gpu_metrics().await] {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect(NEEDS);
        promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let said = promtool.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success() && text.is_empty(), "{text}");
    }
    server.drain().await;
}

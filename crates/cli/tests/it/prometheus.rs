//! A real Prometheus with the kit's own configuration and rules, in a process of its own.
//!
//! Needs `prometheus` (Debian: package `prometheus`).

use crate::binary::{succeed, text};
use crate::monitoring_server::MonitoringServer;
use crate::service::{DEADLINE, Service};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// A running Prometheus.
pub struct Prometheus {
    server: MonitoringServer,
    client: reqwest::blocking::Client,
}

impl Prometheus {
    /// Exports the kit into `folder` and starts a Prometheus with it that scrapes `service`. Only
    /// addresses and intervals differ from what an operator gets: both are made short.
    pub fn start(folder: &Path, service: &Service) -> Self {
        // Long before an alert has waited its minutes nobody waits for it any more.
        Self::start_alerting(folder, service, "127.0.0.1:9", |_| {})
    }

    /// The same, with its alerts sent to `alertmanager` and the exported rules edited.
    pub fn start_alerting(
        folder: &Path,
        service: &Service,
        alertmanager: &str,
        edit_rules: impl FnOnce(&Path),
    ) -> Self {
        let kit = folder.join("kit");
        succeed(&["observability", "export", text(&kit)]);
        let config = kit.join("prometheus/prometheus.yml");
        let listener = |name: &str| service.ready[name].as_str().expect("an address").to_owned();
        edit(&config, |mut yaml| {
            for (target, name) in [("8000", "metrics"), ("8001", "gpu")] {
                yaml = replaced(&yaml, &format!("microdiff-service:{target}"), &listener(name));
            }
            yaml = replaced(&yaml, "alertmanager:9093", alertmanager);
            yaml = replaced(&yaml, "evaluation_interval: 15s", "evaluation_interval: 1s");
            yaml = replaced(&yaml, "scrape_interval: 5s", "scrape_interval: 1s");
            replaced(&yaml, "scrape_interval: 10s", "scrape_interval: 1s")
        });
        edit(&kit.join("prometheus/rules/recording.yml"), |yaml| {
            let yaml = replaced(&yaml, "interval: 15s", "interval: 1s");
            replaced(&yaml, "interval: 30s", "interval: 1s")
        });
        edit_rules(&kit.join("prometheus/rules"));
        Self::spawn(folder, &config, &["--enable-feature=exemplar-storage"])
    }

    /// One that an operator started in a hurry, of the same targets as the one that was started with
    /// this folder: without rules and without the flag for exemplars.
    pub fn start_bare(folder: &Path) -> Self {
        let config = folder.join("kit/prometheus/prometheus.yml");
        let bare = folder.join("bare.yml");
        let yaml = std::fs::read_to_string(&config).expect("a Prometheus was started here");
        std::fs::write(&bare, replaced(&yaml, "rules/*.yml", "no-rules/*.yml")).expect("written");
        let data = folder.join("bare");
        std::fs::create_dir(&data).expect("a folder");
        Self::spawn(&data, &bare, &[])
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn spawn(data: &Path, config: &Path, flags: &[&str]) -> Self {
        let mut arguments = vec![
            format!("--config.file={}", text(config)),
            format!("--storage.tsdb.path={}", text(&data.join("tsdb"))),
            // An alert that was due before Alertmanager was found is repeated soon.
            "--rules.alert.resend-delay=1s".to_owned(),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let server = MonitoringServer::start("prometheus", "prometheus", &arguments);
        let client = reqwest::blocking::Client::builder();
        let client = client.no_proxy().timeout(Duration::from_secs(60)).build().expect("a client");
        let prometheus = Self { server, client };
        prometheus.wait_until_ready();
        prometheus
    }

    /// It listens before it has read its own data, and answers 503 meanwhile.
    fn wait_until_ready(&self) {
        let end = Instant::now() + DEADLINE;
        let url = format!("http://{}/-/ready", self.server.address);
        while !self.client.get(&url).send().is_ok_and(|answer| answer.status().is_success()) {
            assert!(Instant::now() < end, "Prometheus does not become ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The `data` of an answer of its API; an error says which and fails.
    pub fn ask(&self, path: &str, params: &[(&str, &str)]) -> Value {
        let base = format!("http://{}/api/v1/{path}", self.server.address);
        let url = reqwest::Url::parse_with_params(&base, params).expect("a URL");
        let answer = self.client.get(url).send().expect("an answer").text().expect("a body");
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["status"], "success", "{params:?}: {answer}");
        answer["data"].take()
    }

    /// How many series a query gives now whose value is a number.
    pub fn numbers(&self, query: &str) -> usize {
        let data = self.ask("query", &[("query", query)]);
        let results = data["result"].as_array().expect("a vector");
        results.iter().filter(|result| result["value"][1] != "NaN").count()
    }
}

pub fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(path).expect("the kit has it");
    std::fs::write(path, change(text)).expect("written");
}

/// With every `from` replaced; fails when there is none, as the test would wait for nothing.
pub fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the kit no longer says `{from}`");
    text.replace(from, to)
}

//! `microdiff observability verify` against everything the kit is for: the service behind its
//! Collector, Prometheus, Alertmanager, Jaeger and OpenSearch; first as it should be, then with one
//! of them wrong at a time.

use crate::alertmanager;
use crate::cluster::{APP, Cluster, PASSWORD, install, user};
use crate::jaeger::Scene;
use crate::monitoring_server::MonitoringServer;
use crate::people::Collector as People;
use crate::prometheus::Prometheus;
use crate::verification::{Rows, command, rows};
use reqwest::Method;
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// What is wrong has this long to come right.
const SHORT: &str = "30";

struct Whole {
    scene: Scene,
    cluster: Cluster,
    prometheus: Prometheus,
    alertmanager: MonitoringServer,
    /// Records that have been handed to the cluster.
    written: usize,
}

impl Whole {
    fn start() -> Self {
        let scene = Scene::start();
        let folder = scene.folder.path();
        let cluster = Cluster::start(&folder.join("opensearch"));
        install(&cluster, folder);
        for name in ["writer", "reader", "auditor"] {
            user(&cluster, name);
        }
        cluster.admin(Method::PUT, &format!("_data_stream/{APP}"), Value::Null);
        scene.service.poll("/readyz", 200);
        let alertmanager = alertmanager::start(folder, People::start().address, |yaml| yaml);
        let prometheus =
            Prometheus::start_alerting(folder, &scene.service, &alertmanager.address, |_| {});
        Self { scene, cluster, prometheus, alertmanager, written: 0 }
    }

    fn search(&self, user: &str, password: &str) -> String {
        self.cluster.url.replace("http://", &format!("http://{user}:{password}@"))
    }

    /// Runs the command; meanwhile hands the cluster what the Collector makes of the log, in place of
    /// the Collector's exporter, unless nothing is to arrive.
    fn verify(&mut self, timeout: &str, search: &str, arrives: bool) -> Rows {
        let (prometheus, jaeger) =
            (self.prometheus.url(), format!("http://{}", self.scene.jaeger.query));
        let alertmanager = format!("http://{}", self.alertmanager.address);
        let all = [
            ["--prometheus", &prometheus],
            ["--alertmanager", &alertmanager],
            ["--jaeger", &jaeger],
            ["--elasticsearch", search],
        ];
        let mut command = command(&self.scene.service, timeout, all.as_flattened());
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let end = Instant::now() + crate::real::DEADLINE;
        while child.try_wait().expect("it can be waited for").is_none() {
            assert!(Instant::now() < end, "it does not end");
            if arrives {
                self.hand_over();
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        rows(child.wait_with_output().expect("its output"))
    }

    fn hand_over(&mut self) {
        let records = self.scene.collector.so_far("app.jsonl");
        let new: Vec<_> = records.iter().skip(self.written).collect();
        if !new.is_empty() {
            assert_eq!(self.cluster.add("writer", APP, &new), Vec::<Value>::new());
            self.written = records.len();
        }
    }
}

#[test]
fn everything_arrives_and_whatever_does_not_is_the_only_thing_told() {
    let mut whole = Whole::start();
    let reader = whole.search("reader", PASSWORD);

    let empty = whole.verify(SHORT, &reader, false);
    assert_eq!(empty.faults(), ["elasticsearch log line"], "{empty:#?}");
    assert!(empty.told("log line").ends_with("is empty"), "{empty:#?}");
    assert!(empty.advice("log line").contains("MICRODIFF_LOG_FILES"));

    let right = whole.verify("120", &reader, true);
    assert_eq!(right.faults(), [""; 0], "{right:#?}");
    assert!(right.told("trace").starts_with("14 spans of microdiff-matdesign"), "{right:#?}");
    assert!(
        right.told("log line").contains("lines of the trace in .ds-logs-microdiff.app-default")
    );
    assert!(right.told("exemplar").ends_with("leads to the trace"));

    for (user, password, fault) in [
        ("reader", "wrong", "does not accept the credentials"),
        ("auditor", PASSWORD, "microdiff_reader"),
    ] {
        let refused = whole.verify(SHORT, &whole.search(user, password), true);
        let both = ["elasticsearch template", "elasticsearch log line"];
        assert_eq!(refused.faults(), both, "{refused:#?}");
        assert!(refused.advice("log line").contains(fault), "{refused:#?}");
    }

    whole.scene.jaeger.stop();
    let silent = whole.verify(SHORT, &reader, true);
    assert_eq!(silent.faults(), ["jaeger trace"], "{silent:#?}");
    assert_eq!(silent.state("jaeger", "trace"), "unreachable");
    assert!(silent.told("trace").contains("refused"), "{silent:#?}");
}

//! `microdiff observability verify` against a real service, Prometheus and Alertmanager, and against
//! nobody. `tests/servers/verify.rs` adds Jaeger and OpenSearch.

use crate::alertmanager;
use crate::binary::{refuse, run, text};
use crate::collector::Collector;
use crate::prometheus::Prometheus;
use crate::serve::data_dir;
use crate::service::Service;
use crate::verification::{rows, verify};
use std::path::Path;

/// A port where nobody listens.
const NOBODY: &str = "http://127.0.0.1:9";

#[test]
fn wrong_usage_is_refused_before_anything_is_sent() {
    let folder = data_dir();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "s3cret\n").expect("written");
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").expect("written");
    let told = |more: &[&str]| refuse(&[&["observability", "verify"], more].concat(), 2);
    assert!(told(&[]).contains("--prometheus"));
    let bad = told(&["--prometheus", "anna:s3cret@host"]);
    assert!(bad.contains("is no URL") && !bad.contains("s3cret"), "{bad}");
    assert!(told(&["--jaeger", "ftp://host"]).contains("neither http nor https"));
    assert!(told(&["--jaeger", NOBODY, "--service", "x"]).contains("is no URL"));
    assert!(told(&["--jaeger", NOBODY, "--timeout", "0"]).contains("--timeout"));
    assert!(told(&["--jaeger", NOBODY, "--bearer-file", "kiln=x"]).contains("kiln"));
    assert!(told(&["--jaeger", NOBODY, "--api-key-file", "x"]).contains("--elasticsearch"));
    let file = format!("jaeger={}", text(&secret));
    let twice = told(&["--jaeger", NOBODY, "--bearer-file", &file, "--bearer-file", &file]);
    assert!(twice.contains("two secrets"), "{twice}");
    let none = format!("jaeger={}", text(&empty));
    assert!(told(&["--jaeger", NOBODY, "--bearer-file", &none]).contains("is empty"));
    let lost = format!("jaeger={}", text(&folder.path().join("lost")));
    assert!(told(&["--jaeger", NOBODY, "--bearer-file", &lost]).contains("No such file"));
    assert!(told(&["--jaeger", NOBODY, "--dir", text(folder.path())]).contains("no rules"));
    let pem = ["--jaeger", "https://127.0.0.1:9", "--certificate", text(&empty)];
    assert!(told(&pem).contains("no certificate"));
}

#[test]
fn systems_that_do_not_answer_are_told_with_what_to_do_and_without_passwords() {
    let args = [
        "observability",
        "verify",
        "--service",
        NOBODY,
        "--prometheus",
        "http://anna:s3cret@127.0.0.1:9",
        "--elasticsearch",
        NOBODY,
        "--timeout",
        "1",
    ];
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).expect("text");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains("checks are not right: service, prometheus, elasticsearch"), "{told}");
    let line = |system: &str| {
        let line = table.lines().rfind(|line| line.starts_with(system));
        line.unwrap_or_else(|| panic!("no {system} in:\n{table}"))
    };
    assert!(line("prometheus").contains("unreachable") && line("prometheus").contains("refused"));
    assert!(line("service").contains("unreachable"));
    assert!(line("jaeger").contains("not asked") && line("alertmanager").contains("not asked"));
    assert!(table.contains("to fix: start prometheus, or correct its URL"), "{table}");
    assert!(!table.contains("s3cret") && !told.contains("s3cret"), "{table}");
}

/// An Alertmanager that somebody configured without the kit.
fn plain_alertmanager(folder: &Path) -> crate::monitoring_server::MonitoringServer {
    let config = folder.join("plain.yml");
    let yaml = "route: {receiver: chat-platform}\nreceivers: [{name: chat-platform}]\n";
    std::fs::write(&config, yaml).expect("written");
    crate::monitoring_server::MonitoringServer::start(
        "prometheus-alertmanager",
        "prometheus-alertmanager",
        &[
            format!("--config.file={}", text(&config)),
            format!("--storage.path={}", text(&folder.join("plain-alerts"))),
            "--cluster.listen-address=".to_owned(),
        ],
    )
}

#[test]
fn a_kit_that_works_is_right_and_each_fault_is_told_for_itself() {
    let folder = data_dir();
    let service = Service::start(&folder.path().join("microdiff-data"), &[]);
    service.poll("/readyz", 200);
    let people = Collector::start();
    let alertmanager = alertmanager::start(folder.path(), people.address, |yaml| yaml);
    let plain = plain_alertmanager(folder.path());
    let both = format!("{}, {}", alertmanager.address, plain.address);
    let prometheus = Prometheus::start_alerting(folder.path(), &service, &both, |_| {});
    let bare = Prometheus::start_bare(folder.path());
    let (prometheus, bare) = (prometheus.url(), bare.url());
    let (kits, plain) =
        (format!("http://{}", alertmanager.address), format!("http://{}", plain.address));
    let asked = |prometheus: &str, alertmanager: &str| {
        rows(verify(&service, "90", &["--prometheus", prometheus, "--alertmanager", alertmanager]))
    };

    let right = asked(&prometheus, &kits);
    assert_eq!(right.faults(), [""; 0], "{right:#?}");
    for check in ["targets", "metric", "exemplar", "rules", "alertmanagers"] {
        assert_eq!(right.state("prometheus", check), "ok");
    }
    for check in ["status", "configuration", "delivery"] {
        assert_eq!(right.state("alertmanager", check), "ok");
    }
    assert_eq!(right.state("jaeger", ""), "not_asked");

    let bare = asked(&bare, &kits);
    assert_eq!(bare.faults(), ["prometheus exemplar", "prometheus rules"], "{bare:#?}");
    assert!(bare.advice("exemplar").contains("--enable-feature=exemplar-storage"));
    assert!(bare.told("exemplar").contains("storage is off"), "{bare:#?}");
    assert!(bare.told("rules").contains("none of the kit's"), "{bare:#?}");

    let other = asked(&prometheus, &plain);
    assert_eq!(other.faults(), ["alertmanager configuration"], "{other:#?}");
    assert!(other.told("configuration").contains("receiver chat-info"), "{other:#?}");
    assert!(other.advice("configuration").contains("alertmanager/alertmanager.yml"));
}

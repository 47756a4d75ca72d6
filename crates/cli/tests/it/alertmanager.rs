//! A real Alertmanager with the kit's own configuration, in a process of its own.
//!
//! Needs `alertmanager` (Debian: package `prometheus-alertmanager`).

use crate::binary::{succeed, text};
use crate::monitoring_server::MonitoringServer;
use crate::prometheus::{edit, replaced};
use std::net::SocketAddr;
use std::path::Path;

/// Exports the kit and starts an Alertmanager with it whose receivers all reach `people`. Only
/// addresses, secrets and waits differ from what an operator gets, and what `change` changes.
pub fn start(
    folder: &Path,
    people: SocketAddr,
    change: impl FnOnce(String) -> String,
) -> MonitoringServer {
    let kit = folder.join("kit-of-alertmanager");
    succeed(&["observability", "export", text(&kit)]);
    let secrets = folder.join("secrets");
    std::fs::create_dir(&secrets).expect("a folder");
    for (name, secret) in [
        ("pagerduty", "routing-key".to_owned()),
        ("dead-mans-switch", "token".to_owned()),
        ("slack-platform", format!("http://{people}/platform")),
        ("slack-model", format!("http://{people}/model")),
    ] {
        std::fs::write(secrets.join(name), secret).expect("written");
    }
    let config = kit.join("alertmanager/alertmanager.yml");
    edit(&config, |yaml| {
        let pages = format!("global:\n  pagerduty_url: http://{people}/pages\n");
        let yaml = replaced(&yaml, "global:\n", &pages);
        let yaml = replaced(&yaml, "/etc/alertmanager/secrets", text(&secrets));
        let yaml = replaced(&yaml, "dead-mans-switch:8080", &people.to_string());
        let yaml = replaced(&yaml, "group_wait: 10s", "group_wait: 1s");
        let yaml = replaced(&yaml, "group_wait: 30s", "group_wait: 1s");
        change(replaced(&yaml, "group_interval: 5m", "group_interval: 1s"))
    });
    MonitoringServer::start(
        "prometheus-alertmanager",
        "prometheus-alertmanager",
        &[
            format!("--config.file={}", text(&config)),
            format!("--storage.path={}", text(&folder.join("alerts"))),
            "--cluster.listen-address=".to_owned(),
        ],
    )
}

/// Moves the maintenance window to all of these days, by their English names.
pub fn maintained_on(yaml: &str, days: &str) -> String {
    let window = "- weekdays: [sunday]\n        \
                  times: [{start_time: \"03:00\", end_time: \"04:00\"}]";
    let whole = format!(
        "- weekdays: [{days}]\n        times: [{{start_time: \"00:00\", end_time: \"24:00\"}}]"
    );
    replaced(yaml, window, &whole)
}

/// The English name of the day so many days from now, UTC.
pub fn weekday(from_now: u64) -> &'static str {
    const DAYS: [&str; 7] =
        ["thursday", "friday", "saturday", "sunday", "monday", "tuesday", "wednesday"];
    let since = std::time::UNIX_EPOCH.elapsed().expect("it is past 1970");
    let day = usize::try_from(since.as_secs() / 86_400 + from_now).expect("a number of days");
    DAYS[day % DAYS.len()]
}

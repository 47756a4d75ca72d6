//! A fault in the real binary, seen by a real Prometheus with the kit's rules and passed on by a
//! real Alertmanager with the kit's routes, templates and receivers: somebody is paged, the chat is
//! told, and both hear that it is over.
//!
//! Only addresses, secrets and waits differ from what an operator gets, and the day of the
//! maintenance window.

use crate::alertmanager;
use crate::binary::{microdiff, text};
use crate::collector::Collector;
use crate::prometheus::Prometheus;
use crate::service::{DEADLINE, Service};
use microdiff_kit::{Compression, File, compress, files};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

/// Puts the exported rules of availability at sixty times their speed.
fn hasten(exported: &Path) {
    let compression = Compression { factor: 60, resolution: Duration::from_secs(1) };
    let kit = compress(&files(), &compression).expect("the kit can be compressed");
    let of_availability = |file: &&File| file.path == "prometheus/rules/availability.yml";
    let file = kit.iter().find(of_availability).expect("the kit has it");
    std::fs::write(exported.join("availability.yml"), &file.bytes).expect("written");
}

/// What has arrived, one JSON object after another.
pub fn arrived(people: &Collector) -> Vec<Value> {
    let bodies = people.bodies();
    serde_json::Deserializer::from_slice(&bodies).into_iter().map_while(Result::ok).collect()
}

/// Polls until a message answers the description.
pub fn await_message(people: &Collector, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = arrived(people).into_iter().find(&wanted) {
            return found;
        }
        assert!(Instant::now() < end, "{what} does not arrive; did: {:#?}", arrived(people));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_database_that_is_gone_pages_somebody_and_its_return_resolves_the_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("microdiff-data");
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "[health.database]\nevery_seconds = 1\n").expect("written");
    let service = Service::start_by(microdiff(), &data, &["--config", text(&config)]);
    service.poll("/readyz", 200);
    let people = Collector::start();
    // A maintenance window of the real week must not decide whether this test passes.
    let alertmanager = alertmanager::start(folder.path(), people.address, |yaml| {
        alertmanager::maintained_on(&yaml, alertmanager::weekday(3))
    });
    let _prometheus =
        Prometheus::start_alerting(folder.path(), &service, &alertmanager.address, hasten);

    let (database, away) = (data.join("jobs.sqlite3"), folder.path().join("away"));
    std::fs::rename(&database, &away).expect("removed");
    let of = |action: &'static str| {
        move |message: &Value| {
            message["event_action"] == action && message.to_string().contains("HealthCheckFailing")
        }
    };
    let page = await_message(&people, "the page", of("trigger"));
    assert_eq!(page["routing_key"], "routing-key", "{page}");
    assert_eq!(page["payload"]["severity"], "critical", "{page}");
    assert!(page.to_string().contains("runbooks/HealthCheckFailing"), "{page}");
    let chat = |word: &'static str| {
        move |message: &Value| {
            let text = message.to_string();
            message["channel"] == "#microdiff-platform"
                && text.contains("database")
                && text.contains(word)
        }
    };
    await_message(&people, "the message", chat("FIRING"));

    std::fs::rename(&away, &database).expect("put back");
    let over = await_message(&people, "the end", of("resolve"));
    assert_eq!(over["dedup_key"], page["dedup_key"], "{over}");
    await_message(&people, "its message", chat("RESOLVED"));
}

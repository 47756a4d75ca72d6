//! What the kit's Alertmanager does *not* pass on, on a real one: alerts within a maintenance
//! window, and those that a stronger alert stands for. The alerts are posted as Prometheus posts
//! them; `alerts.rs` has the way from a fault to the alert.

use crate::alertmanager::{maintained_on, start, weekday};
use crate::alerts::{arrived, await_message};
use crate::collector::Collector;
use crate::monitoring_server::MonitoringServer;
use crate::service::DEADLINE;
use microdiff_kit::{Routing, files};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

type Labels<'a> = [(&'a str, &'a str)];

/// An Alertmanager with whom its receivers reach.
struct Scene {
    alertmanager: MonitoringServer,
    people: Collector,
    client: reqwest::blocking::Client,
    _folder: tempfile::TempDir,
}

impl Scene {
    /// Its maintenance window covers `days`.
    fn start(days: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let people = Collector::start();
        let alertmanager = start(folder.path(), people.address, |yaml| maintained_on(&yaml, days));
        let client = reqwest::blocking::Client::builder().no_proxy().build().expect("a client");
        Self { alertmanager, people, client, _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}/api/v2/{path}", self.alertmanager.address)
    }

    fn post(&self, alerts: &[&Labels<'_>]) {
        let one = |labels: &&Labels<'_>| json!({ "labels": object(labels), "annotations": {} });
        let alerts: Vec<Value> = alerts.iter().map(one).collect();
        let answer = self.client.post(self.url("alerts")).json(&alerts).send().expect("an answer");
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// An alert that no window and no other alert holds back: everything that was due before it was
    /// posted has been sent, or never will be, once it has arrived.
    fn drain(&self, name: &str) {
        self.post(&[&[("alertname", name), ("severity", "warning")]]);
        await_message(&self.people, name, |message| message.to_string().contains(name));
    }

    /// Whether a message to the chat names the alert.
    fn chatted(&self, name: &str) -> bool {
        let of_chat = |message: &Value| message["channel"].is_string();
        arrived(&self.people).iter().any(|m| of_chat(m) && m.to_string().contains(name))
    }

    /// Waits until an alert is held back by another, or is not.
    fn until_state(&self, labels: &Labels<'_>, state: &str) -> Value {
        let wanted = object(labels);
        let end = Instant::now() + DEADLINE;
        loop {
            let all: Value = self
                .client
                .get(self.url("alerts"))
                .send()
                .expect("an answer")
                .json()
                .expect("JSON");
            let alerts = all.as_array().expect("a list");
            let found = alerts.iter().find(|alert| alert["labels"] == wanted);
            if let Some(alert) = found.filter(|alert| alert["status"]["state"] == state) {
                return alert.clone();
            }
            assert!(Instant::now() < end, "{wanted} does not become {state}: {all:#}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn object(labels: &Labels<'_>) -> Value {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
    Value::Object(labels.iter().map(pair).collect::<Map<_, _>>())
}

const SLOW: &Labels<'_> =
    &[("alertname", "ModelInferenceLatency"), ("severity", "warning"), ("team", "model")];
const ERRORS: &Labels<'_> =
    &[("alertname", "HighErrorRate"), ("severity", "warning"), ("team", "platform")];
const FAILING: &Labels<'_> =
    &[("alertname", "HealthCheckFailing"), ("severity", "critical"), ("team", "platform")];

fn is_page_of(name: &'static str) -> impl Fn(&Value) -> bool {
    move |message| message["event_action"] == "trigger" && message.to_string().contains(name)
}

#[test]
fn within_a_maintenance_window_the_chats_are_silent_and_the_pager_is_not() {
    // Two days, so that midnight may pass meanwhile.
    let scene = Scene::start(&format!("{}, {}", weekday(0), weekday(1)));
    scene.post(&[SLOW, ERRORS, FAILING]);
    await_message(&scene.people, "the page", is_page_of("HealthCheckFailing"));
    // The second is posted when the first is there, which is longer than the muted ones wait.
    scene.drain("FirstThatIsNobodys");
    scene.drain("SecondThatIsNobodys");
    for muted in ["ModelInferenceLatency", "HighErrorRate", "HealthCheckFailing"] {
        assert!(!scene.chatted(muted), "{muted}: {:#?}", arrived(&scene.people));
    }
}

#[test]
fn outside_of_a_maintenance_window_everybody_is_told() {
    let scene = Scene::start(weekday(3));
    scene.post(&[SLOW, ERRORS, FAILING]);
    await_message(&scene.people, "the page", is_page_of("HealthCheckFailing"));
    for (name, channel) in [
        ("ModelInferenceLatency", "#microdiff-model"),
        ("HighErrorRate", "#microdiff-platform"),
        ("HealthCheckFailing", "#microdiff-platform"),
    ] {
        await_message(&scene.people, name, |message| {
            message["channel"] == channel && message.to_string().contains(name)
        });
    }
}

/// One alert that stands for another, and the label that must differ for it not to.
struct Case {
    source: [(&'static str, &'static str); 2],
    target: [(&'static str, &'static str); 2],
    equal: &'static [&'static str],
}

const fn case(
    source: [&'static str; 2],
    target: [&'static str; 2],
    equal: &'static [&'static str],
) -> Case {
    Case {
        source: [("alertname", source[0]), ("severity", source[1])],
        target: [("alertname", target[0]), ("severity", target[1])],
        equal,
    }
}

/// One for each inhibition of the kit, in its order.
const CASES: [Case; 6] = [
    case(["ServiceDown", "critical"], ["QueueNearlyFull", "warning"], &["job"]),
    case(["ServiceDown", "warning"], ["HealthCheckFailing", "critical"], &["instance"]),
    case(["GPUMemoryExhausted", "critical"], ["GPUMemoryHigh", "warning"], &["instance", "device"]),
    case(["AvailabilityBudgetBurnFast", "critical"], ["HighErrorRate", "warning"], &["job"]),
    case(["LatencyBudgetBurnFast", "critical"], ["ModelInferenceLatency", "warning"], &["job"]),
    case(
        ["HealthCheckFailing", "critical"],
        ["HealthCheckStale", "warning"],
        &["instance", "check"],
    ),
];

impl Case {
    /// Labels that belong to this case alone, with one of them `elsewhere`.
    fn labels<'a>(
        &self,
        own: &[(&'a str, &'a str)],
        place: &'a str,
        elsewhere: Option<&str>,
    ) -> Vec<(&'a str, &'a str)>
    where
        Self: 'a,
    {
        let value = |name: &&'static str| {
            (*name, if elsewhere == Some(*name) { "elsewhere" } else { place })
        };
        own.iter().copied().chain(self.equal.iter().map(value)).collect()
    }
}

#[test]
fn a_stronger_alert_holds_the_weaker_one_of_the_same_thing_back_and_no_other() {
    let [.., inhibitions] = Routing::of_kit(&files()).expect("routes").counts();
    assert_eq!(inhibitions, CASES.len(), "an inhibition without a case here");
    let scene = Scene::start(weekday(3));
    let places: Vec<String> = (0..CASES.len()).map(|number| format!("place-{number}")).collect();
    for (case, place) in CASES.iter().zip(&places) {
        let source = case.labels(&case.source, place, None);
        scene.post(&[&source]);
        scene.until_state(&source, "active");
        let target = case.labels(&case.target, place, None);
        scene.post(&[&target]);
        let held = scene.until_state(&target, "suppressed");
        assert_eq!(held["status"]["inhibitedBy"].as_array().map(Vec::len), Some(1), "{held}");
        for name in case.equal {
            let other = case.labels(&case.target, place, Some(name));
            scene.post(&[&other]);
            scene.until_state(&other, "active");
        }
    }
    // Not the proof of life, whatever is down.
    let watchdog =
        [("alertname", "Watchdog"), ("severity", "none"), ("job", "place-0"), ("team", "platform")];
    scene.post(&[&watchdog]);
    scene.until_state(&watchdog, "active");
}

#[test]
fn what_is_held_back_reaches_nobody() {
    let scene = Scene::start(weekday(3));
    let gpu = |name: &'static str, severity: &'static str, device: &'static str| {
        [
            ("alertname", name),
            ("severity", severity),
            ("team", "platform"),
            ("instance", "a:8001"),
            ("device", device),
        ]
    };
    let exhausted = gpu("GPUMemoryExhausted", "critical", "cuda:0");
    scene.post(&[&exhausted]);
    await_message(&scene.people, "the page", is_page_of("GPUMemoryExhausted"));
    let (held, free) =
        (gpu("GPUMemoryHigh", "warning", "cuda:0"), gpu("GPUHot", "warning", "cuda:0"));
    scene.post(&[&held, &free]);
    await_message(&scene.people, "the other fault of the device", |message| {
        message["channel"] == "#microdiff-platform" && message.to_string().contains("GPUHot")
    });
    scene.drain("FirstThatIsNobodys");
    scene.drain("SecondThatIsNobodys");
    assert!(!scene.chatted("GPUMemoryHigh"), "{:#?}", arrived(&scene.people));
}

//! Alertmanager: is it there, does it route as the kit does, and does it hold the alert that always
//! fires? It is only read: nothing is sent that could reach a person.

use super::verdict::{Check, Verdict, unanswered};
use crate::args::System;
use crate::http::{AskError, Server};
use microdiff_kit::{Routing, WATCHDOG};
use serde_json::Value;

/// Faults that are listed before the rest is only counted.
const LISTED: usize = 3;

pub(super) fn checks<'a>(server: &'a Server, kit: &'a Routing) -> Vec<Check<'a>> {
    let told = move |verdict: Result<Verdict, AskError>| {
        verdict.unwrap_or_else(|error| {
            unanswered(System::Alertmanager, &error, server.has_credentials())
        })
    };
    let status = |server: &Server| server.get_json("/api/v2/status", &[]);
    let filter = format!("alertname=\"{WATCHDOG}\"");
    vec![
        Check::new("status", move || told(status(server).and_then(|answer| state(&answer)))),
        Check::new("configuration", move || {
            told(status(server).and_then(|answer| configuration(&answer, kit)))
        }),
        Check::new("delivery", move || {
            let asked = server.get_json("/api/v2/alerts", &[("filter", filter.as_str())]);
            told(asked.and_then(|answer| delivery(&answer)))
        }),
    ]
}

fn state(answer: &Value) -> Result<Verdict, AskError> {
    let missing = |what: &str| AskError::NotUnderstood(format!("it has no {what}"));
    let cluster = answer["cluster"]["status"].as_str().ok_or_else(|| missing("cluster state"))?;
    let version = answer["versionInfo"]["version"].as_str().ok_or_else(|| missing("version"))?;
    match cluster {
        "ready" | "disabled" => Ok(Verdict::Right(format!("version {version}, cluster {cluster}"))),
        _ => Ok(Verdict::awaited(
            format!("version {version}, cluster {cluster}"),
            "its peers do not answer: see --cluster.peer of Alertmanager",
        )),
    }
}

fn configuration(answer: &Value, kit: &Routing) -> Result<Verdict, AskError> {
    let text = answer["config"]["original"].as_str();
    let text = text.ok_or_else(|| AskError::NotUnderstood("it has no configuration".to_owned()))?;
    let held = Routing::parse(text)
        .map_err(|error| AskError::NotUnderstood(format!("its configuration: {error}")))?;
    let lacks = held.lacks(kit);
    if lacks.is_empty() {
        let [receivers, routes, inhibitions] = kit.counts();
        let counts = format!("{receivers} receivers, {routes} routes, {inhibitions} inhibitions");
        return Ok(Verdict::Right(format!("the kit's {counts} are in it")));
    }
    let mut told = lacks.iter().take(LISTED).cloned().collect::<Vec<_>>().join("; ");
    if lacks.len() > LISTED {
        told += &format!("; and {} more", lacks.len() - LISTED);
    }
    Ok(Verdict::wrong(
        format!("its configuration has no {told}"),
        "load alertmanager/alertmanager.yml of the kit; if you edited it on purpose, name your \
         copy with --dir",
    ))
}

fn delivery(answer: &Value) -> Result<Verdict, AskError> {
    let alerts = answer.as_array();
    let alerts = alerts.ok_or_else(|| AskError::NotUnderstood("it is no list".to_owned()))?;
    let held = alerts.iter().filter(|alert| alert["labels"]["alertname"] == WATCHDOG).count();
    if held > 0 {
        return Ok(Verdict::Right(format!("the alert {WATCHDOG} arrives")));
    }
    Ok(Verdict::awaited(
        format!("the alert {WATCHDOG}, which always fires, is not here"),
        "Prometheus does not reach this Alertmanager, or has not loaded the kit's rules: compare \
         `alerting` of its configuration with this URL, and see \
         prometheus_notifications_errors_total; to one that has just started it comes within \
         --rules.alert.resend-delay, a minute",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kit() -> Routing {
        Routing::of_kit(&microdiff_kit::files()).expect("a configuration")
    }

    fn shipped() -> String {
        let files = microdiff_kit::files();
        let file = files.iter().find(|file| file.path == "alertmanager/alertmanager.yml");
        file.expect("it is in the kit").text().expect("text").to_owned()
    }

    fn of(configuration: &str) -> Value {
        json!({ "config": { "original": configuration } })
    }

    #[test]
    fn the_kits_own_configuration_is_right_and_a_part_of_it_is_not() {
        assert!(matches!(configuration(&of(&shipped()), &kit()), Ok(Verdict::Right(_))));
        let small = "route: {receiver: a}\nreceivers: [{name: a}]\n";
        match configuration(&of(small), &kit()) {
            Ok(Verdict::Wrong(fault)) => {
                assert!(
                    fault.told.contains("no receiver") && fault.told.contains("more"),
                    "{fault:?}"
                );
                assert!(fault.advice.contains("--dir"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_cluster_that_does_not_settle_is_waited_for() {
        let of = |state: &str| json!({ "cluster": { "status": state }, "versionInfo": { "version": "0.25.0" } });
        assert!(matches!(state(&of("ready")), Ok(Verdict::Right(_))));
        assert!(matches!(state(&of("disabled")), Ok(Verdict::Right(_))));
        assert!(matches!(state(&of("settling")), Ok(Verdict::Awaited(_))));
    }

    #[test]
    fn the_watchdog_is_there_or_not() {
        let rules = microdiff_kit::rules(&microdiff_kit::files()).expect("rules");
        assert!(rules.iter().any(|rule| rule.name() == WATCHDOG && rule.expression == "vector(1)"));
        let alert = json!([{ "labels": { "alertname": WATCHDOG } }]);
        assert!(matches!(delivery(&alert), Ok(Verdict::Right(_))));
        for without in [json!([]), json!([{ "labels": { "alertname": "Other" } }]), json!([7])] {
            assert!(matches!(delivery(&without), Ok(Verdict::Awaited(_))), "{without}");
        }
    }

    #[test]
    fn odd_answers_are_not_understood() {
        for odd in
            [Value::Null, json!({}), json!("x"), json!({ "config": 3 }), of("route: ["), of("")]
        {
            for verdict in [state(&odd), configuration(&odd, &kit()), delivery(&odd)] {
                assert!(matches!(verdict, Err(AskError::NotUnderstood(_))), "{odd}");
            }
        }
    }
}

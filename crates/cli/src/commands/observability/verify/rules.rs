//! The rules that Prometheus holds beside those of the kit. Names and expressions must agree; groups
//! and files may be others, and rules of somebody else are nobody's fault.

use super::verdict::Verdict;
use crate::http::AskError;
use microdiff_kit::{Rule, equivalent};
use serde_json::Value;

/// Names that are listed before the rest is only counted.
const LISTED: usize = 5;

/// One rule as Prometheus shows it.
#[derive(Debug)]
struct Held {
    name: String,
    expression: String,
    health: String,
    error: String,
}

/// Reads `GET /api/v1/rules` against the kit.
pub(super) fn read(answer: &Value, kit: &[Rule]) -> Result<Verdict, AskError> {
    let held = held(answer)?;
    let (mut absent, mut other, mut pending, mut ill) = (vec![], vec![], vec![], vec![]);
    for rule in kit {
        let of_name: Vec<&Held> = held.iter().filter(|held| held.name == rule.name()).collect();
        let found = of_name.iter().find(|held| equivalent(&held.expression, &rule.expression));
        match found {
            None if of_name.is_empty() => absent.push(rule.name()),
            None => other.push(rule.name()),
            Some(held) if held.health == "ok" => {}
            Some(held) if held.health == "err" => {
                ill.push(format!("{}: {}", held.name, held.error))
            }
            Some(_) => pending.push(rule.name()),
        }
    }
    Ok(verdict(kit.len(), &absent, &other, &ill, &pending))
}

fn verdict(
    wanted: usize,
    absent: &[&str],
    other: &[&str],
    ill: &[String],
    pending: &[&str],
) -> Verdict {
    if absent.len() == wanted {
        return Verdict::wrong(
            format!("none of the kit's {wanted} rules is loaded"),
            "write the kit out (microdiff observability export DIR), name prometheus/rules/*.yml \
             under `rule_files`, and reload",
        );
    }
    if !absent.is_empty() {
        return Verdict::wrong(
            format!("{} of {wanted} rules are not loaded: {}", absent.len(), listed(absent)),
            "load every file of prometheus/rules of this version's kit, and reload",
        );
    }
    if !other.is_empty() {
        return Verdict::wrong(
            format!("{} rules have another expression: {}", other.len(), listed(other)),
            "load the rules of this version's kit; if you edited them on purpose, name your copy \
             with --dir",
        );
    }
    if let Some(first) = ill.first() {
        return Verdict::wrong(
            format!("{} rules fail to evaluate, as {first}", ill.len()),
            "Status > Rules of Prometheus shows each error",
        );
    }
    if !pending.is_empty() {
        return Verdict::awaited(
            format!("{} rules are not evaluated yet: {}", pending.len(), listed(pending)),
            "give --timeout more seconds than the longest evaluation interval",
        );
    }
    Verdict::Right(format!("all {wanted} rules are loaded and healthy"))
}

fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(LISTED).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LISTED { format!("{shown}, …") } else { shown }
}

fn held(answer: &Value) -> Result<Vec<Held>, AskError> {
    let refuse = |what: &str| AskError::NotUnderstood(format!("it has no {what}"));
    let groups = answer["data"]["groups"].as_array().ok_or_else(|| refuse("list of groups"))?;
    let mut held = Vec::new();
    for group in groups {
        let rules = group["rules"].as_array().ok_or_else(|| refuse("list of rules"))?;
        for rule in rules {
            let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
            if rule["name"].as_str().is_none() {
                return Err(refuse("name of a rule"));
            }
            held.push(Held {
                name: text("name"),
                expression: text("query"),
                health: text("health"),
                error: text("lastError"),
            });
        }
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kit() -> Vec<Rule> {
        microdiff_kit::rules(&microdiff_kit::files()).expect("rules")
    }

    /// The kit's rules as Prometheus would show them, each changed by `edit`.
    fn shown(edit: impl Fn(usize, &mut Value)) -> Value {
        let one = |(index, rule): (usize, &Rule)| {
            let mut shown = json!({
                "name": rule.name(), "query": rule.expression, "health": "ok", "lastError": "",
            });
            edit(index, &mut shown);
            shown
        };
        let rules: Vec<Value> = kit().iter().enumerate().map(one).collect();
        json!({ "status": "success", "data": { "groups": [{ "name": "g", "rules": rules }] } })
    }

    fn fault(answer: &Value) -> (String, bool) {
        match read(answer, &kit()).expect("understood") {
            Verdict::Wrong(fault) => (format!("{} - {}", fault.told, fault.advice), true),
            Verdict::Awaited(fault) => (format!("{} - {}", fault.told, fault.advice), false),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_rules_and_somebody_elses_are_right() {
        let mut answer = shown(|_, _| {});
        let groups = answer["data"]["groups"].as_array_mut().expect("groups");
        groups.push(json!({ "rules": [{ "name": "Theirs", "query": "1", "health": "err" }] }));
        assert!(matches!(read(&answer, &kit()), Ok(Verdict::Right(_))));
    }

    #[test]
    fn each_kind_of_fault_is_told_apart() {
        let none = json!({ "data": { "groups": [] } });
        assert!(fault(&none).0.contains("none of the kit's"));
        let (told, wrong) = fault(&shown(|index, rule| {
            if index == 2 {
                rule["name"] = "Renamed".into();
            }
        }));
        assert!(told.starts_with("1 of ") && told.contains(kit()[2].name()) && wrong, "{told}");
        let (told, _) = fault(&shown(|_, rule| {
            if rule["name"] == "GPUMemoryHigh" {
                rule["query"] = "vector(0)".into();
            }
        }));
        assert!(told.starts_with("1 rules have another expression: GPUMemoryHigh"), "{told}");
        let (told, _) = fault(&shown(|index, rule| {
            if index == 3 {
                rule["health"] = "err".into();
                rule["lastError"] = "many-to-many".into();
            }
        }));
        assert!(told.contains("fail to evaluate") && told.contains("many-to-many"), "{told}");
        let (told, wrong) = fault(&shown(|_, rule| rule["health"] = "unknown".into()));
        assert!(told.contains("not evaluated yet") && told.contains('…') && !wrong, "{told}");
    }

    #[test]
    fn alerts_of_one_name_are_told_apart_by_their_expression() {
        let twice = kit().iter().filter(|rule| rule.name() == "ServiceDown").count();
        assert_eq!(twice, 2);
        let (told, _) = fault(&shown(|_, rule| {
            if rule["name"] == "ServiceDown" {
                rule["query"] = "up{job=\"microdiff-app\"} == 0".into();
            }
        }));
        assert!(told.contains("another expression: ServiceDown"), "{told}");
    }

    #[test]
    fn odd_answers_are_not_understood() {
        for odd in [
            Value::Null,
            json!({ "data": [] }),
            json!({ "data": { "groups": [{}] } }),
            json!({ "data": { "groups": [{ "rules": [7] }] } }),
            json!({ "data": { "groups": [{ "rules": [{ "name": 7 }] }] } }),
        ] {
            assert!(matches!(read(&odd, &kit()), Err(AskError::NotUnderstood(_))), "{odd}");
        }
    }
}

//! The kit's rules at another speed are still the kit's rules.

use microdiff_kit::{
    Compression, File, KitError, Rule, compress, compress_expression, files, memory, rules, waits,
};
use promql_parser::parser;
use proptest::prelude::*;
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const RESOLUTION: Duration = Duration::from_millis(500);

fn by(factor: u32) -> Compression {
    Compression { factor, resolution: RESOLUTION }
}

fn faster(expression: &str, factor: u32) -> String {
    compress_expression(expression, &by(factor)).unwrap()
}

fn refusal(expression: &str) -> String {
    compress_expression(expression, &by(60)).unwrap_err()
}

#[test]
fn every_kind_of_time_is_divided() {
    for (text, expected) in [
        ("sum by (job) (rate(a{b=~\"/v1/.+\"}[5m]))", "sum by (job) (rate(a{b=~\"/v1/.+\"}[5s]))"),
        ("a offset 1d - a offset -2h", "a offset 24m - a offset -2m"),
        ("max_over_time(a[1h:2m] offset 10m)", "max_over_time(a[1m:2s] offset 10s)"),
        ("time() - a{b!=\"c\"} > 300", "time() - a{b!=\"c\"} > ((300) / 60)"),
        ("(time() - min by (job) (a)) >= 2 * 60", "(time() - min by (job) (a)) >= ((2 * 60) / 60)"),
        ("predict_linear(a[6h], 24 * 3600) < 0", "predict_linear(a[6m], ((24 * 3600) / 60)) < 0"),
        ("rate(a[330s])", "rate(a[5s500ms])"),
    ] {
        assert_eq!(closed_up(&faster(text, 60)), closed_up(expected));
    }
}

/// Without blanks, which are the parser's own.
fn closed_up(expression: &str) -> String {
    expression.replace(' ', "")
}

#[test]
fn what_is_no_time_stays() {
    let text = "histogram_quantile(0.95, sum by (le) (a)) > 300 and on (job) b == bool 1";
    assert_eq!(faster(text, 60), parser::parse(text).unwrap().to_string());
}

#[test]
fn what_has_no_faster_form_is_refused_with_its_reason() {
    assert!(refusal("hour() > 8").contains("hour() has its place on the calendar"));
    assert!(refusal("day_of_week(a) == 0").contains("calendar"));
    assert!(refusal("a @ 1609746000").contains("`@` names a moment"));
    assert!(refusal("rate(a[5m] @ end())").contains("`@` names a moment"));
    assert!(refusal("rate(a[1m])").contains("[1m] divided by 60 is shorter than 4 scrapes (2s)"));
    assert!(refusal("time() - a").contains("time() is no side of an age"));
    assert!(refusal("sum(").contains("unclosed left parenthesis"));
}

fn rule_file(text: &str) -> File {
    File { path: "prometheus/rules/a.yml".to_owned(), bytes: text.as_bytes().to_vec().into() }
}

fn compressed(text: &str) -> Result<Value, KitError> {
    let files = compress(&[rule_file(text)], &by(60))?;
    Ok(serde_json::from_slice(&files[0].bytes).unwrap())
}

#[test]
fn waits_and_intervals_are_divided_and_the_rest_is_kept() {
    let group = "groups:\n- name: g\n  interval: 2m\n  rules:\n  - alert: A\n    expr: a > 1\n    \
        for: 90m\n    keep_firing_for: 0m\n    labels: {severity: info}\n    annotations: {d: e}\n";
    let group = &compressed(group).unwrap()["groups"][0];
    assert_eq!(group["interval"], "2s");
    let rule = &group["rules"][0];
    assert_eq!([&rule["for"], &rule["keep_firing_for"]], ["1m30s", "0s"]);
    assert_eq!([&rule["labels"]["severity"], &rule["annotations"]["d"]], ["info", "e"]);
    let often = "groups:\n- name: g\n  interval: 15s\n  rules: []\n";
    assert_eq!(compressed(often).unwrap()["groups"][0]["interval"], "500ms");
}

#[test]
fn a_rule_that_cannot_be_compressed_is_named() {
    let file = |rule: &str| format!("groups:\n- name: g\n  rules:\n  - {rule}\n");
    let told = |rule: &str| compressed(&file(rule)).unwrap_err().to_string();
    let hour = told("{alert: A, expr: hour() > 8}");
    assert!(hour.starts_with("prometheus/rules/a.yml: A: cannot be compressed in time"), "{hour}");
    assert!(told("{alert: A, expr: a, for: soon}").contains("`soon` is no duration"));
    // What is not known cannot be known to hold no time.
    assert!(told("{alert: A, expr: a, query_offset: 1m}").contains("query_offset"));
}

fn kit_rules(factor: u32) -> Vec<Rule> {
    rules(&compress(&files(), &by(factor)).unwrap()).unwrap()
}

#[test]
fn factor_one_means_the_same() {
    let (before, after) = (rules(&files()).unwrap(), kit_rules(1));
    assert_eq!(before.len(), after.len());
    for (before, after) in before.iter().zip(&after) {
        let [meant, means] =
            [before, after].map(|rule| parser::parse(&rule.expression).unwrap().to_string());
        assert_eq!(meant, means, "{}", before.name());
        assert_eq!(waits(before), waits(after), "{}", before.name());
        assert_eq!(before.labels, after.labels);
        assert_eq!(before.annotations, after.annotations);
    }
}

proptest! {
    // Each case reads the whole kit.
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_rule_of_the_kit_still_parses_and_remembers_in_proportion(factor in 1_u32..=150) {
        let (before, after) = (rules(&files()).unwrap(), kit_rules(factor));
        for (one, other) in before.iter().zip(&after) {
            prop_assert!(parser::parse(&other.expression).is_ok(), "{}", other.expression);
            let (slow, fast) = (memory(one, &before), memory(other, &after));
            // Ranges and waits are whole milliseconds.
            let apart = fast.abs_diff(slow / factor);
            prop_assert!(apart <= Duration::from_millis(2), "{} {fast:?} {slow:?}", one.name());
        }
    }
}

#[test]
fn an_alert_remembers_what_its_recorded_metrics_do() {
    let rules = rules(&files()).unwrap();
    let of = |name: &str| memory(rules.iter().find(|rule| rule.name() == name).unwrap(), &rules);
    assert_eq!(of("HighErrorRate"), Duration::from_secs(10 * 60));
    assert_eq!(of("AvailabilityBudgetBurnSlow"), Duration::from_secs(25 * 3600));
    assert_eq!(of("Watchdog"), Duration::ZERO);
}

/// Every time in a promtool test divided, as in the rules it tests; the values of timestamps are
/// times, too. Annotations go: they tell ages.
fn hasten(test: &mut Value, factor: u32) {
    match test {
        Value::Array(entries) => entries.iter_mut().for_each(|entry| hasten(entry, factor)),
        Value::Object(fields) => {
            fields.retain(|key, _| key != "exp_annotations" && key != "annotations");
            let series = fields.get("series").and_then(Value::as_str).unwrap_or_default();
            let timestamps = series.contains("_timestamp_seconds");
            for (key, value) in fields {
                match (key.as_str(), value.as_str()) {
                    ("interval" | "eval_time" | "evaluation_interval", Some(time)) => {
                        let time = promql_parser::util::parse_duration(time).unwrap() / factor;
                        *value = promql_parser::util::display_duration(&time).into();
                    }
                    ("values", Some(values)) if timestamps => {
                        let runs = values.split(' ').map(|run| divided(run, factor));
                        *value = runs.collect::<Vec<_>>().join(" ").into();
                    }
                    _ => hasten(value, factor),
                }
            }
        }
        _ => {}
    }
}

/// A run of values in promtool's notation, `0+60x5` or `300x175`, with its values divided.
fn divided(run: &str, factor: u32) -> String {
    let (values, count) = run.split_once('x').unwrap();
    let divide = |value: &str| (value.parse::<f64>().unwrap() / f64::from(factor)).to_string();
    let values: Vec<String> = values.split('+').map(divide).collect();
    format!("{}x{count}", values.join("+"))
}

/// Writes rules and tests of the kit into `folder`, each at a speed of their own; whether promtool
/// finds that the tests whose path has `part` hold, and what it says.
fn held(folder: &Path, part: &str, rules: u32, tests: u32) -> (bool, String) {
    let mut paths = Vec::new();
    for file in &compress(&files(), &by(rules)).unwrap() {
        let mut content: Value = match file.path.split_once('/') {
            Some(("prometheus", rest)) if rest.contains('/') => {
                serde_saphyr::from_str(file.text().unwrap()).unwrap()
            }
            _ => continue,
        };
        let path = folder.join(&file.path);
        if file.path.starts_with("prometheus/tests/") {
            hasten(&mut content, tests);
            if file.path.contains(part) {
                paths.push(path.clone());
            }
        } else {
            // Its intervals are at the right speed.
            hasten(&mut content, 1);
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, serde_json::to_vec(&content).unwrap()).unwrap();
    }
    assert!(!paths.is_empty());
    promtool(&paths)
}

/// The kit's own unit tests of its alerts, rules and tests at sixty times the speed: each still
/// fires when it must, is silent when all is well, and does what it does without its series.
#[test]
fn the_tests_of_the_alerts_hold_at_sixty_times_the_speed() {
    let folder = tempfile::tempdir().unwrap();
    let (holds, told) = held(folder.path(), "tests/", 60, 60);
    assert!(holds, "{told}");
    let (holds, told) = held(folder.path(), "tests/availability", 1, 60);
    assert!(!holds, "tests at sixty times the speed cannot hold for the rules as they are: {told}");
}

fn promtool(tests: &[std::path::PathBuf]) -> (bool, String) {
    let output = Command::new("promtool").args(["test", "rules"]).args(tests).output();
    let output = output.expect("the Debian package `prometheus` is needed");
    let told = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&told).into_owned())
}

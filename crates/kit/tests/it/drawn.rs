//! Each alert's exact quantity is drawn by a panel that names the alert, with the alert's limit.

use microdiff_kit::{Panel, Rule, dashboards, files, rules};
use promql_parser::parser::{self, Expr};
use std::collections::BTreeSet;

/// The alerts that a panel names: "Alert: A, B." at the end of its description.
fn named(panel: &Panel) -> impl Iterator<Item = &str> {
    let names = panel.description.split_once("Alert: ").map(|(_, names)| names);
    names.into_iter().flat_map(|names| names.trim_end_matches('.').split(", "))
}

/// What an alert compares first, and with which number: guards come after.
struct Limit {
    quantity: String,
    /// `None` when it is compared with another quantity, or with a state by `==`.
    number: Option<f64>,
}

/// The outermost, leftmost comparison; `None` for an alert without one.
fn limit(expression: &Expr) -> Option<Limit> {
    match expression {
        Expr::Paren(paren) => limit(&paren.expr),
        Expr::Binary(binary) if binary.op.is_set_operator() => limit(&binary.lhs),
        Expr::Binary(binary) if binary.op.is_comparison_operator() => {
            let state = binary.op.to_string() == "==";
            let number = if state { None } else { constant(&binary.rhs) };
            Some(Limit { quantity: binary.lhs.to_string(), number })
        }
        _ => None,
    }
}

fn constant(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::NumberLiteral(number) => Some(number.val),
        Expr::Paren(paren) => constant(&paren.expr),
        Expr::Binary(binary) => {
            let (left, right) = (constant(&binary.lhs)?, constant(&binary.rhs)?);
            (binary.op.to_string() == "*").then_some(left * right)
        }
        _ => None,
    }
}

/// An expression as the parser writes it, without the choice of instances.
fn plain(expression: &str) -> String {
    let expression = parser::parse(expression).unwrap().to_string();
    let chosen = "instance=~\"$instance\"";
    let expression =
        expression.replace(&format!("{chosen},"), "").replace(&format!(",{chosen}"), "");
    expression.replace(&format!("{{{chosen}}}"), "")
}

/// A threshold that shows the limit. An increase above 0 is at least about 1, and a share or state
/// above 0 is drawn with its own mark, so a mark up to 1 shows the limit 0.
fn shows(threshold: f64, number: f64) -> bool {
    let near = (threshold - number).abs() <= 1e-9 * number.abs();
    near || (number == 0.0 && (0.0..=1.0).contains(&threshold))
}

fn missing(rule: &Rule, panels: &[Panel]) -> Option<String> {
    let expression = parser::parse(&rule.expression).unwrap();
    let Some(limit) = limit(&expression) else {
        // `absent(...)` and the watchdog: there is nothing to draw but the alert itself.
        let drawn = panels.iter().any(|panel| named(panel).any(|name| name == rule.name()));
        return (!drawn).then(|| format!("no panel names {}", rule.name()));
    };
    let quantity = plain(&limit.quantity);
    let draws = |panel: &&Panel| {
        named(panel).any(|name| name == rule.name())
            && panel.expressions.iter().any(|drawn| plain(drawn) == quantity)
    };
    let drawing: Vec<&Panel> = panels.iter().filter(draws).collect();
    if drawing.is_empty() {
        return Some(format!("no panel of {} draws {quantity}", rule.name()));
    }
    let number = limit.number?;
    let shown = drawing.iter().any(|panel| panel.thresholds.iter().any(|t| shows(*t, number)));
    (!shown).then(|| format!("no panel of {} marks {number}", rule.name()))
}

#[test]
fn every_alert_has_its_quantity_and_limit_in_a_panel() {
    let files = files();
    let panels = dashboards(&files).unwrap();
    let rules = rules(&files).unwrap();
    let alerts = || rules.iter().filter(|rule| rule.alert.is_some());
    let faults: Vec<String> = alerts().filter_map(|rule| missing(rule, &panels)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let known: BTreeSet<&str> = alerts().map(Rule::name).collect();
    let unknown: Vec<&str> = panels.iter().flat_map(named).filter(|n| !known.contains(n)).collect();
    assert!(unknown.is_empty(), "panels name alerts that are not there: {unknown:?}");
}

#[test]
fn another_limit_or_quantity_is_seen() {
    let files = files();
    let panels = dashboards(&files).unwrap();
    let rules = rules(&files).unwrap();
    let mut rule = rules.into_iter().find(|rule| rule.name() == "GPUMemoryHigh").unwrap();
    assert_eq!(missing(&rule, &panels), None);
    let right = rule.expression.clone();
    rule.expression = right.replace("0.9", "0.8");
    assert_eq!(missing(&rule, &panels).unwrap(), "no panel of GPUMemoryHigh marks 0.8");
    rule.expression = right.replace("instance_device:microdiff_gpu_memory_usage:ratio", "up");
    assert_eq!(missing(&rule, &panels).unwrap(), "no panel of GPUMemoryHigh draws up");
}

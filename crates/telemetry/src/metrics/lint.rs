//! Naming rules for the catalogue, checked once when a registry is built.
//!
//! The rules are those of `promtool check metrics` and of OpenMetrics 1.0, so that a bad row stops
//! the program at start-up instead of a scrape later.

use std::collections::HashSet;

use super::spec::{LabelValues, MetricKind, MetricSpec, Source, Unit};
use crate::TelemetryError;

/// Checks every row and the table as a whole.
///
/// # Errors
/// [`TelemetryError::Catalogue`] naming the first metric that breaks a rule and the rule.
pub fn check(specs: &[MetricSpec]) -> Result<(), TelemetryError> {
    let mut sample_names = HashSet::new();
    for spec in specs {
        check_one(spec)
            .map_err(|rule| TelemetryError::Catalogue { metric: printable(&spec.name), rule })?;
        for name in names_on_the_wire(spec) {
            if !sample_names.insert(name.clone()) {
                return Err(TelemetryError::Catalogue {
                    metric: printable(&spec.name),
                    rule: format!("the name `{}` is taken", printable(&name)),
                });
            }
        }
    }
    Ok(())
}

fn names_on_the_wire(spec: &MetricSpec) -> Vec<String> {
    let name = spec.name.as_ref();
    match spec.kind {
        MetricKind::Counter => vec![name.to_owned(), spec.family().to_owned()],
        MetricKind::Gauge => vec![name.to_owned()],
        MetricKind::Histogram => ["", "_bucket", "_sum", "_count"]
            .iter()
            .map(|suffix| format!("{name}{suffix}"))
            .collect(),
    }
}

fn check_one(spec: &MetricSpec) -> Result<(), String> {
    check_name(spec)?;
    check_unit(spec)?;
    check_buckets(spec)?;
    let mut seen = HashSet::new();
    for label in spec.labels {
        let reserved = label.name.starts_with("__")
            || (spec.kind == MetricKind::Histogram && label.name == "le");
        if !is_identifier(label.name, false) || reserved {
            return Err(format!("`{}` cannot be a label name", printable(label.name)));
        }
        if !seen.insert(label.name) {
            return Err(format!("the label `{}` is there twice", label.name));
        }
        if let LabelValues::Closed(values) = label.values {
            let distinct: HashSet<_> = values.iter().collect();
            if values.is_empty() || distinct.len() != values.len() {
                return Err(format!("the values of `{}` are empty or repeated", label.name));
            }
        }
    }
    if spec.help.trim().is_empty() {
        return Err("help is missing".to_owned());
    }
    check_series(spec)
}

fn check_name(spec: &MetricSpec) -> Result<(), String> {
    let name = spec.name.as_ref();
    if !is_identifier(name, true) {
        return Err("the name may hold only a-z, 0-9 and _".to_owned());
    }
    let counter = spec.kind == MetricKind::Counter;
    if counter != name.ends_with("_total") {
        return Err("counters, and only they, end in `_total`".to_owned());
    }
    for suffix in ["_count", "_sum", "_bucket", "_created"] {
        if spec.family().ends_with(suffix) {
            return Err(format!("the suffix `{suffix}` is reserved"));
        }
    }
    if spec.source == Source::Observed && !counter {
        return Err("only a counter can be kept elsewhere".to_owned());
    }
    Ok(())
}

fn check_unit(spec: &MetricSpec) -> Result<(), String> {
    let suffix = spec.unit.suffix();
    if suffix.is_empty() {
        let hidden =
            [Unit::Seconds, Unit::Bytes, Unit::Ratio, Unit::Celsius, Unit::Watts, Unit::Joules]
                .into_iter()
                .find(|unit| spec.family().ends_with(&format!("_{}", unit.suffix())));
        return match hidden {
            Some(unit) => Err(format!("the name says {} and the unit does not", unit.suffix())),
            None => Ok(()),
        };
    }
    if spec.family().ends_with(&format!("_{suffix}")) {
        Ok(())
    } else {
        Err(format!("a metric in {suffix} ends in `_{suffix}`"))
    }
}

fn check_buckets(spec: &MetricSpec) -> Result<(), String> {
    let ascending = spec.buckets.windows(2).all(|pair| pair[0] < pair[1]);
    let finite = spec.buckets.iter().all(|bound| bound.is_finite());
    match spec.kind {
        MetricKind::Histogram if spec.buckets.is_empty() => {
            Err("a histogram needs buckets".to_owned())
        }
        MetricKind::Histogram if !(ascending && finite) => {
            Err("buckets must be finite and ascending".to_owned())
        }
        MetricKind::Histogram if spec.buckets.len() > MAX_BUCKETS => {
            Err(format!("at most {MAX_BUCKETS} buckets"))
        }
        MetricKind::Counter | MetricKind::Gauge if !spec.buckets.is_empty() => {
            Err("only a histogram has buckets".to_owned())
        }
        _ => Ok(()),
    }
}

/// A histogram series lives in one chunk of a thread's cells; this many buckets fit with room.
pub(super) const MAX_BUCKETS: usize = 64;

fn check_series(spec: &MetricSpec) -> Result<(), String> {
    let mut product: usize = 1;
    for label in spec.labels {
        if let LabelValues::Closed(values) = label.values {
            product = product.saturating_mul(values.len());
        }
    }
    if product > spec.max_series {
        return Err(format!("{product} known series are more than the cap {}", spec.max_series));
    }
    Ok(())
}

fn is_identifier(name: &str, lower_case_only: bool) -> bool {
    let mut chars = name.chars();
    let first_ok = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    let rest_ok = chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    first_ok && rest_ok && !(lower_case_only && name.chars().any(|c| c.is_ascii_uppercase()))
}

fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::spec::LabelSpec;
    use super::*;

    fn rule_of(spec: MetricSpec) -> String {
        match check(&[spec]) {
            Err(TelemetryError::Catalogue { rule, .. }) => rule,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn each_rule_refuses_its_own_mistake() {
        assert!(rule_of(MetricSpec::counter("a_b", "h")).contains("_total"));
        assert!(rule_of(MetricSpec::gauge("a_total", "h")).contains("_total"));
        assert!(rule_of(MetricSpec::gauge("a b", "h")).contains("only a-z"));
        assert!(rule_of(MetricSpec::gauge("Ab", "h")).contains("only a-z"));
        assert!(rule_of(MetricSpec::gauge("a_count", "h")).contains("reserved"));
        assert!(rule_of(MetricSpec::gauge("a_seconds", "h")).contains("unit does not"));
        assert!(rule_of(MetricSpec::gauge("a", "h").unit(Unit::Bytes)).contains("_bytes"));
        assert!(rule_of(MetricSpec::gauge("a", " ")).contains("help"));
        assert!(rule_of(MetricSpec::histogram("a", "h", &[])).contains("needs buckets"));
        assert!(rule_of(MetricSpec::histogram("a", "h", &[2.0, 1.0])).contains("ascending"));
        assert!(rule_of(MetricSpec::histogram("a", "h", &[f64::INFINITY])).contains("finite"));
        assert!(rule_of(MetricSpec::gauge("a", "h").observed()).contains("elsewhere"));
        const LE: &[LabelSpec] = &[LabelSpec::open("le")];
        assert!(rule_of(MetricSpec::histogram("a", "h", &[1.0]).labels(LE)).contains("le"));
        const TWICE: &[LabelSpec] = &[LabelSpec::open("x"), LabelSpec::open("x")];
        assert!(rule_of(MetricSpec::gauge("a", "h").labels(TWICE)).contains("twice"));
        const WIDE: &[LabelSpec] = &[LabelSpec::closed("x", &["1", "2", "3"])];
        assert!(
            rule_of(MetricSpec::gauge("a", "h").labels(WIDE).max_series(2)).contains("the cap 2")
        );
    }

    #[test]
    fn names_that_collide_on_the_wire_are_refused() {
        let duplicate = [MetricSpec::gauge("a", "h"), MetricSpec::gauge("a", "h")];
        assert!(check(&duplicate).is_err());
        let shadowed = [MetricSpec::counter("a_total", "h"), MetricSpec::gauge("a", "h")];
        assert!(check(&shadowed).is_err());
    }
}

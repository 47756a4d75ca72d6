//! A metrics page as a scraper reads it: any of the three formats into the same families.

use crate::metric_family;
use prost::Message as _;
use std::collections::BTreeMap;

/// Names and values of a series' labels, sorted; without `le`.
pub type Labels = Vec<(String, String)>;

/// Everything on the page under one name.
#[derive(Debug)]
pub struct Family {
    /// The name in the catalogue, with `_total` for counters.
    pub name: String,
    pub kind: String,
    pub help: String,
    /// What the page says of the unit; text 0.0.4 cannot say it.
    pub unit: Option<String>,
    pub series: BTreeMap<Labels, Series>,
}

/// One series.
#[derive(Debug, Default)]
pub struct Series {
    /// The value; of a histogram the number of observations.
    pub value: f64,
    /// Upper bounds of a histogram, `+Inf` among them.
    pub bounds: Vec<f64>,
    /// Whether a histogram has its sum.
    pub has_sum: bool,
}

impl Family {
    fn new(name: String, kind: &str) -> Self {
        let (help, series) = (String::new(), BTreeMap::new());
        Self { name, kind: kind.to_owned(), help, unit: None, series }
    }
}

/// Reads text 0.0.4, or OpenMetrics 1.0 when `open`.
pub fn text(page: &str, open: bool) -> Vec<Family> {
    let body = if open { page.strip_suffix("# EOF\n").expect("an end") } else { page };
    let mut families: Vec<Family> = Vec::new();
    for line in body.lines() {
        let Some(meta) = line.strip_prefix("# ") else {
            sample(families.last_mut().expect("a family"), line, open);
            continue;
        };
        let [what, name, rest] = meta.splitn(3, ' ').collect::<Vec<_>>()[..] else {
            panic!("half a line: {line}")
        };
        if what == "TYPE" {
            let total = if open && rest == "counter" { "_total" } else { "" };
            families.push(Family::new(format!("{name}{total}"), rest));
            continue;
        }
        let family = families.last_mut().expect("the type comes first");
        assert!(family.name.strip_suffix("_total") == Some(name) || family.name == name, "{line}");
        match what {
            "HELP" => family.help = unescaped(rest),
            "UNIT" => family.unit = Some(rest.to_owned()),
            _ => panic!("what is {line}"),
        }
    }
    if open {
        families
            .iter_mut()
            .for_each(|family| family.unit = family.unit.take().or(Some(String::new())));
    }
    families
}

fn unescaped(text: &str) -> String {
    text.replace("\\\"", "\"").replace("\\n", "\n").replace("\\\\", "\\")
}

fn sample(family: &mut Family, line: &str, open: bool) {
    let at = line.find(['{', ' ']).expect("a value");
    let (name, rest) = line.split_at(at);
    let (mut labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels_of(rest),
        None => (Vec::new(), rest),
    };
    let (value, exemplar) = match rest.split_once(" # ") {
        Some((value, exemplar)) => (value, Some(exemplar)),
        None => (rest, None),
    };
    let value: f64 = value.trim_start().parse().unwrap_or_else(|_| panic!("no number: {line}"));
    if let Some(exemplar) = exemplar {
        check_exemplar(exemplar);
        assert!(open && name.ends_with("_bucket"), "an exemplar here: {line}");
    }
    let part = name.strip_prefix(family.name.as_str());
    let part = part.unwrap_or_else(|| panic!("{line} within {}", family.name));
    let bound = labels.iter().position(|(name, _)| name == "le").map(|at| labels.remove(at).1);
    labels.sort();
    let series = family.series.entry(labels).or_default();
    match (family.kind.as_str(), part, bound) {
        ("counter" | "gauge", "", None) | ("histogram", "_count", None) => series.value = value,
        ("histogram", "_sum", None) => series.has_sum = true,
        ("histogram", "_bucket", Some(bound)) => {
            series.bounds.push(bound.parse().expect("a bound"));
        }
        _ => panic!("{line} within a {} {}", family.kind, family.name),
    }
}

fn check_exemplar(exemplar: &str) {
    let (labels, rest) = labels_of(exemplar.strip_prefix('{').expect("labels"));
    let [(name, trace)] = &labels[..] else { panic!("{exemplar}") };
    assert!(name == "trace_id" && trace.len() == 32, "{exemplar}");
    assert_eq!(rest.split_whitespace().filter(|word| word.parse::<f64>().is_ok()).count(), 2);
}

/// Reads labels after their `{`, and what follows their `}`.
fn labels_of(mut rest: &str) -> (Labels, &str) {
    let mut labels = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").expect("a label");
        let mut chars = after.char_indices();
        let mut value = String::new();
        let end = loop {
            match chars.next().expect("an end of the value") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("an escaped character").1 {
                    'n' => value.push('\n'),
                    c => value.push(c),
                },
                (_, c) => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        let after = &after[end + 1..];
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, after.strip_prefix('}').expect("an end of the labels")),
        }
    }
}

/// Reads the delimited protobuf page.
pub fn protobuf(mut page: &[u8]) -> Vec<Family> {
    let mut families = Vec::new();
    while !page.is_empty() {
        let read = metric_family::MetricFamily::decode_length_delimited(&mut page);
        let read = read.expect("a family");
        let kind = match read.r#type {
            0 => "counter",
            1 => "gauge",
            4 => "histogram",
            other => panic!("type {other}"),
        };
        let mut family = Family::new(read.name, kind);
        family.help = read.help;
        family.unit = Some(read.unit);
        for metric in read.metric {
            let pairs = metric.label.iter();
            let mut labels: Labels = pairs.map(|p| (p.name.clone(), p.value.clone())).collect();
            labels.sort();
            let series = match (kind, metric.counter, metric.gauge, metric.histogram) {
                ("counter", Some(value), None, None) | ("gauge", None, Some(value), None) => {
                    Series { value: value.value, ..Series::default() }
                }
                ("histogram", None, None, Some(histogram)) => Series {
                    value: histogram.sample_count as f64,
                    bounds: histogram.bucket.iter().map(|bucket| bucket.upper_bound).collect(),
                    has_sum: histogram.sample_sum.is_finite(),
                },
                _ => panic!("{} has a value of another type", family.name),
            };
            assert!(family.series.insert(labels, series).is_none(), "{} twice", family.name);
        }
        families.push(family);
    }
    families
}

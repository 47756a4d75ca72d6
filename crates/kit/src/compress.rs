//! Rule files that run faster: from the rules of the kit to the same rules with every time in them
//! divided by one factor.
//!
//! A drill, and the tests that run drills, cannot wait ten minutes for an alert. What is divided:
//! `for`, `keep_firing_for`, the `interval` of a group, ranges, subqueries, offsets, how far
//! `predict_linear` looks ahead, and the limit that an age (`time() - x`) is compared with. What is
//! not: a number of seconds that was measured (a latency is as long as before) and a rate, which
//! stays one per real second; so a floor of traffic stated as a rate is met sooner. Refused is what
//! has a place on the calendar, or a range too short to hold samples.

use std::collections::BTreeMap;
use std::time::Duration;

use promql_parser::parser::{self, Call, Expr, Offset};
use promql_parser::util::display_duration;
use serde::{Deserialize, Serialize};

use crate::rules::{RULES_FOLDER, parse};
use crate::{File, KitError, Rule};

/// How much faster, and what is then too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    /// What every time is divided by; 1 changes nothing.
    pub factor: u32,
    /// Time between two scrapes. No group is evaluated more often, and no range may hold fewer than
    /// [`Compression::SAMPLES`] of them.
    pub resolution: Duration,
}

impl Compression {
    /// Scrapes that a range must hold for a rate over it to mean something.
    pub const SAMPLES: u32 = 4;

    /// A time, divided.
    #[must_use]
    pub fn of(&self, time: Duration) -> Duration {
        time / self.factor.max(1)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    rules: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    wait: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_for: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

/// The kit with its rule files compressed; other files are as they were. A rule file comes out as
/// JSON, which Prometheus reads as the YAML it is.
///
/// # Errors
/// [`KitError::Unreadable`] when a file is no rule file, or [`KitError::Incompressible`] naming the
/// rule that has no faster form.
pub fn compress(files: &[File], compression: &Compression) -> Result<Vec<File>, KitError> {
    let compressed = files.iter().map(|file| {
        if file.path.starts_with(RULES_FOLDER) {
            compress_file(file, compression)
        } else {
            Ok(file.clone())
        }
    });
    compressed.collect()
}

fn compress_file(file: &File, compression: &Compression) -> Result<File, KitError> {
    let mut read: RuleFile = parse(file)?;
    for group in &mut read.groups {
        let refuse = |place: &str, reason: String| KitError::Incompressible {
            file: file.path.clone(),
            place: place.to_owned(),
            reason,
        };
        if let Some(interval) = &mut group.interval {
            let divided = divided(interval, compression).map_err(|r| refuse(&group.name, r))?;
            *interval = written(divided.max(compression.resolution));
        }
        for entry in &mut group.rules {
            let name = entry.alert.as_ref().or(entry.record.as_ref()).cloned().unwrap_or_default();
            let fault = |reason| refuse(&name, reason);
            entry.expr = compress_expression(&entry.expr, compression).map_err(fault)?;
            for time in [&mut entry.wait, &mut entry.keep_firing_for].into_iter().flatten() {
                *time = written(divided(time, compression).map_err(fault)?);
            }
        }
    }
    let unreadable = |error: serde_json::Error| KitError::Unreadable {
        file: file.path.clone(),
        reason: error.to_string(),
    };
    let bytes = serde_json::to_vec_pretty(&read).map_err(unreadable)?;
    Ok(File { path: file.path.clone(), bytes: bytes.into() })
}

/// A PromQL expression with its times divided.
///
/// # Errors
/// Why it has no faster form.
pub fn compress_expression(text: &str, compression: &Compression) -> Result<String, String> {
    let mut expression = parser::parse(text)?;
    Walk { compression }.walk(&mut expression)?;
    Ok(expression.to_string())
}

/// Functions of the calendar and of single timestamps: nothing divides them.
const OF_THE_CALENDAR: [&str; 9] = [
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "hour",
    "minute",
    "month",
    "timestamp",
    "year",
];

struct Walk<'a> {
    compression: &'a Compression,
}

impl Walk<'_> {
    fn walk(&self, expression: &mut Expr) -> Result<(), String> {
        match expression {
            Expr::Aggregate(aggregate) => {
                if let Some(parameter) = &mut aggregate.param {
                    self.walk(parameter)?;
                }
                self.walk(&mut aggregate.expr)
            }
            Expr::Unary(unary) => self.walk(&mut unary.expr),
            Expr::Paren(paren) => self.walk(&mut paren.expr),
            Expr::Binary(binary) => {
                if binary.op.is_comparison_operator()
                    && let Some(since) = age(&mut binary.lhs)
                {
                    self.walk(since)?;
                    return self.divide(&mut binary.rhs);
                }
                self.walk(&mut binary.lhs)?;
                self.walk(&mut binary.rhs)
            }
            Expr::Subquery(subquery) => {
                fixed(subquery.at.is_some())?;
                subquery.range = self.range(subquery.range)?;
                if let Some(step) = &mut subquery.step {
                    *step = self.compression.of(*step).max(self.compression.resolution);
                }
                self.offset(&mut subquery.offset);
                self.walk(&mut subquery.expr)
            }
            Expr::VectorSelector(selector) => {
                self.offset(&mut selector.offset);
                fixed(selector.at.is_some())
            }
            Expr::MatrixSelector(matrix) => {
                self.offset(&mut matrix.vs.offset);
                matrix.range = self.range(matrix.range)?;
                fixed(matrix.vs.at.is_some())
            }
            Expr::Call(call) => self.call(call),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
            Expr::Extension(_) => Err("uses an extension of PromQL".to_owned()),
        }
    }

    fn call(&self, call: &mut Call) -> Result<(), String> {
        let name = call.func.name;
        if OF_THE_CALENDAR.contains(&name) {
            return Err(format!("{name}() has its place on the calendar"));
        }
        if name == "time" && self.compression.factor != 1 {
            return Err("time() is no side of an age that is compared with a limit".to_owned());
        }
        for argument in &mut call.args.args {
            self.walk(argument)?;
        }
        if name == "predict_linear"
            && let Some(ahead) = call.args.args.get_mut(1)
        {
            return self.divide(ahead);
        }
        Ok(())
    }

    /// A number of seconds, divided where it stands, so that a reader sees what it was.
    fn divide(&self, seconds: &mut Expr) -> Result<(), String> {
        let factor = self.compression.factor;
        if factor != 1 {
            *seconds = parser::parse(&format!("(({seconds}) / {factor})"))?;
        }
        Ok(())
    }

    fn range(&self, range: Duration) -> Result<Duration, String> {
        let divided = self.compression.of(range);
        let shortest = self.compression.resolution * Compression::SAMPLES;
        if self.compression.factor != 1 && divided < shortest {
            return Err(format!(
                "[{}] divided by {} is shorter than {} scrapes ({})",
                display_duration(&range),
                self.compression.factor,
                Compression::SAMPLES,
                display_duration(&shortest)
            ));
        }
        Ok(divided)
    }

    fn offset(&self, offset: &mut Option<Offset>) {
        if let Some(Offset::Pos(time) | Offset::Neg(time)) = offset {
            *time = self.compression.of(*time);
        }
    }
}

/// What an age is counted from: the `x` of `time() - x`.
fn age(expression: &mut Expr) -> Option<&mut Expr> {
    match expression {
        Expr::Paren(paren) => age(&mut paren.expr),
        Expr::Binary(binary) if binary.op.to_string() == "-" => match &*binary.lhs {
            Expr::Call(call) if call.func.name == "time" => Some(&mut binary.rhs),
            _ => None,
        },
        _ => None,
    }
}

fn fixed(at: bool) -> Result<(), String> {
    if at { Err("`@` names a moment, which nothing divides".to_owned()) } else { Ok(()) }
}

fn divided(text: &str, compression: &Compression) -> Result<Duration, String> {
    Ok(compression.of(duration(text).ok_or_else(|| format!("`{text}` is no duration"))?))
}

fn written(time: Duration) -> String {
    display_duration(&time)
}

/// A duration as Prometheus writes it; unlike an expression's it may be zero, as in `for: 0m`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    if text.trim_start_matches('0').chars().all(char::is_alphabetic) {
        return text.starts_with('0').then_some(Duration::ZERO);
    }
    promql_parser::util::parse_duration(text).ok()
}

/// How far back an alert looks: the longest range, offset and limit of an age in its expression and
/// in the recorded metrics that it names, together with its own wait. Until this long after a fault
/// is over the alert may rightly fire.
#[must_use]
pub fn memory(alert: &Rule, rules: &[Rule]) -> Duration {
    let mut longest = Duration::ZERO;
    if let Ok(expression) = parser::parse(&alert.expression) {
        look_back(&expression, rules, &mut longest);
    }
    longest + waits(alert)
}

/// How long an alert waits before it fires.
#[must_use]
pub fn waits(alert: &Rule) -> Duration {
    alert.wait.as_deref().and_then(duration).unwrap_or_default()
}

fn look_back(expression: &Expr, rules: &[Rule], longest: &mut Duration) {
    let mut keep = |time: Duration| *longest = (*longest).max(time);
    match expression {
        Expr::Aggregate(aggregate) => look_back(&aggregate.expr, rules, longest),
        Expr::Unary(unary) => look_back(&unary.expr, rules, longest),
        Expr::Paren(paren) => look_back(&paren.expr, rules, longest),
        Expr::Binary(binary) => {
            look_back(&binary.lhs, rules, longest);
            look_back(&binary.rhs, rules, longest);
        }
        Expr::Subquery(subquery) => {
            keep(subquery.range);
            look_back(&subquery.expr, rules, longest);
        }
        Expr::VectorSelector(selector) => {
            let recorded = rules.iter().find(|rule| rule.record == selector.name);
            if let Some(Ok(inner)) = recorded.map(|rule| parser::parse(&rule.expression)) {
                look_back(&inner, rules, longest);
            }
        }
        Expr::MatrixSelector(matrix) => keep(matrix.range),
        Expr::Call(call) => call.args.args.iter().for_each(|a| look_back(a, rules, longest)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

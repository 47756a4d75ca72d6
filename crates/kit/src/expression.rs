//! One PromQL expression against the catalogue: what it names wrongly, and which labels its result
//! has.
//!
//! Labels are followed as Prometheus does: a selector has those of its metric, an aggregation those
//! it keeps, `histogram_quantile` loses `le`, an operation on two vectors those of its left side or,
//! with `on`, those it matches on.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
    VectorSelector,
};

use crate::catalogue::{Catalogue, Labels, Values};

/// What one expression turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Examined {
    /// Labels of its result; empty for a scalar.
    pub(crate) labels: Labels,
    /// What is wrong with it.
    pub(crate) faults: Vec<String>,
}

/// Parses `text` and looks everything in it up.
pub(crate) fn examine(text: &str, catalogue: &Catalogue) -> Examined {
    match parser::parse(text) {
        Ok(expression) => {
            let mut walk = Walk { catalogue, faults: Vec::new() };
            let labels = walk.labels(&expression);
            Examined { labels, faults: walk.faults }
        }
        Err(reason) => {
            let reason = reason.lines().next().unwrap_or_default();
            let faults = vec![format!("is no PromQL: {reason}")];
            Examined { labels: Labels::new(), faults }
        }
    }
}

/// A walk over one expression.
struct Walk<'a> {
    catalogue: &'a Catalogue,
    faults: Vec<String>,
}

impl Walk<'_> {
    /// Labels of an expression's result.
    fn labels(&mut self, expression: &Expr) -> Labels {
        match expression {
            Expr::Aggregate(aggregate) => self.aggregated(aggregate),
            Expr::Unary(unary) => self.labels(&unary.expr),
            Expr::Paren(paren) => self.labels(&paren.expr),
            Expr::Subquery(subquery) => self.labels(&subquery.expr),
            Expr::Binary(binary) => self.combined(binary),
            Expr::Call(call) => self.called(call),
            Expr::VectorSelector(selector) => self.selected(selector),
            Expr::MatrixSelector(matrix) => self.selected(&matrix.vs),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Labels::new(),
            Expr::Extension(_) => {
                self.faults.push("uses an extension of PromQL".to_owned());
                Labels::new()
            }
        }
    }

    fn combined(&mut self, binary: &BinaryExpr) -> Labels {
        let mut left = self.labels(&binary.lhs);
        let right = self.labels(&binary.rhs);
        let Some(modifier) = &binary.modifier else {
            return if left.is_empty() { right } else { left };
        };
        if let Some(LabelModifier::Include(on)) = &modifier.matching {
            for label in &on.labels {
                if !(left.contains_key(label) && right.contains_key(label)) {
                    self.faults.push(format!("matches on `{label}`, which not both sides have"));
                }
            }
        }
        match (&modifier.card, &modifier.matching) {
            // `and`, `unless`: the left side as it is; `or`: either side.
            (VectorMatchCardinality::ManyToMany, _) => {
                if binary.op.to_string() == "or" {
                    left.extend(right);
                }
                left
            }
            (VectorMatchCardinality::OneToOne, Some(LabelModifier::Include(on))) => {
                left.retain(|label, _| on.labels.contains(label));
                left
            }
            (VectorMatchCardinality::OneToOne, Some(LabelModifier::Exclude(ignored))) => {
                left.retain(|label, _| !ignored.labels.contains(label));
                left
            }
            (VectorMatchCardinality::ManyToOne(brought), _) => bring(left, &right, &brought.labels),
            (VectorMatchCardinality::OneToMany(brought), _) => bring(right, &left, &brought.labels),
            (VectorMatchCardinality::OneToOne, None) if left.is_empty() => right,
            (VectorMatchCardinality::OneToOne, None) => left,
        }
    }

    fn aggregated(&mut self, aggregate: &AggregateExpr) -> Labels {
        let mut labels = self.labels(&aggregate.expr);
        if let Some(parameter) = &aggregate.param {
            self.labels(parameter);
        }
        let grouped = match &aggregate.modifier {
            Some(LabelModifier::Include(kept)) => {
                for label in &kept.labels {
                    if !labels.contains_key(label) {
                        self.faults.push(format!("aggregates by `{label}`, which is not there"));
                    }
                }
                kept
            }
            Some(LabelModifier::Exclude(left_out)) => {
                labels.retain(|label, _| !left_out.labels.contains(label));
                return labels;
            }
            None => &promql_parser::label::Labels::new(Vec::new()),
        };
        // These pick series and leave them as they are.
        if !matches!(aggregate.op.to_string().as_str(), "topk" | "bottomk") {
            labels.retain(|label, _| grouped.labels.contains(label));
        }
        labels
    }

    fn called(&mut self, call: &Call) -> Labels {
        let mut labels = Labels::new();
        for argument in &call.args.args {
            let found = self.labels(argument);
            if labels.is_empty() {
                labels = found;
            }
        }
        match call.func.name {
            "histogram_quantile" if labels.remove("le").is_none() => {
                self.faults.push("takes a quantile of something without `le`".to_owned());
            }
            // What `absent` shows are the labels that a plain selector asks for by `=`.
            "absent" | "absent_over_time" => {
                let asked = call.args.first().map(|argument| asked_for(&argument));
                labels.retain(|label, _| asked.iter().flatten().any(|known| known == label));
            }
            "scalar" | "time" => labels.clear(),
            "label_replace" | "label_join" => {
                if let Some(Expr::StringLiteral(made)) = call.args.args.get(1).map(|made| &**made) {
                    labels.insert(made.val.clone(), Values::Open);
                }
            }
            _ => {}
        }
        labels
    }

    fn selected(&mut self, selector: &VectorSelector) -> Labels {
        let Some(name) = &selector.name else {
            self.faults.push("selects without a metric's name".to_owned());
            return Labels::new();
        };
        let Some(labels) = self.catalogue.labels(name) else {
            self.faults.push(format!("names the metric `{name}`, which nothing emits"));
            return Labels::new();
        };
        let either = selector.matchers.or_matchers.iter().flatten();
        for matcher in selector.matchers.matchers.iter().chain(either) {
            match labels.get(&matcher.name) {
                None => self.faults.push(format!("`{name}` has no label `{}`", matcher.name)),
                Some(Values::Open) => {}
                Some(Values::Closed(values)) => {
                    if let Some(fault) = unmatched(matcher, values) {
                        self.faults.push(format!("`{name}`: {fault}"));
                    }
                }
            }
        }
        labels.clone()
    }
}

/// The labels of the many side, and those that the one side brings along.
fn bring(mut many: Labels, one: &Labels, brought: &[String]) -> Labels {
    for label in brought {
        if let Some(values) = one.get(label) {
            many.insert(label.clone(), values.clone());
        }
    }
    many
}

/// The labels that a selector asks for by `=`; none for any other expression.
fn asked_for(argument: &Expr) -> Vec<String> {
    let selector = match argument {
        Expr::VectorSelector(selector) => selector,
        Expr::MatrixSelector(matrix) => &matrix.vs,
        _ => return Vec::new(),
    };
    let matchers = selector.matchers.matchers.iter();
    matchers.filter(|m| m.op == MatchOp::Equal).map(|m| m.name.clone()).collect()
}

fn unmatched(matcher: &Matcher, values: &[String]) -> Option<String> {
    // A dashboard's variable, which its user fills in.
    if matcher.value.starts_with('$') {
        return None;
    }
    let fits = match &matcher.op {
        // An inequality must name a value there is, or it excludes nothing.
        MatchOp::Equal | MatchOp::NotEqual => values.contains(&matcher.value),
        MatchOp::Re(_) => values.iter().any(|value| matcher.is_match(value)),
        MatchOp::NotRe(_) => values.iter().any(|value| !matcher.is_match(value)),
    };
    (!fits).then(|| format!("no value of `{}` fits `{}`", matcher.name, matcher.value))
}

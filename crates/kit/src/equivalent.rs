//! Whether two texts are the same PromQL expression. Prometheus shows a rule as its own parser prints
//! it: spaced differently, and with the matchers of each selector in the order of the alphabet.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{self, Expr, VectorSelector};

/// Whether two texts are the same expression, however they are written. What is no PromQL is the
/// same as itself only.
#[must_use]
pub fn equivalent(one: &str, other: &str) -> bool {
    match (plain(one), plain(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one.trim() == other.trim(),
    }
}

fn plain(text: &str) -> Option<Expr> {
    let mut expression = parser::parse(text).ok()?;
    sort(&mut expression);
    Some(expression)
}

fn sort(expression: &mut Expr) {
    match expression {
        Expr::Aggregate(aggregate) => {
            sort(&mut aggregate.expr);
            if let Some(parameter) = &mut aggregate.param {
                sort(parameter);
            }
        }
        Expr::Unary(unary) => sort(&mut unary.expr),
        Expr::Paren(paren) => sort(&mut paren.expr),
        Expr::Subquery(subquery) => sort(&mut subquery.expr),
        Expr::Binary(binary) => {
            sort(&mut binary.lhs);
            sort(&mut binary.rhs);
        }
        Expr::Call(call) => call.args.args.iter_mut().for_each(|argument| sort(argument)),
        Expr::VectorSelector(selector) => sort_selector(selector),
        Expr::MatrixSelector(matrix) => sort_selector(&mut matrix.vs),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
    }
}

fn sort_selector(selector: &mut VectorSelector) {
    let operator = |op: &MatchOp| match op {
        MatchOp::Equal => 0,
        MatchOp::NotEqual => 1,
        MatchOp::Re(_) => 2,
        MatchOp::NotRe(_) => 3,
    };
    selector.matchers.matchers.sort_by(|a, b| {
        let key = |m: &Matcher| (m.name.clone(), operator(&m.op), m.value.clone());
        key(a).cmp(&key(b))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_prints_is_what_was_written() {
        // Pairs of a rule of the kit and what Prometheus 2.42 shows of it.
        for (written, shown) in [
            (
                "up{job=~\"microdiff-.+\", job!=\"microdiff-app\"} == 0",
                "up{job!=\"microdiff-app\",job=~\"microdiff-.+\"} == 0",
            ),
            (
                "sum by (job) (rate(x_total{b=\"1\", a=~\"v.+\"}[5m]))\n  /\n(y > 0)",
                "sum by (job) (rate(x_total{a=~\"v.+\",b=\"1\"}[5m])) / (y > 0)",
            ),
            ("a < 2 * 1024\nand on (job)\nb", "a < 2 * 1024 and on (job) b"),
            ("max(rate(x[60m])) by (job)", "max by (job) (rate(x[1h]))"),
            ("x > 1000000000", "x > 1e+09"),
        ] {
            assert!(equivalent(written, shown), "{written}");
        }
    }

    #[test]
    fn another_expression_is_another() {
        let rule = "sum by (job) (rate(x{a=\"1\"}[5m])) > 0.5";
        for other in [
            rule.replace("5m", "6m"),
            rule.replace("0.5", "0.6"),
            rule.replace("a=", "a!="),
            rule.replace("\"1\"", "\"2\""),
            rule.replace("job", "instance"),
            rule.replace("sum", "max"),
            rule.replace("rate", "increase"),
            "no PromQL (".to_owned(),
        ] {
            assert!(!equivalent(rule, &other), "{other}");
        }
        assert!(equivalent("no PromQL (", " no PromQL ( "));
    }
}

//! What asking a system came to, and asking until it is right.

use crate::args::System;
use crate::http::AskError;
use http::StatusCode;
use std::time::{Duration, Instant};

/// Between two rounds of questions.
const PAUSE: Duration = Duration::from_millis(300);

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there; what was seen.
    Right(String),
    /// It is not there yet.
    Awaited(Fault),
    /// It is wrong, and waiting changes nothing.
    Wrong(Fault),
    /// The system does not answer.
    Unreachable(Fault),
    /// It cannot be known without something else that failed.
    NotChecked(String),
}

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) told: String,
    pub(super) advice: String,
}

impl Verdict {
    pub(super) fn awaited(told: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Awaited(Fault { told: told.into(), advice: advice.into() })
    }

    pub(super) fn wrong(told: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::Wrong(Fault { told: told.into(), advice: advice.into() })
    }

    /// Whether another question may be answered differently.
    fn is_open(&self) -> bool {
        matches!(self, Self::Awaited(_) | Self::Unreachable(_))
    }
}

/// A question whose answer is a verdict.
pub(super) struct Check<'a> {
    pub(super) name: &'static str,
    pub(super) ask: Box<dyn Fn() -> Verdict + Send + 'a>,
}

impl<'a> Check<'a> {
    pub(super) fn new(name: &'static str, ask: impl Fn() -> Verdict + Send + 'a) -> Self {
        Self { name, ask: Box::new(ask) }
    }
}

/// Asks each question of one system until it is settled or the time is over.
pub(super) fn settle(checks: &[Check<'_>], deadline: Instant) -> Vec<(&'static str, Verdict)> {
    let mut verdicts: Vec<Option<Verdict>> = vec![None; checks.len()];
    loop {
        // Whoever did not answer the first question of a round is not asked the next.
        let mut silent = None;
        for (check, verdict) in checks.iter().zip(&mut verdicts) {
            if verdict.as_ref().is_none_or(Verdict::is_open) {
                let now = silent.clone().unwrap_or_else(|| (check.ask)());
                if matches!(now, Verdict::Unreachable(_)) {
                    silent = Some(now.clone());
                }
                *verdict = Some(now);
            }
        }
        let open = verdicts.iter().flatten().any(Verdict::is_open);
        if !open || Instant::now() + PAUSE >= deadline {
            let names = checks.iter().map(|check| check.name);
            return names.zip(verdicts.into_iter().flatten()).collect();
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a question without a usable answer says of its system.
pub(super) fn unanswered(system: System, error: &AskError, credentials: bool) -> Verdict {
    let (name, told) = (system.name(), error.to_string());
    match error {
        AskError::NoAnswer(reason) => {
            let advice = if reason.contains("certificate") {
                "its certificate is not trusted: name the authority's with --certificate".to_owned()
            } else {
                format!(
                    "start {name}, or correct its URL; is a firewall or network policy between?"
                )
            };
            Verdict::Unreachable(Fault { told, advice })
        }
        AskError::Refused(status, _) => refused(system, *status, told, credentials),
        AskError::NotUnderstood(_) => Verdict::wrong(
            told,
            format!("the URL is not that of {name}'s API, or a proxy answers in its place"),
        ),
    }
}

fn refused(system: System, status: StatusCode, told: String, credentials: bool) -> Verdict {
    let name = system.name();
    match status {
        StatusCode::UNAUTHORIZED if credentials => Verdict::wrong(
            told,
            format!("{name} does not accept the credentials that it was given"),
        ),
        StatusCode::UNAUTHORIZED => {
            let key = if system == System::Elasticsearch { ", --api-key-file FILE" } else { "" };
            let how = format!("--bearer-file {name}=FILE{key} or user:password@ in the URL");
            Verdict::wrong(told, format!("{name} wants credentials: give {how}"))
        }
        StatusCode::FORBIDDEN if system == System::Elasticsearch => Verdict::wrong(
            told,
            "the user may not read the stream: give it the role microdiff_reader of the kit \
             (elasticsearch/install ... roles)",
        ),
        StatusCode::FORBIDDEN => Verdict::wrong(
            told,
            format!("{name}, or a proxy before it, does not allow this to the user"),
        ),
        status if status.is_redirection() => {
            Verdict::wrong(told, "redirects are not followed: give the URL that it leads to")
        }
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Verdict::awaited(told, format!("{name} is not well: see its own log"))
        }
        _ => {
            Verdict::wrong(told, format!("the URL is not that of {name}'s API; is a path missing?"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_is_settled_is_not_asked_again_and_what_is_open_is() {
        let (asked, right) =
            (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::AtomicUsize::new(0));
        let order = std::sync::atomic::Ordering::Relaxed;
        let checks = [
            Check::new("late", || match asked.fetch_add(1, order) {
                0 => Verdict::awaited("no", "wait"),
                _ => Verdict::Right("there".into()),
            }),
            Check::new("right", || {
                right.fetch_add(1, order);
                Verdict::Right("there".into())
            }),
            Check::new("wrong", || Verdict::wrong("bad", "mend")),
        ];
        let verdicts = settle(&checks, soon());
        assert_eq!(verdicts[0], ("late", Verdict::Right("there".into())));
        assert_eq!(verdicts[2], ("wrong", Verdict::wrong("bad", "mend")));
        assert_eq!((asked.load(order), right.load(order)), (2, 1));
    }

    #[test]
    fn the_time_ends_the_wait_and_silence_is_asked_once_a_round() {
        let silence = || unanswered(System::Jaeger, &AskError::NoAnswer("refused".into()), false);
        let checks =
            [Check::new("one", silence), Check::new("two", || panic!("asked after a silence"))];
        let verdicts = settle(&checks, Instant::now());
        assert_eq!(verdicts[0].1, verdicts[1].1);
        assert!(
            matches!(&verdicts[0].1, Verdict::Unreachable(fault) if fault.told.contains("refused"))
        );
    }

    #[test]
    fn each_refusal_has_its_own_advice() {
        let advice = |status: u16, credentials| {
            let status = StatusCode::from_u16(status).expect("a status");
            let error = AskError::Refused(status, String::new());
            match unanswered(System::Elasticsearch, &error, credentials) {
                Verdict::Wrong(fault) => fault.advice,
                Verdict::Awaited(fault) => format!("wait: {}", fault.advice),
                other => panic!("{other:?}"),
            }
        };
        assert!(advice(401, false).contains("--api-key-file"));
        assert!(advice(401, true).contains("does not accept"));
        assert!(advice(403, true).contains("microdiff_reader"));
        assert!(advice(404, false).contains("a path missing"));
        assert!(advice(302, false).contains("redirects"));
        assert!(advice(503, false).starts_with("wait: "));
        let odd = AskError::NotUnderstood("it is not JSON".into());
        assert!(matches!(unanswered(System::Jaeger, &odd, false), Verdict::Wrong(_)));
        let tls = AskError::NoAnswer("invalid peer certificate: UnknownIssuer".into());
        let verdict = unanswered(System::Jaeger, &tls, false);
        assert!(
            matches!(verdict, Verdict::Unreachable(fault) if fault.advice.contains("--certificate"))
        );
    }
}

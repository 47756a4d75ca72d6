//! `microdiff observability verify`: sends one design and looks whether what it must leave behind
//! has arrived in the real systems: metric and exemplar, trace, log line; and whether those systems
//! hold this kit's rules and routes. Each thing that has not arrived comes with what to do.
//!
//! It changes nothing but the one design, and sends nothing to Alertmanager.

mod alertmanager;
mod elasticsearch;
mod jaeger;
mod prometheus;
mod report;
mod rules;
mod sent;
mod verdict;

use crate::args::{System, VerifyArgs};
use crate::failure::Failure;
use crate::http::{Access, Server, secret};
use crate::output;
use http::header::HeaderValue;
use microdiff_kit::{File, KitError, Routing, Rule, TailSampling, files, read};
use report::Report;
use std::path::Path;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};
use verdict::settle;

/// How long one question may take: these systems answer at once or are not well.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the systems should have been given.
struct Kit {
    rules: Vec<Rule>,
    routing: Routing,
    sampling: TailSampling,
    log_pattern: String,
}

/// Who is asked.
struct Systems {
    service: Server,
    prometheus: Option<Server>,
    alertmanager: Option<Server>,
    jaeger: Option<Server>,
    elasticsearch: Option<Server>,
}

/// Prints the table or the document; anything that is not right is exit code 1.
pub(super) fn run(args: &VerifyArgs) -> Result<(), Failure> {
    let kit = Kit::new(args.dir.as_deref())?;
    let systems = Systems::new(args)?;
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let report = ask(&systems, &kit, &args.service_name, deadline)?;
    if args.json {
        output::print_json(&report)?;
    } else {
        output::print(&report.table())?;
    }
    report.faults().map_or(Ok(()), |faults| Err(Failure::internal(faults)))
}

fn ask(
    systems: &Systems,
    kit: &Kit,
    service_name: &str,
    deadline: Instant,
) -> Result<Report, Failure> {
    let asked = systems.prometheus.as_ref();
    let before = asked.map(|server| prometheus::baseline(server, deadline)).unwrap_or_default();
    let context = sent::context(&kit.sampling);
    let design = sent::send(&systems.service, context, deadline)?;
    let of_service = design.as_ref().map_or_else(Clone::clone, sent::answered);
    let sent = design.ok();
    let sent = sent.as_ref();
    let found = std::thread::scope(|scope| {
        let metrics = |server| prometheus::checks(server, sent, &before, &kit.rules);
        let routes = |server| alertmanager::checks(server, &kit.routing);
        let spans = |server| jaeger::checks(server, sent, service_name);
        let lines = |server| elasticsearch::checks(server, sent, &kit.log_pattern);
        [
            systems.prometheus.as_ref().map(metrics),
            systems.alertmanager.as_ref().map(routes),
            systems.jaeger.as_ref().map(spans),
            systems.elasticsearch.as_ref().map(lines),
        ]
        .map(|checks| checks.map(|checks| scope.spawn(move || settle(&checks, deadline))))
        .map(|asked| asked.map(ScopedJoinHandle::join).transpose())
    });
    let mut report = Report::new(systems.service.url(), sent);
    report.add(System::Service, Some(vec![("design", of_service)]));
    let order = [System::Prometheus, System::Alertmanager, System::Jaeger, System::Elasticsearch];
    for (system, verdicts) in order.into_iter().zip(found) {
        let lost = |_| Failure::internal(format!("asking {} ended in a panic", system.name()));
        report.add(system, verdicts.map_err(lost)?);
    }
    Ok(report)
}

impl Kit {
    fn new(directory: Option<&Path>) -> Result<Self, Failure> {
        let files: Vec<File> = match directory {
            Some(directory) => read(directory).map_err(Failure::usage)?,
            None => files(),
        };
        let refuse = |error: KitError| match directory {
            Some(directory) => Failure::usage(format!("{}: {error}", directory.display())),
            None => Failure::internal(error),
        };
        let rules = microdiff_kit::rules(&files).map_err(refuse)?;
        if rules.is_empty() {
            return Err(Failure::usage("no rules there; give the folder of a kit"));
        }
        Ok(Self {
            rules,
            routing: Routing::of_kit(&files).map_err(refuse)?,
            sampling: TailSampling::of_kit(&files).map_err(refuse)?,
            log_pattern: elasticsearch::pattern(&files)?,
        })
    }
}

impl Systems {
    fn new(args: &VerifyArgs) -> Result<Self, Failure> {
        let server = |system: System, url: &str| {
            let authorization = authorization(args, system)?;
            let certificate = args.certificate.as_deref();
            Server::with(url, Access { authorization, certificate }, PATIENCE)
        };
        let asked = |system: System, url: &Option<String>| {
            url.as_deref().map(|url| server(system, url)).transpose()
        };
        Ok(Self {
            service: server(System::Service, &args.service)?,
            prometheus: asked(System::Prometheus, &args.prometheus)?,
            alertmanager: asked(System::Alertmanager, &args.alertmanager)?,
            jaeger: asked(System::Jaeger, &args.jaeger)?,
            elasticsearch: asked(System::Elasticsearch, &args.elasticsearch)?,
        })
    }
}

/// The header of a system whose secret is in a file.
fn authorization(args: &VerifyArgs, system: System) -> Result<Option<HeaderValue>, Failure> {
    let mut named = args.bearer_file.iter().filter(|(name, _)| *name == system);
    let bearer = named.next().map(|(_, file)| ("Bearer", file.as_path()));
    let key = args.api_key_file.as_deref().filter(|_| system == System::Elasticsearch);
    let key = key.map(|file| ("ApiKey", file));
    if named.next().is_some() || (bearer.is_some() && key.is_some()) {
        let name = system.name();
        return Err(Failure::usage(format!("{name} is given two secrets; give one")));
    }
    let Some((scheme, file)) = bearer.or(key) else { return Ok(None) };
    let refuse = |reason: String| Failure::usage(format!("{}: {reason}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    secret(scheme, text).map(Some).map_err(refuse)
}

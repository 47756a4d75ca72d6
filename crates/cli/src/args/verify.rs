//! Arguments of `microdiff observability verify`.

use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// What may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum System {
    Service,
    Prometheus,
    Alertmanager,
    Jaeger,
    Elasticsearch,
}

impl System {
    /// As in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Prometheus => "prometheus",
            Self::Alertmanager => "alertmanager",
            Self::Jaeger => "jaeger",
            Self::Elasticsearch => "elasticsearch",
        }
    }
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("systems").required(true).multiple(true)
    .args(["prometheus", "alertmanager", "jaeger", "elasticsearch"])))]
pub struct VerifyArgs {
    /// Prometheus: targets, the design's metric and exemplar, the kit's rules, its Alertmanagers
    #[arg(long, value_name = "URL")]
    pub prometheus: Option<String>,
    /// Alertmanager: its state, the kit's receivers and routes, the Watchdog alert; it is sent nothing
    #[arg(long, value_name = "URL")]
    pub alertmanager: Option<String>,
    /// Jaeger's query API: the design's trace
    #[arg(long, value_name = "URL")]
    pub jaeger: Option<String>,
    /// Elasticsearch or OpenSearch: the design's log line
    #[arg(long, value_name = "URL")]
    pub elasticsearch: Option<String>,
    /// Service to send the design to
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub service: String,
    /// Seconds to wait for everything; the kit's Collector holds a trace for 30, and Prometheus may
    /// repeat an alert after 60
    #[arg(long, value_name = "SECONDS", default_value_t = 90,
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// The kit that the systems were given, if it was edited
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Service name that the trace should have
    #[arg(long, value_name = "NAME", default_value = "microdiff-matdesign")]
    pub service_name: String,
    /// File with an API key of Elasticsearch, as it encodes them
    #[arg(long, value_name = "FILE", requires = "elasticsearch")]
    pub api_key_file: Option<PathBuf>,
    /// File with a bearer token for one of them, as in jaeger=token; a URL may have user:password@
    #[arg(long, value_name = "SYSTEM=FILE", value_parser = bearer)]
    pub bearer_file: Vec<(System, PathBuf)>,
    /// Certificates (PEM) to trust in place of the system's, for https
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Print the document microdiff.verification/1 instead of a table
    #[arg(long)]
    pub json: bool,
}

fn bearer(text: &str) -> Result<(System, PathBuf), String> {
    let (system, file) = text.split_once('=').ok_or("expected SYSTEM=FILE")?;
    Ok((System::from_str(system, false)?, PathBuf::from(file)))
}

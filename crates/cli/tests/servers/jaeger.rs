//! A real Jaeger behind the kit's Collector, and a service whose spans go there.

use crate::binary::{microdiff, text};
use crate::collector::Collector;
use crate::real::{Server, answer, client, free_port, repository};
use crate::service::Service;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

pub struct Jaeger {
    server: Server,
    /// Where it is asked.
    pub query: String,
    /// Where spans are sent, by gRPC.
    pub spans: String,
}

pub struct Span {
    pub parent: String,
    pub id: String,
    pub tags: BTreeMap<String, Value>,
    pub service: String,
    pub took: Duration,
}

impl Jaeger {
    /// Starts it with the configuration that is shipped.
    pub fn start(directory: &Path) -> Self {
        let (query, spans, http) = (free_port(), free_port(), free_port());
        let flags = [
            format!("--collector.otlp.grpc.host-port={spans}"),
            format!("--collector.otlp.http.host-port={http}"),
        ];
        let config = repository().join("deploy/jaeger/jaeger.yaml");
        let options = [&query, &flags[0], &flags[1], "--config-file", text(&config)];
        let mut server = Server::start("jaeger", directory, &options, &[]);
        let client = client();
        let services = format!("http://{query}/api/services");
        server.until("answering Jaeger", || answer(client.get(&services)));
        assert!(server.said().contains("\"MaxTraces\":50000"), "{}", server.said());
        Self { server, query, spans }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.server.stop();
    }

    fn ask(&self, trace: &str) -> Option<(u16, Value)> {
        answer(client().get(format!("http://{}/api/traces/{trace}", self.query)))
    }

    /// Whether it has a trace now.
    pub fn has(&self, trace: &str) -> bool {
        match self.ask(trace).expect("an answer").0 {
            200 => true,
            404 => false,
            status => panic!("{status}"),
        }
    }

    /// The spans of a trace by name, once it has as many as are wanted.
    pub fn spans(&mut self, trace: &str, wanted: &[&str]) -> BTreeMap<String, Span> {
        let client = client();
        let url = format!("http://{}/api/traces/{trace}", self.query);
        self.server.until(&format!("whole trace {trace}"), || {
            let (status, body) = answer(client.get(&url))?;
            let found = &body["data"][0];
            let spans: BTreeMap<_, _> =
                found["spans"].as_array()?.iter().map(|one| span(found, one)).collect();
            (status == 200 && wanted.iter().all(|name| spans.contains_key(*name))).then_some(spans)
        })
    }
}

fn span(trace: &Value, span: &Value) -> (String, Span) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let tags = span["tags"].as_array().expect("tags");
    let tags = tags.iter().map(|tag| (text(&tag["key"]), tag["value"].clone())).collect();
    let process = &trace["processes"][text(&span["processID"])];
    let one = Span {
        parent: text(&span["references"][0]["spanID"]),
        id: text(&span["spanID"]),
        tags,
        service: text(&process["serviceName"]),
        took: Duration::from_micros(span["duration"].as_u64().expect("a duration")),
    };
    (text(&span["operationName"]), one)
}

/// The service, the Collector that chooses among its traces, and Jaeger.
pub struct Scene {
    pub service: Service,
    pub collector: Collector,
    pub jaeger: Jaeger,
    pub folder: tempfile::TempDir,
}

impl Scene {
    /// The service's log goes to the Collector, too.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let jaeger = Jaeger::start(&folder.path().join("jaeger"));
        let log = folder.path().join("microdiff.log");
        let variables =
            [("JAEGER_ENDPOINT", jaeger.spans.as_str()), ("MICRODIFF_LOG_FILES", text(&log))];
        let collector = Collector::start(&folder.path().join("otelcol"), &variables);
        let config = folder.path().join("microdiff.toml");
        let settings = format!(
            "[traces]\nendpoint = \"http://{}\"\n[log]\nfile = \"{}\"\n",
            collector.http,
            text(&log)
        );
        std::fs::write(&config, settings).expect("written");
        let data = folder.path().join("data");
        let service = Service::start_by(microdiff(), &data, &["--config", text(&config)]);
        Self { service, collector, jaeger, folder }
    }
}

//! The Collector with the configuration that is shipped and outputs that a test can read.

use crate::binary::text;
use crate::real::{Server, client, free_port, repository};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

pub struct Collector {
    pub server: Server,
    pub http: String,
    directory: PathBuf,
}

impl Collector {
    /// Starts it; `variables` are further ones that `collector.yaml` reads.
    pub fn start(directory: &Path, variables: &[(&str, &str)]) -> Self {
        let (http, grpc, health) = (free_port(), free_port(), free_port());
        let shipped = repository().join("deploy/otel-collector/collector.yaml");
        let outputs = repository().join("crates/cli/tests/servers/collector.yaml");
        let (nothing, offsets) = (directory.join("nothing"), directory.join("offsets"));
        let mut all = vec![
            ("OTELCOL_HTTP", http.as_str()),
            ("OTELCOL_GRPC", grpc.as_str()),
            ("OTELCOL_HEALTH", health.as_str()),
            ("OTELCOL_STORAGE", text(&offsets)),
            ("MICRODIFF_LOG_FILES", text(&nothing)),
            ("MICRODIFF_POD_LOGS", text(&nothing)),
            ("MICRODIFF_AUDIT_FILES", text(&nothing)),
            ("MICRODIFF_TRACE_WAIT", "1s"),
            ("JAEGER_ENDPOINT", "127.0.0.1:1"),
        ];
        all.extend(variables);
        let files = ["127.0.0.1:0", "--config", text(&shipped), "--config", text(&outputs)];
        let mut server = Server::start("otelcol", directory, &files, &all);
        let client = client();
        server.until("healthy Collector", || {
            client.get(format!("http://{health}")).send().ok().filter(|a| a.status() == 200)
        });
        Self { server, http, directory: directory.to_owned() }
    }

    /// Waits until an output has this many log records.
    pub fn records(&mut self, output: &str, count: usize) -> Vec<Record> {
        let path = self.directory.join(output);
        self.server.until(&format!("{count} records in {output}"), || {
            let records = records(&path);
            (records.len() >= count).then_some(records)
        })
    }

    /// The log records of an output so far.
    pub fn so_far(&self, output: &str) -> Vec<Record> {
        records(&self.directory.join(output))
    }

    /// All of an output so far.
    pub fn output(&self, output: &str) -> String {
        std::fs::read_to_string(self.directory.join(output)).unwrap_or_default()
    }
}

/// A log record of OTLP, its key-value lists as objects.
pub struct Record {
    pub resource: Value,
    pub attributes: Value,
    pub body: Value,
    /// The record itself, for its own fields.
    pub raw: Value,
}

fn records(path: &Path) -> Vec<Record> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    // The last line may still be in the writing.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let batches = whole.lines().map(|line| serde_json::from_str(line).expect("OTLP is JSON"));
    let mut records = Vec::new();
    for batch in batches.flat_map(|batch: Value| array(&batch["resourceLogs"])) {
        let resource = object(&batch["resource"]["attributes"]);
        for scope in array(&batch["scopeLogs"]) {
            for raw in array(&scope["logRecords"]) {
                let attributes = object(&raw["attributes"]);
                let body = plain(&raw["body"]);
                records.push(Record { resource: resource.clone(), attributes, body, raw });
            }
        }
    }
    records
}

fn array(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn object(pairs: &Value) -> Value {
    let pairs = array(pairs);
    let pair =
        |pair: &Value| (pair["key"].as_str().expect("a key").to_owned(), plain(&pair["value"]));
    Value::Object(pairs.iter().map(pair).collect::<Map<_, _>>())
}

/// A value of OTLP as plain JSON; whole numbers come as text there.
fn plain(value: &Value) -> Value {
    let Some((kind, value)) = value.as_object().and_then(|one| one.iter().next()) else {
        return Value::Null;
    };
    match kind.as_str() {
        "intValue" => value.as_str().expect("text").parse::<i64>().expect("a number").into(),
        "kvlistValue" => object(&value["values"]),
        "arrayValue" => array(&value["values"]).iter().map(plain).collect(),
        _ => value.clone(),
    }
}

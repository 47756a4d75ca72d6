//! What `deploy/elasticsearch` knows of the log's fields, generated from their table.

use microdiff_server::log_fields::log_catalogue;
use microdiff_telemetry::logs::LogField;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Text that is searched by its words, and by its whole value too.
const WORDS: [&str; 3] = ["message", "error.message", "reason"];
/// What the pipelines add to a line: where the pod that wrote it ran.
const ADDED: [(&str, &str); 3] = [
    ("k8s.namespace.name", "The namespace of the pod."),
    ("k8s.pod.name", "The pod."),
    ("k8s.container.name", "The container in the pod."),
];

/// Compares with a committed file, or writes it when `UPDATE_GOLDEN=1`.
fn golden(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/elasticsearch");
    let path = folder.join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == text, "{name} is stale; UPDATE_GOLDEN=1 refreshes it");
}

/// A value of which whole ones are looked for.
fn keyword() -> Value {
    json!({ "type": "keyword", "ignore_above": 1024 })
}

fn mapping(field: &LogField) -> Value {
    let mut mapping = match field.kind.as_str() {
        "text" if WORDS.contains(&field.name) => {
            json!({ "type": "text", "fields": { "keyword": keyword() } })
        }
        "text" => keyword(),
        "integer" => json!({ "type": "long" }),
        "number" => json!({ "type": "double" }),
        "boolean" => json!({ "type": "boolean" }),
        // Queries on the service's own key find the key that a data stream is ordered by.
        "timestamp" => json!({ "type": "alias", "path": "@timestamp" }),
        kind => panic!("no mapping for a {kind}"),
    };
    if matches!(field.unit, "ms" | "s" | "bytes") {
        mapping["meta"] = json!({ "unit": field.unit.replace("bytes", "byte") });
    }
    mapping
}

#[test]
fn the_mapping_has_every_field_of_the_log() {
    // A moment to the microsecond, as it is written: `date` would cut it.
    let mut properties = Map::from_iter([("@timestamp".into(), json!({ "type": "date_nanos" }))]);
    for field in log_catalogue().unwrap().fields() {
        properties.insert(field.name.to_owned(), mapping(field));
    }
    properties.extend(ADDED.map(|(name, _)| (name.to_owned(), keyword())));
    let template = json!({
        "template": { "mappings": {
            // Fields of libraries stay in the document; none is indexed, none is refused.
            "dynamic": false,
            "date_detection": false,
            "properties": properties,
        } },
        "_meta": { "description": "Fields of the service's log, from their table in code" },
    });
    let text = serde_json::to_string_pretty(&template).unwrap();
    golden("component-templates/microdiff-app-mappings.json", &format!("{text}\n"));
}

/// A data view of Kibana that says in Discover what each field means.
#[test]
fn the_data_view_describes_every_field_of_the_log() {
    let mut described = Map::new();
    for field in log_catalogue().unwrap().fields() {
        let unit =
            if field.unit.is_empty() { String::new() } else { format!(" Unit: {}.", field.unit) };
        let text = format!("{}{unit} On {}.", field.meaning, field.when);
        described.insert(field.name.to_owned(), json!({ "customDescription": text }));
    }
    for (name, meaning) in ADDED {
        described.insert(name.to_owned(), json!({ "customDescription": meaning }));
    }
    let view = json!({
        "id": "microdiff-app",
        "type": "index-pattern",
        "attributes": {
            "name": "microdiff logs",
            "title": "logs-microdiff.app-*",
            "timeFieldName": "@timestamp",
            "fieldAttrs": Value::Object(described).to_string(),
        },
        "references": [],
    });
    golden("kibana/microdiff-app.ndjson", &format!("{view}\n"));
}

fn deploy(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn document(path: &str) -> Value {
    serde_json::from_str(&deploy(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A copy is kept as long as the service keeps its own, on either kind of cluster.
#[test]
fn records_are_kept_as_long_as_by_the_service() {
    let sample = include_str!("../../microdiff.sample.toml");
    let sample: toml::Table = sample.parse().unwrap();
    for (name, section, key) in [("app", "log", "keep_days"), ("audit", "audit", "retention_days")]
    {
        let days = format!("{}d", sample[section][key]);
        let policy = document(&format!("elasticsearch/elasticsearch/ilm/microdiff-{name}.json"));
        assert_eq!(policy["policy"]["phases"]["delete"]["min_age"], days, "{name}");
        let policy = document(&format!("elasticsearch/opensearch/ism/microdiff-{name}.json"));
        let states = &policy["policy"]["states"];
        let after = &states[0]["transitions"][0]["conditions"]["min_rollover_age"];
        assert_eq!(*after, days, "{name}");
        let template = document(&format!("elasticsearch/index-templates/microdiff-{name}.json"));
        let pattern = &policy["policy"]["ism_template"][0]["index_patterns"];
        assert_eq!(*pattern, template["index_patterns"], "{name}");
    }
}

/// Both pipelines write to streams that a template is for.
#[test]
fn the_pipelines_write_where_the_templates_are() {
    let (fluentd, collector) =
        (deploy("fluentd/fluent.conf"), deploy("otel-collector/collector.yaml"));
    for name in ["app", "audit"] {
        let template = document(&format!("elasticsearch/index-templates/microdiff-{name}.json"));
        let stream =
            template["index_patterns"][0].as_str().unwrap().trim_end_matches('*').to_owned();
        assert!(fluentd.contains(&format!("index_name {stream}default\n")), "{stream}");
        let dataset = stream.trim_start_matches("logs-").trim_end_matches('-');
        assert!(collector.contains(&format!("data_stream.dataset: {dataset}\n")), "{dataset}");
    }
    let mut open = Vec::new();
    for line in fluentd.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("</") {
            let opened: Option<&str> = open.pop();
            assert_eq!(opened, name.strip_suffix('>'), "{line}");
        } else if let Some(name) = line.strip_prefix('<') {
            open.push(name.split([' ', '>']).next().unwrap());
        }
    }
    assert!(open.is_empty(), "{open:?} stay open");
}

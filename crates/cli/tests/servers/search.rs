//! Templates and roles of `deploy/elasticsearch` on a real node, with the documents that the
//! Collector made of the service's own lines.
//!
//! OpenSearch stands in for Elasticsearch; lifecycle policies are parts of neither server that could
//! be had, so they are not put.

use crate::cluster::{ADMIN, APP, AUDIT, Cluster, install, user};
use crate::collector::Record;
use crate::documents::written;
use crate::real::repository;
use reqwest::Method;
use serde_json::{Value, json};

fn template(name: &str) -> Value {
    let path = repository().join(format!("deploy/elasticsearch/component-templates/{name}.json"));
    let text = std::fs::read_to_string(path).expect("the template is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// An index that refuses what the template does not name, so that a field left out is found.
fn strict(cluster: &Cluster, index: &str, template_name: &str) {
    let mut mappings = template(template_name)["template"]["mappings"].clone();
    mappings["dynamic"] = "strict".into();
    if mappings["properties"]["fields"].is_object() {
        mappings["properties"]["fields"]["dynamic"] = "strict".into();
    }
    cluster.admin(Method::PUT, index, json!({ "mappings": mappings }));
}

fn own(records: &[Record]) -> Vec<&Record> {
    let of_service = |record: &&Record| {
        record.body["logger"].as_str().is_none_or(|logger| logger.starts_with("microdiff"))
    };
    records.iter().filter(of_service).collect()
}

#[test]
fn lines_are_found_by_trace_and_roles_keep_the_audit_log_apart() {
    let written = written();
    let [file, pod, audit] = written.collected();
    let cluster = Cluster::start(&written.folder.path().join("opensearch"));
    install(&cluster, written.folder.path());
    for name in ["writer", "reader", "auditor"] {
        user(&cluster, name);
    }

    let lines: Vec<&Record> = file.iter().chain(&pod).collect();
    let records: Vec<&Record> = audit.iter().collect();
    assert_eq!(cluster.add("writer", APP, &lines), Vec::<Value>::new());
    assert_eq!(cluster.add("writer", AUDIT, &records), Vec::<Value>::new());
    for stream in [APP, AUDIT] {
        let found = cluster.admin(Method::GET, &format!("_data_stream/{stream}"), Value::Null);
        let name =
            stream.trim_start_matches("logs-").trim_end_matches("-default").replace('.', "-");
        assert_eq!(found["data_streams"][0]["template"], name, "{found}");
    }

    assert_searches(&cluster, &lines, &records);
    assert_mappings(&cluster);
    assert_roles(&cluster, &lines, &records);
    assert_declared(&cluster, &[own(&file), own(&pod)].concat(), &records);
}

fn assert_searches(cluster: &Cluster, lines: &[&Record], records: &[&Record]) {
    let with = |key: &str, value: &Value| {
        lines.iter().filter(|line| line.body[key] == *value).count() as u64
    };
    let trace = lines.iter().map(|line| &line.body["trace_id"]).find(|id| id.is_string());
    let trace = trace.expect("a line of a trace");
    assert_eq!(
        cluster.count("reader", APP, &json!({ "term": { "trace_id": trace } })),
        Ok(with("trace_id", trace))
    );
    let failed = json!({ "term": { "success": false } });
    assert_eq!(cluster.count("reader", APP, &failed), Ok(with("success", &false.into())));
    // The service's own key for the moment works in a query.
    let all = json!({ "range": { "timestamp": { "gte": "2020-01-01T00:00:00Z" } } });
    assert_eq!(cluster.count("reader", APP, &all), Ok(lines.len() as u64));
    let slow = json!({ "range": { "duration_ms": { "gt": 1.5 } } });
    let slower = |line: &&&Record| line.body["duration_ms"].as_f64().is_some_and(|ms| ms > 1.5);
    assert_eq!(cluster.count("reader", APP, &slow), Ok(lines.iter().filter(slower).count() as u64));
    let words =
        json!({ "match": { "message": { "query": "inference failed", "operator": "and" } } });
    assert_eq!(
        cluster.count("reader", APP, &words),
        Ok(with("message", &"Model inference failed".into()))
    );
    let job =
        records.iter().map(|record| &record.body["fields"]["job_id"]).find(|id| id.is_string());
    let job = job.expect("a design on record");
    let of_job = records.iter().filter(|record| record.body["fields"]["job_id"] == *job).count();
    let query = json!({ "term": { "fields.job_id": job } });
    assert_eq!(cluster.count("auditor", AUDIT, &query), Ok(of_job as u64));
}

/// The stream's index has what the template says, and what no template knows is kept unindexed.
fn assert_mappings(cluster: &Cluster) {
    for (stream, name) in [(APP, "microdiff-app-mappings"), (AUDIT, "microdiff-audit-mappings")] {
        let wanted = template(name)["template"]["mappings"]["properties"].clone();
        for (field, mapping) in wanted.as_object().expect("properties") {
            let path = format!("{stream}/_mapping/field/{field}");
            let found = cluster.admin(Method::GET, &path, Value::Null);
            let index = found.as_object().and_then(|all| all.values().next()).expect("an index");
            let leaf = field.rsplit('.').next().expect("a name");
            let kind = &index["mappings"][field]["mapping"][leaf]["type"];
            // Objects are not listed by themselves.
            if mapping["type"] != "object" {
                assert_eq!(*kind, mapping["type"], "{stream} {field}");
            }
        }
    }
    let document =
        "{\"create\":{}}\n{\"@timestamp\":\"2026-01-01T00:00:00Z\",\"of_a_library\":7}\n";
    let path = format!("{APP}/_bulk?refresh=true");
    let (_, answer) = cluster.ask("writer", Method::POST, &path, document.into());
    assert_eq!(answer["errors"], false, "{answer}");
    let query = json!({ "exists": { "field": "of_a_library" } });
    assert_eq!(cluster.count("reader", APP, &query), Ok(0));
}

fn assert_roles(cluster: &Cluster, lines: &[&Record], records: &[&Record]) {
    let all = json!({ "match_all": {} });
    assert_eq!(cluster.count("reader", AUDIT, &all), Err(403));
    assert_eq!(cluster.count("auditor", APP, &all), Err(403));
    assert_eq!(cluster.count("writer", APP, &all), Err(403));
    assert_eq!(cluster.count("auditor", AUDIT, &all), Ok(records.len() as u64));
    // Asked for everything, a reader is told nothing of the audit log.
    let everything = cluster.count("reader", "logs-microdiff.*", &all);
    assert!(everything == Err(403) || everything == Ok(lines.len() as u64 + 1), "{everything:?}");
    for name in ["reader", "auditor"] {
        assert_ne!(
            cluster.add(name, APP, &lines[..1]),
            Vec::<Value>::new(),
            "{name} may not write"
        );
    }
    let (status, _) =
        cluster.ask("writer", Method::DELETE, &format!("_data_stream/{AUDIT}"), Value::Null);
    assert_eq!(status, 403);
}

fn assert_declared(cluster: &Cluster, lines: &[&Record], records: &[&Record]) {
    strict(cluster, "strict-app", "microdiff-app-mappings");
    strict(cluster, "strict-audit", "microdiff-audit-mappings");
    assert_eq!(cluster.add(ADMIN, "strict-app", lines), Vec::<Value>::new());
    assert_eq!(cluster.add(ADMIN, "strict-audit", records), Vec::<Value>::new());
    let body = json!({ "@timestamp": "2026-01-01T00:00:00Z", "undeclared": 1 });
    let (status, answer) = cluster.ask(ADMIN, Method::POST, "strict-app/_doc", body);
    assert_eq!(status, 400, "{answer}");
}

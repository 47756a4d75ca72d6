//! A real OpenSearch with users and roles, and the kit's templates on it.

use crate::collector::Record;
use crate::real::{Server, answer, client, repository};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

pub const APP: &str = "logs-microdiff.app-default";
pub const AUDIT: &str = "logs-microdiff.audit-default";
pub const ADMIN: &str = "admin";
/// Of the users that the test makes; nobody else reaches the node.
pub const PASSWORD: &str = "only-For-this-test-7";

pub struct Cluster {
    server: Server,
    pub url: String,
    client: Client,
}

impl Cluster {
    /// A node with users and roles.
    pub fn start(directory: &Path) -> Self {
        let mut server = Server::start("opensearch", directory, &["127.0.0.1:0", "secure"], &[]);
        let log = directory.join("opensearch.log");
        let url = server.until("ready node", || {
            let said = std::fs::read_to_string(&log).ok()?;
            said.lines().find_map(|line| line.strip_prefix("ready ")).map(str::to_owned)
        });
        let mut cluster = Self { url, client: client(), server };
        let (client, url) = (cluster.client.clone(), cluster.url.clone());
        cluster.server.until("users", || {
            let request = client.get(&url).basic_auth(ADMIN, Some(ADMIN));
            answer(request).filter(|(status, _)| *status == 200)
        });
        cluster
    }

    /// Asks as a user; a body that is no JSON object goes as lines.
    pub fn ask(&self, user: &str, method: Method, path: &str, body: Value) -> (u16, Value) {
        let password = if user == ADMIN { ADMIN } else { PASSWORD };
        let mut request = self.client.request(method, format!("{}/{path}", self.url));
        request =
            request.basic_auth(user, Some(password)).header("content-type", "application/json");
        request = match body {
            Value::Null => request,
            Value::String(lines) => request.body(lines),
            body => request.body(body.to_string()),
        };
        answer(request).expect("an answer")
    }

    pub fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.ask(ADMIN, method, path, body);
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Adds documents, as the Collector's exporter does; returns the reasons of those refused.
    pub fn add(&self, user: &str, index: &str, records: &[&Record]) -> Vec<Value> {
        let mut lines = String::new();
        for record in records {
            lines.push_str(&format!("{{\"create\":{{}}}}\n{}\n", record.body));
        }
        let (status, answer) =
            self.ask(user, Method::POST, &format!("{index}/_bulk?refresh=true"), lines.into());
        if status != 200 {
            return vec![answer];
        }
        let items = answer["items"].as_array().expect("items");
        items.iter().map(|item| item["create"]["error"].clone()).filter(|e| !e.is_null()).collect()
    }

    pub fn count(&self, user: &str, index: &str, query: &Value) -> Result<u64, u16> {
        let body = json!({ "query": query, "track_total_hits": true });
        let (status, answer) = self.ask(user, Method::POST, &format!("{index}/_search"), body);
        match status {
            200 => Ok(answer["hits"]["total"]["value"].as_u64().expect("a number")),
            status => Err(status),
        }
    }
}

/// `deploy/elasticsearch/install`, as an operator runs it.
pub fn install(cluster: &Cluster, directory: &Path) {
    let credentials = directory.join("curl.conf");
    std::fs::write(&credentials, format!("user = \"{ADMIN}:{ADMIN}\"\n")).expect("written");
    let script = repository().join("deploy/elasticsearch/install");
    let output = Command::new(script)
        .args(["opensearch", &cluster.url, "templates", "roles"])
        .env("CURL_CONFIG", credentials)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", cluster.server.said());
}

pub fn user(cluster: &Cluster, name: &str) {
    let body =
        json!({ "password": PASSWORD, "opendistro_security_roles": [format!("microdiff_{name}")] });
    cluster.admin(Method::PUT, &format!("_plugins/_security/api/internalusers/{name}"), body);
}

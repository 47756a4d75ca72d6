//! The composed stack and the image: what they mount is what the other tests prove, at the versions
//! that they prove it on, and whoever is named is there.

use crate::binary::succeed;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &Path) -> Value {
    serde_saphyr::from_str(&read(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn compose() -> Value {
    yaml(&deploy().join("compose/compose.yaml"))
}

fn list(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| item.as_str().expect("text").to_owned()).collect()
}

/// What a `${NAME:-default}` is when nobody sets it.
fn by_default(text: &str) -> String {
    let Some(inner) = text.strip_prefix("${") else { return text.to_owned() };
    let (inside, rest) = inner.split_once('}').expect("it ends");
    let (_, value) = inside.split_once(":-").expect("a default");
    format!("{value}{rest}")
}

#[test]
fn every_mounted_file_is_there() {
    let stack = compose();
    let volumes: BTreeSet<&str> =
        stack["volumes"].as_object().expect("volumes").keys().map(String::as_str).collect();
    let mut mounted = BTreeSet::new();
    for (name, service) in stack["services"].as_object().expect("services") {
        for mount in list(&service["volumes"]) {
            let mount = by_default(&mount);
            let source = mount.split(':').next().expect("a source").to_owned();
            if volumes.contains(source.as_str()) {
                continue;
            }
            let path = deploy().join("compose").join(&source);
            assert!(path.exists(), "{name} mounts {source}, which is not there");
            assert!(mount.ends_with(":ro"), "{name} may write to {source}");
            mounted.insert(source.trim_start_matches("../").to_owned());
        }
    }
    // The files that promtool, amtool, the Collector and OpenSearch are shown by other tests.
    for proven in [
        "prometheus/prometheus.yml",
        "prometheus/rules",
        "alertmanager/alertmanager.yml",
        "grafana/dashboards",
        "otel-collector/collector.yaml",
        "jaeger/jaeger.yaml",
        "elasticsearch",
    ] {
        assert!(mounted.contains(proven), "{proven} is not mounted: {mounted:?}");
    }
}

#[test]
fn images_are_pinned_to_the_versions_that_are_proven() {
    let table = read(&deploy().join("../.ci/servers/README.md"));
    let row = |name: &str| {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{name}`")));
        row.unwrap_or_else(|| panic!("no row for {name}")).to_owned()
    };
    for (name, service) in compose()["services"].as_object().expect("services") {
        let image = service["image"].as_str().expect("an image");
        let version = image.rsplit_once(':').expect("a tag").1.trim_start_matches('v');
        let numbers = version.split('.').filter(|part| part.parse::<u32>().is_ok()).count();
        assert_eq!(numbers, 3, "{name} has no pinned version: {image}");
        let proven = match name.as_str() {
            "prometheus" | "alertmanager" | "jaeger" => row(name),
            "otel-collector" => row("otelcol"),
            "microdiff-service" => succeed(&["--version"]),
            _ => continue,
        };
        assert!(proven.contains(version), "{image} is not what is proven: {proven}");
    }
}

/// The host names in addresses of a configuration.
fn hosts(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices(':') {
        let host: String = text[..at].chars().rev().take_while(|c| is_name(*c)).collect();
        let port: String = text[at + 1..].chars().take_while(char::is_ascii_digit).collect();
        let host: String = host.chars().rev().collect();
        if port.len() >= 4 && host.starts_with(|c: char| c.is_ascii_lowercase()) {
            found.insert(host);
        }
    }
    found
}

#[test]
fn every_host_that_a_configuration_names_is_a_service() {
    let stack = compose();
    let services = stack["services"].as_object().expect("services");
    let mut named = BTreeSet::new();
    for file in [
        "prometheus/prometheus.yml",
        "grafana/provisioning/datasources/microdiff.yml",
        "otel-collector/collector.yaml",
        "otel-collector/elasticsearch.yaml",
        "compose/compose.yaml",
    ] {
        let text = read(&deploy().join(file));
        let told = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        // An image's name and a probe inside a container are no hosts of the stack.
        let told = told.filter(|line| !line.contains("image:") && !line.contains("localhost"));
        named.extend(told.flat_map(hosts));
    }
    let missing: Vec<&String> = named.iter().filter(|name| !services.contains_key(*name)).collect();
    assert_eq!(missing, Vec::<&String>::new());
    for name in ["microdiff-service", "alertmanager", "jaeger", "prometheus", "elasticsearch"] {
        assert!(named.contains(name), "{name} is named by nobody: {named:?}");
    }
}

#[test]
fn published_ports_are_on_loopback_and_told_in_the_head() {
    let head = read(&deploy().join("compose/compose.yaml"));
    let head = head.split("\nname:").next().expect("a head");
    for (name, service) in compose()["services"].as_object().expect("services") {
        for port in list(&service["ports"]) {
            let parts: Vec<&str> = port.split(':').collect();
            assert_eq!(parts[0], "127.0.0.1", "{name}: {port}");
            assert_eq!(parts[1], parts[2], "{name}: {port}");
            assert!(head.contains(parts[1]), "{name}: {port} is not told");
        }
    }
}

#[test]
fn alertmanager_is_told_which_secrets_it_reads() {
    let config = read(&deploy().join("alertmanager/alertmanager.yml"));
    let told = read(&deploy().join("compose/secrets/README.md"));
    let marker = "/etc/alertmanager/secrets/";
    let names = config.match_indices(marker).map(|(at, _)| &config[at + marker.len()..]);
    let names: BTreeSet<&str> =
        names.map(|rest| rest.split(['}', '\n', ' ']).next().unwrap_or_default()).collect();
    assert!(!names.is_empty());
    for name in names {
        assert!(told.contains(&format!("| `{name}` |")), "{name} is not told");
    }
}

#[test]
fn the_image_has_no_root_and_the_settings_it_starts_with_hold() {
    let dockerfile = read(&deploy().join("docker/Dockerfile"));
    let last = dockerfile.rsplit("\nFROM ").next().expect("a stage");
    assert!(last.starts_with("scratch\n"), "{last}");
    for line in [
        "USER 65532:65532",
        "EXPOSE 8080 8000 8001",
        "[\"/usr/bin/microdiff\", \"healthcheck\"]",
        "CMD [\"serve\", \"--config\", \"/etc/microdiff/microdiff.toml\"]",
    ] {
        assert!(last.contains(line), "no {line} in {last}");
    }
    for file in ["docker/microdiff.toml", "compose/microdiff.toml"] {
        let path = deploy().join(file);
        succeed(&["serve", "--config", crate::binary::text(&path), "--check-config"]);
        for port in ["0.0.0.0:8080", "0.0.0.0:8000", "0.0.0.0:8001", "127.0.0.1:8002"] {
            assert!(read(&path).contains(port), "{file} does not listen on {port}");
        }
    }
}

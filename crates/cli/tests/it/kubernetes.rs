//! The manifests of every overlay, as `kubectl kustomize` renders them: names that others rely on,
//! ports and paths that are this binary's, and a pod that may do nothing it need not. That they
//! are valid, and that the goldens are what is rendered today, is for `just kubernetes` to say.

use crate::binary::{succeed, text};
use microdiff_server::catalogue::METRICS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What each overlay makes; `durable` is the component of that name laid over `cpu`.
const OVERLAYS: [&str; 4] = ["cpu", "dev", "durable", "gpu"];
const KINDS: [&str; 9] = [
    "ConfigMap",
    "Deployment",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodMonitor",
    "PrometheusRule",
    "Service",
    "ServiceAccount",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(name: &str, document: &str) -> Value {
    serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The manifests of one overlay.
struct Overlay {
    name: &'static str,
    manifests: Vec<Value>,
}

impl Overlay {
    fn read(name: &'static str) -> Self {
        let rendered = read(&format!("crates/cli/tests/golden/kubernetes/{name}.yaml"));
        Self {
            name,
            manifests: rendered.split("\n---\n").map(|manifest| yaml(name, manifest)).collect(),
        }
    }

    /// The only manifest of a kind.
    fn one(&self, kind: &str) -> &Value {
        let mut found = self.manifests.iter().filter(|manifest| manifest["kind"] == kind);
        let first = found.next().unwrap_or_else(|| panic!("{} has no {kind}", self.name));
        assert!(found.next().is_none(), "{} has several {kind}", self.name);
        first
    }

    /// What stands at a path of the only manifest of a kind.
    fn at(&self, kind: &str, path: &str) -> &Value {
        let found = self.one(kind).pointer(path);
        found.unwrap_or_else(|| panic!("{}: {kind} has no {path}", self.name))
    }

    fn pod(&self) -> &Value {
        self.at("Deployment", "/spec/template/spec")
    }

    fn container(&self) -> &Value {
        let containers = items(&self.pod()["containers"]);
        assert_eq!(containers.len(), 1, "{}", self.name);
        &containers[0]
    }

    fn volume(&self, name: &str) -> &Value {
        let found = items(&self.pod()["volumes"]).iter().find(|volume| volume["name"] == name);
        found.unwrap_or_else(|| panic!("{}: no volume {name}", self.name))
    }

    fn settings(&self) -> &str {
        word(&self.one("ConfigMap")["data"]["microdiff.toml"])
    }

    /// The number of a named port of the pod.
    fn port(&self, name: &Value) -> u64 {
        let mut ports = items(&self.container()["ports"]).iter();
        let found = ports.find(|port| port["name"] == *name);
        number(&found.unwrap_or_else(|| panic!("{}: no port {name}", self.name))["containerPort"])
    }
}

fn overlays() -> Vec<Overlay> {
    OVERLAYS.map(Overlay::read).into()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn folders(path: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(path)).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

#[test]
fn every_overlay_has_every_kind_and_no_secret_in_clear() {
    let mut expected = folders("deploy/kubernetes/overlays");
    expected.extend(folders("deploy/kubernetes/components"));
    assert_eq!(expected, BTreeSet::from(OVERLAYS.map(str::to_owned)));
    for overlay in overlays() {
        let found: BTreeSet<&str> =
            overlay.manifests.iter().map(|manifest| word(&manifest["kind"])).collect();
        let mut kinds = BTreeSet::from(KINDS);
        if overlay.name == "durable" {
            kinds.insert("PersistentVolumeClaim");
        }
        assert_eq!(found, kinds, "{}", overlay.name);
    }
}

#[test]
fn names_and_selectors_of_the_contract_are_kept() {
    let app = json!({"app": "microdiff"});
    for overlay in overlays() {
        let name = |kind| overlay.at(kind, "/metadata/name");
        assert_eq!(name("Service"), "microdiff-service");
        assert_eq!(name("Deployment"), "microdiff-deployment");
        assert_eq!(name("ServiceAccount"), &overlay.pod()["serviceAccountName"]);
        for (kind, path) in [
            ("Service", "/spec/selector"),
            ("Deployment", "/spec/selector/matchLabels"),
            ("Deployment", "/spec/template/metadata/labels"),
            ("NetworkPolicy", "/spec/podSelector/matchLabels"),
            ("PodDisruptionBudget", "/spec/selector/matchLabels"),
            ("PodMonitor", "/spec/selector/matchLabels"),
        ] {
            assert_eq!(overlay.at(kind, path), &app, "{}: {kind}", overlay.name);
        }
        let namespace = if overlay.name == "dev" { "microdiff-dev" } else { "microdiff" };
        for manifest in &overlay.manifests {
            assert_eq!(manifest["metadata"]["labels"]["app"], "microdiff", "{manifest}");
            assert_eq!(manifest["metadata"]["namespace"], namespace, "{manifest}");
        }
    }
}

#[test]
fn ports_have_names_and_are_those_the_service_listens_on() {
    for overlay in overlays() {
        let ports = items(&overlay.container()["ports"]).iter();
        let ports: Vec<_> =
            ports.map(|port| (word(&port["name"]), number(&port["containerPort"]))).collect();
        assert_eq!(ports, [("http", 8080), ("metrics", 8000), ("gpu-metrics", 8001)]);
        for line in
            ["api = \"0.0.0.0:8080\"", "metrics = \"0.0.0.0:8000\"", "gpu = \"0.0.0.0:8001\""]
        {
            assert!(overlay.settings().contains(line), "{}: no {line}", overlay.name);
        }
        // Nobody reaches the admin listener but through the pod itself.
        assert!(overlay.settings().contains("admin = \"127.0.0.1:8002\""), "{}", overlay.name);
        for port in items(overlay.at("Service", "/spec/ports")) {
            assert_eq!(overlay.port(&port["targetPort"]), number(&port["port"]));
        }
    }
}

#[test]
fn probes_ask_what_the_service_answers() {
    let served: Value = serde_json::from_str(&read("docs/reference/openapi.json")).expect("JSON");
    for overlay in overlays() {
        let container = overlay.container();
        for (probe, path) in [
            ("startupProbe", "/startupz"),
            ("livenessProbe", "/livez"),
            ("readinessProbe", "/readyz"),
        ] {
            let request = &container[probe]["httpGet"];
            assert_eq!(request["path"], path, "{}: {probe}", overlay.name);
            assert_eq!(overlay.port(&request["port"]), 8080, "{}: {probe}", overlay.name);
            assert!(served["paths"][path]["get"].is_object(), "{path} is not served");
        }
        // A slow disk may take its time to start from, a pod that stalls is seen within a minute.
        let seconds = |probe: &str| {
            number(&container[probe]["periodSeconds"])
                * number(&container[probe]["failureThreshold"])
        };
        assert!(seconds("startupProbe") >= 60 && seconds("livenessProbe") <= 60);
    }
}

#[test]
fn the_pod_monitor_scrapes_as_the_scrape_configuration_does() {
    let config = yaml("prometheus.yml", &read("deploy/prometheus/prometheus.yml"));
    let jobs = items(&config["scrape_configs"]);
    for overlay in overlays() {
        let endpoints = items(overlay.at("PodMonitor", "/spec/podMetricsEndpoints"));
        assert_eq!(endpoints.len(), jobs.len());
        for (endpoint, job) in endpoints.iter().zip(jobs) {
            assert_eq!(endpoint["path"], job["metrics_path"]);
            assert_eq!(endpoint["interval"], job["scrape_interval"]);
            assert_eq!(endpoint["relabelings"][0]["targetLabel"], "job");
            assert_eq!(endpoint["relabelings"][0]["replacement"], job["job_name"]);
            let target = word(&job["static_configs"][0]["targets"][0]);
            assert!(target.ends_with(&format!(":{}", overlay.port(&endpoint["port"]))), "{target}");
        }
    }
}

#[test]
fn the_rules_are_those_of_the_rule_files() {
    let base = read("deploy/kubernetes/base/prometheusrule.yaml");
    let base = yaml("prometheusrule.yaml", &base);
    assert!(items(&base["spec"]["groups"]).len() > 8);
    for overlay in overlays() {
        let same = overlay.at("PrometheusRule", "/spec") == &base["spec"];
        assert!(same, "{} is rendered from older rules: run `just goldens`", overlay.name);
    }
}

#[test]
fn the_pod_may_do_nothing_it_need_not() {
    for overlay in overlays() {
        let (pod, container) = (overlay.pod(), overlay.container());
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["runAsUser"], 65532);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let expected = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        });
        assert_eq!(container["securityContext"], expected, "{}", overlay.name);
        for shared in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod[shared].is_null(), "{}: {shared}", overlay.name);
        }
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(overlay.at("ServiceAccount", "/automountServiceAccountToken"), false);
        for resource in ["cpu", "memory"] {
            for bound in ["requests", "limits"] {
                assert!(container["resources"][bound][resource].is_string(), "{resource}");
            }
        }
        let writable = items(&container["volumeMounts"]).iter();
        let writable: Vec<&str> = writable
            .filter(|mount| mount["readOnly"] != true)
            .map(|mount| word(&mount["mountPath"]))
            .collect();
        assert_eq!(writable, ["/data"]);
    }
}

#[test]
fn a_scrape_port_is_open_to_monitoring_alone() {
    let monitoring = json!([{
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}
    }]);
    for overlay in overlays() {
        let both = json!(["Ingress", "Egress"]);
        assert_eq!(overlay.at("NetworkPolicy", "/spec/policyTypes"), &both);
        let mut open = Vec::new();
        for rule in items(overlay.at("NetworkPolicy", "/spec/ingress")) {
            for port in items(&rule["ports"]).iter().map(|port| &port["port"]) {
                let to_all = rule["from"].is_null();
                assert!(to_all || rule["from"] == monitoring, "{rule}");
                open.push((overlay.port(port), to_all));
            }
        }
        assert_eq!(open, [(8080, true), (8000, false), (8001, false)], "{}", overlay.name);
        for rule in items(overlay.at("NetworkPolicy", "/spec/egress")) {
            assert!(!items(&rule["to"]).is_empty() && !items(&rule["ports"]).is_empty(), "{rule}");
        }
    }
}

#[test]
fn pods_are_scaled_by_waiting_designs_and_kept_apart() {
    for overlay in overlays() {
        let metrics = items(overlay.at("HorizontalPodAutoscaler", "/spec/metrics"));
        assert_eq!(metrics.len(), 1);
        let name = word(&metrics[0]["pods"]["metric"]["name"]);
        let row = METRICS.iter().find(|row| row.name == name);
        // With a label there would be several values of a pod to choose from.
        assert!(row.is_some_and(|row| row.labels.is_empty()), "{name}");
        let target = overlay.at("HorizontalPodAutoscaler", "/spec/scaleTargetRef");
        assert_eq!(target["kind"], "Deployment");
        assert_eq!(&target["name"], overlay.at("Deployment", "/metadata/name"));
        let deployment = overlay.at("Deployment", "/spec");
        assert!(deployment["replicas"].is_null(), "two would decide on the number of pods");
        let bounds = ["minReplicas", "maxReplicas"]
            .map(|bound| number(overlay.at("HorizontalPodAutoscaler", &format!("/spec/{bound}"))));
        let alone = ["dev", "durable"].contains(&overlay.name);
        assert_eq!(bounds, if alone { [1, 1] } else { [3, 10] }, "{}", overlay.name);
        assert_eq!(overlay.at("PodDisruptionBudget", "/spec/maxUnavailable"), 1);
        let spread = items(&overlay.pod()["topologySpreadConstraints"]).iter();
        let spread: Vec<&str> = spread
            .inspect(|one| assert_eq!(one["labelSelector"]["matchLabels"]["app"], "microdiff"))
            .map(|one| word(&one["topologyKey"]))
            .collect();
        assert_eq!(spread, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    }
}

#[test]
fn settings_hold_and_are_the_ones_that_are_mounted() {
    let folder = tempfile::tempdir().expect("a folder");
    for overlay in overlays() {
        let file = folder.path().join(format!("{}.toml", overlay.name));
        std::fs::write(&file, overlay.settings()).expect("written");
        succeed(&["serve", "--config", text(&file), "--check-config"]);
        let drain = overlay
            .settings()
            .lines()
            .find_map(|line| line.strip_prefix("drain_deadline_seconds = ")?.parse::<u64>().ok());
        let pod = overlay.pod();
        let sleep = number(&overlay.container()["lifecycle"]["preStop"]["sleep"]["seconds"]);
        let needed = drain.expect("a deadline") + sleep;
        assert!(number(&pod["terminationGracePeriodSeconds"]) > needed, "{}", overlay.name);
        let mounted = &overlay.volume("config")["configMap"]["name"];
        assert_eq!(mounted, overlay.at("ConfigMap", "/metadata/name"));
        let args = json!(["serve", "--config", "/etc/microdiff/microdiff.toml"]);
        assert_eq!(overlay.container()["args"], args);
        assert!(overlay.settings().contains("data_dir = \"/data\""));
    }
}

#[test]
fn a_variable_is_set_before_it_is_used_and_a_secret_is_a_reference() {
    for overlay in overlays() {
        let mut known = BTreeSet::new();
        for variable in items(&overlay.container()["env"]) {
            let (name, value) = (word(&variable["name"]), variable["value"].as_str());
            for used in value.unwrap_or_default().split("$(").skip(1) {
                let used = used.split(')').next().unwrap_or_default();
                assert!(known.contains(used), "{name} uses {used}");
            }
            if ["HEADERS", "KEY", "PASSWORD", "TOKEN"].iter().any(|end| name.ends_with(end)) {
                assert!(variable["valueFrom"]["secretKeyRef"].is_object(), "{name} is in clear");
            }
            known.insert(name);
        }
        assert!(known.contains("OTEL_EXPORTER_OTLP_HEADERS"), "{}", overlay.name);
    }
}

#[test]
fn each_overlay_keeps_designs_where_it_says() {
    for overlay in overlays() {
        let volume = overlay.volume("data");
        let sources: Vec<&str> = volume
            .as_object()
            .expect("a volume")
            .keys()
            .map(String::as_str)
            .filter(|key| *key != "name")
            .collect();
        let expected = match overlay.name {
            "dev" => "emptyDir",
            "durable" => "persistentVolumeClaim",
            _ => "ephemeral",
        };
        assert_eq!(sources, [expected], "{}", overlay.name);
        let strategy = overlay.at("Deployment", "/spec/strategy/type");
        // Two pods cannot hold one claim.
        let expected = if overlay.name == "durable" { "Recreate" } else { "RollingUpdate" };
        assert_eq!(strategy, expected);
        let devices = &overlay.container()["resources"]["limits"]["nvidia.com/gpu"];
        assert_eq!(!devices.is_null(), overlay.name == "gpu", "{}", overlay.name);
    }
    let claimed = Overlay::read("durable");
    assert_eq!(
        claimed.at("PersistentVolumeClaim", "/metadata/name"),
        &claimed.volume("data")["persistentVolumeClaim"]["claimName"]
    );
}

#[test]
fn the_page_names_the_releases_that_are_checked() {
    let page = read("deploy/kubernetes/README.md");
    let versions = read(".ci/kubernetes/versions");
    let of = |what: &str| -> Vec<&str> {
        let lines = versions.lines().filter(|line| line.split(' ').next() == Some(what));
        lines.filter_map(|line| line.split(' ').nth(1)).collect()
    };
    for (what, name) in [("kubernetes", "Kubernetes"), ("operator", "Prometheus operator")] {
        let releases = of(what);
        let (oldest, newest) = (releases[0], releases[releases.len() - 1]);
        let row = format!("| {name} | {oldest} | {newest} |").replace("| v", "| ");
        assert!(oldest != newest && page.contains(&row), "no {row}");
    }
}

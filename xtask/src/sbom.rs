//! What the shipped binary is made of, as a CycloneDX document.
//!
//! Lists every package that is compiled into `microdiff` for one target with the default features,
//! build scripts' included, with version, licence, package URL and the checksum that `Cargo.lock`
//! holds. Says nothing of the C code inside a package (SQLite, zstd): its version is the package's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

const ROOT: &str = "microdiff-cli";

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The document for the binary as it is built for `target`.
///
/// # Errors
/// When cargo does not answer, or the lock file cannot be read.
pub fn document(root: &Path, target: &str) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = root.join("Cargo.toml");
    let output = Command::new(cargo)
        .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", target])
        .arg("--manifest-path")
        .arg(manifest)
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")?;
    let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("no Cargo.lock")?;
    let lock: Lock = toml::from_str(&lock).context("Cargo.lock is not as expected")?;
    let mut text = serde_json::to_string_pretty(&bill(&metadata, &lock)?)?;
    text.push('\n');
    Ok(text)
}

fn bill(metadata: &Metadata, lock: &Lock) -> Result<Value> {
    let root = metadata.packages.iter().find(|package| package.name == ROOT);
    let root = root.with_context(|| format!("no package {ROOT}"))?;
    let edges: BTreeMap<&str, Vec<&str>> =
        metadata.resolve.nodes.iter().map(|node| (node.id.as_str(), shipped(node))).collect();
    let mut reached = BTreeSet::from([root.id.as_str()]);
    let mut open = vec![root.id.as_str()];
    while let Some(id) = open.pop() {
        let next = edges.get(id).into_iter().flatten();
        open.extend(next.filter(|next| reached.insert(next)));
    }
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let of = |id: &&str| packages.get(*id).map(|package| reference(package));
    let components: Vec<Value> = reached
        .iter()
        .filter(|id| **id != root.id)
        .filter_map(|id| packages.get(id))
        .map(|package| component(package, lock))
        .collect();
    let dependencies: Vec<Value> = reached
        .iter()
        .filter_map(|id| {
            let on: Vec<String> = edges.get(id)?.iter().filter_map(of).collect();
            Some(json!({ "ref": of(id)?, "dependsOn": on }))
        })
        .collect();
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "bom-ref": reference(root),
            "name": "microdiff",
            "version": root.version,
            "licenses": licence(root),
        } },
        "components": components,
        "dependencies": dependencies,
    }))
}

/// What a package is compiled with; what only its tests need is not.
fn shipped(node: &Node) -> Vec<&str> {
    let counts =
        |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() != Some("dev"));
    node.deps.iter().filter(counts).map(|edge| edge.pkg.as_str()).collect()
}

fn reference(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

fn licence(package: &Package) -> Value {
    package.license.iter().map(|text| json!({ "expression": text.replace('/', " OR ") })).collect()
}

fn component(package: &Package, lock: &Lock) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(package),
        "name": package.name,
        "version": package.version,
        "licenses": licence(package),
    });
    // What comes from this repository has no address in a registry.
    if package.source.is_some() {
        component["purl"] = reference(package).into();
    }
    let same = |locked: &&Locked| locked.name == package.name && locked.version == package.version;
    if let Some(sum) = lock.package.iter().find(same).and_then(|locked| locked.checksum.as_ref()) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": sum }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bill_of(nodes: Value) -> Value {
        let package = |name: &str, source: Value| json!({ "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "source": source });
        let metadata = serde_json::from_value(json!({
            "packages": [
                package(ROOT, Value::Null),
                package("used", "registry".into()),
                package("below", "registry".into()),
                package("tests", "registry".into()),
            ],
            "resolve": { "nodes": nodes },
        }))
        .unwrap();
        let lock = toml::from_str(
            "[[package]]\nname = \"below\"\nversion = \"1.0.0\"\nchecksum = \"abc\"",
        )
        .unwrap();
        bill(&metadata, &lock).unwrap()
    }

    #[test]
    fn what_is_compiled_in_is_listed_and_what_tests_need_is_not() {
        let edge = |to: &str, kind: Value| json!({ "pkg": to, "dep_kinds": [{ "kind": kind }] });
        let bill = bill_of(json!([
            { "id": ROOT, "deps": [edge("used", Value::Null), edge("tests", "dev".into())] },
            { "id": "used", "deps": [edge("below", "build".into())] },
            { "id": "below", "deps": [] },
            { "id": "tests", "deps": [] },
        ]));
        let names: Vec<&Value> =
            bill["components"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        assert_eq!(names, ["below", "used"]);
        assert_eq!(bill["components"][0]["hashes"][0]["content"], "abc");
        assert_eq!(bill["components"][0]["purl"], "pkg:cargo/below@1.0.0");
        assert_eq!(bill["components"][0]["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(bill["dependencies"][1]["dependsOn"], json!(["pkg:cargo/used@1.0.0"]));
    }
}

//! Models listed, shown, and held to what they say of themselves: whole ones pass, and every way in
//! which a bundle can be damaged, foreign or old is told apart.

use crate::binary::{run, succeed, succeed_json, text};
use crate::service::Service;
use microdiff_diffusion::sha256_hex;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A copy of the model that the binary carries, in a folder of its own.
fn copy(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lpbf-descriptors");
    let copy = folder.join("copy");
    std::fs::create_dir(&copy).expect("a folder");
    for entry in std::fs::read_dir(source).expect("the model is there") {
        let entry = entry.expect("an entry");
        std::fs::copy(entry.path(), copy.join(entry.file_name())).expect("copied");
    }
    copy
}

/// Verifies and gives each check's outcome, and the exit code.
fn verify(model: &Path, more: &[&str]) -> (Vec<(String, String, String)>, Option<i32>) {
    let args: Vec<&str> =
        ["models", "verify", text(model), "--json"].iter().chain(more).copied().collect();
    let output = run(&args);
    let verdicts: Value = serde_json::from_slice(&output.stdout).expect("stdout is JSON");
    let text = |check: &Value, key: &str| check[key].as_str().expect("text").to_owned();
    let checks = verdicts[0]["checks"].as_array().expect("checks");
    let told = |check| (text(check, "name"), text(check, "outcome"), text(check, "detail"));
    (checks.iter().map(told).collect(), output.status.code())
}

/// The detail of the only check that is wrong.
fn only_wrong(model: &Path, more: &[&str], name: &str) -> String {
    let (checks, code) = verify(model, more);
    assert_eq!(code, Some(3), "{checks:?}");
    let wrong: Vec<_> = checks.into_iter().filter(|(_, outcome, _)| outcome == "wrong").collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert_eq!(wrong[0].0, name, "{wrong:?}");
    wrong[0].2.clone()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("read");
    change(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

fn edit_manifest(model: &Path, change: impl FnOnce(&mut Value)) {
    edit(&model.join("manifest.json"), |bytes| {
        let mut manifest = serde_json::from_slice(bytes).expect("JSON");
        change(&mut manifest);
        *bytes = serde_json::to_vec(&manifest).expect("JSON");
    });
}

#[test]
fn the_built_in_model_and_a_copy_of_it_are_listed_with_one_digest_and_hold_what_they_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = copy(folder.path());
    let list = succeed_json(&["models", "list", text(folder.path()), "--json"]);
    let digest = list[0]["digest"].as_str().expect("a digest");
    assert_eq!(list[1]["digest"], digest);
    assert_eq!(
        (&list[0]["directory"], &list[1]["directory"]),
        (&Value::Null, &text(&model).into())
    );
    assert_eq!(list[0]["rows"], 21_600);

    let (checks, code) = verify(&model, &["--digest", &digest.to_uppercase()]);
    assert_eq!(code, Some(0), "{checks:?}");
    let names: Vec<&str> = checks.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["bundle", "digest", "training log", "canary", "validation set"]);
    assert!(checks.iter().all(|(_, outcome, _)| outcome == "right"), "{checks:?}");
    // The binary does not carry the log, and says so.
    let told = succeed(&["models", "verify"]);
    assert!(told.contains("  --     training log"), "{told}");
    assert!(told.contains("  ok     canary"), "{told}");

    let shown = succeed(&["models", "show"]);
    assert!(shown.contains(digest) && shown.contains("simulator"), "{shown}");
}

/// Leaves of a model what it knows of laser powder bed fusion, with digests that fit.
fn keep_one_process(model: &Path) {
    let is_of_another = |name: &str| {
        ["ood.ebm.", "ood.ded.", "prior.ebm.", "prior.ded.", "prior.AlSi10Mg"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    edit(&model.join("weights.safetensors"), |bytes| {
        let head = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
        let tensors: Value = serde_json::from_slice(&bytes[8..8 + head]).expect("JSON");
        let (mut kept, mut data) = (serde_json::Map::new(), Vec::new());
        for (name, tensor) in tensors.as_object().expect("an object") {
            if is_of_another(name) || name == "__metadata__" {
                continue;
            }
            let place = |i: usize| tensor["data_offsets"][i].as_u64().expect("a number") as usize;
            let from = data.len();
            data.extend_from_slice(&bytes[8 + head..][place(0)..place(1)]);
            let mut tensor = tensor.clone();
            tensor["data_offsets"] = vec![from, data.len()].into();
            kept.insert(name.clone(), tensor);
        }
        let head = serde_json::to_vec(&kept).expect("JSON");
        *bytes = [&(head.len() as u64).to_le_bytes()[..], &head, &data].concat();
    });
    let read = |name: &str| std::fs::read(model.join(name)).expect("read");
    let weights = read("weights.safetensors");
    edit_manifest(model, |manifest| {
        manifest["weights_sha256"] = sha256_hex(&[&weights]).into();
        let alloys = manifest["alloys"].as_array_mut().expect("a list");
        alloys.retain(|prior| prior["process"] == "lpbf" && prior["alloy"] != "AlSi10Mg");
    });
    let mut phantom: Value = serde_json::from_slice(&read("phantom.json")).expect("JSON");
    phantom["model_digest"] = sha256_hex(&[&read("manifest.json"), &weights]).into();
    std::fs::write(model.join("phantom.json"), phantom.to_string()).expect("written");
}

#[test]
fn a_model_of_one_process_says_so_to_whoever_asks() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = copy(folder.path());
    keep_one_process(&model);
    let shown = succeed(&["models", "show", text(&model)]);
    assert!(shown.contains("lpbf 316L: ") && !shown.contains("ebm"), "{shown}");
    assert!(succeed(&["models", "show"]).contains("ebm IN718 (unvalidated): "));
    let scan = crate::binary::fixture();
    let args =
        ["design", text(&scan), "--alloy", "Ti64", "--process", "ded", "--model", text(&model)];
    assert!(
        crate::binary::refuse(&args, 2).contains("known: lpbf Ti-6Al-4V, lpbf 316L, lpbf IN718")
    );

    let service = Service::start(&folder.path().join("data"), &["--model", text(&model)]);
    let listed = service.get("api", "/v1/models").json();
    assert_eq!(listed["models"][0]["processes"], json!(["lpbf"]));
    assert_eq!(listed["models"][0]["alloys"], json!(["Ti-6Al-4V", "316L", "IN718"]));
}

#[test]
fn a_damaged_model_is_refused_with_what_is_wrong() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = copy(folder.path());
    let weights = model.join("weights.safetensors");
    let whole = std::fs::read(&weights).expect("read");

    edit(&weights, |bytes| bytes.truncate(bytes.len() - 100));
    let reason = only_wrong(&model, &[], "bundle");
    assert!(reason.contains("weights do not have the manifest's SHA-256"), "{reason}");

    std::fs::write(&weights, &whole).expect("written");
    edit(&weights, |bytes| bytes[200_000] ^= 1);
    let reason = only_wrong(&model, &[], "bundle");
    assert!(reason.contains("weights do not have the manifest's SHA-256"), "{reason}");

    std::fs::remove_file(&weights).expect("removed");
    let reason = only_wrong(&model, &[], "bundle");
    assert!(reason.contains("weights.safetensors"), "{reason}");
    // It is still listed, with the reason.
    let list = succeed(&["models", "list", text(&model)]);
    assert!(list.contains("cannot be used") && list.contains("weights.safetensors"), "{list}");
}

#[test]
fn a_foreign_or_older_model_is_refused_with_what_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = copy(folder.path());
    let manifest = model.join("manifest.json");
    let whole = std::fs::read(&manifest).expect("read");
    type Change = fn(&mut Value);
    let cases: [(Change, &str); 6] = [
        (|m| m["format"] = "microdiff.bundle/0".into(), "format is \"microdiff.bundle/0\""),
        (|m| m["format"] = "onnx".into(), "format is \"onnx\""),
        (|m| m["model_type"] = "normalising_flow".into(), "model type is \"normalising_flow\""),
        (|m| m["descriptors"][3] = "another".into(), "another descriptor schema"),
        (|m| m["alloys"][0]["ranges"]["laser_power_w"]["low"] = 1.0.into(), "another prior"),
        (|m| m["more"] = 1.into(), "unknown field `more`"),
    ];
    for (change, expected) in cases {
        std::fs::write(&manifest, &whole).expect("written");
        edit_manifest(&model, change);
        let reason = only_wrong(&model, &[], "bundle");
        assert!(reason.contains(expected), "{reason} does not say {expected}");
    }
    edit(&manifest, |bytes| bytes.truncate(bytes.len() / 2));
    let reason = only_wrong(&model, &[], "bundle");
    assert!(reason.contains("manifest unreadable"), "{reason}");
}

#[test]
fn what_lies_beside_the_model_is_held_to_it_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = copy(folder.path());
    let none = "0".repeat(64);
    let reason = only_wrong(&model, &["--digest", &none], "digest");
    assert!(reason.starts_with("it is "), "{reason}");

    edit(&model.join("training.jsonl"), |bytes| bytes.truncate(100));
    only_wrong(&model, &[], "training log");
    std::fs::remove_file(model.join("training.jsonl")).expect("removed");
    let (checks, code) = verify(&model, &[]);
    assert_eq!((code, checks[1].1.as_str()), (Some(0), "absent"), "{checks:?}");

    edit(&model.join("validation.rows"), |bytes| bytes.truncate(1000));
    only_wrong(&model, &[], "validation set");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lpbf-descriptors");
    std::fs::copy(source.join("validation.rows"), model.join("validation.rows")).expect("copied");

    // The phantom scan is not what it was: the model answers otherwise than recorded.
    edit(&model.join("phantom.raw"), |bytes| bytes.rotate_left(64 * 64 * 10 + 7));
    only_wrong(&model, &[], "canary");
    edit(&model.join("phantom.raw"), |bytes| bytes.truncate(100));
    only_wrong(&model, &[], "bundle");
}

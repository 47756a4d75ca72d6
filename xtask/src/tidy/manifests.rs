//! What every manifest owes: an honest description, the lints and the versions of the root.

use anyhow::Result;
use toml::{Table, Value};

use crate::finding::Finding;
use crate::repository::File;
use crate::workspace::Package;

/// Every package says what it is for.
pub fn described(packages: &[Package]) -> Vec<Finding> {
    let undescribed = |package: &&Package| {
        let description = package.description.as_deref().unwrap_or_default().trim();
        description.is_empty() || description == "placeholder"
    };
    packages
        .iter()
        .filter(undescribed)
        .map(|package| Finding::in_file(&package.manifest_path, "says no description"))
        .collect()
}

/// Every member takes its lints and the versions of its dependencies from the root manifest.
pub fn inherits_from_the_root(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.name() == "Cargo.toml") {
        let parsed: Result<Table, _> = file.text.as_deref().unwrap_or_default().parse();
        match parsed {
            Ok(manifest) if manifest.contains_key("workspace") => {}
            Ok(manifest) => findings.extend(inherits(file, &manifest)),
            Err(error) => {
                findings
                    .push(Finding::in_file(&file.path, format!("no TOML: {}", error.message())));
            }
        }
    }
    findings
}

fn inherits(file: &File, manifest: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !manifest.get("lints").is_some_and(from_workspace) {
        findings.push(Finding::in_file(&file.path, "add `[lints] workspace = true`"));
    }
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for table in sections(manifest, section) {
            for (name, _) in table.iter().filter(|(_, value)| !from_workspace(value)) {
                findings.push(Finding::at(
                    &file.path,
                    line_of(file, name),
                    format!(
                        "{name}: name the version in the root manifest, here `workspace = true`"
                    ),
                ));
            }
        }
    }
    findings
}

/// The section itself and its namesakes under `[target.'…']`.
fn sections<'a>(manifest: &'a Table, section: &str) -> Vec<&'a Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let by_target = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    std::iter::once(manifest)
        .chain(by_target)
        .filter_map(|table| table.get(section).and_then(Value::as_table))
        .collect()
}

fn from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

/// The line on which a key begins; the first line when it cannot be told.
fn line_of(file: &File, key: &str) -> usize {
    let begins = |line: &str| {
        line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with([' ', '=', '.']))
    };
    file.lines().find(|(_, line)| begins(line)).map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Vec<Finding> {
        inherits_from_the_root(&[File::text("crates/a/Cargo.toml", text)])
    }

    #[test]
    fn a_description_is_owed() {
        let with = |description: Option<&str>| Package {
            manifest_path: "crates/a/Cargo.toml".into(),
            description: description.map(str::to_owned),
            ..Package::default()
        };
        assert_eq!(described(&[with(Some("Counts pores"))]), []);
        for bad in [None, Some(" "), Some("placeholder")] {
            assert_eq!(described(&[with(bad)]).len(), 1, "{bad:?}");
        }
    }

    #[test]
    fn inherited_versions_pass() {
        assert_eq!(
            check(
                "[dependencies]\nserde.workspace = true\n\
                 burn = { workspace = true, optional = true }\n[lints]\nworkspace = true\n"
            ),
            []
        );
    }

    #[test]
    fn own_versions_and_missing_lints_fail() {
        let found = check("[dependencies]\nserde.workspace = true\nrand = \"0.10\"\n");
        assert_eq!(found.len(), 2);
        assert!(found[0].message.contains("[lints]"));
        assert_eq!((found[1].line, &found[1].message[..5]), (3, "rand:"));
        let by_target =
            check("[lints]\nworkspace = true\n[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n");
        assert_eq!(by_target[0].line, 4);
    }

    #[test]
    fn the_root_manifest_and_broken_ones() {
        assert_eq!(check("[workspace]\nmembers = []\n"), []);
        assert!(check("[dependencies").first().is_some_and(|f| f.message.starts_with("no TOML")));
    }
}

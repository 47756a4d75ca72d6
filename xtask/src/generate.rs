//! Files that are made from others: `deploy/kubernetes/base/prometheusrule.yaml` from the rule files
//! of Prometheus. Made as text, so that comments and line breaks of the rules stay.

use std::path::Path;

use anyhow::{Context, Result, bail};

const RULES: &str = "deploy/prometheus/rules";
const MANIFEST: &str = "deploy/kubernetes/base/prometheusrule.yaml";
/// What stands above the groups, and what each rule file's first part is cut off at.
const HEAD: &str = "\
# Generated from deploy/prometheus/rules by `just generate`; do not edit.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: microdiff
spec:
  groups:
";
const GROUPS: &str = "groups:\n";

/// Whether to write what is made, or to compare it with what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Write.
    Write,
    /// Compare.
    Check,
}

/// Makes every generated file.
///
/// # Errors
/// When a rule file cannot be read or has no groups, when the disk refuses, and with
/// [`Mode::Check`] when a file is not what it would be made.
pub fn run(root: &Path, mode: Mode) -> Result<()> {
    let path = root.join(MANIFEST);
    let made = manifest(&rule_files(&root.join(RULES))?)?;
    match mode {
        Mode::Write => {
            std::fs::write(&path, made).with_context(|| format!("cannot write {MANIFEST}"))
        }
        Mode::Check if std::fs::read_to_string(&path).ok() == Some(made) => Ok(()),
        Mode::Check => bail!("{MANIFEST} is not what {RULES} make it; run `just generate`"),
    }
}

/// Name and text of each rule file, by name.
fn rule_files(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {RULES}"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
        files.push((name, text));
    }
    files.sort();
    Ok(files)
}

/// The groups of all files, one level deeper.
fn manifest(files: &[(String, String)]) -> Result<String> {
    let mut text = HEAD.to_owned();
    for (name, rules) in files {
        let Some((_, groups)) = rules.split_once(GROUPS) else { bail!("{name} has no groups") };
        for line in groups.lines() {
            if !line.is_empty() {
                text.push_str("  ");
                text.push_str(line);
            }
            text.push('\n');
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rules: &str) -> Result<String> {
        manifest(&[("a.yml".to_owned(), rules.to_owned())])
    }

    #[test]
    fn groups_move_one_level_in() -> Result<()> {
        let made = of("# Why.\ngroups:\n  - name: g\n    rules:\n\n      - alert: A\n")?;
        let groups = made.strip_prefix(HEAD).unwrap_or_default();
        assert_eq!(groups, "    - name: g\n      rules:\n\n        - alert: A\n");
        Ok(())
    }

    #[test]
    fn a_file_without_groups_is_named() {
        assert!(of("rules: []\n").is_err_and(|error| error.to_string().contains("a.yml")));
    }

    #[test]
    fn an_old_manifest_is_told_and_made_anew() -> Result<()> {
        let root = std::env::temp_dir().join(format!("generate-{}", std::process::id()));
        let (rules, base) = (root.join(RULES), root.join("deploy/kubernetes/base"));
        std::fs::create_dir_all(&rules)?;
        std::fs::create_dir_all(base)?;
        std::fs::write(rules.join("a.yml"), "groups:\n  - name: g\n")?;
        assert!(run(&root, Mode::Check).is_err());
        run(&root, Mode::Write)?;
        run(&root, Mode::Check)?;
        std::fs::write(rules.join("a.yml"), "groups:\n  - name: h\n")?;
        assert!(run(&root, Mode::Check).is_err());
        std::fs::remove_dir_all(&root)?;
        Ok(())
    }
}

//! Who may depend on whom. The table is the architecture: `docs/adr/0001-workspace-layout.md`
//! says why each arrow points the way it does.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::workspace::{Dependency, Package};

/// What one package may use.
struct Allowed {
    package: &'static str,
    /// In the shipped code, optional dependencies included.
    normal: &'static [&'static str],
    /// In tests, benches and examples, on top of `normal`.
    dev: &'static [&'static str],
}

/// Every package of the workspace and the packages of the workspace that it may use.
const ALLOWED: &[Allowed] = &[
    Allowed { package: "microdiff-domain", normal: &[], dev: &[] },
    Allowed { package: "microdiff-telemetry", normal: &[], dev: &[] },
    Allowed { package: "microdiff-process", normal: &["microdiff-domain"], dev: &[] },
    // Tests of the measurements need scans whose pores are known: the virtual CT makes them.
    Allowed {
        package: "microdiff-imaging",
        normal: &["microdiff-domain"],
        dev: &["microdiff-process"],
    },
    Allowed { package: "microdiff-diffusion", normal: &["microdiff-domain"], dev: &[] },
    Allowed {
        package: "microdiff-design",
        normal: &[
            "microdiff-domain",
            "microdiff-process",
            "microdiff-imaging",
            "microdiff-diffusion",
        ],
        dev: &[],
    },
    // The tests of the service make and read scans, too.
    Allowed {
        package: "microdiff-server",
        normal: &["microdiff-domain", "microdiff-telemetry", "microdiff-design"],
        dev: &["microdiff-process", "microdiff-imaging"],
    },
    // The kit is checked against the catalogues of both.
    Allowed {
        package: "microdiff-kit",
        normal: &["microdiff-telemetry", "microdiff-server"],
        dev: &[],
    },
    Allowed {
        package: "microdiff-cli",
        normal: &[
            "microdiff-domain",
            "microdiff-process",
            "microdiff-imaging",
            "microdiff-diffusion",
            "microdiff-design",
            "microdiff-telemetry",
            "microdiff-server",
            "microdiff-kit",
        ],
        dev: &[],
    },
    // The checks must build and run while everything else is broken.
    Allowed { package: "xtask", normal: &[], dev: &[] },
];

/// The one package that may train, and what it trains with.
const TRAINER: &str = "microdiff-diffusion";
const TRAINING_FRAMEWORK: &str = "burn";
/// The feature that brings the training framework in.
const TRAINING_FEATURE: &str = "train";

/// Every edge between our packages is in the table, and every package has its row.
pub fn direction(packages: &[Package]) -> Vec<Finding> {
    let ours: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let Some(row) = ALLOWED.iter().find(|row| row.package == package.name) else {
            findings.push(Finding::in_file(
                &package.manifest_path,
                format!("{} has no row in the table of xtask/src/tidy/edges.rs", package.name),
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|d| ours.contains(&*d.name)) {
            let name = dependency.name.as_str();
            let in_tests = dependency.kind.as_deref() == Some("dev");
            if row.normal.contains(&name) || (in_tests && row.dev.contains(&name)) {
                continue;
            }
            let how = if in_tests { "use in its tests" } else { "depend on" };
            findings.push(Finding::in_file(
                &package.manifest_path,
                format!("{} may not {how} {name}", package.name),
            ));
        }
    }
    findings
}

/// The training framework is reached only through the feature `train`, which nothing turns on by
/// itself: neither a default feature nor a dependency, not even one of the tests.
pub fn training_stays_optional(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        let mut say = |message| findings.push(Finding::in_file(&package.manifest_path, message));
        for dependency in &package.dependencies {
            if is_framework(&dependency.name) && package.name != TRAINER {
                say(format!("only {TRAINER} may depend on {}", dependency.name));
            } else if is_framework(&dependency.name) && !dependency.optional {
                say(format!("{} must be an optional dependency", dependency.name));
            }
            if asks_for_training(dependency) {
                say(format!(
                    "{} is asked for with its feature `{TRAINING_FEATURE}`; forward a feature \
                     of the same name instead",
                    dependency.name
                ));
            }
        }
        if let Some(entry) = default_closure(package).iter().find(|entry| trains(entry)) {
            say(format!("the default features turn on `{entry}`"));
        }
    }
    findings
}

fn is_framework(name: &str) -> bool {
    name.strip_prefix(TRAINING_FRAMEWORK)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

fn asks_for_training(dependency: &Dependency) -> bool {
    dependency.name.starts_with("microdiff-")
        && dependency.features.iter().any(|feature| feature == TRAINING_FEATURE)
}

/// Whether an entry of a feature list (`train`, `dep:burn`, `burn/std`, `crate/train`) brings the
/// training framework in.
fn trains(entry: &str) -> bool {
    let (head, feature) = entry.split_once('/').unwrap_or((entry, ""));
    let dependency = head.trim_start_matches("dep:").trim_end_matches('?');
    entry == TRAINING_FEATURE || is_framework(dependency) || feature == TRAINING_FEATURE
}

/// Everything that the default features turn on, as written in the feature lists.
fn default_closure(package: &Package) -> BTreeSet<&str> {
    let mut reached = BTreeSet::new();
    let mut pending = vec!["default"];
    while let Some(entry) = pending.pop() {
        if reached.insert(entry) {
            pending.extend(package.features.get(entry).into_iter().flatten().map(String::as_str));
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: Vec<Dependency>) -> Package {
        Package {
            name: name.into(),
            manifest_path: format!("crates/{name}/Cargo.toml"),
            dependencies,
            ..Package::default()
        }
    }

    fn on(name: &str) -> Dependency {
        Dependency { name: name.into(), ..Dependency::default() }
    }

    fn in_tests(name: &str) -> Dependency {
        Dependency { kind: Some("dev".into()), ..on(name) }
    }

    fn messages(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|finding| finding.message.as_str()).collect()
    }

    #[test]
    fn edges_of_the_table_pass_and_others_fail() {
        let domain = package("microdiff-domain", vec![on("serde")]);
        let process = package("microdiff-process", vec![on("microdiff-domain"), on("rayon")]);
        assert_eq!(direction(&[domain.clone(), process.clone()]), []);

        let upward = package("microdiff-domain", vec![on("microdiff-process")]);
        assert_eq!(
            direction(&[upward, process]),
            [Finding::in_file(
                "crates/microdiff-domain/Cargo.toml",
                "microdiff-domain may not depend on microdiff-process"
            )]
        );
    }

    #[test]
    fn tests_may_use_what_their_own_table_lists() {
        let process = package("microdiff-process", vec![]);
        let imaging = package("microdiff-imaging", vec![in_tests("microdiff-process")]);
        assert_eq!(direction(&[process.clone(), imaging]), []);
        let shipped = package("microdiff-imaging", vec![on("microdiff-process")]);
        assert_eq!(
            messages(&direction(&[process.clone(), shipped])),
            ["microdiff-imaging may not depend on microdiff-process"]
        );
        let unlisted = package("microdiff-telemetry", vec![in_tests("microdiff-process")]);
        assert_eq!(
            messages(&direction(&[process, unlisted])),
            ["microdiff-telemetry may not use in its tests microdiff-process"]
        );
    }

    #[test]
    fn a_package_without_a_row_is_told() {
        let found = direction(&[package("microdiff-extra", vec![])]);
        assert!(found[0].message.starts_with("microdiff-extra has no row"), "{found:?}");
    }

    #[test]
    fn this_workspace_keeps_to_the_table() -> anyhow::Result<()> {
        let packages = crate::workspace::read(&crate::root()?)?;
        assert_eq!(direction(&packages), []);
        assert_eq!(training_stays_optional(&packages), []);
        let names = |package: &str| packages.iter().any(|known| known.name == package);
        assert!(ALLOWED.iter().all(|row| names(row.package)), "a row of a package that is gone");
        Ok(())
    }

    #[test]
    fn the_table_has_no_cycle_in_what_is_shipped() {
        let position = |name: &str| ALLOWED.iter().position(|row| row.package == name);
        for (index, row) in ALLOWED.iter().enumerate() {
            for used in row.normal {
                assert!(position(used) < Some(index), "{} before {used}", row.package);
            }
        }
    }

    fn trainer(optional: bool, default: &[&str]) -> Package {
        let mut trainer = package(TRAINER, vec![Dependency { optional, ..on(TRAINING_FRAMEWORK) }]);
        let list = |entries: &[&str]| entries.iter().map(|entry| (*entry).to_owned()).collect();
        trainer.features.insert("default".into(), list(default));
        trainer.features.insert("train".into(), list(&["dep:burn"]));
        trainer.features.insert("fast".into(), list(&["train"]));
        trainer
    }

    #[test]
    fn the_framework_is_optional_and_off_by_default() {
        assert_eq!(training_stays_optional(&[trainer(true, &[])]), []);
        assert_eq!(
            messages(&training_stays_optional(&[trainer(false, &[])])),
            ["burn must be an optional dependency"]
        );
        assert_eq!(
            messages(&training_stays_optional(&[trainer(true, &["fast"])])),
            ["the default features turn on `dep:burn`"]
        );
    }

    #[test]
    fn nobody_asks_for_training_on_the_side() {
        let mut cli = package("microdiff-cli", vec![on(TRAINER)]);
        cli.features.insert("train".into(), vec!["microdiff-diffusion/train".into()]);
        assert_eq!(training_stays_optional(&[cli.clone()]), []);

        cli.features.insert("default".into(), vec!["train".into()]);
        assert_eq!(training_stays_optional(&[cli]).len(), 1);

        let asking = Dependency { features: vec!["train".into()], ..in_tests(TRAINER) };
        let design = package("microdiff-design", vec![asking, on("burn-flex")]);
        assert_eq!(training_stays_optional(&[design]).len(), 2);
    }
}

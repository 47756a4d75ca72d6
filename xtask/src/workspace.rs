//! The workspace's packages as cargo understands their manifests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One package of the workspace.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Package {
    /// Package name.
    pub name: String,
    /// The description, if the manifest gives one.
    pub description: Option<String>,
    /// Path of the manifest relative to the root, with `/`.
    pub manifest_path: String,
    /// Dependencies of every kind, optional ones included.
    pub dependencies: Vec<Dependency>,
    /// What each feature switches on.
    pub features: BTreeMap<String, Vec<String>>,
}

/// One dependency of a package.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Dependency {
    /// Name of the package depended upon, whatever it is renamed to.
    pub name: String,
    /// Nothing for a normal dependency, `dev` or `build` otherwise.
    pub kind: Option<String>,
    /// Whether a feature switches it on.
    pub optional: bool,
    /// Features asked of it.
    #[serde(default)]
    pub features: Vec<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_root: String,
}

/// Asks cargo for the packages of the workspace, without resolving anything from a registry.
///
/// # Errors
/// When cargo cannot be started, refuses a manifest, or answers something unexpected.
pub fn read(root: &Path) -> Result<Vec<Package>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root)
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata =
        serde_json::from_slice(&output.stdout).context("cargo metadata is not as expected")?;
    let mut packages = metadata.packages;
    for package in &mut packages {
        let relative = Path::new(&package.manifest_path)
            .strip_prefix(&metadata.workspace_root)
            .with_context(|| format!("{} lies outside the workspace", package.name))?;
        package.manifest_path = relative.to_string_lossy().replace('\\', "/");
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_package_is_found_with_a_relative_manifest() -> Result<()> {
        let packages = read(&crate::root()?)?;
        let own = packages.iter().find(|package| package.name == "xtask").context("no xtask")?;
        assert_eq!(own.manifest_path, "xtask/Cargo.toml");
        assert!(own.dependencies.iter().any(|dependency| dependency.name == "serde_json"));
        Ok(())
    }
}

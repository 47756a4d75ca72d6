//! The first things a newcomer sees: the root folder, the two pages, the map.

use std::collections::BTreeSet;

use crate::finding::Finding;
use crate::repository::File;
use crate::workspace::Package;

/// Most files and folders in the root of the repository, hidden ones included.
const MOST_ROOT_ENTRIES: usize = 24;
/// Pages that must be there, and the most lines each may have.
const PAGES: [(&str, usize); 3] =
    [("README.md", 120), (ARCHITECTURE, 150), ("CONTRIBUTING.md", 150)];
const ARCHITECTURE: &str = "ARCHITECTURE.md";

/// The root folder fits on one screen.
pub fn few_root_entries(files: &[File]) -> Option<Finding> {
    let entries: BTreeSet<&str> =
        files.iter().filter_map(|file| file.path.split('/').next()).collect();
    (entries.len() > MOST_ROOT_ENTRIES).then(|| {
        Finding::in_file(
            ".",
            format!("{} root entries, at most {MOST_ROOT_ENTRIES}", entries.len()),
        )
    })
}

/// The pages that everybody reads are there and short.
pub fn short_pages(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, most) in PAGES {
        match files.iter().find(|file| file.path == path) {
            None => findings.push(Finding::in_file(path, "missing")),
            Some(page) if page.lines().count() > most => {
                let lines = page.lines().count();
                findings.push(Finding::at(
                    path,
                    most + 1,
                    format!("{lines} lines, at most {most}"),
                ));
            }
            Some(_) => {}
        }
    }
    findings
}

/// The map names every crate, by its folder or its package name.
pub fn every_crate_on_the_map(files: &[File], packages: &[Package]) -> Vec<Finding> {
    let Some(map) = files.iter().find(|file| file.path == ARCHITECTURE) else {
        return Vec::new();
    };
    let text = map.text.as_deref().unwrap_or_default();
    packages
        .iter()
        .filter(|package| !names(text, package))
        .map(|package| Finding::in_file(ARCHITECTURE, format!("does not name {}", package.name)))
        .collect()
}

fn names(text: &str, package: &Package) -> bool {
    let folder = package.manifest_path.trim_end_matches("/Cargo.toml");
    let folder = folder.rsplit('/').next().unwrap_or(folder);
    let by_folder = format!("{folder}/");
    text.match_indices(&by_folder).any(|(start, _)| {
        !text[..start].ends_with(|c: char| c.is_alphanumeric() || "-_".contains(c))
    }) || text.contains(&format!("crates/{folder}"))
        || text.contains(&package.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_counted_by_entries_not_files() {
        let many = |count: usize| {
            let mut files: Vec<File> =
                (0..count - 1).map(|i| File::text(&format!("file{i}"), "")).collect();
            files.extend([File::text("folder/a", ""), File::text("folder/b", "")]);
            files
        };
        assert_eq!(few_root_entries(&many(24)), None);
        assert!(few_root_entries(&many(25)).is_some());
    }

    #[test]
    fn pages_are_there_and_short() {
        let with = |lines: usize| {
            [
                File::text("README.md", &"x\n".repeat(lines)),
                File::text(ARCHITECTURE, "x"),
                File::text("CONTRIBUTING.md", "x"),
            ]
        };
        assert_eq!(short_pages(&with(120)), []);
        assert_eq!(
            short_pages(&with(121)),
            [Finding::at("README.md", 121, "121 lines, at most 120")]
        );
        assert_eq!(short_pages(&[]).len(), 3);
    }

    #[test]
    fn a_crate_missing_on_the_map_is_told() {
        let package = Package {
            name: "microdiff-process".into(),
            manifest_path: "crates/process/Cargo.toml".into(),
            ..Package::default()
        };
        let told = |map: &str| {
            !every_crate_on_the_map(
                &[File::text(ARCHITECTURE, map)],
                std::slice::from_ref(&package),
            )
            .is_empty()
        };
        assert!(told("The process is simple; see preprocess/ for more."));
        assert!(!told("crates/process: the physics"));
        assert!(!told("  process/  the physics"));
        assert!(!told("`microdiff-process` knows the physics"));
    }
}

//! The files of the repository as git sees them: tracked ones and new ones that are not ignored,
//! so that a finding shows before the commit and build output never counts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// One file of the repository.
#[derive(Debug, Clone, Default)]
pub struct File {
    /// Relative to the root, with `/`.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The content when it is UTF-8 text, otherwise nothing.
    pub text: Option<String>,
}

impl File {
    /// A text file from a literal, for tests.
    #[cfg(test)]
    pub fn text(path: &str, text: &str) -> File {
        File { path: path.into(), bytes: text.len() as u64, text: Some(text.into()) }
    }

    /// The part of the path after the last `/`.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Whether the name ends in `.extension` for one of these extensions.
    pub fn has_extension(&self, extensions: &[&str]) -> bool {
        self.name().rsplit_once('.').is_some_and(|(_, last)| extensions.contains(&last))
    }

    /// Lines with their numbers from 1; none when the file is not text.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.iter().flat_map(|text| text.lines()).enumerate().map(|(i, line)| (i + 1, line))
    }
}

/// Reads every file that git tracks or would track, sorted by path. Symbolic links and files
/// deleted from the work tree are passed over.
///
/// # Errors
/// When git is missing, the folder is no checkout, or a file cannot be read.
pub fn tracked(root: &Path) -> Result<Vec<File>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let listing = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let paths: BTreeSet<&str> = listing.split('\0').filter(|path| !path.is_empty()).collect();
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let full = root.join(path);
        if !full.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        let content = std::fs::read(&full).with_context(|| format!("cannot read {path}"))?;
        let bytes = content.len() as u64;
        files.push(File { path: path.to_owned(), bytes, text: String::from_utf8(content).ok() });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_extensions() {
        let file = File::text("crates/a/src/lib.rs", "one\ntwo\n");
        assert_eq!(file.name(), "lib.rs");
        assert!(file.has_extension(&["js", "rs"]));
        assert!(!file.has_extension(&["js"]));
        assert!(!File::text("docs.rs/justfile", "").has_extension(&["rs"]));
        assert_eq!(file.lines().collect::<Vec<_>>(), [(1, "one"), (2, "two")]);
    }

    #[test]
    fn this_very_file_is_seen() -> Result<()> {
        let files = tracked(&crate::root()?)?;
        assert!(files.iter().any(|file| file.path == "xtask/src/repository.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
        Ok(())
    }
}

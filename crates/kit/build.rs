//! Writes the table of the files to embed: everything under `deploy/`, and `docs/runbooks/` as
//! `runbooks/`. A folder that gains or loses a file makes the table anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("../..");
    let mut table = "pub(super) static EMBEDDED: &[(&str, &[u8])] = &[\n".to_owned();
    for (folder, prefix) in [("deploy", ""), ("docs/runbooks", "runbooks/")] {
        let top = fs::canonicalize(root.join(folder))?;
        println!("cargo::rerun-if-changed={}", top.display());
        for file in files(&top)? {
            let inside = file.strip_prefix(&top).map_err(io::Error::other)?;
            let name = format!("{prefix}{}", inside.display());
            let path = file.display().to_string();
            writeln!(table, "    ({name:?}, include_bytes!({path:?})),")
                .map_err(io::Error::other)?;
        }
    }
    table.push_str("];\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("embedded.rs"), table)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(io::Error::other)
}

/// The files of a folder and the folders in it, by path.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                pending.push(entry.path());
            } else {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

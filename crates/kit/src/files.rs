//! The files of the kit: those in the binary, and those of an edited copy.

use std::borrow::Cow;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::KitError;

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Where the runbooks lie within the kit.
const RUNBOOKS: &str = "runbooks/";

/// One file of the kit.
#[derive(Debug, Clone)]
pub struct File {
    /// Its path within the kit, such as `prometheus/rules/slo.yml`.
    pub path: String,
    /// Its bytes.
    pub bytes: Cow<'static, [u8]>,
}

impl File {
    /// Its text.
    ///
    /// # Errors
    /// [`KitError::Unreadable`] when it is not UTF-8.
    pub fn text(&self) -> Result<&str, KitError> {
        std::str::from_utf8(&self.bytes).map_err(|error| KitError::Unreadable {
            file: self.path.clone(),
            reason: error.to_string(),
        })
    }
}

/// What to do where something is already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// Write nothing.
    Refuse,
    /// Write over files of the kit's names; others stay.
    Overwrite,
}

/// Every file in the binary, by path; the runbooks lie under `runbooks/`.
#[must_use]
pub fn files() -> Vec<File> {
    let file = |(path, bytes): &(&str, &'static [u8])| File {
        path: (*path).to_owned(),
        bytes: Cow::Borrowed(*bytes),
    };
    let mut files: Vec<File> = EMBEDDED.iter().map(file).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The files of a copy of the kit, by path. A copy without a folder `runbooks` is checked against
/// the runbooks in the binary.
///
/// # Errors
/// [`KitError::Unlisted`] when the directory, or something in it, cannot be read.
pub fn read(directory: &Path) -> Result<Vec<File>, KitError> {
    let refuse = |path: &Path, source| KitError::Unlisted { path: path.to_owned(), source };
    let mut files = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(folder) = pending.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| refuse(&folder, error))?;
        for entry in entries {
            let path = entry.map_err(|error| refuse(&folder, error))?.path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let bytes = fs::read(&path).map_err(|error| refuse(&path, error))?;
            let inside = path.strip_prefix(directory).unwrap_or(&path);
            files.push(File { path: inside.display().to_string(), bytes: Cow::Owned(bytes) });
        }
    }
    if !files.iter().any(|file| file.path.starts_with(RUNBOOKS)) {
        files.extend(self::files().into_iter().filter(|file| file.path.starts_with(RUNBOOKS)));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Writes the kit into `directory`, which is created if missing. Returns the number of files.
///
/// # Errors
/// [`KitError::Occupied`] before anything is written, [`KitError::Unwritable`] when the disk refuses.
pub fn export(directory: &Path, occupied: Occupied) -> Result<usize, KitError> {
    if occupied == Occupied::Refuse
        && fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some())
    {
        return Err(KitError::Occupied { path: directory.to_owned() });
    }
    let files = files();
    for file in &files {
        write(&directory.join(&file.path), &file.bytes)
            .map_err(|(path, source)| KitError::Unwritable { path, source })?;
    }
    Ok(files.len())
}

/// Beside its place and renamed: whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<(), (PathBuf, std::io::Error)> {
    let refuse = |source| (path.to_owned(), source);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(refuse)?;
    // Other users run the systems that read these files.
    let readable = fs::Permissions::from_mode(0o666);
    let mut file =
        tempfile::Builder::new().permissions(readable).tempfile_in(folder).map_err(refuse)?;
    file.write_all(bytes).map_err(refuse)?;
    file.persist(path).map_err(|error| refuse(error.error))?;
    Ok(())
}

//! `microdiff models`: which models there are, what one was made of, and whether it is whole and
//! still gives the answer it gave when it was made.
//!
//! A model is the built-in one or a bundle directory: of scans (`microdiff train`, with a
//! known-answer canary) or of a table of experiments (`microdiff train --table`, without one).

mod verify;

pub use verify::{Outcome, Verdict};

use crate::args::{ModelsCommand, ModelsListArgs, ModelsShowArgs};
use crate::failure::Failure;
use crate::{output, report};
use microdiff_design::{BundleContent, Designer, ModelSummary};
use microdiff_diffusion::bundle::BundleFiles;
use microdiff_diffusion::table::{TableManifest, TableModel, is_table_bundle};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub fn run(command: &ModelsCommand) -> Result<(), Failure> {
    match command {
        ModelsCommand::List(args) => list(args),
        ModelsCommand::Show(args) => show(args),
        ModelsCommand::Verify(args) => verify::run(args),
    }
}

/// A model that could be opened.
enum Opened {
    Scans(Box<Designer>),
    Table { manifest: Box<TableManifest>, digest: String },
}

/// Opens the bundle in a directory, or the built-in model.
fn open(bundle: Option<&Path>) -> Result<Opened, Failure> {
    let Some(directory) = bundle.filter(|directory| is_table_bundle(directory)) else {
        return super::designer(bundle).map(|designer| Opened::Scans(Box::new(designer)));
    };
    let refuse =
        |error| Failure::data(format!("cannot use the model in {}: {error}", directory.display()));
    let files = BundleFiles::read(directory).map_err(refuse)?;
    let manifest = TableModel::from_files(&files).map_err(refuse)?.info().clone();
    Ok(Opened::Table { manifest: Box::new(manifest), digest: files.digest() })
}

/// One model of a list.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its name; of a bundle that cannot be used, its directory's.
    pub name: String,
    /// `scans` or `table`; none if it cannot be used.
    pub answers_for: Option<&'static str>,
    pub digest: Option<String>,
    /// Rows it was trained on.
    pub rows: Option<usize>,
    /// Its directory; none if it is built in.
    pub directory: Option<PathBuf>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

fn list(args: &ModelsListArgs) -> Result<(), Failure> {
    let mut entries = vec![entry(None)];
    for directory in bundles(&args.directories)? {
        entries.push(entry(Some(&directory)));
    }
    if args.json {
        output::print_json(&entries)
    } else {
        output::print(&report::models::list(&entries))
    }
}

fn entry(directory: Option<&Path>) -> Entry {
    let named =
        |path: &Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut entry = Entry {
        name: directory.map(named).unwrap_or_default(),
        answers_for: None,
        digest: None,
        rows: None,
        directory: directory.map(Path::to_owned),
        problem: None,
    };
    match open(directory) {
        Ok(Opened::Scans(designer)) => {
            let ModelSummary { name, digest, .. } = designer.model();
            let rows = designer.manifest().training.rows;
            (entry.name, entry.digest) = (name, Some(digest));
            (entry.answers_for, entry.rows) = (Some("scans"), Some(rows));
        }
        Ok(Opened::Table { manifest, digest }) => {
            entry.digest = Some(digest);
            (entry.answers_for, entry.rows) = (Some("table"), Some(manifest.training.rows));
        }
        Err(failure) => entry.problem = Some(failure.to_string()),
    }
    entry
}

/// The bundles among directories and their direct subdirectories, in order of their paths.
fn bundles(directories: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Failure> {
    let is_bundle = |path: &Path| path.join(BundleContent::FILES[0]).is_file();
    let mut found = BTreeSet::new();
    for directory in directories {
        if is_bundle(directory) {
            found.insert(directory.clone());
            continue;
        }
        let refuse =
            |error| Failure::usage(format!("cannot look into {}: {error}", directory.display()));
        for inner in std::fs::read_dir(directory).map_err(refuse)? {
            let path = inner.map_err(refuse)?.path();
            if is_bundle(&path) {
                found.insert(path);
            }
        }
    }
    Ok(found)
}

fn show(args: &ModelsShowArgs) -> Result<(), Failure> {
    match (open(args.model.as_deref())?, args.json) {
        (Opened::Scans(designer), true) => output::print_json(designer.manifest()),
        (Opened::Scans(designer), false) => {
            let text = report::models::scans(designer.manifest(), &designer.model().digest);
            output::print(&text)
        }
        (Opened::Table { manifest, .. }, true) => output::print_json(&manifest),
        (Opened::Table { manifest, digest }, false) => {
            output::print(&report::models::table(&manifest, &digest))
        }
    }
}

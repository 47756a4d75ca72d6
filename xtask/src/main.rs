//! Checks on the repository itself. `cargo run -p xtask -- tidy` reads the tracked files and the
//! workspace's manifests and prints every finding as `path:line: message`.
//!
//! It holds what the compiler and clippy cannot see: which crate may depend on which, how long a
//! file may grow, which words and names are unwelcome, that links lead somewhere. It does not
//! format, does not fix, needs no network and does not measure functions (clippy's
//! `too_many_lines` does, with the threshold in `clippy.toml`).
//!
//! `cargo run -p xtask -- generate` makes the files that are made from others; with `--check` it only
//! says whether they are as they would be made.
//!
//! `cargo run -p xtask -- bench` runs the released binary and prints the figures that
//! `docs/benchmarks.md` records. `cargo run -p xtask -- sbom TARGET` prints what the binary for a
//! target is made of.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};

mod bench;
mod finding;
mod generate;
mod repository;
mod sbom;
mod tidy;
mod workspace;

const USAGE: &str = "usage: cargo run -p xtask -- tidy|generate [--check]|bench|sbom TARGET";

#[expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a command-line tool answers on stdout and explains itself on stderr"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => match tidy() {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::FAILURE,
            Err(error) => {
                eprintln!("tidy could not run: {error:#}");
                ExitCode::FAILURE
            }
        },
        ["generate"] => generated(generate::Mode::Write),
        ["generate", "--check"] => generated(generate::Mode::Check),
        ["bench"] => match root().and_then(|root| bench::run(&root)) {
            Ok(table) => {
                println!("{table}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("bench could not run: {error:#}");
                ExitCode::FAILURE
            }
        },
        ["sbom", target] => match root().and_then(|root| sbom::document(&root, target)) {
            Ok(document) => {
                print!("{document}");
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("sbom could not run: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::print_stderr, reason = "a command-line tool explains itself on stderr")]
fn generated(mode: generate::Mode) -> ExitCode {
    match root().and_then(|root| generate::run(&root, mode)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("generate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints every finding and answers how many there were.
#[expect(clippy::print_stdout, reason = "the findings are the output of this tool")]
fn tidy() -> Result<usize> {
    let root = root()?;
    let files = repository::tracked(&root)?;
    let findings = tidy::check(&files, &workspace::read(&root)?);
    for finding in &findings {
        println!("{finding}");
    }
    println!("tidy: {} files, {} findings", files.len(), findings.len());
    Ok(findings.len())
}

/// The folder above this package: the root of the repository that is being compiled.
fn root() -> Result<PathBuf> {
    let mut folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    ensure!(folder.pop(), "xtask has no folder above it");
    Ok(folder)
}

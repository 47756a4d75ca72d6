//! Arguments of the commands about models.

use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the built-in model and the bundles in directories
    List(ModelsListArgs),
    /// Tell what a model was made of and how good it is
    Show(ModelsShowArgs),
    /// Prove that models are whole and answer as when they were made; exit code 3 when one does not
    Verify(ModelsVerifyArgs),
}

#[derive(Debug, Args)]
pub struct ModelsListArgs {
    /// Bundles, or directories of bundles
    #[arg(value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ModelsShowArgs {
    /// Model bundle instead of the built-in one
    #[arg(value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Print the manifest instead of a report
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ModelsVerifyArgs {
    /// Model bundles instead of the built-in one
    #[arg(value_name = "DIR")]
    pub models: Vec<PathBuf>,
    /// The digest that the only model named must have, as published by whoever made it
    #[arg(long, value_name = "SHA256")]
    pub digest: Option<String>,
    /// Print JSON instead of a report
    #[arg(long)]
    pub json: bool,
}

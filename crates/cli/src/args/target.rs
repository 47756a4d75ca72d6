//! Arguments of the design question without a scan.

use super::values::count;
use clap::Args;
use microdiff_process::target::{MOST_CANDIDATES, Target};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct TargetArgs {
    /// Instead of a scan: bounds to search settings for, in quotes, as in
    /// "relative_density>=99,elongation>=10"; names and units as in predict, and build_rate in cm3/h
    #[arg(long, value_name = "BOUNDS", requires = "alloy",
        conflicts_with_all = ["scan", "observation", "model", "samples", "steps", "draws",
            "voxel_size", "output"])]
    pub target: Option<Target>,
    /// Number of settings to list with --target
    #[arg(long, value_name = "COUNT", default_value_t = 10, requires = "target",
        conflicts_with_all = ["scan", "observation"], value_parser = |text: &str| count(text, &(1..=MOST_CANDIDATES)))]
    pub top: usize,
    /// With --target: figure to write (.svg or .png), the process map with the settings on it
    #[arg(long, value_name = "FILE", requires = "target",
        conflicts_with_all = ["scan", "observation"])]
    pub map: Option<PathBuf>,
}

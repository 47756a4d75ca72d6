//! Arguments of `microdiff drill`.

use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The drill; without it all are listed
    pub name: Option<String>,
    /// List the drills, what each injects and which alerts it expects
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    /// Configuration (TOML) whose thresholds and checks are drilled; directories, addresses, spans
    /// and GPUs are the sandbox's own
    #[arg(long, value_name = "FILE", requires = "name")]
    pub config: Option<PathBuf>,
    /// Times faster that the rules run: waits, ranges and ages are divided by it; 60 for most drills
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub compression: Option<u32>,
    /// The Prometheus to run
    #[arg(long, value_name = "PROGRAM", default_value = "prometheus")]
    pub prometheus_command: PathBuf,
    /// Drill a configuration whose data directory is in use, which looks like production; its data
    /// are left alone all the same
    #[arg(long, requires = "config")]
    pub force: bool,
    /// Directory to run in and to leave for a look: rules, logs, data; new or empty
    #[arg(long, value_name = "DIR", requires = "name")]
    pub keep: Option<PathBuf>,
    /// Print the report as JSON instead of lines
    #[arg(long)]
    pub json: bool,
    /// Inject nothing, to see that the drill notices
    #[arg(long, hide = true)]
    pub without_fault: bool,
    /// Seconds that expected alerts are given to fire, instead of what their rules say
    #[arg(long, hide = true, value_name = "SECONDS")]
    pub patience: Option<u64>,
}

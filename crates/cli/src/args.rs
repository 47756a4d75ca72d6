//! The command line. Raw text becomes bounded values here, so a command starts from valid input.

mod drill;
mod models;
mod prediction;
mod target;
mod values;
mod verify;

pub use drill::DrillArgs;
pub use models::{ModelsArgs, ModelsCommand, ModelsListArgs, ModelsShowArgs, ModelsVerifyArgs};
pub use prediction::{MapArgs, PredictArgs, ValidatePhysicsArgs};
pub use target::TargetArgs;
pub use verify::{System, VerifyArgs};

use clap::{Args, Parser, Subcommand, ValueEnum};
use microdiff_design::DesignRequest;
use microdiff_domain::{
    Alloy, BedTemperature, HatchSpacing, LaserPower, LayerThickness, Machine, Process, ScanSpeed,
    SpotDiameter, VoxelSize,
};
use microdiff_server::config::{LogFormatName, LogSchemaName};
use std::net::SocketAddr;
use std::path::PathBuf;
use values::{address, count, number, shape, spot, time_or_beginning, voxel_size};

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or a check was not passed; 2 wrong usage; 3 a file \
                          cannot be used";

/// From a micro-CT scan of a 3D-printed metal part to the process parameters that made it, with
/// their uncertainty. Trained and calibrated on a simulator.
#[derive(Debug, Parser)]
#[command(name = "microdiff", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Infer the process parameters behind a scan, or search those that give what --target asks for
    Design(Box<DesignArgs>),
    /// Predict tracks, density and properties of a setting, or of a table of settings
    Predict(PredictArgs),
    /// Draw the process map: defects over power and speed, machine, posterior
    Map(MapArgs),
    /// Measure porosity and pores of a scan
    Analyze(AnalyzeArgs),
    /// Print a part virtually and scan it virtually, with ground truth
    Simulate(SimulateArgs),
    /// Score a model on simulations it has not seen
    Evaluate(EvaluateArgs),
    /// Fit the track law to measurements again and score every prediction on them
    ValidatePhysics(ValidatePhysicsArgs),
    /// Write beside a model what a running service checks it against
    Record(RecordArgs),
    /// Make a model from a table of one's own experiments
    Train(TrainArgs),
    /// List models, tell what one was made of, prove that it is whole
    Models(ModelsArgs),
    /// Do a served design again from its flight record and compare the draws bit for bit
    Replay(ReplayArgs),
    /// Answer over HTTP, with health, metrics, logs and traces
    Serve(ServeArgs),
    /// Prove the audit log whole, or take records out of it
    Audit(AuditArgs),
    /// Write the monitoring kit out, prove that it fits this binary, or that it works
    Observability(ObservabilityArgs),
    /// Do a fault to a sandboxed service and tell whether the right alerts fire, and clear
    Drill(DrillArgs),
    /// Ask a running service whether it is ready; exit code 1 when not
    Healthcheck(HealthcheckArgs),
}

#[derive(Debug, Args)]
pub struct ScanArgs {
    /// TIFF file or directory, NRRD, MetaImage, .vgi, .pcr; pages go up along the build direction
    pub scan: PathBuf,
    /// Edge of a voxel in um; needed when the file does not say
    #[arg(long, value_name = "UM", value_parser = voxel_size)]
    pub voxel_size: Option<VoxelSize>,
}

#[derive(Debug, Args)]
pub struct DesignArgs {
    /// TIFF file or directory, NRRD, MetaImage, .vgi, .pcr; pages go up along the build direction
    #[arg(required_unless_present_any = ["observation", "target"])]
    pub scan: Option<PathBuf>,
    /// Edge of a voxel in um; needed when the file does not say
    #[arg(long, value_name = "UM", value_parser = voxel_size)]
    pub voxel_size: Option<VoxelSize>,
    /// Alloy: Ti-6Al-4V, 316L, IN718 or AlSi10Mg
    #[arg(long, value_name = "NAME", required_unless_present = "observation")]
    pub alloy: Option<Alloy>,
    /// Process: lpbf, ebm or ded; the last two are unvalidated; lpbf if not given, with --target that
    /// of the machine
    #[arg(long, value_name = "NAME")]
    pub process: Option<Process>,
    /// Parameters you know, as in layer_thickness=30,hatch_spacing=140
    #[arg(long, value_name = "NAME=VALUE,…", default_value = "")]
    pub known: String,
    /// Spot diameter (1/e2) in um, if you know it
    #[arg(long, value_name = "UM", value_parser = spot)]
    pub spot: Option<SpotDiameter>,
    /// Machine, if you know it: EOS-M290, SLM-280, Renishaw-AM400, Arcam-Q20 (ebm), LENS-DED (ded);
    /// no draw then lies outside its limits
    #[arg(long, value_name = "NAME")]
    pub machine: Option<Machine>,
    /// Number of posterior draws; of each row with --observation
    #[arg(long, default_value_t = DesignRequest::DEFAULT_SAMPLES,
        value_parser = |text: &str| count(text, &DesignRequest::SAMPLES))]
    pub samples: usize,
    /// Number of sampler steps
    #[arg(long, default_value_t = DesignRequest::DEFAULT_STEPS,
        value_parser = |text: &str| count(text, &DesignRequest::STEPS))]
    pub steps: usize,
    /// Seed of the draws; the same seed gives the same answer
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write the draws to this CSV file
    #[arg(long, value_name = "FILE")]
    pub draws: Option<PathBuf>,
    /// Model bundle to use instead of the built-in one
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Print the document microdiff.design/1, with --target microdiff.target/1, instead of a report
    #[arg(long)]
    pub json: bool,
    /// Instead of a scan: CSV (.csv or .csv.gz) of observables for a model made by train --table;
    /// one row gives one draw a line, several give long form with the column row, from 0
    #[arg(long, value_name = "FILE", requires_all = ["model", "output"],
        conflicts_with_all = ["scan", "alloy", "process", "known", "spot", "machine", "voxel_size", "draws", "json"])]
    pub observation: Option<PathBuf>,
    /// CSV file to write the draws of --observation to
    #[arg(short, long, value_name = "FILE", requires = "observation")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub search: TargetArgs,
}

#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    #[command(flatten)]
    pub scan: ScanArgs,
    /// Print the document microdiff.analysis/1, with every pore, instead of a report
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// Process: lpbf, ebm or ded; the last two are unvalidated
    #[arg(long, value_name = "NAME", default_value = "lpbf")]
    pub process: Process,
    /// Alloy: Ti-6Al-4V, 316L, IN718 or AlSi10Mg; ebm: Ti-6Al-4V, IN718; ded: not AlSi10Mg
    #[arg(long, value_name = "NAME")]
    pub alloy: Alloy,
    /// Power of laser or electron beam in W
    #[arg(long, value_name = "W", value_parser = |text: &str| number(text, LaserPower::watts))]
    pub power: LaserPower,
    /// Scan speed in mm/s
    #[arg(long, value_name = "MM_S", value_parser = |text: &str| number(text, ScanSpeed::mm_per_s))]
    pub speed: ScanSpeed,
    /// Hatch spacing in um
    #[arg(long, value_name = "UM", value_parser = |text: &str| number(text, HatchSpacing::micrometres))]
    pub hatch: HatchSpacing,
    /// Layer thickness in um
    #[arg(long, value_name = "UM", value_parser = |text: &str| number(text, LayerThickness::micrometres))]
    pub layer: LayerThickness,
    /// Bed temperature in C; the usual one of process and alloy (lpbf 80, ebm 700 or 975, ded 25)
    #[arg(long, value_name = "C", value_parser = |text: &str| number(text, BedTemperature::celsius))]
    pub bed_temperature: Option<BedTemperature>,
    /// Spot diameter (1/e2) in um; the usual one of the process (lpbf 90, ebm 250, ded 1000)
    #[arg(long, value_name = "UM", value_parser = spot)]
    pub spot: Option<SpotDiameter>,
    /// Edge of a voxel in um
    #[arg(long, value_name = "UM", value_parser = voxel_size)]
    pub voxel_size: VoxelSize,
    /// Number of voxels along z,y,x; z is the build direction
    #[arg(long, value_name = "Z,Y,X", default_value = "128,128,128", value_parser = shape)]
    pub shape: [usize; 3],
    /// Seed of machine, tracks, pores and scanner; the same seed gives the same bytes
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Grey values of 8 or 16 bit
    #[arg(long, default_value = "16", value_parser = ["8", "16"])]
    pub depth: String,
    /// Use the nominal machine and scanner instead of drawing their imperfections from the seed
    #[arg(long)]
    pub nominal: bool,
    /// TIFF to write; ground truth goes beside it as .truth.json and .labels.tif
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct SimulationSetArgs {
    /// Number of simulated scans
    #[arg(long, value_parser = clap::value_parser!(u32).range(100..=10_000_000))]
    pub simulations: u32,
    /// Seed of the simulations
    #[arg(long)]
    pub simulation_seed: u64,
    /// File that keeps the simulated descriptors, to be read instead when it is there
    #[arg(long, value_name = "FILE")]
    pub rows: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EvaluateArgs {
    #[command(flatten)]
    pub simulated: SimulationSetArgs,
    /// Model bundle to score instead of the built-in one
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Instead of skill: how many of so many scans of each foreign kind are flagged as out of
    /// distribution, beside how many of the simulations
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub foreign: Option<u32>,
    /// Posterior draws per scan
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(64..=100_000))]
    pub samples: u32,
    /// Row file of the simulations the model was trained on, as `train --rows` kept it: compare the
    /// model with its prior and with the nearest of them
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Directory to write the compared simulations to as CSV, and draws for some dense scans
    #[arg(long, value_name = "DIR", requires = "against")]
    pub export: Option<PathBuf>,
    /// Put the tables into this page, between their marks, instead of printing them
    #[arg(long, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Print the evaluation as JSON instead of tables
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RecordArgs {
    #[command(flatten)]
    pub simulated: SimulationSetArgs,
    /// Model bundle; gets a validation set chosen from the simulations, which must be of a seed it
    /// was not trained on, with what the model scores on it
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
}

#[derive(Debug, Args)]
pub struct TrainArgs {
    /// CSV (.csv or .csv.gz) with a header row; each row is one experiment, at least 100 of them
    #[arg(long, value_name = "FILE", requires_all = ["parameters", "observables"])]
    #[cfg_attr(feature = "train", arg(required_unless_present = "simulations", conflicts_with_all = ["simulations", "simulation_seed", "rows", "held_out", "steps", "name"]))]
    #[cfg_attr(not(feature = "train"), arg(required = true))]
    pub table: Option<PathBuf>,
    /// Columns to infer, as in theta1,theta2
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "table")]
    pub parameters: Vec<String>,
    /// Columns to infer them from, as in x1,x2
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "table")]
    pub observables: Vec<String>,
    /// JSON file of the parameters' priors, each {"low": -1, "high": 1} or {"mean": 0, "sd": 1};
    /// parameters without one are described by the table
    #[arg(long, value_name = "FILE", requires = "table")]
    pub prior: Option<PathBuf>,
    /// Seed of weights, batches and noise; the same seed gives the same model
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Directory to write the model to
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    #[cfg(feature = "train")]
    #[command(flatten)]
    pub simulated: Option<SimulationSetArgs>,
    /// Simulated scans, of a seed of their own, kept for the evaluation in the bundle
    #[cfg(feature = "train")]
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub held_out: u32,
    /// Foreign scans to show the out-of-distribution check: of a wrong voxel size, of tracks too far
    /// apart, of textures
    #[cfg(feature = "train")]
    #[arg(long, default_value_t = 24_000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    pub shown: u32,
    /// Optimiser steps
    #[cfg(feature = "train")]
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub steps: u32,
    /// Name of the bundle
    #[cfg(feature = "train")]
    #[arg(long, default_value = "lpbf-descriptors")]
    pub name: String,
}

#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Id of the design, or of the request that asked for it
    pub id: String,
    /// Admin listener of the service that holds the record
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8002")]
    pub admin: String,
    /// File of records (flight-….json) to look in instead of a running service
    #[arg(long, value_name = "FILE", conflicts_with = "admin")]
    pub file: Option<PathBuf>,
    /// The scan that was asked about
    #[arg(long, value_name = "FILE", required_unless_present = "data_dir")]
    pub scan: Option<PathBuf>,
    /// Data directory of a service that keeps its scans, to take the scan from
    #[arg(long, value_name = "DIR", conflicts_with = "scan")]
    pub data_dir: Option<PathBuf>,
    /// Model bundle to use instead of the built-in one
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address of the API and the health endpoints
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Address of /metrics
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub metrics_listen: Option<SocketAddr>,
    /// Address of /gpu-metrics
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub gpu_listen: Option<SocketAddr>,
    /// Address of the admin endpoints
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub admin_listen: Option<SocketAddr>,
    /// Directory for the job database and uploaded scans
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Model bundle to use instead of the built-in one
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Log level, as in info or info,microdiff.imaging=debug
    #[arg(long, value_name = "LEVELS")]
    pub log_level: Option<String>,
    /// Keys of log lines: native, or ecs for the Elastic Common Schema
    #[arg(long, value_name = "NAME")]
    pub log_schema: Option<LogSchemaName>,
    /// Log lines on stdout: json, or pretty for a person
    #[arg(long, value_name = "NAME")]
    pub log_format: Option<LogFormatName>,
    /// Configuration file (TOML); flags win over it
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration and exit
    #[arg(long)]
    pub check_config: bool,
}

#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Tell altered, removed, reordered and foreign records apart; exit code 3 if there are any
    Verify(AuditVerifyArgs),
    /// Print records, oldest first
    Export(AuditExportArgs),
}

#[derive(Debug, Args)]
pub struct AuditVerifyArgs {
    /// Directory of the log
    #[arg(long, value_name = "DIR", default_value = "microdiff-data/audit")]
    pub dir: PathBuf,
    /// Hash of a record that was kept elsewhere and must be in the log
    #[arg(long, value_name = "HASH")]
    pub expect_head: Option<String>,
}

#[derive(Debug, Args)]
pub struct AuditExportArgs {
    /// Directory of the log
    #[arg(long, value_name = "DIR", default_value = "microdiff-data/audit")]
    pub dir: PathBuf,
    /// From this time on: RFC 3339 in UTC or its beginning, as in 2026-01-31
    #[arg(long, value_name = "TIME", value_parser = time_or_beginning)]
    pub from: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time_or_beginning)]
    pub to: Option<String>,
    /// One event, as design.completed; with a dot at its end, as in "design.", all that begin alike
    #[arg(long, value_name = "EVENT")]
    pub event: Option<String>,
    /// Records of one caller, by the keyed hash that log lines show as user_id
    #[arg(long, value_name = "HASH")]
    pub caller: Option<String>,
    /// Lines as they lie in the log, or a table
    #[arg(long, value_enum, default_value_t = ExportAs::Jsonl)]
    pub format: ExportAs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExportAs {
    Jsonl,
    Csv,
}

#[derive(Debug, Args)]
pub struct ObservabilityArgs {
    #[command(subcommand)]
    pub command: ObservabilityCommand,
}

#[derive(Debug, Subcommand)]
pub enum ObservabilityCommand {
    /// Write rules, dashboards, pipelines, manifests and runbooks into a directory
    Export(KitExportArgs),
    /// Look up every metric, label and label value of rules and dashboards; exit code 1 with a list
    /// of faults if any is not in the catalogue of this binary
    Check(KitCheckArgs),
    /// Send one design and look whether its metric, trace and log line, and this kit's rules and
    /// routes, have arrived in the systems that are named; exit code 1 if any has not
    Verify(Box<VerifyArgs>),
}

#[derive(Debug, Args)]
pub struct KitExportArgs {
    /// Directory to write into; made if missing, refused unless empty
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Write over the kit's files in a directory that is not empty; others stay
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct KitCheckArgs {
    /// An exported and edited kit, instead of the one in this binary
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// Address to ask
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080/readyz")]
    pub url: String,
    /// Seconds to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=300))]
    pub timeout_seconds: u64,
}

//! The configuration of the sandboxed service: what the operator's file says of thresholds and
//! checks, with places, addresses and cadences of the sandbox.

use crate::args::DrillArgs;
use crate::failure::Failure;
use crate::output;
use microdiff_kit::Fault;
use microdiff_server::Config;
use microdiff_server::Overrides;
use microdiff_server::config::{AuditConfig, CheckConfig, CheckPolicy, ListenConfig};
use microdiff_telemetry::gpu::StandIn;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Places within the sandbox's folder.
pub struct Places {
    pub folder: PathBuf,
}

impl Places {
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The model directory: a link, which can be turned to another bundle in one step.
    pub fn model(&self) -> PathBuf {
        self.folder.join("model")
    }

    pub fn right_model(&self) -> PathBuf {
        self.folder.join("model.right")
    }

    pub fn wrong_model(&self) -> PathBuf {
        self.folder.join("model.wrong")
    }

    pub fn config(&self) -> PathBuf {
        self.folder.join("config.toml")
    }

    /// Turns the model directory to a bundle.
    pub fn turn_model_to(&self, bundle: &Path) -> Result<(), Failure> {
        let next = self.folder.join("model.next");
        std::os::unix::fs::symlink(bundle, &next)
            .and_then(|()| std::fs::rename(&next, self.model()))
            .map_err(|error| Failure::internal(format!("cannot turn the model: {error}")))
    }
}

/// What the drill is to use of the operator's; the defaults without a file.
pub fn base(args: &DrillArgs) -> Result<Config, Failure> {
    let Some(file) = &args.config else { return Ok(Config::default()) };
    let config = Config::load(Some(file), Overrides::default())?;
    let used = std::fs::read_dir(&config.data_dir).is_ok_and(|mut all| all.next().is_some());
    if used && !args.force {
        return Err(Failure::usage(format!(
            "{} keeps its data in {}, which is in use: it looks like production, where nothing is \
             drilled; --force drills it all the same, in a sandbox beside it",
            file.display(),
            config.data_dir.display()
        )));
    }
    Ok(config)
}

/// The sandbox's settings laid over `config`.
pub fn for_sandbox(
    mut config: Config,
    places: &Places,
    fault: Fault,
    compression: u32,
    collector: SocketAddr,
) -> Config {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen = ListenConfig { api: free, metrics: free, gpu: free, admin: free };
    config.data_dir = places.data();
    config.model_dir = Some(places.model());
    config.log.file = Some(places.data().join("microdiff.log"));
    config.audit = AuditConfig { dir: None, key_file: None, ..config.audit };
    config.traces.endpoint = Some(format!("http://{collector}"));
    config.traces.protocol = None;
    config.traces.certificate = None;
    config.traces.sample_ratio = Some(1.0);
    // A scoring takes the processor for minutes, and no drill expects anything of it.
    config.quality.evaluate = false;
    config.gpu.library = None;
    config.gpu.every_seconds = 1;
    config.health.gpu.policy = CheckPolicy::Disabled;
    let checks = &mut config.health;
    for check in [&mut checks.database, &mut checks.storage, &mut checks.gpu] {
        hasten(check, compression);
    }
    fit(&mut config, fault, compression);
    config
}

/// A check that runs as much more often as the rules run faster; once a second is the limit.
fn hasten(check: &mut CheckConfig, compression: u32) {
    check.every_seconds = (check.every_seconds / u64::from(compression)).max(1);
}

/// What one fault needs.
fn fit(config: &mut Config, fault: Fault, compression: u32) {
    match fault {
        // Few enough places that the burst turns some over.
        Fault::ErrorBurst => config.flight.capacity = config.flight.capacity.min(14),
        // Designs that are slow side by side; a burn rate needs more than ten.
        Fault::SlowInference => config.jobs.workers = config.jobs.workers.max(super::faults::BATCH),
        Fault::Overload => {
            config.jobs.workers = 1;
            config.jobs.queue_length = 5;
        }
        Fault::WrongModel => hasten(&mut config.health.model, compression),
        // The least that the service accepts.
        Fault::LogStalled => config.log.queue_bytes = 64 << 10,
        _ => {}
    }
}

/// Whether a fault is done to GPUs.
pub fn has_gpus(fault: Fault) -> bool {
    matches!(fault, Fault::GpuMemory | Fault::GpuLost | Fault::GpuHang | Fault::GpuFailing)
}

/// Has the service watch the devices of the stand-in.
pub fn with_gpus(config: &mut Config, gpus: &StandIn) {
    config.gpu.library = Some(gpus.library().to_owned());
    config.gpu.deadline_seconds = 1;
    config.health.gpu.policy = CheckPolicy::Optional;
}

/// Writes the configuration where the service finds it.
pub fn write(config: &Config, places: &Places) -> Result<(), Failure> {
    let text = toml::to_string(config).map_err(Failure::internal)?;
    output::write_file(&places.config(), text.as_bytes())
}

//! A running service with everything around it that a drill needs, in a folder of its own.

use super::collector::Collector;
use super::patience::Patience;
use super::prometheus::{Plan, Prometheus};
use super::service::{Launch, Service};
use super::settings::{self, Places};
use super::traffic::{Traffic, User};
use super::{bundle, disk, gpu};
use crate::args::DrillArgs;
use crate::failure::Failure;
use microdiff_design::write_bundled;
use microdiff_kit::{Compression, Drill, Fault};
use microdiff_telemetry::gpu::StandIn;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Scrapes and evaluations: ten in the shortest range of the rules at the usual compression.
const RESOLUTION: Duration = Duration::from_millis(500);

/// What a fault is done to. Fields end in the order in which they stand: the service first, so that
/// no user waits for an answer.
pub struct Sandbox {
    pub service: Service,
    pub prometheus: Prometheus,
    pub traffic: Traffic,
    pub user: User,
    pub collector: Collector,
    pub gpus: Option<StandIn>,
    pub places: Places,
    pub patience: Patience,
    _folder: Option<TempDir>,
}

/// The compression that the arguments ask for, or the drill's own.
pub fn compression(args: &DrillArgs, drill: &Drill) -> Compression {
    let factor = args.compression.unwrap_or(drill.compression);
    Compression { factor, resolution: RESOLUTION }
}

impl Sandbox {
    /// Starts everything and waits until the service is ready.
    pub fn start(args: &DrillArgs, drill: &Drill, patience: Patience) -> Result<Self, Failure> {
        let base = settings::base(args)?;
        let compression = compression(args, drill);
        let plan = Plan::new(&args.prometheus_command, &compression)?;
        let fault = drill.fault;
        let own_disk = fault == Fault::DiskFull;
        if own_disk {
            disk::check()?;
        }
        let (folder, kept) = folder(args)?;
        let places = Places { folder };
        std::fs::create_dir(places.data()).map_err(Failure::internal)?;
        lay_out_model(&places, base.model_dir.as_deref(), fault)?;
        let collector = Collector::start()?;
        let gpus = settings::has_gpus(fault).then(|| gpu::build(&places.folder)).transpose()?;
        let mut config =
            settings::for_sandbox(base, &places, fault, compression.factor, collector.address);
        if let Some(gpus) = &gpus {
            settings::with_gpus(&mut config, gpus);
        }
        settings::write(&config, &places)?;
        let launch = Launch {
            folder: places.folder.clone(),
            config: places.config(),
            own_disk: own_disk.then(|| places.data()),
        };
        let service = Service::start(launch, &patience)?;
        let user = User::new(service.addresses.api)?;
        service.until_ready(user.service(), &patience)?;
        let prometheus = Prometheus::start(&plan, &places.folder, service.addresses, &patience)?;
        // Slow designs are to be the only ones: fast ones beside them would hide them.
        let traffic = Traffic::start(&user, fault != Fault::SlowInference);
        Ok(Self {
            traffic,
            user,
            prometheus,
            service,
            collector,
            gpus,
            places,
            patience,
            _folder: kept,
        })
    }

    /// The GPUs of a drill that has some.
    pub fn gpus(&self) -> Result<&StandIn, Failure> {
        self.gpus.as_ref().ok_or_else(|| Failure::internal("this drill has no GPUs"))
    }
}

/// Where the sandbox lives: the operator's own directory, or one that goes with it.
fn folder(args: &DrillArgs) -> Result<(PathBuf, Option<TempDir>), Failure> {
    let Some(keep) = &args.keep else {
        let folder = tempfile::Builder::new().prefix("microdiff-drill-").tempdir();
        let folder = folder.map_err(|error| Failure::internal(format!("no folder: {error}")))?;
        return Ok((folder.path().to_owned(), Some(folder)));
    };
    let refuse = |reason: &dyn std::fmt::Display| {
        Failure::usage(format!("cannot run in {}: {reason}", keep.display()))
    };
    std::fs::create_dir_all(keep).map_err(|error| refuse(&error))?;
    let mut entries = std::fs::read_dir(keep).map_err(|error| refuse(&error))?;
    if entries.next().is_some() {
        return Err(refuse(&"it is not empty; name another directory"));
    }
    // The service and Prometheus are told places, not ways from here.
    let keep = std::fs::canonicalize(keep).map_err(|error| refuse(&error))?;
    Ok((keep, None))
}

/// Copies the model into the sandbox, and makes the wrong one where it is needed.
fn lay_out_model(places: &Places, model: Option<&Path>, fault: Fault) -> Result<(), Failure> {
    let refuse = |error| Failure::internal(format!("cannot copy the model: {error}"));
    let right = places.right_model();
    std::fs::create_dir(&right).map_err(refuse)?;
    match model {
        None => write_bundled(&right).map_err(refuse)?,
        Some(model) => bundle::copy(model, &right).map_err(refuse)?,
    }
    if fault == Fault::WrongModel {
        bundle::spoil(&right, &places.wrong_model()).map_err(refuse)?;
    }
    places.turn_model_to(&right)
}

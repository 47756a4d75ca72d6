//! The known-answer canary: a small scan that travels with the model, and the posterior it gave
//! when the model was made. A model that loads but answers differently is *wrong*, which no probe
//! of files or memory would tell.

use crate::designer::infer;
use crate::{DesignError, DesignRequest, bundled};
use microdiff_diffusion::bundle::BundleFiles;
use microdiff_diffusion::{Model, Quantiles};
use microdiff_domain::{
    Alloy, PARAMETER_COUNT, Parameter, Process, ProcessParameters, SpotDiameter, Volume, VoxelSize,
};
use microdiff_imaging::{Scan, Voxels};
use microdiff_process::{BitDepth, Case, Nuisance, SimulationRequest, simulate};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// File of the recorded answer.
const RECORD_FILE: &str = "phantom.json";
/// File of the voxels: 8 bit, (z, y, x), x fastest.
const VOXEL_FILE: &str = "phantom.raw";
/// Posterior draws of the canary: enough to notice a wrong model, few enough to ask often.
const SAMPLES: usize = 256;
/// Accepted difference of a quantile, as a share of the prior's range. Not zero, because `exp` and
/// `ln` of the system's library may differ by a last bit between machines.
const TOLERANCE: f64 = 1e-3;

/// The phantom and the answer it must give.
pub(crate) struct Phantom {
    scan: Scan,
    record: Record,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    /// The model this answer is of.
    model_digest: String,
    shape: [usize; 3],
    voxel_size_um: VoxelSize,
    alloy: Alloy,
    samples: usize,
    steps: usize,
    seed: u64,
    /// Expected quantiles, θ in its order and units.
    quantiles: [Quantiles; PARAMETER_COUNT],
    /// Largest accepted difference, as a share of the prior's range.
    tolerance: f64,
}

/// Whether the model still answers as recorded.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CanaryReport {
    /// Largest difference of any quantile, as a share of the prior's range.
    pub difference: f64,
    /// Largest accepted difference.
    pub tolerance: f64,
    /// Whether the difference is accepted.
    pub matched: bool,
}

impl Phantom {
    /// Reads the phantom beside a model.
    pub(crate) fn open(directory: &Path) -> Result<Self, DesignError> {
        Self::from_bytes(&read(directory, RECORD_FILE)?, &read(directory, VOXEL_FILE)?)
    }

    /// Takes the content of the two files.
    pub(crate) fn from_bytes(record: &[u8], voxels: &[u8]) -> Result<Self, DesignError> {
        let (record, volume) = parse(record, voxels)?;
        let scan = Scan::in_memory(Voxels::U8(volume), Some(record.voxel_size_um));
        Ok(Self { scan, record })
    }

    /// Prints and scans the phantom and records what `model` answers; gives the two files' bytes.
    fn record(model: Model) -> Result<(Vec<u8>, Vec<u8>), DesignError> {
        let request = Self::simulation()?;
        let simulation = simulate(&request)?;
        let volume = simulation.scan_u8()?;
        let voxels = volume.data().to_vec();
        let record = Record {
            model_digest: model.digest().to_owned(),
            shape: request.shape,
            voxel_size_um: request.voxel_size,
            alloy: request.case.alloy,
            samples: SAMPLES,
            steps: DesignRequest::DEFAULT_STEPS,
            seed: 1,
            quantiles: [Quantiles::of(Vec::new()); PARAMETER_COUNT],
            tolerance: TOLERANCE,
        };
        let scan = Scan::in_memory(Voxels::U8(volume), Some(request.voxel_size));
        let mut phantom = Self { scan, record };
        phantom.record.quantiles = phantom.answer(&model)?;
        let mut record = serde_json::to_vec_pretty(&phantom.record)
            .map_err(|error| DesignError::Canary(error.to_string()))?;
        record.push(b'\n');
        Ok((record, voxels))
    }

    /// Ti-6Al-4V with gaps between tracks: a scan with much to measure.
    fn simulation() -> Result<SimulationRequest, DesignError> {
        Ok(SimulationRequest {
            case: Case {
                process: Process::Lpbf,
                alloy: Alloy::Ti6Al4V,
                parameters: ProcessParameters::from_array([160.0, 1400.0, 50.0, 130.0, 80.0])?,
                spot: SpotDiameter::micrometres(90.0)?,
            },
            voxel_size: VoxelSize::micrometres(6.0)?,
            shape: [56, 64, 64],
            seed: 20,
            depth: BitDepth::U8,
            nuisance: Nuisance::nominal(Process::Lpbf),
        })
    }

    /// Asks the model and compares with the recorded answer.
    pub(crate) fn check(&self, model: &Model) -> Result<CanaryReport, DesignError> {
        if self.record.model_digest != model.digest() {
            return Err(DesignError::Canary("it was recorded for another model".to_owned()));
        }
        let found = self.answer(model)?;
        let mut difference = 0.0f64;
        for parameter in Parameter::ALL {
            let range = parameter.range(Process::Lpbf, self.record.alloy);
            let expected = levels(&self.record.quantiles[parameter.index()]);
            for (found, expected) in levels(&found[parameter.index()]).iter().zip(expected) {
                let gap = (range.to_unit(*found) - range.to_unit(expected)).abs();
                // A NaN is infinitely far, which `f64::max` would hide.
                difference = difference.max(if gap.is_nan() { f64::INFINITY } else { gap });
            }
        }
        let tolerance = self.record.tolerance;
        Ok(CanaryReport { difference, tolerance, matched: difference <= tolerance })
    }

    fn answer(&self, model: &Model) -> Result<[Quantiles; PARAMETER_COUNT], DesignError> {
        let request = DesignRequest {
            samples: self.record.samples,
            steps: self.record.steps,
            seed: self.record.seed,
            ..DesignRequest::new(self.record.alloy)
        };
        let (_, posterior) =
            infer(model, &self.scan, self.record.voxel_size_um, &request, &mut ())?;
        Ok(Parameter::ALL.map(|parameter| posterior.quantiles(parameter)))
    }
}

fn parse(record: &[u8], voxels: &[u8]) -> Result<(Record, Volume<u8>), DesignError> {
    let record: Record = serde_json::from_slice(record)
        .map_err(|error| DesignError::Canary(format!("{RECORD_FILE}: {error}")))?;
    let volume = Volume::new(record.shape, voxels.to_vec())?;
    Ok((record, volume))
}

/// The bundled model's phantom, for whoever wants to ask a service something it can answer.
#[derive(Debug, Clone)]
pub struct PhantomScan {
    /// Grey values, (z, y, x), z up along the build direction.
    pub voxels: Volume<u8>,
    /// Edge of a voxel.
    pub voxel_size: VoxelSize,
    /// What the part is made of.
    pub alloy: Alloy,
}

impl PhantomScan {
    /// The phantom that is part of the binary.
    ///
    /// # Errors
    /// [`DesignError::Canary`] when the binary was built with files that do not belong together.
    pub fn bundled() -> Result<Self, DesignError> {
        let (record, voxels) = parse(bundled::PHANTOM, bundled::PHANTOM_VOXELS)?;
        Ok(Self { voxels, voxel_size: record.voxel_size_um, alloy: record.alloy })
    }
}

fn levels(quantiles: &Quantiles) -> [f64; 5] {
    [quantiles.p05, quantiles.p25, quantiles.median, quantiles.p75, quantiles.p95]
}

/// What a bundle directory holds, without loading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleContent {
    /// Digest of the model.
    pub digest: String,
    /// The known-answer canary: the recorded answer and the voxels.
    canary: [Vec<u8>; 2],
}

impl BundleContent {
    /// The files of a bundle.
    pub const FILES: [&str; 4] = ["manifest.json", "weights.safetensors", RECORD_FILE, VOXEL_FILE];

    /// Reads the files of `directory`.
    pub fn read(directory: &Path) -> Result<Self, DesignError> {
        let digest = BundleFiles::read(directory)?.digest();
        Ok(Self { digest, canary: [read(directory, RECORD_FILE)?, read(directory, VOXEL_FILE)?] })
    }
}

fn read(directory: &Path, name: &str) -> Result<Vec<u8>, DesignError> {
    std::fs::read(directory.join(name))
        .map_err(|error| DesignError::Canary(format!("{name}: {error}")))
}

/// Writes into a bundle directory the phantom scan and what the bundle's model answers to it.
pub fn record_phantom(directory: &Path) -> Result<(), DesignError> {
    let (record, voxels) = Phantom::record(Model::open(directory)?)?;
    for (name, bytes) in [(VOXEL_FILE, voxels), (RECORD_FILE, record)] {
        std::fs::write(directory.join(name), bytes)
            .map_err(|error| DesignError::Canary(format!("{name}: {error}")))?;
    }
    Ok(())
}

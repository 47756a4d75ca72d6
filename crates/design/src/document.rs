//! The answer document, `microdiff.design/1`: what the command line prints with `--json` and the
//! server stores and returns. Field names carry their unit.

use crate::quality::QualitySummary;
use microdiff_diffusion::Quantiles;
use microdiff_domain::{Alloy, DefectClass, Machine, PARAMETER_COUNT, Parameter, Process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Value of [`DesignDocument::schema`].
pub const DESIGN_SCHEMA: &str = "microdiff.design/1";

/// What every shown number rests on at least.
pub const BASIS: &str = "Trained on a simulator and calibrated on a simulator: coverage is \
                         claimed for simulated parts only, not for real ones.";

/// Added to [`BASIS`] where no measurement stands behind the simulator either.
const UNVALIDATED: &str = "Unvalidated: nothing measured supports the simulator of this process.";

/// What every number shown for a part of `process` rests on.
pub fn basis(process: Process) -> String {
    if process.is_validated() { BASIS.to_owned() } else { format!("{BASIS} {UNVALIDATED}") }
}

/// One answer: the posterior over process parameters for one scan, with all it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesignDocument {
    /// Always [`DESIGN_SCHEMA`].
    pub schema: String,
    /// [`basis`] of the process.
    pub basis: String,
    /// Whether nothing measured supports the simulator of the part's process.
    #[serde(default)]
    pub unvalidated: bool,
    /// The scan that was read.
    pub scan: ScanSummary,
    /// What was asked and given beside the scan.
    pub request: RequestSummary,
    /// What was measured on the scan.
    pub analysis: AnalysisSummary,
    /// Quantiles of each parameter given the scan.
    pub posterior: Marginals,
    /// Quantiles of each parameter before the scan and the known values are seen: the distribution
    /// the model was trained on.
    pub prior: Marginals,
    /// Probability of each dominant cause of porosity.
    pub defects: DefectProbabilities,
    /// Whether the scan resembles what the model was trained on.
    pub out_of_distribution: OutOfDistributionSummary,
    /// What the answer says of its own trustworthiness; empty in documents of older versions.
    #[serde(default)]
    pub quality: QualitySummary,
    /// The model that answered.
    pub model: ModelSummary,
    /// What a reader must know before using the numbers, in plain sentences.
    pub notes: Vec<String>,
    /// Wall time by phase in milliseconds, and `total`.
    pub timings_ms: BTreeMap<String, f64>,
    /// Seed of the draws.
    pub seed: u64,
    /// SHA-256 of the draws, see [`crate::draws_sha256`]: whoever repeats the question with the same
    /// model can prove that the answer is the same to the last bit. Empty in documents written
    /// before there was one.
    #[serde(default)]
    pub draws_sha256: String,
}

/// The scan that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanSummary {
    /// SHA-256 of the file's bytes, hexadecimal.
    pub sha256: String,
    /// Number of voxels along (z, y, x).
    pub shape: [usize; 3],
    /// Edge of a voxel, µm.
    pub voxel_size_um: f64,
    /// Where the voxel size came from.
    pub voxel_size_source: String,
}

/// What was asked and given beside the scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestSummary {
    /// The alloy.
    pub alloy: Alloy,
    /// The process.
    pub process: Process,
    /// Parameters given as known, by key with unit.
    pub known: BTreeMap<String, f64>,
    /// Laser spot diameter if given, µm.
    pub spot_diameter_um: Option<f64>,
    /// The machine if given.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Number of draws behind the quantiles.
    pub samples: usize,
    /// Number of sampler steps.
    pub steps: usize,
}

/// What was measured on the scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalysisSummary {
    /// Pore volume over part volume.
    pub porosity: f64,
    /// The same at a stricter threshold.
    pub porosity_low: f64,
    /// The same at a laxer threshold.
    pub porosity_high: f64,
    /// Smallest pore that is counted, equivalent diameter in µm.
    pub detection_floor_um: f64,
    /// Number of pores counted.
    pub pore_count: usize,
    /// Pores per cubic millimetre.
    pub pores_per_mm3: f64,
    /// Median equivalent diameter, µm; absent without pores.
    pub median_equivalent_diameter_um: Option<f64>,
    /// Largest equivalent diameter, µm; absent without pores.
    pub max_equivalent_diameter_um: Option<f64>,
    /// Volume-weighted mean sphericity; absent without pores.
    pub mean_sphericity: Option<f64>,
    /// Period of the porosity profile along the build direction, µm; absent when none stands out.
    pub layer_period_um: Option<f64>,
    /// Period of the pore lattice within layers, µm; absent when none stands out.
    pub hatch_period_um: Option<f64>,
    /// Share of pore volume by shape rule.
    pub shape_shares: ShapeShares,
}

/// Share of pore volume in pores of a shape; all 0 without pores.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct ShapeShares {
    /// Flat, large or ragged: typical of lack of fusion.
    pub lack_of_fusion: f64,
    /// Round and larger than gas pores: typical of keyhole porosity.
    pub keyhole: f64,
    /// Small and round: typical of gas.
    pub gas: f64,
}

/// Quantiles of each parameter. Serialised by [`Parameter::key`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Marginals {
    /// Laser power, W.
    pub laser_power_w: Quantiles,
    /// Scan speed, mm/s.
    pub scan_speed_mm_s: Quantiles,
    /// Layer thickness, µm.
    pub layer_thickness_um: Quantiles,
    /// Hatch spacing, µm.
    pub hatch_spacing_um: Quantiles,
    /// Bed temperature, °C.
    pub bed_temperature_c: Quantiles,
}

impl Marginals {
    /// Takes quantiles in the order of θ.
    pub fn from_array(quantiles: [Quantiles; PARAMETER_COUNT]) -> Self {
        let [
            laser_power_w,
            scan_speed_mm_s,
            layer_thickness_um,
            hatch_spacing_um,
            bed_temperature_c,
        ] = quantiles;
        Self {
            laser_power_w,
            scan_speed_mm_s,
            layer_thickness_um,
            hatch_spacing_um,
            bed_temperature_c,
        }
    }

    /// Quantiles of every parameter over draws of θ.
    pub fn of(draws: &[[f64; PARAMETER_COUNT]]) -> Self {
        Self::from_array(Parameter::ALL.map(|parameter| {
            Quantiles::of(draws.iter().map(|draw| draw[parameter.index()]).collect())
        }))
    }

    /// The quantiles of one parameter.
    pub fn get(&self, parameter: Parameter) -> Quantiles {
        match parameter {
            Parameter::LaserPower => self.laser_power_w,
            Parameter::ScanSpeed => self.scan_speed_mm_s,
            Parameter::LayerThickness => self.layer_thickness_um,
            Parameter::HatchSpacing => self.hatch_spacing_um,
            Parameter::BedTemperature => self.bed_temperature_c,
        }
    }
}

/// Probability of each dominant cause of porosity; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DefectProbabilities {
    /// No process-made porosity above the detection floor.
    pub dense: f64,
    /// Unmelted gaps between tracks or layers.
    pub lack_of_fusion: f64,
    /// Keyhole pores.
    pub keyhole: f64,
    /// Gaps of broken tracks.
    pub balling: f64,
}

impl DefectProbabilities {
    /// Takes probabilities in the order of [`DefectClass::ALL`].
    pub fn from_array(probabilities: [f64; 4]) -> Self {
        let [dense, lack_of_fusion, keyhole, balling] = probabilities;
        Self { dense, lack_of_fusion, keyhole, balling }
    }

    /// The probability of one class.
    pub fn get(&self, class: DefectClass) -> f64 {
        match class {
            DefectClass::Dense => self.dense,
            DefectClass::LackOfFusion => self.lack_of_fusion,
            DefectClass::Keyhole => self.keyhole,
            DefectClass::Balling => self.balling,
        }
    }
}

/// Whether the scan resembles what the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OutOfDistributionSummary {
    /// Distance from the training scans; larger is stranger.
    pub score: f64,
    /// About the share of held-out simulated scans that are at least as strange: the smaller of two
    /// detectors' shares, doubled for having asked both.
    pub p_value: f64,
    /// Whether the answer must not be trusted for that reason.
    pub flagged: bool,
}

/// The model that answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Name of the bundle.
    pub name: String,
    /// Kind of model; the `model_type` of metrics and logs.
    pub model_type: String,
    /// SHA-256 over manifest and weights, hexadecimal.
    pub digest: String,
    /// Version of the simulator that made the training data.
    pub simulator_version: String,
}

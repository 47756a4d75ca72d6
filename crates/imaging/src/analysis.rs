use crate::appearance::{Seen, appearance};
use crate::filter::histogram::Histogram;
use crate::filter::median::{Grey, median3};
use crate::filter::trend::flatten;
use crate::measure::pore::{Pore, measure};
use crate::segment::part::{Outside, Part, without_air, without_padding};
use crate::segment::threshold::{GreyLevels, Pores, find_pores};
use crate::{GreyMap, ImagingError, Scan, Voxels, describe};
use microdiff_domain::{Appearance, Descriptors, Observer, Phase, VoxelSize};
use serde::Serialize;

/// Shortest accepted axis of a scan, in voxels.
pub const LEAST_AXIS: usize = 8;

/// Largest share of voxels that may be clearly brighter than what was taken for the solid: dense
/// inclusions are rarer; more is the part itself, in a scan that is mostly air.
const MOST_BRIGHT: f64 = 0.01;

/// How a scan is analysed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AnalysisOptions {
    /// Smallest number of voxels called a pore.
    pub min_pore_voxels: u64,
    /// Whether the slow grey trend of the solid is removed.
    pub remove_trend: bool,
}

impl Default for AnalysisOptions {
    /// Eight voxels: a pore of two voxels' edge, equivalent diameter 2.5 voxels.
    fn default() -> Self {
        Self { min_pore_voxels: 8, remove_trend: true }
    }
}

/// What was found in a scan.
#[derive(Debug, Clone, Serialize)]
pub struct Analysis {
    /// Number of voxels along (z, y, x).
    pub shape: [usize; 3],
    /// Edge of a voxel.
    pub voxel_size_um: f64,
    /// Volume of the part measured.
    pub part_volume_mm3: f64,
    /// What of the scan was left out as not part.
    pub outside: Outside,
    /// Pore volume over part volume.
    pub porosity: f64,
    /// The same with the threshold moved towards the pores by a tenth of the contrast.
    pub porosity_low: f64,
    /// The same with the threshold moved towards the solid by a tenth of the contrast.
    pub porosity_high: f64,
    /// The grey values the pores were found with.
    pub threshold: Threshold,
    /// Shares of pore volume by cause.
    pub defect_shares: DefectShares,
    /// Strongest vertical period of porosity, when it stands out.
    pub layer_period_um: Option<f64>,
    /// Share of the height profile's variance at the strongest vertical period.
    pub layer_strength: f64,
    /// Strongest directional period within slabs, when it stands out.
    pub hatch_period_um: Option<f64>,
    /// Directional power at the strongest period over the variance within slabs.
    pub hatch_strength: f64,
    /// Every pore, largest first.
    pub pores: Vec<Pore>,
    /// The scan as the model sees it.
    pub descriptors: Descriptors,
    /// How the scan looks, for the out-of-distribution check alone.
    #[serde(skip)]
    pub appearance: Appearance,
}

/// Grey values a segmentation rests on, in the units of the source.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Threshold {
    /// Mode of the solid.
    pub solid_grey: f64,
    /// Noise of the solid after the median filter, standard deviation.
    pub noise_grey: f64,
    /// A pore must hold a voxel darker than this.
    pub seed_grey: f64,
    /// Grey of pore cores, if there are pores.
    pub pore_grey: Option<f64>,
    /// Boundary between solid and pore, if there are pores.
    pub threshold_grey: Option<f64>,
    /// Solid minus pore core, over the solid.
    pub contrast: Option<f64>,
    /// Range of the slow grey trend that was removed, over the solid.
    pub trend: f64,
    /// Equivalent diameter below which no pore is reported.
    pub detection_floor_um: f64,
}

/// Shares of pore volume by a rule on shape and size; all zero without pores.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct DefectShares {
    /// Irregular, flat or large.
    pub lack_of_fusion: f64,
    /// Round, of middle size.
    pub keyhole: f64,
    /// Round and small.
    pub gas: f64,
}

/// The denoised, flattened scan with its grey statistics.
struct Prepared {
    grey: Vec<u16>,
    part: Part,
    histogram: Histogram,
    quantum: u16,
    trend: f64,
}

/// Finds and measures the pores of a scan. Announces preprocess, segment and describe. Refuses a
/// constant scan and one with an axis shorter than [`LEAST_AXIS`].
pub fn analyze(
    scan: &Scan,
    voxel_size: VoxelSize,
    options: &AnalysisOptions,
    observer: &mut dyn Observer,
) -> Result<Analysis, ImagingError> {
    let shape = scan.voxels.shape();
    if shape.iter().any(|&n| n < LEAST_AXIS) {
        let shape = shape.map(|n| n.to_string()).join(" x ");
        return Err(ImagingError::TooSmall { shape, least: LEAST_AXIS });
    }
    observer.begin(Phase::Preprocess);
    let prepared = match &scan.voxels {
        Voxels::U8(volume) => prepare(volume.data(), shape, options, scan.grey_map)?,
        Voxels::U16(volume) => prepare(volume.data(), shape, options, scan.grey_map)?,
    };
    observer.end(Phase::Preprocess);
    observer.begin(Phase::Segment);
    let levels = GreyLevels::read(&prepared.histogram, prepared.quantum);
    let bright = prepared.histogram.share_above(levels.clearly_brighter());
    if bright > MOST_BRIGHT {
        return Err(ImagingError::MostlyAir { bright_percent: 100.0 * bright });
    }
    let pores =
        find_pores(&prepared.grey, &prepared.part, &levels, options.min_pore_voxels.max(1))?;
    observer.end(Phase::Segment);
    observer.begin(Phase::Describe);
    let analysis = report(scan, voxel_size, options, &prepared, (&levels, &pores))?;
    observer.end(Phase::Describe);
    Ok(analysis)
}

fn prepare<T: Grey + Ord + Into<f64>>(
    data: &[T],
    shape: [usize; 3],
    options: &AnalysisOptions,
    map: GreyMap,
) -> Result<Prepared, ImagingError> {
    let constant = |value: f64| ImagingError::Constant { value: map.offset + map.scale * value };
    if let Some(&first) = data.first()
        && data.iter().all(|&v| v == first)
    {
        return Err(constant(first.into()));
    }
    let part = without_padding(data, shape);
    let mut grey = median3(data, shape)?;
    let mut histogram = Histogram::of_part(&grey, &part, T::QUANTUM);
    let solid = histogram.solid();
    let part = without_air(&grey, part, &histogram, solid.grey);
    let mut trend = 0.0;
    if options.remove_trend {
        trend = flatten(&mut grey, &part, solid);
    }
    if options.remove_trend || part.outside == Outside::Air {
        histogram = Histogram::of_part(&grey, &part, T::QUANTUM);
    }
    Ok(Prepared { grey, part, histogram, quantum: T::QUANTUM, trend })
}

fn report(
    scan: &Scan,
    voxel_size: VoxelSize,
    options: &AnalysisOptions,
    prepared: &Prepared,
    (levels, pores): (&GreyLevels, &Pores),
) -> Result<Analysis, ImagingError> {
    let voxel_um = voxel_size.get();
    let list = measure(&pores.labels, &pores.bits, voxel_um);
    let part_voxels = prepared.part.voxels() as f64;
    let [porosity_low, porosity, porosity_high] =
        pores.voxels.map(|voxels| voxels as f64 / part_voxels);
    let detection_floor_um =
        (6.0 * options.min_pore_voxels.max(1) as f64 / std::f64::consts::PI).cbrt() * voxel_um;
    let described = describe::describe(&describe::Measured {
        pores: &list,
        phase: pores,
        part: &prepared.part,
        levels,
        grey: &prepared.grey,
        histogram: &prepared.histogram,
        voxel_um,
        detection_floor_um,
        porosity: [porosity_low, porosity, porosity_high.max(porosity)],
    })?;
    let appearance = match &scan.voxels {
        Voxels::U8(raw) => appearance(&seen(raw.data(), prepared, (levels, pores), voxel_um)),
        Voxels::U16(raw) => appearance(&seen(raw.data(), prepared, (levels, pores), voxel_um)),
    }?;
    let reported = |found: Option<(f64, bool)>| found.and_then(|(um, told)| told.then_some(um));
    let (layer, hatch) = (described.layer, described.hatch);
    Ok(Analysis {
        shape: scan.voxels.shape(),
        voxel_size_um: voxel_um,
        part_volume_mm3: part_voxels * voxel_um.powi(3) * 1e-9,
        outside: prepared.part.outside,
        porosity,
        porosity_low,
        porosity_high: porosity_high.max(porosity),
        threshold: threshold(prepared, levels, scan.grey_map, detection_floor_um),
        defect_shares: described.shares,
        layer_period_um: reported(layer.map(|l| (l.period_um, l.reported))),
        layer_strength: layer.map_or(0.0, |l| l.strength),
        hatch_period_um: reported(hatch.map(|h| (h.period_um, h.reported))),
        hatch_strength: hatch.map_or(0.0, |h| h.strength),
        pores: list,
        descriptors: described.descriptors,
        appearance,
    })
}

fn seen<'a, T>(
    raw: &'a [T],
    prepared: &'a Prepared,
    (levels, pores): (&'a GreyLevels, &'a Pores),
    voxel_um: f64,
) -> Seen<'a, T> {
    let Prepared { grey, part, histogram, trend, .. } = prepared;
    let trend = trend / levels.solid.grey.max(1.0);
    Seen { raw, grey, part, histogram, levels, pores, trend, voxel_um }
}

fn threshold(
    prepared: &Prepared,
    levels: &GreyLevels,
    map: GreyMap,
    detection_floor_um: f64,
) -> Threshold {
    let quantum = f64::from(prepared.quantum);
    let source = |grey: f64| map.offset + map.scale * grey / quantum;
    let solid = levels.solid;
    Threshold {
        solid_grey: source(solid.grey),
        noise_grey: map.scale.abs() * solid.sd / quantum,
        seed_grey: source(levels.seed),
        pore_grey: levels.pore.map(|pore| source(pore.core)),
        threshold_grey: levels.pore.map(|pore| source(pore.boundary)),
        contrast: levels.pore.map(|pore| (solid.grey - pore.core) / solid.grey),
        trend: prepared.trend / solid.grey.max(1.0),
        detection_floor_um,
    }
}

//! Measures → the descriptor vector of [`microdiff_domain::descriptor`], and the shape rule that
//! shares pore volume among causes.
//!
//! The rule: a pore is *round* when its sphericity is at least 0.7 and its longest axis at most
//! twice its shortest. Round pores below 25 µm equivalent diameter count as gas, from 25 to 120 µm
//! as keyhole; everything else as lack of fusion. It is a convention after the sizes commonly
//! reported for laser powder bed fusion (from memory, unverified), not a measurement of cause, and
//! a pore near the detection floor always looks round.

use crate::ImagingError;
use crate::analysis::DefectShares;
use crate::filter::histogram::Histogram;
use crate::measure::correlation::Phase;
use crate::measure::deficit::Deficit;
use crate::measure::hatch::{HatchPeriod, hatch_period};
use crate::measure::layers::{LayerPeriod, layer_period};
use crate::measure::neighbours::{depth_clustering, neighbours};
use crate::measure::pore::Pore;
use crate::segment::part::Part;
use crate::segment::threshold::{GreyLevels, Pores};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{DESCRIPTOR_COUNT, Descriptors, DomainError};

const ROUND_SPHERICITY: f64 = 0.7;
const ROUND_AXES: f64 = 2.0;
const GAS_BELOW_UM: f64 = 25.0;
const KEYHOLE_BELOW_UM: f64 = 120.0;
const LONGEST_EXTENT_UM: f64 = 2000.0;
const POROSITY_FLOOR: f64 = 1e-6;
const DEFICIT_FLOOR: f64 = 1e-4;
const DENSITY_FLOOR_MM3: f64 = 0.1;

/// Cause a pore's shape suggests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Irregular,
    Middle,
    Small,
}

impl Shape {
    fn of(pore: &Pore) -> Self {
        let diameter = pore.equivalent_diameter_um;
        let round =
            pore.sphericity >= ROUND_SPHERICITY && pore.axes_um[0] <= ROUND_AXES * pore.axes_um[2];
        match (round, diameter) {
            (true, d) if d < GAS_BELOW_UM => Shape::Small,
            (true, d) if d < KEYHOLE_BELOW_UM => Shape::Middle,
            _ => Shape::Irregular,
        }
    }
}

/// What a description is made from.
pub(crate) struct Measured<'a> {
    pub pores: &'a [Pore],
    pub phase: &'a Pores,
    pub part: &'a Part,
    pub levels: &'a GreyLevels,
    pub grey: &'a [u16],
    pub histogram: &'a Histogram,
    pub voxel_um: f64,
    pub detection_floor_um: f64,
    /// At the stricter threshold, the threshold, the looser one.
    pub porosity: [f64; 3],
}

/// A description, with the intermediate results a report shows.
pub(crate) struct Described {
    pub descriptors: Descriptors,
    pub shares: DefectShares,
    pub layer: Option<LayerPeriod>,
    pub hatch: Option<HatchPeriod>,
}

/// Describes a segmented scan.
pub(crate) fn describe(m: &Measured<'_>) -> Result<Described, ImagingError> {
    let phase = Phase::new(&m.phase.bits, m.part);
    let profile = phase.profile();
    let deficit = Deficit::new(m.grey, m.part, m.levels)?;
    let layer = layer_period(&deficit.profile(), m.voxel_um);
    let hatch = hatch_period(&deficit, m.voxel_um);
    let mut v = Vector(Vec::with_capacity(DESCRIPTOR_COUNT));
    v.scan(m);
    v.amounts(m);
    v.sizes(m);
    v.sphericities(m.pores);
    v.proportions(m);
    let shares = v.causes(m);
    v.extend(phase.along_z(m.voxel_um));
    v.extend(phase.across_z(m.voxel_um));
    v.extend(phase.mean_chords().unwrap_or([1.0; 2]).map(|c| (c * m.voxel_um).ln()));
    v.periods(&profile, layer, hatch);
    v.arrangement(m);
    let len = v.0.len();
    let values: [f64; DESCRIPTOR_COUNT] = v.0.try_into().map_err(|_| DomainError::Descriptors {
        reason: format!("{len} values for {} names", DESCRIPTORS.len()),
    })?;
    Ok(Described { descriptors: Descriptors::new(values)?, shares, layer, hatch })
}

/// Values in the order of the schema.
struct Vector(Vec<f64>);

impl Vector {
    fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    fn extend<const N: usize>(&mut self, values: [f64; N]) {
        self.0.extend(values);
    }

    /// From `ln_voxel_size` to `ln_grey_asymmetry`.
    fn scan(&mut self, m: &Measured<'_>) {
        self.push(m.voxel_um.ln());
        self.extend(m.part.shape().map(|n| (n as f64 * m.voxel_um).min(LONGEST_EXTENT_UM).ln()));
        let solid = m.levels.solid;
        let contrast = m.levels.pore.map(|pore| solid.grey - pore.core);
        self.push((solid.sd / contrast.unwrap_or(solid.grey).max(1.0)).min(0.5));
        self.push(contrast.map_or(0.0, |c| c / solid.grey.max(1.0)));
        let dark = m.histogram.share_below(solid.grey - 3.0 * solid.sd);
        self.push(dark.max(DEFICIT_FLOOR).log10());
        self.push((m.histogram.dark_side_sd(solid.grey) / solid.sd).max(1e-2).ln());
    }

    /// From `log_porosity` to `border_share`.
    fn amounts(&mut self, m: &Measured<'_>) {
        let [low, porosity, high] = m.porosity;
        self.push(porosity.max(POROSITY_FLOOR).log10());
        let ratio = |other: f64| {
            if porosity > 0.0 { (other.max(1e-9) / porosity).log10().clamp(-2.0, 2.0) } else { 0.0 }
        };
        self.push(ratio(low));
        self.push(ratio(high));
        let solid = m.levels.solid.grey;
        let contrast = m.levels.pore.map_or(solid, |pore| solid - pore.core).max(1.0);
        self.push(((solid - m.histogram.mean()) / contrast).clamp(DEFICIT_FLOOR, 1.0).log10());
        self.push(density(m, m.pores.len()));
        let border = m.pores.iter().filter(|pore| pore.touches_border);
        let total: f64 = m.pores.iter().map(|pore| pore.volume_um3).sum();
        let border: f64 = border.map(|pore| pore.volume_um3).sum();
        self.push(if total > 0.0 { border / total } else { 0.0 });
    }

    /// From `ln_diameter_p10` to `ln_diameter_sd`.
    fn sizes(&mut self, m: &Measured<'_>) {
        let floor = m.detection_floor_um.ln();
        let ln: Vec<f64> = m.pores.iter().map(|p| p.equivalent_diameter_um.ln()).collect();
        for share in [0.1, 0.5, 0.9] {
            self.push(quantile(&ln, share).unwrap_or(floor));
        }
        let largest = ln.first().copied().unwrap_or(floor);
        self.push(largest.min(LONGEST_EXTENT_UM.ln()));
        self.push(weighted(m.pores, |p| p.equivalent_diameter_um.ln()).unwrap_or(floor));
        let mean = ln.iter().sum::<f64>() / ln.len().max(1) as f64;
        let variance = ln.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / ln.len().max(1) as f64;
        self.push(variance.sqrt());
    }

    /// From `sphericity_mean` to `sphericity_largest`.
    fn sphericities(&mut self, pores: &[Pore]) {
        let all: Vec<f64> = pores.iter().map(|p| p.sphericity).collect();
        self.push(mean(&all).unwrap_or(1.0));
        self.push(weighted(pores, |p| p.sphericity).unwrap_or(1.0));
        self.push(quantile(&all, 0.1).unwrap_or(1.0));
        self.push(quantile(&all, 0.9).unwrap_or(1.0));
        self.push(mean(&all[..all.len().min(5)]).unwrap_or(1.0));
    }

    /// From `ln_height_weighted` to `long_axis_upright`.
    fn proportions(&mut self, m: &Measured<'_>) {
        let floor = m.detection_floor_um.ln();
        let ln_flatness = |p: &Pore| (p.height_breadth_um[0] / p.height_breadth_um[1]).ln();
        self.push(weighted(m.pores, |p| p.height_breadth_um[0].ln()).unwrap_or(floor));
        self.push(weighted(m.pores, |p| p.height_breadth_um[1].ln()).unwrap_or(floor));
        self.push(weighted(m.pores, ln_flatness).unwrap_or(0.0));
        let flatness: Vec<f64> = m.pores.iter().map(ln_flatness).collect();
        self.push(mean(&flatness).unwrap_or(0.0));
        self.push(weighted(m.pores, |p| (p.axes_um[0] / p.axes_um[1]).ln()).unwrap_or(0.0));
        self.push(weighted(m.pores, |p| (p.axes_um[1] / p.axes_um[2]).ln()).unwrap_or(0.0));
        self.push(weighted(m.pores, |p| p.short_axis[0].abs()).unwrap_or(0.5));
        self.push(weighted(m.pores, |p| p.long_axis[0].abs()).unwrap_or(0.5));
    }

    /// From `share_lack_of_fusion` to `ln_diameter_small`.
    fn causes(&mut self, m: &Measured<'_>) -> DefectShares {
        let total: f64 = m.pores.iter().map(|pore| pore.volume_um3).sum();
        let of = |shape: Shape| m.pores.iter().filter(move |pore| Shape::of(pore) == shape);
        let share = |shape: Shape| {
            let volume: f64 = of(shape).map(|pore| pore.volume_um3).sum();
            if total > 0.0 { volume / total } else { 0.0 }
        };
        let shares = DefectShares {
            lack_of_fusion: share(Shape::Irregular),
            keyhole: share(Shape::Middle),
            gas: share(Shape::Small),
        };
        self.extend([shares.lack_of_fusion, shares.keyhole, shares.gas]);
        for (shape, without) in [(Shape::Middle, 45f64), (Shape::Small, 15.0)] {
            let ln: Vec<f64> = of(shape).map(|p| p.equivalent_diameter_um.ln()).collect();
            self.push(density(m, ln.len()));
            self.push(quantile(&ln, 0.5).unwrap_or(without.ln()));
        }
        shares
    }

    /// From `ln_layer_period` to the last `hatch_band`.
    fn periods(&mut self, profile: &[f64], layer: Option<LayerPeriod>, hatch: Option<HatchPeriod>) {
        self.push(layer.map_or(40.0, |l| l.period_um).ln());
        self.push(layer.map_or(0.0, |l| l.strength));
        self.push(layer.map_or(0.0, |l| l.echo));
        let average = mean(profile).unwrap_or(0.0);
        let spread = profile.iter().map(|p| (p - average).powi(2)).sum::<f64>();
        let sd = (spread / profile.len().max(1) as f64).sqrt();
        self.push((0.01 + if average > 0.0 { sd / average } else { 0.0 }).ln());
        self.push(hatch.map_or(100.0, |h| h.period_um).ln());
        self.push(hatch.map_or(0.0, |h| h.strength));
        self.extend(hatch.map_or([0.0; 7], |h| h.bands));
    }

    /// From `ln_neighbour_distance` to `depth_clustering`.
    fn arrangement(&mut self, m: &Measured<'_>) {
        let extent = m.part.shape().map(|n| n as f64 * m.voxel_um);
        let near = neighbours(m.pores, extent);
        self.push(near.map_or(1000f64.ln(), |n| n.ln_distance));
        self.push(near.map_or(0.5, |n| n.upright));
        self.push(depth_clustering(m.pores, extent[0]).unwrap_or(0.0));
    }
}

fn density(m: &Measured<'_>, count: usize) -> f64 {
    let mm3 = m.part.voxels() as f64 * m.voxel_um.powi(3) * 1e-9;
    (count as f64 / mm3).max(DENSITY_FLOOR_MM3).log10()
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn weighted(pores: &[Pore], value: impl Fn(&Pore) -> f64) -> Option<f64> {
    let total: f64 = pores.iter().map(|p| p.volume_um3).sum();
    (total > 0.0).then(|| pores.iter().map(|p| p.volume_um3 * value(p)).sum::<f64>() / total)
}

/// Linear between order statistics.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(at.floor() as usize)?, sorted.get(at.ceil() as usize)?);
    Some(low + (high - low) * at.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_order_statistics() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[3.0, 1.0], 0.25), Some(1.5));
        assert_eq!(quantile(&[], 0.5), None);
    }
}

//! The schema of the pore descriptors: the numbers a scan is reduced to before inference.
//!
//! One table names each descriptor with its unit and meaning; its order is the order of the
//! model's input. Changing the table makes older bundles unreadable, which the bundle checks.

use crate::DomainError;
use serde::{Serialize, Serializer};

/// One entry of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorSpec {
    /// Name, stable within a bundle format.
    pub name: &'static str,
    /// Unit of the stored number.
    pub unit: &'static str,
    /// What it measures, in a sentence.
    pub about: &'static str,
}

/// Number of descriptors.
pub const DESCRIPTOR_COUNT: usize = DESCRIPTORS.len();

pub(crate) const fn spec(
    name: &'static str,
    unit: &'static str,
    about: &'static str,
) -> DescriptorSpec {
    DescriptorSpec { name, unit, about }
}

/// The schema. Logarithms have floors and every entry a stated value for a scan without pores, so all
/// are finite; lengths are physical, so scans of different size and resolution are comparable.
pub const DESCRIPTORS: [DescriptorSpec; 74] = [
    spec("ln_voxel_size", "ln um", "edge of a voxel"),
    spec("ln_extent_z", "ln um", "height of the scan, at most 2000 um"),
    spec("ln_extent_y", "ln um", "extent of the scan along y, at most 2000 um"),
    spec("ln_extent_x", "ln um", "extent of the scan along x, at most 2000 um"),
    spec(
        "noise",
        "1",
        "grey noise after denoising over the solid-pore contrast (over the solid grey without pores), at most 0.5",
    ),
    spec("contrast", "1", "solid minus pore-core grey over solid grey; 0 without pores"),
    spec(
        "log_dark_share",
        "log10",
        "share of voxels darker than the solid by 3 noise widths, with a floor of 1e-4",
    ),
    spec(
        "ln_grey_asymmetry",
        "ln",
        "spread of voxels darker than the solid over that of brighter ones",
    ),
    spec("log_porosity", "log10", "pore volume over part volume, with a floor of 1e-6"),
    spec(
        "log_porosity_low_ratio",
        "log10",
        "porosity at the stricter threshold over porosity, at least -2; 0 without pores",
    ),
    spec(
        "log_porosity_high_ratio",
        "log10",
        "porosity at the looser threshold over porosity, at most 2; 0 without pores",
    ),
    spec(
        "log_grey_deficit",
        "log10",
        "missing grey, (solid - mean) over contrast, with a floor of 1e-4",
    ),
    spec("log_pore_density", "log10 1/mm3", "pores per volume, with a floor of 0.1"),
    spec("border_share", "1", "share of pore volume in pores that touch the border of the scan"),
    spec(
        "ln_diameter_p10",
        "ln um",
        "10 % quantile of the equivalent diameter of pores; detection floor without pores",
    ),
    spec(
        "ln_diameter_p50",
        "ln um",
        "50 % quantile of the equivalent diameter of pores; detection floor without pores",
    ),
    spec(
        "ln_diameter_p90",
        "ln um",
        "90 % quantile of the equivalent diameter of pores; detection floor without pores",
    ),
    spec(
        "ln_diameter_max",
        "ln um",
        "equivalent diameter of the largest pore, at most 2000 um; detection floor without pores",
    ),
    spec(
        "ln_diameter_weighted",
        "ln um",
        "volume-weighted mean of ln equivalent diameter; detection floor without pores",
    ),
    spec("ln_diameter_sd", "ln um", "standard deviation of ln equivalent diameter"),
    spec("sphericity_mean", "1", "mean sphericity of pores; 1 without pores"),
    spec("sphericity_weighted", "1", "volume-weighted mean sphericity; 1 without pores"),
    spec("sphericity_p10", "1", "10 % quantile of sphericity; 1 without pores"),
    spec("sphericity_p90", "1", "90 % quantile of sphericity; 1 without pores"),
    spec("sphericity_largest", "1", "mean sphericity of the five largest pores; 1 without pores"),
    spec(
        "ln_height_weighted",
        "ln um",
        "volume-weighted mean of ln height (second moment along z); detection floor without pores",
    ),
    spec(
        "ln_breadth_weighted",
        "ln um",
        "volume-weighted mean of ln breadth (second moments across z); detection floor without pores",
    ),
    spec(
        "ln_flatness_weighted",
        "ln",
        "volume-weighted mean of ln height over breadth; 0 without pores",
    ),
    spec("ln_flatness_mean", "ln", "mean of ln height over breadth; 0 without pores"),
    spec(
        "ln_elongation_weighted",
        "ln",
        "volume-weighted mean of ln long over middle axis; 0 without pores",
    ),
    spec(
        "ln_thinness_weighted",
        "ln",
        "volume-weighted mean of ln middle over short axis; 0 without pores",
    ),
    spec(
        "short_axis_upright",
        "1",
        "volume-weighted mean |cos| between shortest axis and z; 0.5 without pores",
    ),
    spec(
        "long_axis_upright",
        "1",
        "volume-weighted mean |cos| between longest axis and z; 0.5 without pores",
    ),
    spec("share_lack_of_fusion", "1", "pore volume share of irregular, flat or large pores"),
    spec("share_keyhole", "1", "pore volume share of round pores of middle size"),
    spec("share_gas", "1", "pore volume share of small round pores"),
    spec(
        "log_density_round",
        "log10 1/mm3",
        "round pores of middle size per volume, with a floor of 0.1",
    ),
    spec(
        "ln_diameter_round",
        "ln um",
        "median equivalent diameter of round pores of middle size; ln 45 without any",
    ),
    spec("log_density_small", "log10 1/mm3", "small round pores per volume, with a floor of 0.1"),
    spec(
        "ln_diameter_small",
        "ln um",
        "median equivalent diameter of small round pores; ln 15 without any",
    ),
    spec(
        "s2_z_10",
        "1",
        "normalised autocovariance of the pore phase along z at 10 um; 0 where not available",
    ),
    spec(
        "s2_z_20",
        "1",
        "normalised autocovariance of the pore phase along z at 20 um; 0 where not available",
    ),
    spec(
        "s2_z_30",
        "1",
        "normalised autocovariance of the pore phase along z at 30 um; 0 where not available",
    ),
    spec(
        "s2_z_45",
        "1",
        "normalised autocovariance of the pore phase along z at 45 um; 0 where not available",
    ),
    spec(
        "s2_z_60",
        "1",
        "normalised autocovariance of the pore phase along z at 60 um; 0 where not available",
    ),
    spec(
        "s2_z_90",
        "1",
        "normalised autocovariance of the pore phase along z at 90 um; 0 where not available",
    ),
    spec(
        "s2_z_130",
        "1",
        "normalised autocovariance of the pore phase along z at 130 um; 0 where not available",
    ),
    spec(
        "s2_xy_10",
        "1",
        "normalised autocovariance of the pore phase across z at 10 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_20",
        "1",
        "normalised autocovariance of the pore phase across z at 20 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_40",
        "1",
        "normalised autocovariance of the pore phase across z at 40 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_60",
        "1",
        "normalised autocovariance of the pore phase across z at 60 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_80",
        "1",
        "normalised autocovariance of the pore phase across z at 80 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_100",
        "1",
        "normalised autocovariance of the pore phase across z at 100 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_130",
        "1",
        "normalised autocovariance of the pore phase across z at 130 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_160",
        "1",
        "normalised autocovariance of the pore phase across z at 160 um, radial mean; 0 where not available",
    ),
    spec(
        "s2_xy_200",
        "1",
        "normalised autocovariance of the pore phase across z at 200 um, radial mean; 0 where not available",
    ),
    spec("ln_chord_z", "ln um", "mean chord in pores along z; voxel size without pores"),
    spec("ln_chord_xy", "ln um", "mean chord in pores across z; voxel size without pores"),
    spec(
        "ln_layer_period",
        "ln um",
        "strongest period of the height profile of missing metal, 15-120 um; ln 40 where not available",
    ),
    spec("layer_strength", "1", "share of the profile's variance at that period"),
    spec("layer_echo", "1", "autocorrelation of the profile at that period"),
    spec("ln_profile_cv", "ln", "coefficient of variation of the height profile, ln(0.01 + cv)"),
    spec(
        "ln_hatch_period",
        "ln um",
        "strongest directional period within slabs, 40-450 um; ln 100 where not available",
    ),
    spec("hatch_strength", "1", "directional power at that period over the variance within slabs"),
    spec(
        "hatch_band_40",
        "1",
        "directional power of periods 40-60 um over the variance within slabs",
    ),
    spec(
        "hatch_band_60",
        "1",
        "directional power of periods 60-80 um over the variance within slabs",
    ),
    spec(
        "hatch_band_80",
        "1",
        "directional power of periods 80-100 um over the variance within slabs",
    ),
    spec(
        "hatch_band_100",
        "1",
        "directional power of periods 100-125 um over the variance within slabs",
    ),
    spec(
        "hatch_band_125",
        "1",
        "directional power of periods 125-160 um over the variance within slabs",
    ),
    spec(
        "hatch_band_160",
        "1",
        "directional power of periods 160-220 um over the variance within slabs",
    ),
    spec(
        "hatch_band_220",
        "1",
        "directional power of periods 220-450 um over the variance within slabs",
    ),
    spec(
        "ln_neighbour_distance",
        "ln um",
        "mean ln distance from a pore to its nearest neighbour; ln 1000 with fewer than two pores",
    ),
    spec("neighbour_upright", "1", "mean |dz| over that distance; 0.5 with fewer than two pores"),
    spec(
        "depth_clustering",
        "ln",
        "ln of the variance-to-mean ratio of pore counts in slabs 30 um thick plus 0.1; 0 with fewer than two pores",
    ),
];

/// Refuses a value that is not finite, by name.
pub(crate) fn check_finite(schema: &[DescriptorSpec], values: &[f64]) -> Result<(), DomainError> {
    match schema.iter().zip(values).find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some((spec, value)) => {
            Err(DomainError::Descriptors { reason: format!("{} is {value}", spec.name) })
        }
    }
}

/// One value per entry of [`DESCRIPTORS`], all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors([f64; DESCRIPTOR_COUNT]);

impl Descriptors {
    /// Takes values in schema order; refuses any that is not finite, by name.
    pub fn new(values: [f64; DESCRIPTOR_COUNT]) -> Result<Self, DomainError> {
        check_finite(&DESCRIPTORS, &values)?;
        Ok(Self(values))
    }

    /// Values in schema order.
    pub fn values(&self) -> &[f64; DESCRIPTOR_COUNT] {
        &self.0
    }

    /// Names with values, in schema order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        DESCRIPTORS.iter().zip(self.0).map(|(spec, value)| (spec.name, value))
    }

    /// The value of a descriptor by name, if the schema has it.
    pub fn get(&self, name: &str) -> Option<f64> {
        DESCRIPTORS.iter().position(|spec| spec.name == name).map(|index| self.0[index])
    }
}

/// A map from name to value, in schema order.
impl Serialize for Descriptors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = DESCRIPTORS.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), DESCRIPTOR_COUNT);
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let mut values = [0.0; DESCRIPTOR_COUNT];
        values[8] = f64::NAN;
        assert!(Descriptors::new(values).unwrap_err().to_string().contains("log_porosity"));
    }

    #[test]
    fn json_names_every_value() {
        let json = serde_json::to_value(Descriptors::new([0.5; DESCRIPTOR_COUNT]).unwrap());
        let json = json.unwrap();
        assert_eq!(json.as_object().unwrap().len(), DESCRIPTOR_COUNT);
        assert_eq!(json["s2_z_45"], 0.5);
    }
}

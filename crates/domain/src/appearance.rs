//! The schema of a scan's appearance: how its noise, its edges and its fabric look.
//!
//! Unlike the descriptors these numbers say nothing of process parameters and condition nothing;
//! they only tell whether a scan is of the kind the model learnt from.

use crate::DomainError;
use crate::descriptor::{DescriptorSpec, spec};

/// Number of appearance values.
pub const APPEARANCE_COUNT: usize = APPEARANCE.len();

/// The schema. Every entry is finite and has a stated value for a scan without pores.
pub const APPEARANCE: [DescriptorSpec; 26] = [
    spec("ln_raw_noise", "ln", "grey noise of the solid over its grey, with a floor of 1e-4"),
    spec("noise_xy_1", "1", "correlation of that noise one voxel across z"),
    spec("noise_xy_2", "1", "correlation of that noise two voxels across z"),
    spec("noise_z_1", "1", "correlation of that noise one voxel along z"),
    spec("noise_z_2", "1", "correlation of that noise two voxels along z"),
    spec("ln_noise_kurtosis", "ln", "kurtosis of its differences over that of a normal law"),
    spec("ln_trend", "ln", "range of the slow grey trend over the solid, ln(0.001 + range)"),
    spec(
        "log_bright_share",
        "log10",
        "share of voxels brighter than the solid by 4 noise widths, with a floor of 1e-5",
    ),
    spec(
        "middle_grey_share",
        "1",
        "share of dark voxels that are neither pore core nor solid; 1 without pores",
    ),
    spec(
        "edge_xy",
        "1",
        "mean grey step from pore to solid across z over the contrast; 0 without pores",
    ),
    spec(
        "edge_z",
        "1",
        "mean grey step from pore to solid along z over the contrast; 0 without pores",
    ),
    spec("void_step", "1", "mean grey step within pores along x over the contrast; 0 without"),
    spec("void_sd", "1", "spread of the grey within pores over the contrast; 0 without pores"),
    spec(
        "ln_solid_chord_z",
        "ln um",
        "mean chord in the solid along z; height of the scan without pores",
    ),
    spec(
        "ln_solid_chord_xy",
        "ln um",
        "mean chord in the solid across z; breadth of the scan without pores",
    ),
    spec("solid_chord_cv_z", "1", "coefficient of variation of those along z"),
    spec("solid_chord_cv_xy", "1", "coefficient of variation of those across z"),
    spec("chord_cv_z", "1", "coefficient of variation of chords in pores along z; 0 without pores"),
    spec(
        "chord_cv_xy",
        "1",
        "coefficient of variation of chords in pores across z; 0 without pores",
    ),
    spec("euler", "asinh", "Euler number of the pore phase over the number of pores"),
    spec(
        "anisotropy_xy",
        "ln",
        "ratio of the pore boundaries met along x and along y, the larger over the smaller",
    ),
    spec("rise_z", "1", "largest rise of the pore phase's autocovariance with the lag along z"),
    spec("rise_xy_most", "1", "the same along y or x, whichever rises more"),
    spec("rise_xy_least", "1", "the same along y or x, whichever rises less"),
    spec(
        "ln_profile_cv_most",
        "ln",
        "coefficient of variation of porosity along y or x, whichever varies more, ln(0.01 + cv)",
    ),
    spec("ln_profile_cv_least", "ln", "the same along y or x, whichever varies less"),
];

/// One value per entry of [`APPEARANCE`], all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Appearance([f64; APPEARANCE_COUNT]);

impl Appearance {
    /// Takes values in schema order; refuses any that is not finite, by name.
    pub fn new(values: [f64; APPEARANCE_COUNT]) -> Result<Self, DomainError> {
        crate::descriptor::check_finite(&APPEARANCE, &values)?;
        Ok(Self(values))
    }

    /// Values in schema order.
    pub fn values(&self) -> &[f64; APPEARANCE_COUNT] {
        &self.0
    }
}

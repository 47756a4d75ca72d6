//! Everything about a build and a scan that is not inferred: model error of the melt-pool laws,
//! fluctuation, powder, pore statistics and the scanner.
//!
//! A posterior trained without these is over-confident, because the laws carry a bias from
//! machine to machine that no scan reveals. Each simulation records the values it used.

use crate::ProcessError;
use crate::alloy::properties;
use crate::beam::ELECTRON_LN_DEPTH;
use crate::boundaries::BALLING_WIDTH;
use crate::random::{log_uniform, logistic, normal, uniform};
use microdiff_domain::{Alloy, Process};
use rand::Rng;
use serde::{Deserialize, Serialize};

/// One draw of all nuisance values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nuisance {
    /// Factors on the alloy's properties.
    pub properties: PropertyFactors,
    /// Model error of the melt-pool laws.
    pub melt: MeltBias,
    /// Variation along and between tracks and layers.
    pub track: TrackFluctuation,
    /// Cross-section of the melt.
    pub pool: PoolShape,
    /// Loose powder left in unmelted space.
    pub powder: Powder,
    /// Keyhole pores.
    pub keyhole: KeyholePores,
    /// Gas pores.
    pub gas: GasPores,
    /// Shift of the length-to-width ratio at which tracks ball: logistic with the measured width
    /// of the criterion, and the uncertainty of its centre.
    pub balling_centre_shift: f64,
    /// Scanner and reconstruction.
    pub imaging: Imaging,
}

/// Factors on the alloy's properties, 1 meaning the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PropertyFactors {
    /// On density.
    pub density: f64,
    /// On specific heat.
    pub heat_capacity: f64,
    /// On conductivity.
    pub conductivity: f64,
    /// On flat absorptivity.
    pub absorptivity: f64,
}

/// Model error of the melt-pool laws, in logarithms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeltBias {
    /// Of depth, shared by all settings of a machine. Measured scatter 0.41 (AlSi10Mg: 0.6 chosen).
    pub machine_ln_depth: f64,
    /// Of width, shared by all settings of a machine. Measured scatter 0.09 (AlSi10Mg: 0.3 chosen).
    pub machine_ln_width: f64,
    /// Of depth at this setting. Measured scatter 0.28.
    pub condition_ln_depth: f64,
    /// Of width at this setting. Measured scatter 0.13.
    pub condition_ln_width: f64,
}

/// Variation along and between tracks and layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackFluctuation {
    /// Coefficient of variation of width; 0.11 measured on Ti-6Al-4V at 370 W, 1.7 m/s.
    pub width_cv: f64,
    /// Coefficient of variation of depth; chosen.
    pub depth_cv: f64,
    /// Correlation of width with depth; chosen.
    pub correlation: f64,
    /// 1/e correlation length along the track, µm; 72 µm measured on the same series.
    pub correlation_length_um: f64,
    /// Part of the variance that is constant along a track; chosen.
    pub track_share: f64,
    /// Standard deviation of a layer's height over layer thickness; chosen.
    pub layer_sd: f64,
}

/// Cross-section of the melt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PoolShape {
    /// n of (2s/W)² + (z/D)ⁿ = 1: 1 a parabola, 2 an ellipse.
    pub depth_exponent: f64,
    /// Width of the keyhole spike over the width of the melt.
    pub spike_width: f64,
    /// Largest height of the bead's crown over the width of the melt.
    pub crown_height: f64,
    /// Height of the crown over the height that holds the metal a track adds; 0 is the flat
    /// geometry of the overlap number. Published porosity of five CoCr settings (Kim 2017, NIST)
    /// is not told apart by it: 0 fits the fast ones, 1 the slow ones.
    pub crown_share: f64,
}

/// Loose powder. Diameters are lognormal by volume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Powder {
    /// Solid fraction of the loose powder.
    pub packing: f64,
    /// Volume-weighted median diameter, µm.
    pub median_um: f64,
    /// Standard deviation of ln diameter.
    pub ln_sd: f64,
}

/// Keyhole pores. Onset after Gan 2021 (Nat. Commun. 12:2379); rate and sizes chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyholePores {
    /// Keyhole number at which pores begin to form.
    pub onset: f64,
    /// Width of the onset in keyhole number.
    pub onset_width: f64,
    /// Pores per millimetre of track and unit of the softplus above the onset.
    pub rate_per_mm: f64,
    /// Probability that a pore melted again by a later track or layer escapes.
    pub escape: f64,
    /// Median diameter over spot radius.
    pub median_to_radius: f64,
    /// Standard deviation of ln diameter.
    pub ln_sd: f64,
}

/// Gas pores, uniform in space. From memory, unverified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GasPores {
    /// Volume fraction.
    pub fraction: f64,
    /// Median diameter, µm.
    pub median_um: f64,
    /// Standard deviation of ln diameter.
    pub ln_sd: f64,
}

/// Scanner and reconstruction. Noise, its correlation, the grey of pore cores, the width of edges,
/// the fall-off and ring strength were measured on laboratory scans of CoCr (Kim 2017, NIST) with
/// voxels of 2.4 µm; what is drawn brackets them. The point spread is wider than a voxel there and
/// about one voxel where voxels are coarse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Imaging {
    /// Gaussian point spread, standard deviation in voxels.
    pub blur_voxels: f64,
    /// Grey of a pore core over grey of solid, before air and solid levels.
    pub pore_floor: f64,
    /// Relative change of grey over the volume, from the column nearest the rotation axis to the
    /// farthest; negative is a roll-off, positive cupping.
    pub cupping: f64,
    /// Offset of the rotation axis from the centre of the volume (y, x), in half-diagonals.
    pub axis_offset: [f64; 2],
    /// Standard deviation of the noise in solid, over grey of solid.
    pub noise: f64,
    /// Part of the noise variance in solid that scales with grey (photon noise).
    pub photon_share: f64,
    /// Gaussian correlation of the noise within a slice, standard deviation in voxels.
    pub noise_blur_voxels: f64,
    /// The same along the build direction, where reconstruction correlates further.
    pub noise_blur_z_voxels: f64,
    /// Standard deviation of ring artefacts over grey of solid.
    pub ring: f64,
    /// Grey of air over full scale.
    pub air_level: f64,
    /// Grey of solid over full scale.
    pub solid_level: f64,
}

impl Nuisance {
    /// The centre of every distribution: no bias, typical fluctuation, a scanner like the one
    /// that was measured. Not a quiet world: tracks still vary and pores still form.
    pub fn nominal(process: Process) -> Self {
        let laser = Self::nominal_laser();
        let Self { melt, track, powder, gas, .. } = laser.clone();
        match process {
            Process::Lpbf => laser,
            Process::Ebm => Self {
                melt: MeltBias { machine_ln_depth: ELECTRON_LN_DEPTH, ..melt },
                track: TrackFluctuation { correlation_length_um: 175.0, ..track },
                powder: Powder { median_um: 70.0, ln_sd: 0.33, ..powder },
                ..laser
            },
            Process::Ded => Self {
                track: TrackFluctuation { correlation_length_um: 850.0, ..track },
                powder: Powder { packing: 0.0, ..powder },
                gas: GasPores { median_um: 35.0, ..gas },
                ..laser
            },
        }
    }

    fn nominal_laser() -> Self {
        Self {
            properties: PropertyFactors {
                density: 1.0,
                heat_capacity: 1.0,
                conductivity: 1.0,
                absorptivity: 1.0,
            },
            melt: MeltBias {
                machine_ln_depth: 0.0,
                machine_ln_width: 0.0,
                condition_ln_depth: 0.0,
                condition_ln_width: 0.0,
            },
            track: TrackFluctuation {
                width_cv: 0.11,
                depth_cv: 0.2,
                correlation: 0.7,
                correlation_length_um: 80.0,
                track_share: 0.2,
                layer_sd: 0.15,
            },
            pool: PoolShape {
                depth_exponent: 1.5,
                spike_width: 0.5,
                crown_height: 0.38,
                crown_share: 0.5,
            },
            powder: Powder { packing: 0.55, median_um: 35.0, ln_sd: 0.39 },
            keyhole: KeyholePores {
                onset: 16.0,
                onset_width: 3.0,
                rate_per_mm: 0.77,
                escape: 0.8,
                median_to_radius: 0.5,
                ln_sd: 0.45,
            },
            gas: GasPores { fraction: 2e-4, median_um: 16.0, ln_sd: 0.45 },
            balling_centre_shift: 0.0,
            imaging: Imaging {
                blur_voxels: 1.9,
                pore_floor: 0.47,
                cupping: -0.06,
                axis_offset: [0.0, 0.0],
                noise: 0.032,
                photon_share: 0.5,
                noise_blur_voxels: 0.79,
                noise_blur_z_voxels: 1.0,
                ring: 0.0025,
                air_level: 0.1,
                solid_level: 0.7,
            },
        }
    }

    /// Draws every value for a build of `alloy` by `process`. What laser powder bed fusion shares
    /// with the others is drawn alike; what differs is chosen or from memory, and unvalidated.
    pub fn draw(process: Process, alloy: Alloy, rng: &mut impl Rng) -> Self {
        let laser = Self::draw_laser(alloy, rng);
        match process {
            Process::Lpbf => laser,
            Process::Ebm => laser.for_electrons(rng),
            Process::Ded => laser.for_deposition(rng),
        }
    }

    /// Conduction in a vacuum: width known within a quarter, depth within a half; absorptivity 0.85
    /// to 0.95; coarser powder (45 to 105 µm), longer melts.
    fn for_electrons(mut self, rng: &mut impl Rng) -> Self {
        self.properties.absorptivity = uniform(rng, 0.85, 0.95) / 0.9;
        self.melt.machine_ln_width = normal(rng, 0.0, 0.21);
        self.melt.machine_ln_depth = normal(rng, ELECTRON_LN_DEPTH, 0.41);
        self.track.correlation_length_um = log_uniform(rng, 100.0, 300.0);
        self.powder.median_um = uniform(rng, 62.0, 78.0);
        self.powder.ln_sd = 0.33;
        self
    }

    /// Spots of millimetres fed with blown powder: absorptivity 0.25 to 0.5, a bias of 0.6 in both
    /// logarithms from study to study, voids without powder and gas pores of the feed.
    fn for_deposition(mut self, rng: &mut impl Rng) -> Self {
        self.properties.absorptivity = uniform(rng, 0.25, 0.5) / 0.375;
        self.melt.machine_ln_width = normal(rng, 0.0, 0.6);
        self.melt.machine_ln_depth = normal(rng, 0.0, 0.6);
        self.track.correlation_length_um = log_uniform(rng, 500.0, 1500.0);
        self.powder.packing = 0.0;
        self.gas.median_um = uniform(rng, 20.0, 50.0);
        self
    }

    fn draw_laser(alloy: Alloy, rng: &mut impl Rng) -> Self {
        let table = properties(alloy);
        let nominal = Self::nominal_laser();
        let factor = |rng: &mut _, sd: f64| normal(rng, 0.0, sd).exp();
        let [gas_low, gas_high] = table.gas_fraction;
        Self {
            properties: PropertyFactors {
                density: factor(rng, 0.03),
                heat_capacity: factor(rng, 0.08),
                conductivity: factor(rng, table.conductivity_sd),
                absorptivity: factor(rng, table.absorptivity_sd),
            },
            melt: MeltBias {
                machine_ln_depth: normal(rng, 0.0, table.machine_ln_depth_sd),
                machine_ln_width: normal(rng, 0.0, table.machine_ln_width_sd),
                condition_ln_depth: normal(rng, 0.0, 0.28),
                condition_ln_width: normal(rng, 0.0, 0.13),
            },
            track: TrackFluctuation {
                width_cv: uniform(rng, 0.08, 0.15),
                depth_cv: uniform(rng, 0.15, 0.30),
                correlation_length_um: log_uniform(rng, 50.0, 150.0),
                track_share: uniform(rng, 0.1, 0.3),
                layer_sd: uniform(rng, 0.1, 0.2),
                ..nominal.track
            },
            pool: PoolShape {
                depth_exponent: uniform(rng, 1.0, 2.0),
                spike_width: uniform(rng, 0.4, 0.6),
                crown_height: uniform(rng, 0.3, 0.45),
                crown_share: uniform(rng, 0.0, 1.0),
            },
            powder: Powder {
                packing: uniform(rng, 0.5, 0.6),
                median_um: uniform(rng, 30.0, 40.0),
                ..nominal.powder
            },
            keyhole: KeyholePores {
                onset: normal(rng, 16.0, 4.0),
                rate_per_mm: log_uniform(rng, 0.2, 3.0),
                escape: uniform(rng, 0.6, 1.0),
                ..nominal.keyhole
            },
            gas: GasPores {
                fraction: log_uniform(rng, gas_low, gas_high),
                median_um: uniform(rng, 12.0, 20.0),
                ..nominal.gas
            },
            balling_centre_shift: normal(rng, 0.0, table.balling_centre_sd)
                + logistic(rng, BALLING_WIDTH),
            imaging: Imaging::draw(rng),
        }
    }

    /// Refuses the first value that is not finite or lies far outside what is ever drawn.
    pub(crate) fn check(&self) -> Result<(), ProcessError> {
        let Self { properties, melt, track, pool, powder, keyhole, gas, imaging, .. } = self;
        let checks = [
            ("density", properties.density, 0.2, 5.0),
            ("heat_capacity", properties.heat_capacity, 0.2, 5.0),
            ("conductivity", properties.conductivity, 0.2, 5.0),
            ("absorptivity", properties.absorptivity, 0.1, 5.0),
            ("machine_ln_depth", melt.machine_ln_depth, -3.0, 3.0),
            ("machine_ln_width", melt.machine_ln_width, -3.0, 3.0),
            ("condition_ln_depth", melt.condition_ln_depth, -3.0, 3.0),
            ("condition_ln_width", melt.condition_ln_width, -3.0, 3.0),
            ("width_cv", track.width_cv, 0.0, 0.5),
            ("depth_cv", track.depth_cv, 0.0, 0.6),
            ("correlation", track.correlation, -1.0, 1.0),
            ("correlation_length_um", track.correlation_length_um, 10.0, 1e4),
            ("track_share", track.track_share, 0.0, 1.0),
            ("layer_sd", track.layer_sd, 0.0, 0.5),
            ("depth_exponent", pool.depth_exponent, 0.5, 4.0),
            ("spike_width", pool.spike_width, 0.05, 1.0),
            ("crown_height", pool.crown_height, 0.0, 1.0),
            ("crown_share", pool.crown_share, 0.0, 1.0),
            ("packing", powder.packing, 0.0, 0.9),
            ("powder median_um", powder.median_um, 5.0, 100.0),
            ("powder ln_sd", powder.ln_sd, 0.0, 1.0),
            ("keyhole onset", keyhole.onset, 0.0, 1e3),
            ("keyhole onset_width", keyhole.onset_width, 0.1, 100.0),
            ("keyhole rate_per_mm", keyhole.rate_per_mm, 0.0, 20.0),
            ("keyhole escape", keyhole.escape, 0.0, 1.0),
            ("keyhole median_to_radius", keyhole.median_to_radius, 0.05, 2.0),
            ("keyhole ln_sd", keyhole.ln_sd, 0.0, 1.0),
            ("gas fraction", gas.fraction, 0.0, 0.02),
            ("gas median_um", gas.median_um, 8.0, 100.0),
            ("gas ln_sd", gas.ln_sd, 0.0, 1.0),
            ("balling_centre_shift", self.balling_centre_shift, -100.0, 100.0),
            ("blur_voxels", imaging.blur_voxels, 0.0, 5.0),
            ("pore_floor", imaging.pore_floor, 0.0, 1.0),
            ("cupping", imaging.cupping, -0.5, 0.5),
            ("axis_offset", imaging.axis_offset[0], -100.0, 100.0),
            ("axis_offset", imaging.axis_offset[1], -100.0, 100.0),
            ("noise", imaging.noise, 0.0, 1.0),
            ("photon_share", imaging.photon_share, 0.0, 1.0),
            ("noise_blur_voxels", imaging.noise_blur_voxels, 0.0, 3.0),
            ("noise_blur_z_voxels", imaging.noise_blur_z_voxels, 0.0, 3.0),
            ("ring", imaging.ring, 0.0, 1.0),
            ("air_level", imaging.air_level, 0.0, 1.0),
            ("solid_level", imaging.solid_level, 0.0, 1.0),
        ];
        for (name, value, low, high) in checks {
            if !(low..=high).contains(&value) {
                return Err(ProcessError::Nuisance { name, value, low, high });
            }
        }
        Ok(())
    }
}

impl Imaging {
    fn draw(rng: &mut impl Rng) -> Self {
        Self {
            blur_voxels: log_uniform(rng, 0.6, 2.8),
            pore_floor: uniform(rng, 0.0, 0.5),
            cupping: uniform(rng, -0.08, 0.08),
            axis_offset: [uniform(rng, -0.7, 0.7), uniform(rng, -0.7, 0.7)],
            noise: uniform(rng, 0.01, 0.05),
            photon_share: uniform(rng, 0.2, 0.8),
            noise_blur_voxels: uniform(rng, 0.7, 0.9),
            noise_blur_z_voxels: uniform(rng, 0.7, 1.15),
            ring: uniform(rng, 0.001, 0.005),
            air_level: uniform(rng, 0.05, 0.25),
            solid_level: uniform(rng, 0.5, 0.75),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};

    #[test]
    fn what_is_drawn_is_accepted_and_survives_json() {
        for seed in 0..200 {
            let (process, alloy) = Process::pairs().nth(seed as usize % 9).unwrap();
            let nuisance = Nuisance::draw(process, alloy, &mut stream(seed, Stream::Pattern, 0));
            nuisance.check().unwrap();
            let json = serde_json::to_string(&nuisance).unwrap();
            assert_eq!(serde_json::from_str::<Nuisance>(&json).unwrap(), nuisance);
        }
        Nuisance::nominal(Process::Lpbf).check().unwrap();
    }

    #[test]
    fn drawn_scanners_surround_the_measured_one() {
        let mut rng = stream(4, Stream::Pattern, 0);
        let drawn: Vec<Imaging> = (0..200).map(|_| Imaging::draw(&mut rng)).collect();
        let nominal = Nuisance::nominal(Process::Lpbf).imaging;
        let values: [fn(&Imaging) -> f64; 7] = [
            |i| i.blur_voxels,
            |i| i.pore_floor,
            |i| i.cupping,
            |i| i.noise,
            |i| i.noise_blur_voxels,
            |i| i.noise_blur_z_voxels,
            |i| i.ring,
        ];
        for (index, value) in values.iter().enumerate() {
            let below = drawn.iter().filter(|imaging| value(imaging) < value(&nominal)).count();
            assert!((5..=195).contains(&below), "value {index}: {below} of 200 below");
        }
    }

    #[test]
    fn a_refused_value_is_named() {
        let mut nuisance = Nuisance::nominal(Process::Lpbf);
        nuisance.gas.fraction = f64::NAN;
        assert_eq!(
            nuisance.check().unwrap_err().to_string(),
            "nuisance gas fraction NaN is outside 0 to 0.02"
        );
    }
}

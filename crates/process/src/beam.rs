//! Alloy, power, speed, spot and bed → the dimensionless numbers the laws are written in, and what
//! conduction alone would melt.
//!
//! What the simulator ([`crate::melt_pool`]) and the prediction ([`crate::predict`]) share; each
//! has a law of its own for laser tracks.

use crate::alloy::Properties;
use crate::eagar_tsai::{length_to_width, width_and_depth};
use microdiff_domain::{Alloy, Process};
use std::f64::consts::PI;

/// Bed temperature the laws take as cold, °C.
pub(crate) const COLD_BED_C: f64 = 25.0;

/// One track of a beam on a plate or a powder layer, SI where no unit is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Beam {
    pub(crate) material: Properties,
    pub(crate) power_w: f64,
    pub(crate) speed_mm_s: f64,
    /// Diameter, 1/e².
    pub(crate) spot_um: f64,
    pub(crate) bed_c: f64,
}

/// Dimensionless numbers of a track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Numbers {
    /// Normalised enthalpy with flat absorptivity, `η P / (π H √(D v r³))`.
    pub(crate) enthalpy: f64,
    /// The same on a bed of [`COLD_BED_C`].
    pub(crate) cold_enthalpy: f64,
    /// `√(D / (v r))`.
    pub(crate) diffusion_length: f64,
    /// Absorptivity in the vapour depression.
    pub(crate) absorptivity: f64,
    /// Keyhole number of Gan 2021.
    pub(crate) keyhole: f64,
}

/// Heating to the liquidus, K. A bed as hot as the melt is inside the units; a part that is never
/// solid is no part.
pub(crate) fn rise(material: &Properties, bed_c: f64) -> f64 {
    (material.liquidus_c - bed_c).max(50.0)
}

/// Absorptivity in conduction estimates: 0.85 to 0.9 for electrons, 0.25 to 0.5 for directed energy
/// with its powder; from memory. For laser powder bed fusion that of the cooling rate, 0.65 as in
/// the fit of its factor.
pub(crate) fn fixed_absorptivity(process: Process, alloy: Alloy) -> f64 {
    match (process, alloy) {
        (Process::Lpbf, Alloy::AlSi10Mg) => 0.40,
        (Process::Lpbf, _) => 0.65,
        (Process::Ebm, _) => 0.90,
        (Process::Ded, _) => 0.375,
    }
}

/// Measured over conducted depth of electron-beam tracks, in ln: 1 / 0.77 on nine tracks of 160 to
/// 1600 W. Their width is conducted within 1 %; of directed energy no such bias is known.
pub(crate) const ELECTRON_LN_DEPTH: f64 = 0.26;

/// Absorptivity at `y = η P/(π H v r²)`: multiple reflections in a deeper depression absorb more
/// (Ye 2019).
fn absorptivity(flat: f64, y: f64) -> f64 {
    (0.70 * (1.0 - (-0.66 * y).exp())).max(flat)
}

impl Beam {
    pub(crate) fn numbers(&self) -> Numbers {
        let table = &self.material;
        let diffusivity = table.diffusivity();
        let (speed, radius) = (self.speed_mm_s * 1e-3, self.radius_um() * 1e-6);
        let scale = PI * (diffusivity * speed * radius.powi(3)).sqrt();
        let volume_heat =
            |bed: f64| table.density * (table.heat_capacity * rise(table, bed) + table.fusion_heat);
        let absorbed = table.flat_absorptivity * self.power_w;
        let enthalpy = absorbed / (volume_heat(self.bed_c) * scale);
        let diffusion_length = (diffusivity / (speed * radius)).sqrt();
        let absorptivity = absorptivity(table.flat_absorptivity, enthalpy * diffusion_length);
        let sensible = table.density * table.heat_capacity * rise(table, self.bed_c);
        Numbers {
            enthalpy,
            cold_enthalpy: absorbed / (volume_heat(COLD_BED_C) * scale),
            diffusion_length,
            absorptivity,
            keyhole: absorptivity * self.power_w / (sensible * scale),
        }
    }

    /// Length over width of the melt by conduction at a fixed absorptivity, latent heat counted:
    /// the number the balling criterion is calibrated in.
    pub(crate) fn length_to_width(&self, absorptivity: f64) -> f64 {
        let table = &self.material;
        let heat = table.heat_capacity * rise(table, self.bed_c) + table.fusion_heat;
        let (b, p, _) = self.conduction(absorptivity, table.density * heat);
        length_to_width(b, p)
    }

    /// Width and depth by conduction at a fixed absorptivity, µm (Eagar and Tsai 1983), with a
    /// share of the latent heat counted; zero where nothing melts.
    pub(crate) fn conduction_extent_um(&self, absorptivity: f64, latent: f64) -> [f64; 2] {
        let table = &self.material;
        let heat = table.heat_capacity * rise(table, self.bed_c) + latent * table.fusion_heat;
        let (b, p, a) = self.conduction(absorptivity, table.density * heat);
        width_and_depth(b, p).map_or([0.0, 0.0], |extent| extent.map(|x| x * a * 1e6))
    }

    /// Keyhole number at a fixed absorptivity. A depression begins with boiling, far above melting: a
    /// hot bed, which divides the number by what is left to melt, brings it little nearer. Counted
    /// from a cold one instead.
    pub(crate) fn conduction_keyhole_number(&self, numbers: &Numbers, absorptivity: f64) -> f64 {
        let cold = rise(&self.material, self.bed_c) / rise(&self.material, COLD_BED_C);
        cold * numbers.keyhole * absorptivity / numbers.absorptivity
    }

    /// Source strength, diffusion and 1/e radius in m, for a melt that takes `heat` J/m³.
    fn conduction(&self, absorptivity: f64, heat: f64) -> (f64, f64, f64) {
        let diffusivity = self.material.diffusivity();
        let speed = self.speed_mm_s * 1e-3;
        let a = self.radius_um() * 1e-6 / std::f64::consts::SQRT_2;
        let strength = absorptivity * self.power_w
            / (PI.powf(1.5) * heat * (diffusivity * speed * a.powi(3)).sqrt());
        (strength, diffusivity / (speed * a), a)
    }

    pub(crate) fn radius_um(&self) -> f64 {
        0.5 * self.spot_um
    }

    /// The beam whose absorbed power is `absorbed_w`: for measurements that give that alone.
    pub(crate) fn with_absorbed_power(mut self, absorbed_w: f64) -> Self {
        let (mut low, mut high) = (absorbed_w, 20.0 * absorbed_w);
        for _ in 0..60 {
            self.power_w = 0.5 * (low + high);
            if self.numbers().absorptivity * self.power_w < absorbed_w {
                low = self.power_w;
            } else {
                high = self.power_w;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloy::properties;

    #[test]
    fn absorbed_power_is_given_back() {
        let beam = Beam {
            material: properties(Alloy::Ti6Al4V),
            power_w: 300.0,
            speed_mm_s: 700.0,
            spot_um: 95.0,
            bed_c: 25.0,
        };
        let absorbed = beam.numbers().absorptivity * beam.power_w;
        let found = Beam { power_w: 1.0, ..beam }.with_absorbed_power(absorbed);
        assert!((found.power_w / 300.0 - 1.0).abs() < 1e-9, "{}", found.power_w);
    }
}

//! The laws a prediction is compared with, as their authors wrote them.

use super::law::Track;
use crate::beam::{Beam, rise};

use std::f64::consts::{E, PI};

/// A published law without any fit of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// Rosenthal 1946: a point source at high speed, half a circle deep.
    Rosenthal,
    /// Eagar and Tsai 1983: a Gaussian surface source, by conduction.
    EagarTsai,
    /// Gan 2021: depth `0.4 r (Ke − 1.4)`; says nothing about width.
    Gan,
}

impl Reference {
    /// Every law.
    pub const ALL: [Reference; 3] = [Reference::Rosenthal, Reference::EagarTsai, Reference::Gan];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Reference::Rosenthal => "Rosenthal",
            Reference::EagarTsai => "Eagar-Tsai",
            Reference::Gan => "Gan",
        }
    }
}

/// Width and depth of a measured track's setting by a published law, µm, with our properties,
/// latent heat in the melt's heat and the absorptivity of a vapour depression; `None` where the
/// law says nothing or that nothing melts.
pub fn reference_extent_um(law: Reference, track: &Track) -> [Option<f64>; 2] {
    let beam = track.beam();
    let numbers = beam.numbers();
    let positive = |extent: f64| (extent > 0.0).then_some(extent);
    match law {
        Reference::Rosenthal => rosenthal_extent_um(&beam, numbers.absorptivity).map(positive),
        Reference::EagarTsai => beam.conduction_extent_um(numbers.absorptivity, 1.0).map(positive),
        Reference::Gan => {
            let depth = 0.4 * beam.radius_um() * (numbers.keyhole - 1.4);
            [None, positive(depth)]
        }
    }
}

/// Half a circle of `W² = 8 η P / (π e H v)`, µm.
fn rosenthal_extent_um(beam: &Beam, absorptivity: f64) -> [f64; 2] {
    let table = &beam.material;
    let heat = table.density * (table.heat_capacity * rise(table, beam.bed_c) + table.fusion_heat);
    let absorbed = absorptivity * beam.power_w;
    let width = (8.0 * absorbed / (PI * E * heat * beam.speed_mm_s * 1e-3)).sqrt();
    [1e6 * width, 0.5e6 * width]
}

#[cfg(test)]
mod tests {
    use super::*;
    use microdiff_domain::Alloy;

    #[test]
    fn each_law_at_a_setting_worked_by_hand() {
        let track = Track {
            source: String::new(),
            say: 1.0,
            alloy: Alloy::In718,
            power_w: 285.0,
            speed_mm_s: 960.0,
            spot_um: 67.0,
            bed_c: 25.0,
            width_um: None,
            depth_um: None,
        };
        // H = 7800 (580·1311 + 210e3) = 7.57e9 J/m³; y = 0.28·285/(π H v r²) = 3.11, η = 0.61
        let [width, depth] = reference_extent_um(Reference::Rosenthal, &track);
        assert!((width.unwrap() - 150.0).abs() < 3.0 && depth.unwrap() * 2.0 == width.unwrap());
        // Ke = 0.61·285/(π·5.93e9·√(4.42e-6·0.96·3.76e-14)) = 23.4, depth 0.4·33.5·22
        let [none, depth] = reference_extent_um(Reference::Gan, &track);
        assert!(none.is_none() && (depth.unwrap() - 295.0).abs() < 10.0, "{depth:?}");
        let cold = Track { power_w: 10.0, speed_mm_s: 5000.0, ..track };
        assert_eq!(reference_extent_um(Reference::EagarTsai, &cold), [None, None]);
        assert_eq!(reference_extent_um(Reference::Gan, &cold)[1], None);
    }
}

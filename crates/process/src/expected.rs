//! A setting → the pore shares its simulation has on average, without building a part.
//!
//! Layers fluctuate and lie independently, so a point stays unmelted with the product of the
//! chances that each layer misses it; the integral over heights replaces the Monte-Carlo of the
//! simulator. Used to class posterior draws by the thousand. Gas is what the nuisance says, and
//! keyhole pores are counted before they merge with other voids.

use crate::boundaries::{balling_probability, keyhole_pores_per_um};
use crate::cross_section::{CrossSection, bead_factor};
use crate::melt_pool::{MeltPool, forward};
use crate::{Case, DefectShares, Nuisance};
use microdiff_domain::{ProcessParameters, SpotDiameter};
use std::f64::consts::{PI, SQRT_2, TAU};

/// Five-point Gauss–Hermite rule for a standard normal.
const NORMAL: [(f64, f64); 5] = [
    (0.0, 0.533_333),
    (1.355_626, 0.222_076),
    (-1.355_626, 0.222_076),
    (2.856_970, 0.011_257),
    (-2.856_970, 0.011_257),
];
const HEIGHTS: usize = 6;
const OFFSETS: usize = 6;
const BEADS: usize = 6;

/// Average pore shares of a setting under given nuisance values, all sizes of pore counted. Within
/// about a factor of 1.5 of the simulation where the share is above 0.1 %.
pub fn expected_shares(case: &Case, nuisance: &Nuisance) -> DefectShares {
    let pool = forward(case, nuisance);
    let loose = 1.0 - nuisance.powder.packing;
    if !pool.melts() {
        return DefectShares { lack_of_fusion: loose, ..DefectShares::default() };
    }
    let mut layers = Layers::new(&pool, &case.parameters, nuisance);
    let calm = layers.unmelted();
    layers.balling = balling_probability(case, &pool, nuisance);
    let all = if layers.balling > 1e-3 { layers.unmelted() } else { calm };
    DefectShares {
        lack_of_fusion: loose * calm,
        keyhole: layers.keyhole_share(case.spot),
        gas: nuisance.gas.fraction,
        balling: loose * (all - calm).max(0.0),
    }
}

/// Volume fraction that no layer melts when a track balls with probability `balling`.
pub(crate) fn unmelted_share(
    pool: &MeltPool,
    parameters: &ProcessParameters,
    nuisance: &Nuisance,
    balling: f64,
) -> f64 {
    Layers { balling, ..Layers::new(pool, parameters, nuisance) }.unmelted()
}

struct Layers<'a> {
    pool: &'a MeltPool,
    nuisance: &'a Nuisance,
    section: CrossSection,
    hatch: f64,
    thickness: f64,
    balling: f64,
    /// Half width, mean of ln depth there, and weight, at each node of the normal rule.
    nodes: [[f64; 3]; 5],
    /// Standard deviation of ln depth at a known width.
    own_depth_sd: f64,
}

impl<'a> Layers<'a> {
    fn new(pool: &'a MeltPool, parameters: &ProcessParameters, nuisance: &'a Nuisance) -> Self {
        let track = &nuisance.track;
        let shared = track.correlation * track.depth_cv;
        let half = |cv: f64| 0.5 * cv * cv;
        let nodes = NORMAL.map(|(level, weight)| {
            let width = pool.width_um * (track.width_cv * level - half(track.width_cv)).exp();
            let ln_depth = pool.depth_um.ln() - half(track.depth_cv) + shared * level;
            [0.5 * width, ln_depth, weight]
        });
        Self {
            nodes,
            own_depth_sd: (track.depth_cv * track.depth_cv - shared * shared).max(0.0).sqrt(),
            pool,
            nuisance,
            section: CrossSection::new(pool, parameters, &nuisance.pool),
            hatch: parameters.hatch_spacing.get(),
            thickness: parameters.layer_thickness.get(),
            balling: 0.0,
        }
    }

    /// Volume fraction no layer melts.
    fn unmelted(&self) -> f64 {
        let deepest = 3.0 * self.pool.depth_um;
        let mut sum = 0.0;
        for i in 0..HEIGHTS {
            let below = (i as f64 + 0.5) / HEIGHTS as f64 * self.thickness;
            let mut chance = self.missed_by_crowns(below);
            let mut depth = below;
            while depth < deepest && chance > 1e-7 {
                chance *= self.missed(depth);
                depth += self.thickness;
            }
            sum += chance;
        }
        sum / HEIGHTS as f64
    }

    /// Chance that the crowns of the layers below miss a point `below` its own layer's surface.
    fn missed_by_crowns(&self, below: f64) -> f64 {
        let crown = self.section.crown_um();
        let mut chance = 1.0;
        let mut above = self.thickness - below;
        while above < crown {
            let width = self.pool.width_um * (1.0 - above / crown).sqrt();
            chance *= 1.0 - (width / self.hatch).min(1.0);
            above += self.thickness;
        }
        chance
    }

    /// Chance that one layer does not melt a point `depth` below its surface, over its offset.
    fn missed(&self, depth: f64) -> f64 {
        let reach = 0.8 * self.pool.width_um;
        let mut sum = 0.0;
        for i in 0..OFFSETS {
            let offset = (i as f64 + 0.5) / OFFSETS as f64 * 0.5 * self.hatch;
            let mut chance = 1.0 - self.melted(offset, depth);
            let mut distance = self.hatch;
            while distance - offset < reach && chance > 1e-7 {
                chance *= 1.0 - self.melted(distance - offset, depth);
                chance *= 1.0 - self.melted(distance + offset, depth);
                distance += self.hatch;
            }
            sum += chance;
        }
        sum / OFFSETS as f64
    }

    /// Chance that one track melts a point at `distance` from its centre line, `depth` below the
    /// surface.
    fn melted(&self, distance: f64, depth: f64) -> f64 {
        let calm = self.melted_at_width(distance, depth, 1.0);
        if self.balling <= 1e-3 {
            return calm;
        }
        let beads: f64 = (0..BEADS)
            .map(|i| bead_factor((TAU * (i as f64 + 0.5) / BEADS as f64).sin()))
            .map(|factor| self.melted_at_width(distance, depth, factor))
            .sum();
        calm + self.balling * (beads / BEADS as f64 - calm)
    }

    fn melted_at_width(&self, distance: f64, depth: f64, factor: f64) -> f64 {
        // The layer's height jitters too; as a relative change of depth at this point.
        let jitter =
            self.nuisance.track.layer_sd * self.thickness / depth.max(0.3 * self.thickness);
        let spread = self.own_depth_sd.hypot(jitter).max(1e-6);
        let ln_depth = depth.ln();
        let mut sum = 0.0;
        for [half_width, ln_centre, weight] in self.nodes {
            let relative = distance / (factor * half_width).max(1e-9);
            let part = self.section.depth_at((relative * relative) as f32);
            if part > 0.0 {
                sum += weight * above((ln_depth - f64::from(part).ln() - ln_centre) / spread);
            }
        }
        sum
    }

    fn keyhole_share(&self, spot: SpotDiameter) -> f64 {
        let keyhole = &self.nuisance.keyhole;
        let rate = keyhole_pores_per_um(self.pool, self.nuisance);
        let median = keyhole.median_to_radius * 0.5 * spot.get();
        // Mean aspect 1.2 of the spheroids.
        let volume = 1.2 * PI / 6.0 * median.powi(3) * (4.5 * keyhole.ln_sd * keyhole.ln_sd).exp();
        let tip = 0.875 * self.pool.depth_um;
        let kept = (1.0 - self.melted(self.hatch, tip)) * self.missed(tip + self.thickness);
        let survival = 1.0 - keyhole.escape * (1.0 - kept);
        (rate * volume / (self.hatch * self.thickness) * survival).min(1.0)
    }
}

/// Upper tail of the standard normal (Abramowitz and Stegun 7.1.26, within 1.5e-7).
pub(crate) fn above(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return if x > 0.0 { 0.0 } else { 1.0 };
    }
    let z = x.abs() / SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let series = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = 0.5 * series * (-z * z).exp();
    if x >= 0.0 { tail } else { 1.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_tail_at_known_points() {
        for (x, expected) in [(0.0, 0.5), (1.0, 0.158_655), (-1.0, 0.841_345), (3.0, 0.001_350)] {
            assert!((above(x) - expected).abs() < 1e-6);
        }
    }
}

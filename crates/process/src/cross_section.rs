//! The cross-section of a melted track: bowl, keyhole spike, crown and beads.

use crate::{MeltPool, PoolShape};
use microdiff_domain::ProcessParameters;

/// Bead modulation of a balling track, relative to its width; chosen.
pub(crate) const BEAD_AMPLITUDE: f64 = 0.4;
/// A balling track is interrupted where its bead wave is below this; chosen.
const BEAD_GAP: f64 = -0.9;

const NODES: usize = 256;

/// Mean cross-section of the tracks of one build.
pub(crate) struct CrossSection {
    /// Depth over centre depth at even steps of the squared relative distance.
    profile: [f32; NODES + 1],
    crown_um: f64,
}

impl CrossSection {
    pub(crate) fn new(pool: &MeltPool, parameters: &ProcessParameters, shape: &PoolShape) -> Self {
        Self { profile: profile(pool, shape), crown_um: crown_um(pool, parameters, shape) }
    }

    /// Depth over centre depth at `q = (2s/W)²`, s the distance from the centre line.
    pub(crate) fn depth_at(&self, q: f32) -> f32 {
        if q >= 1.0 {
            return 0.0;
        }
        let at = q * NODES as f32;
        let index = (at as usize).min(NODES - 1);
        let low = self.profile[index];
        low + (self.profile[index + 1] - low) * (at - index as f32)
    }

    /// Height of the crown above the layer's surface on the centre line, µm; it falls as `1 − q`.
    pub(crate) fn crown_um(&self) -> f64 {
        self.crown_um
    }
}

/// Width factor of a balling track where its bead wave, −1 to 1, is `wave`.
pub(crate) fn bead_factor(wave: f64) -> f64 {
    if wave < BEAD_GAP { 0.0 } else { 1.0 + BEAD_AMPLITUDE * wave }
}

/// `(1 − q)^(1/n)`; in keyhole mode a bowl half as deep as wide with a spike of the same law.
fn profile(pool: &MeltPool, shape: &PoolShape) -> [f32; NODES + 1] {
    let law = |q: f64| (1.0 - q).max(0.0).powf(1.0 / shape.depth_exponent);
    std::array::from_fn(|i| {
        let q = i as f64 / NODES as f64;
        let depth = if pool.has_spike() {
            let bowl = (0.5 * pool.width_um / pool.depth_um).min(1.0);
            (bowl * law(q)).max(law(q / (shape.spike_width * shape.spike_width)))
        } else {
            law(q)
        };
        depth as f32
    })
}

/// Each track adds `h t` of metal, a parabola of width W holds `2/3 W` times its height, and it
/// stands on the surface below: the crown that holds it is `t (3h/2W − 1)` high where that is
/// positive, at most `κ W`. Tracks that overlap well have none, which is the geometry the overlap
/// number assumes. Spatter and denudation take part of it, hence the share.
fn crown_um(pool: &MeltPool, parameters: &ProcessParameters, shape: &PoolShape) -> f64 {
    if !pool.melts() {
        return 0.0;
    }
    let excess = 1.5 * parameters.hatch_spacing.get() / pool.width_um - 1.0;
    let height = shape.crown_share * parameters.layer_thickness.get() * excess;
    height.clamp(0.0, shape.crown_height * pool.width_um)
}

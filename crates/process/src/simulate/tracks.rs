//! A setting → layers of fluctuating tracks, and the depth each layer melts at every column.
//!
//! Tracks lie at exact hatch spacing, layers at exact layer thickness; both lattices have a
//! random phase and each layer is turned by the scan rotation. Width and depth vary along a
//! track as correlated Ornstein–Uhlenbeck processes, so that gaps open where two neighbours are
//! narrow at once.

use super::pores::Pore;
use super::{ScanPattern, SimulationRequest};
use crate::boundaries::{balling_probability, keyhole_pores_per_um};
use crate::cross_section::{BEAD_AMPLITUDE, CrossSection, bead_factor};
use crate::melt_pool::MeltPool;
use crate::nuisance::{KeyholePores, TrackFluctuation};
use crate::random::{Stream, poisson, standard_normal, stream, uniform};
use rand::Rng;
use rand::RngExt;
use std::f64::consts::{PI, TAU};

/// Largest radius a pore may have, µm; tracks reach this far beyond the volume.
pub(super) const MARGIN_UM: f64 = 64.0;
/// Fluctuations are held within this many standard deviations.
const CLIP: f64 = 3.0;
/// What all layers of one part share. Lengths in µm.
pub(super) struct Build {
    pub shape: [usize; 3],
    pub voxel: f64,
    pub seed: u64,
    pub nuisance: crate::Nuisance,
    layer_thickness: f64,
    hatch: f64,
    spot_radius: f64,
    pool: MeltPool,
    pattern: ScanPattern,
    section: CrossSection,
    balling: f64,
    keyhole_pores_per_um: f64,
    /// Half-diagonal of the volume's plan.
    radius: f64,
}

/// A point along a track.
#[derive(Clone, Copy)]
struct Node {
    half_width: f32,
    depth: f32,
    /// Half width had the track not balled.
    calm_half_width: f32,
}

/// Tracks of one layer.
struct Tracks {
    angle: f64,
    /// Distance of track 0 from the centre of the volume, across the tracks.
    offset: f64,
    first: i64,
    nodes: Vec<Node>,
    per_track: usize,
    step: f64,
    /// Largest half width.
    reach: f64,
    balls: bool,
}

/// What one layer melts at every column of the volume, µm.
pub(super) struct LayerMap {
    pub surface: f32,
    pub depth: Vec<f32>,
    pub crown: Vec<f32>,
    /// Depth had no track balled; empty when none did.
    pub calm_depth: Vec<f32>,
    pub deepest: f32,
    highest_crown: f32,
    pub pores: Vec<Pore>,
}

impl LayerMap {
    /// Largest height of a crown above the surface.
    pub(super) fn highest(&self) -> f64 {
        f64::from(self.highest_crown)
    }
}

impl Build {
    pub(super) fn new(request: &SimulationRequest, pool: &MeltPool, pattern: &ScanPattern) -> Self {
        let parameters = &request.case.parameters;
        let nuisance = request.nuisance.clone();
        let [_, ny, nx] = request.shape;
        let voxel = request.voxel_size.get();
        let hatch = parameters.hatch_spacing.get();
        let layer_thickness = parameters.layer_thickness.get();
        Self {
            shape: request.shape,
            voxel,
            seed: request.seed,
            layer_thickness,
            hatch,
            spot_radius: 0.5 * request.case.spot.get(),
            pool: *pool,
            pattern: *pattern,
            section: CrossSection::new(pool, parameters, &nuisance.pool),
            balling: balling_probability(&request.case, pool, &nuisance),
            keyhole_pores_per_um: keyhole_pores_per_um(pool, &nuisance),
            radius: 0.5 * voxel * ((ny * ny + nx * nx) as f64).sqrt(),
            nuisance,
        }
    }

    /// Indices of the layers that can touch heights `low` to `high`, µm above the bottom.
    pub(super) fn layers_between(&self, low: f64, high: f64) -> std::ops::Range<i64> {
        if !self.pool.melts() {
            return 0..0;
        }
        let t = self.layer_thickness;
        let jitter = CLIP * self.nuisance.track.layer_sd * t;
        let deepest = self.pool.depth_um * (CLIP * self.nuisance.track.depth_cv).exp();
        let index = |height: f64| height / t - self.pattern.layer_phase;
        let first = index(low - self.section.crown_um() - jitter - MARGIN_UM).floor() as i64;
        let last = index(high + deepest + jitter + MARGIN_UM).ceil() as i64;
        first..last + 1
    }

    /// Melts layer `index`.
    pub(super) fn layer(&self, index: i64) -> LayerMap {
        let rng = &mut stream(self.seed, Stream::Layer, index as u64);
        let t = self.layer_thickness;
        let jitter = clipped(rng) * self.nuisance.track.layer_sd * t;
        let surface = (index as f64 + self.pattern.layer_phase) * t + jitter;
        let tracks = self.tracks(index, rng);
        let pores = self.keyhole_pores(&tracks, surface, rng);
        let mut map = LayerMap {
            surface: surface as f32,
            depth: Vec::new(),
            crown: Vec::new(),
            calm_depth: Vec::new(),
            deepest: 0.0,
            highest_crown: self.section.crown_um() as f32,
            pores,
        };
        self.raster(&tracks, &mut map);
        map
    }

    fn tracks(&self, index: i64, rng: &mut impl Rng) -> Tracks {
        let fluctuation = &self.nuisance.track;
        let angle =
            (self.pattern.start_angle_deg + self.pattern.rotation_deg * index as f64).to_radians();
        let offset = uniform(rng, 0.0, self.hatch);
        let wavelength = PI * self.pool.width_um;
        let step = (0.25 * fluctuation.correlation_length_um).min(wavelength / 16.0).max(1.0);
        let length = 2.0 * (self.radius + MARGIN_UM);
        let per_track = (length / step).ceil() as usize + 2;
        let reach = 0.5
            * self.pool.width_um
            * (CLIP * fluctuation.width_cv).exp()
            * if self.balling > 1e-3 { 1.0 + BEAD_AMPLITUDE } else { 1.0 };
        let first = ((-self.radius - reach - offset) / self.hatch).ceil() as i64;
        let last = ((self.radius + reach - offset) / self.hatch).floor() as i64;
        let count = (last - first + 1).max(0) as usize;

        let mut tracks = Tracks {
            angle,
            offset,
            first,
            nodes: Vec::with_capacity(count * per_track),
            per_track,
            step,
            reach,
            balls: false,
        };
        for _ in 0..count {
            let start = tracks.nodes.len();
            self.walk(&mut tracks, rng);
            if rng.random::<f64>() < self.balling && self.balling > 1e-3 {
                tracks.balls = true;
                let phase = uniform(rng, 0.0, TAU);
                ball(&mut tracks.nodes[start..], step / wavelength, phase);
            }
        }
        tracks
    }

    /// Appends one track: lognormal width and depth with the stated coefficients of variation,
    /// partly constant along the track.
    fn walk(&self, tracks: &mut Tracks, rng: &mut impl Rng) {
        let fluctuation = &self.nuisance.track;
        let TrackFluctuation { width_cv, depth_cv, correlation, track_share, .. } = *fluctuation;
        let persistence = (-tracks.step / fluctuation.correlation_length_um).exp();
        let innovation = (1.0 - persistence * persistence).sqrt();
        let independent = (1.0 - correlation * correlation).max(0.0).sqrt();
        let mut pair = || {
            let shared = standard_normal(rng);
            [shared, correlation * shared + independent * standard_normal(rng)]
        };
        let (constant, varying) = (track_share.sqrt(), (1.0 - track_share).max(0.0).sqrt());
        let whole = pair();
        let mut state = pair();
        for _ in 0..tracks.per_track {
            let fresh = pair();
            let mut level = [0.0; 2];
            for i in 0..2 {
                level[i] = (constant * whole[i] + varying * state[i]).clamp(-CLIP, CLIP);
                state[i] = persistence * state[i] + innovation * fresh[i];
            }
            let lognormal =
                |mean: f64, cv: f64, level: f64| (mean * (cv * level - 0.5 * cv * cv).exp()) as f32;
            let half_width = lognormal(0.5 * self.pool.width_um, width_cv, level[0]);
            let depth = lognormal(self.pool.depth_um, depth_cv, level[1]);
            tracks.nodes.push(Node { half_width, depth, calm_half_width: half_width });
        }
    }

    /// Pores left at the tip of the vapour depression, centre 0.75 to 1 depths below the surface.
    /// A pore that a later track or layer melts again may escape.
    fn keyhole_pores(&self, tracks: &Tracks, surface: f64, rng: &mut impl Rng) -> Vec<Pore> {
        let keyhole = &self.nuisance.keyhole;
        let length = tracks.per_track.saturating_sub(2) as f64 * tracks.step;
        let (sin, cos) = tracks.angle.sin_cos();
        let mut pores = Vec::new();
        for (k, nodes) in tracks.nodes.chunks_exact(tracks.per_track).enumerate() {
            let across = (tracks.first + k as i64) as f64 * self.hatch + tracks.offset;
            for _ in 0..poisson(rng, self.keyhole_pores_per_um * length) {
                let along = uniform(rng, 0.0, length);
                let node = nodes[((along / tracks.step) as usize).min(nodes.len() - 1)];
                let below = f64::from(node.depth) * uniform(rng, 0.75, 1.0);
                let pore = self.keyhole_pore(keyhole, rng);
                let escapes = rng.random::<f64>() < keyhole.escape;
                if escapes && self.melts_again(below, rng) {
                    continue;
                }
                let along = along - 0.5 * length;
                let (x, y) = (along * cos - across * sin, along * sin + across * cos);
                if self.near_volume(x, y, surface - below) {
                    let [x, y, z] = [x, y, surface - below].map(|v| v as f32);
                    pores.push(Pore { x, y, z, ..pore });
                }
            }
        }
        pores
    }

    /// Whether a pore here could reach into the volume.
    fn near_volume(&self, x: f64, y: f64, z: f64) -> bool {
        let [nz, ny, nx] = self.shape.map(|n| n as f64 * self.voxel);
        let near = |offset: f64, extent: f64| offset.abs() < 0.5 * extent + MARGIN_UM;
        near(x, nx) && near(y, ny) && near(z - 0.5 * nz, nz)
    }

    fn keyhole_pore(&self, keyhole: &KeyholePores, rng: &mut impl Rng) -> Pore {
        let median = keyhole.median_to_radius * self.spot_radius;
        let diameter = (median * (keyhole.ln_sd * clipped(rng)).exp()).clamp(6.0, MARGIN_UM);
        Pore {
            x: 0.0,
            y: 0.0,
            z: 0.0,
            radius: 0.5 * diameter as f32,
            aspect: uniform(rng, 1.0, 1.4) as f32,
            label: super::LABEL_KEYHOLE,
        }
    }

    /// Whether the next track of this layer or the layer above, at a random distance, reaches a
    /// point `below` the surface. Layers further up reach less deep and are not asked.
    fn melts_again(&self, below: f64, rng: &mut impl Rng) -> bool {
        let fluctuation = &self.nuisance.track;
        let aside: f64 = rng.random();
        let mut reached = |distance: f64, extra: f64| {
            let depth = self.pool.depth_um * (fluctuation.depth_cv * clipped(rng)).exp();
            let relative = distance / (0.5 * self.pool.width_um);
            depth * f64::from(self.section.depth_at((relative * relative) as f32)) > below + extra
        };
        reached(self.hatch, 0.0) || reached(0.5 * self.hatch * aside, self.layer_thickness)
    }

    fn raster(&self, tracks: &Tracks, map: &mut LayerMap) {
        let [_, ny, nx] = self.shape;
        map.depth = vec![0.0; ny * nx];
        map.crown = vec![0.0; ny * nx];
        if tracks.balls {
            map.calm_depth = vec![0.0; ny * nx];
        }
        let (sin, cos) = tracks.angle.sin_cos();
        let hatch = self.hatch as f32;
        let half = 0.5 * tracks.per_track.saturating_sub(2) as f64 * tracks.step;
        for iy in 0..ny {
            let y = (iy as f64 + 0.5 - 0.5 * ny as f64) * self.voxel;
            for ix in 0..nx {
                let x = (ix as f64 + 0.5 - 0.5 * nx as f64) * self.voxel;
                let along = (x * cos + y * sin + half) / tracks.step;
                let across = y * cos - x * sin - tracks.offset;
                let node = (along as usize).min(tracks.per_track - 2);
                let fraction = (along - node as f64) as f32;
                let low = ((across - tracks.reach) / self.hatch).ceil() as i64;
                let high = ((across + tracks.reach) / self.hatch).floor() as i64;
                let at = iy * nx + ix;
                for k in low..=high {
                    let start = (k - tracks.first) * tracks.per_track as i64 + node as i64;
                    let Some([a, b]) = pair_at(&tracks.nodes, start) else { continue };
                    let distance = across as f32 - k as f32 * hatch;
                    let mix = |a: f32, b: f32| a + (b - a) * fraction;
                    let relative = distance / mix(a.half_width, b.half_width).max(1e-6);
                    let q = relative * relative;
                    let depth = mix(a.depth, b.depth);
                    if q < 1.0 {
                        map.depth[at] = map.depth[at].max(depth * self.section.depth_at(q));
                        map.crown[at] =
                            map.crown[at].max(self.section.crown_um() as f32 * (1.0 - q));
                    }
                    if tracks.balls {
                        let calm = distance / mix(a.calm_half_width, b.calm_half_width);
                        let depth = depth * self.section.depth_at(calm * calm);
                        map.calm_depth[at] = map.calm_depth[at].max(depth);
                    }
                }
            }
        }
        map.deepest = map.depth.iter().chain(&map.calm_depth).fold(0.0, |a, &b| a.max(b));
    }
}

fn pair_at(nodes: &[Node], start: i64) -> Option<[Node; 2]> {
    let start = usize::try_from(start).ok()?;
    Some([*nodes.get(start)?, *nodes.get(start + 1)?])
}

fn clipped(rng: &mut impl Rng) -> f64 {
    standard_normal(rng).clamp(-CLIP, CLIP)
}

/// Beads: the width swings about its mean and the track is interrupted in the troughs.
fn ball(nodes: &mut [Node], waves_per_node: f64, phase: f64) {
    for (i, node) in nodes.iter_mut().enumerate() {
        let wave = (phase + TAU * waves_per_node * i as f64).sin();
        node.half_width *= bead_factor(wave) as f32;
    }
}

//! Metal on voxels → reconstructed grey values.
//!
//! Point spread, a grey floor in pores (scatter), radial shading of either sign, rings about the
//! rotation axis and correlated Poisson–Gaussian noise, as measured on laboratory scans.
//! Projections are absent on purpose: nothing downstream depends on more than these statistics.

use super::{BitDepth, SLAB, SimulationRequest};
use crate::nuisance::Imaging;
use crate::random::{Stream, stream};
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// Grey values of every voxel, from the metal in 255ths of each.
pub(super) fn scan(metal: &[u8], request: &SimulationRequest) -> Vec<u16> {
    let [nz, ny, nx] = request.shape;
    let page = ny * nx;
    let scanner = Scanner::new(request);
    let mut grey = vec![0u16; nz * page];
    grey.par_chunks_mut(SLAB * page).enumerate().for_each(|(slab, grey)| {
        scanner.scan_slab(metal, slab * SLAB, grey);
    });
    grey
}

struct Scanner<'a> {
    imaging: &'a Imaging,
    shape: [usize; 3],
    seed: u64,
    full_scale: f32,
    blur: Vec<f32>,
    /// Within slices and along z.
    noise_blur: [Vec<f32>; 2],
    /// Shading at each column: 0 nearest the rotation axis, 1 farthest, by squared distance.
    shade: Vec<f32>,
    /// Ring bin of each column.
    ring_bin: Vec<u32>,
    ring_bins: usize,
    shared_rings: Vec<f32>,
}

impl<'a> Scanner<'a> {
    fn new(request: &'a SimulationRequest) -> Self {
        let imaging = &request.nuisance.imaging;
        let [_, ny, nx] = request.shape;
        let half_diagonal = 0.5 * ((ny * ny + nx * nx) as f64).sqrt();
        let axis = |n: usize, offset: f64| 0.5 * n as f64 + offset * half_diagonal;
        let (ay, ax) = (axis(ny, imaging.axis_offset[0]), axis(nx, imaging.axis_offset[1]));
        let mut shade = Vec::with_capacity(ny * nx);
        let mut ring_bin = Vec::with_capacity(ny * nx);
        for y in 0..ny {
            for x in 0..nx {
                let (dy, dx) = (y as f64 + 0.5 - ay, x as f64 + 0.5 - ax);
                let radius_squared = dy * dy + dx * dx;
                shade.push(radius_squared as f32);
                ring_bin.push(radius_squared.sqrt() as u32);
            }
        }
        unit_range(&mut shade);
        let ring_bins = ring_bin.iter().max().map_or(0, |&bin| bin as usize + 1);
        let mut scanner = Self {
            imaging,
            shape: request.shape,
            seed: request.seed,
            full_scale: match request.depth {
                BitDepth::U8 => 255.0,
                BitDepth::U16 => 65535.0,
            },
            blur: gaussian(imaging.blur_voxels),
            noise_blur: [imaging.noise_blur_voxels, imaging.noise_blur_z_voxels]
                .map(|sd| unit_variance(gaussian(sd))),
            shade,
            ring_bin,
            ring_bins,
            shared_rings: Vec::new(),
        };
        scanner.shared_rings = scanner.ring_profile(0);
        scanner
    }

    fn scan_slab(&self, metal: &[u8], first: usize, grey: &mut [u16]) {
        let [_, ny, nx] = self.shape;
        let slices = grey.len() / (ny * nx);
        let signal = self.blurred_metal(metal, first, slices);
        let noise = self.noise(first, slices);
        let page = ny * nx;
        for i in 0..slices {
            let at = i * page..(i + 1) * page;
            let rings = self.ring_profile(first + i + 1);
            let slice = &mut grey[at.clone()];
            self.expose(&signal[at.clone()], &noise[at], &rings, slice);
        }
    }

    /// Grey of one slice from its metal, unit noise and own rings.
    fn expose(&self, signal: &[f32], noise: &[f32], rings: &[f32], grey: &mut [u16]) {
        let imaging = self.imaging;
        let (air, solid) = (imaging.air_level as f32, imaging.solid_level as f32);
        let floor = imaging.pore_floor as f32;
        let cupping = imaging.cupping as f32;
        let photons = imaging.photon_share as f32;
        let (noise_sd, ring_sd) = (imaging.noise as f32, imaging.ring as f32);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        for (i, grey) in grey.iter_mut().enumerate() {
            let level = (floor + (1.0 - floor) * signal[i]) * (1.0 + cupping * self.shade[i]);
            let bin = self.ring_bin[i] as usize;
            let ring = half * ring_sd * (self.shared_rings[bin] + rings[bin]);
            let sd = noise_sd * (photons * level.max(0.0) + 1.0 - photons).sqrt();
            let value = air + (solid - air) * level + solid * (ring + sd * noise[i]);
            // `as` holds the value within u16; the clamp holds it within the depth.
            *grey = (value * self.full_scale + 0.5).clamp(0.0, self.full_scale) as u16;
        }
    }

    /// Ring strength by distance from the axis: profile 0 is shared by all slices, as a detector
    /// column's defect is; the others belong to one slice each.
    fn ring_profile(&self, index: usize) -> Vec<f32> {
        let mut rng = stream(self.seed, Stream::Ring, index as u64);
        (0..self.ring_bins).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    fn blurred_metal(&self, metal: &[u8], first: usize, slices: usize) -> Vec<f32> {
        let [nz, ny, nx] = self.shape;
        let page = ny * nx;
        let reach = self.blur.len() / 2;
        let mut stack = Stack::new(slices + 2 * reach, [ny, nx]);
        for (i, slice) in stack.data.chunks_exact_mut(page).enumerate() {
            // The part goes on beyond the crop; its last slice stands for it.
            let z = (first + i).saturating_sub(reach).min(nz - 1);
            for (value, &metal) in slice.iter_mut().zip(&metal[z * page..(z + 1) * page]) {
                *value = f32::from(metal) / 255.0;
            }
        }
        stack.blur([&self.blur; 2], Edge::Repeat)
    }

    /// Noise of zero mean and unit variance. Every slice of white noise has its own stream and
    /// is shared by the slabs it reaches.
    fn noise(&self, first: usize, slices: usize) -> Vec<f32> {
        let [_, ny, nx] = self.shape;
        let [plane, along] = &self.noise_blur;
        let reach = along.len() / 2;
        let mut stack = Stack::new(slices + 2 * reach, [ny, nx]);
        for (i, slice) in stack.data.chunks_exact_mut(ny * nx).enumerate() {
            let mut rng = stream(self.seed, Stream::Noise, (first + i) as u64);
            slice.fill_with(|| StandardNormal.sample(&mut rng));
        }
        stack.blur([plane, along], Edge::Wrap)
    }
}

/// What lies beyond the edge of a slice. Wrapping keeps the variance of noise exact.
#[derive(Clone, Copy)]
enum Edge {
    Repeat,
    Wrap,
}

/// Maps values linearly onto 0 to 1; a single value onto 0. Without it shading would grow with the
/// distance of the axis, to several times what was asked for at the far corner.
fn unit_range(values: &mut [f32]) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = (high - low).max(f32::MIN_POSITIVE);
    for value in values {
        *value = (*value - low) / range;
    }
}

struct Stack {
    data: Vec<f32>,
    plan: [usize; 2],
}

impl Stack {
    fn new(slices: usize, plan: [usize; 2]) -> Self {
        Self { data: vec![0.0; slices * plan[0] * plan[1]], plan }
    }

    /// Separable blur, by one kernel within slices and one along z; consumes half a kernel of
    /// slices at either end.
    fn blur(mut self, [plane, along]: [&[f32]; 2], edge: Edge) -> Vec<f32> {
        let page = self.plan[0] * self.plan[1];
        let mut spare = vec![0.0; page];
        for slice in self.data.chunks_exact_mut(page) {
            blur_rows(slice, self.plan, plane, edge);
            blur_columns(slice, &mut spare, self.plan, (plane, edge));
        }
        let slices = (self.data.len() / page + 1).saturating_sub(along.len());
        let mut out = vec![0.0f32; slices * page];
        for (i, out) in out.chunks_exact_mut(page).enumerate() {
            for (k, &weight) in along.iter().enumerate() {
                add_scaled(out, &self.data[(i + k) * page..(i + k + 1) * page], weight);
            }
        }
        out
    }
}

fn blur_rows(slice: &mut [f32], [_, nx]: [usize; 2], kernel: &[f32], edge: Edge) {
    let reach = kernel.len() / 2;
    let mut padded = vec![0.0f32; nx + 2 * reach];
    for row in slice.chunks_exact_mut(nx) {
        padded[reach..reach + nx].copy_from_slice(row);
        for i in 0..reach {
            padded[i] = row[outside(i as isize - reach as isize, nx, edge)];
            padded[reach + nx + i] = row[outside((nx + i) as isize, nx, edge)];
        }
        row.fill(0.0);
        for (k, &weight) in kernel.iter().enumerate() {
            add_scaled(row, &padded[k..k + nx], weight);
        }
    }
}

fn blur_columns(
    slice: &mut [f32],
    spare: &mut [f32],
    [ny, nx]: [usize; 2],
    (kernel, edge): (&[f32], Edge),
) {
    let reach = (kernel.len() / 2) as isize;
    spare.copy_from_slice(slice);
    for (y, row) in slice.chunks_exact_mut(nx).enumerate() {
        row.fill(0.0);
        for (k, &weight) in kernel.iter().enumerate() {
            let from = outside(y as isize + k as isize - reach, ny, edge);
            add_scaled(row, &spare[from * nx..(from + 1) * nx], weight);
        }
    }
}

fn add_scaled(out: &mut [f32], values: &[f32], weight: f32) {
    for (out, value) in out.iter_mut().zip(values) {
        *out += weight * value;
    }
}

/// Index inside `0..count` that stands for `index`.
fn outside(index: isize, count: usize, edge: Edge) -> usize {
    let count = count as isize;
    (match edge {
        Edge::Repeat => index.clamp(0, count - 1),
        Edge::Wrap => index.rem_euclid(count),
    }) as usize
}

/// Gaussian weights of sum 1, out to three standard deviations.
fn gaussian(sd: f64) -> Vec<f32> {
    if sd < 0.05 {
        return vec![1.0];
    }
    let reach = (3.0 * sd).ceil() as i32;
    let weights: Vec<f64> =
        (-reach..=reach).map(|i| (-0.5 * (f64::from(i) / sd).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / sum) as f32).collect()
}

/// The same weights with squares of sum 1, so that white noise keeps its variance.
fn unit_variance(weights: Vec<f32>) -> Vec<f32> {
    let norm = weights.iter().map(|weight| weight * weight).sum::<f32>().sqrt();
    weights.into_iter().map(|weight| weight / norm).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blurred_point_keeps_its_mass_and_spreads_evenly() {
        let mut stack = Stack::new(9, [5, 5]);
        stack.data[4 * 25 + 12] = 1.0;
        let out = stack.blur([&[0.25, 0.5, 0.25]; 2], Edge::Repeat);
        assert_eq!(out.len(), 7 * 25);
        assert!((out.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(out[3 * 25 + 12], 0.125);
        assert_eq!([out[3 * 25 + 11], out[3 * 25 + 7], out[2 * 25 + 12]], [0.0625; 3]);
    }

    #[test]
    fn edges_stand_for_what_lies_beyond() {
        assert_eq!([-1, 0, 3, 4].map(|i| outside(i, 4, Edge::Repeat)), [0, 0, 3, 3]);
        assert_eq!([-1, 0, 3, 4].map(|i| outside(i, 4, Edge::Wrap)), [3, 0, 3, 0]);
        assert_eq!([-3, 2].map(|i| outside(i, 1, Edge::Wrap)), [0, 0]);
    }
}

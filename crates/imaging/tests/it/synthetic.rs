//! Scans with a known truth: blurred pores, correlated noise, cupping, rings.

use microdiff_domain::Volume;
use microdiff_imaging::{Scan, Voxels};

/// A small generator; quality is enough for noise (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.unit()).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[derive(Clone, Copy)]
pub struct Recipe {
    pub shape: [usize; 3],
    /// Solid grey as a share of full scale.
    pub solid: f64,
    /// Grey of pore cores as a share of the solid's.
    pub pore: f64,
    /// Noise after correlation, as a share of the solid.
    pub noise: f64,
    /// Grey at the rim over the centre, minus one.
    pub cupping: f64,
    pub rings: f64,
    pub seed: u64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            shape: [64; 3],
            solid: 0.6,
            pore: 0.4,
            noise: 0.02,
            cupping: 0.0,
            rings: 0.0,
            seed: 1,
        }
    }
}

pub fn blur(data: &mut [f64], [nz, ny, nx]: [usize; 3], sigma: f64) {
    let kernel: Vec<f64> =
        (-4..=4).map(|k| (-0.5 * (f64::from(k) / sigma).powi(2)).exp()).collect();
    let sum: f64 = kernel.iter().sum();
    for (n, stride) in [(nz, ny * nx), (ny, nx), (nx, 1)] {
        let copy = data.to_vec();
        for (i, out) in data.iter_mut().enumerate() {
            let at = (i / stride % n) as isize;
            *out = (-4..=4isize)
                .map(|k| {
                    let to = (at + k).clamp(0, n as isize - 1) - at;
                    kernel[(k + 4) as usize] * copy[(i as isize + to * stride as isize) as usize]
                })
                .sum::<f64>()
                / sum;
        }
    }
}

/// Grey of a volume where `pore(z, y, x)` says what is pore, and the true porosity.
pub fn grey(recipe: &Recipe, pore: impl Fn(usize, usize, usize) -> bool) -> (Vec<f64>, f64) {
    let [nz, ny, nx] = recipe.shape;
    let at = |i: usize| (i / (ny * nx), i / nx % ny, i % nx);
    let mut phase: Vec<f64> = (0..nz * ny * nx)
        .map(|i| {
            let (z, y, x) = at(i);
            f64::from(pore(z, y, x))
        })
        .collect();
    let truth = phase.iter().sum::<f64>() / phase.len() as f64;
    blur(&mut phase, recipe.shape, 1.0);
    let mut random = Random(recipe.seed);
    let mut noise: Vec<f64> = phase.iter().map(|_| random.normal()).collect();
    blur(&mut noise, recipe.shape, 0.8);
    let sd = (noise.iter().map(|v| v * v).sum::<f64>() / noise.len() as f64).sqrt();
    let rings: Vec<f64> = (0..ny + nx).map(|_| recipe.rings * random.normal()).collect();
    let grey = (0..phase.len())
        .map(|i| {
            let (_, y, x) = at(i);
            let (v, u) = (y as f64 - ny as f64 / 2.0, x as f64 - nx as f64 / 2.0);
            let radius = v.hypot(u);
            let bowl = 1.0 + recipe.cupping * (radius / (ny.min(nx) as f64 / 2.0)).powi(2) / 2.0;
            let clean = bowl * (1.0 - (1.0 - recipe.pore) * phase[i]);
            recipe.solid * (clean + rings[radius as usize] + recipe.noise * noise[i] / sd)
        })
        .collect();
    (grey, truth)
}

pub fn scan_u16(recipe: &Recipe, pore: impl Fn(usize, usize, usize) -> bool) -> (Scan, f64) {
    let (grey, truth) = grey(recipe, pore);
    let data = grey.iter().map(|g| (g * 65535.0).clamp(0.0, 65535.0) as u16).collect();
    (Scan::in_memory(Voxels::U16(Volume::new(recipe.shape, data).unwrap()), None), truth)
}

pub fn scan_u8(recipe: &Recipe, pore: impl Fn(usize, usize, usize) -> bool) -> (Scan, f64) {
    let (grey, truth) = grey(recipe, pore);
    let data = grey.iter().map(|g| (g * 255.0).clamp(0.0, 255.0).round() as u8).collect();
    (Scan::in_memory(Voxels::U8(Volume::new(recipe.shape, data).unwrap()), None), truth)
}

/// Elliptic gaps between tracks `hatch` voxels apart and turned by 67° from layer to layer, as a
/// predicate on voxels. `fill` from 0 to 1 sets how much of the layer they take.
pub fn lack_of_fusion(hatch: f64, layer: usize, fill: f64) -> impl Fn(usize, usize, usize) -> bool {
    move |z, y, x| {
        let index = z / layer;
        let angle = index as f64 * 67f64.to_radians();
        let across = x as f64 * angle.cos() + y as f64 * angle.sin() + 3.7 * index as f64;
        let along = y as f64 * angle.cos() - x as f64 * angle.sin();
        let wobble = 1.0 + 0.4 * (along / 9.0 + index as f64).sin();
        let from_gap = (across.rem_euclid(hatch) - hatch / 2.0).abs() / (hatch / 2.0);
        let height = (z % layer) as f64 / layer as f64;
        from_gap < fill * wobble * (1.0 - height)
    }
}

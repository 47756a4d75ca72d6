//! Layers → the melted part of every voxel and the cause of what stays unmelted.

use super::tracks::{Build, LayerMap};
use super::{Grid, LABEL_BALLING, LABEL_LACK_OF_FUSION, LABEL_METAL, SLAB};
use rayon::prelude::*;
use std::collections::VecDeque;

/// Melts all layers. Labels hold the cause of every voxel less than half melted, before powder.
///
/// Each layer is computed once; only the layers that reach the slab at hand are kept.
pub(super) fn melt(build: &Build) -> Grid {
    let [nz, ny, nx] = build.shape;
    let page = ny * nx;
    let mut grid =
        Grid { metal: vec![0; nz * page], labels: vec![LABEL_METAL; nz * page], pores: Vec::new() };
    let mut window: VecDeque<LayerMap> = VecDeque::new();
    let mut next = None;
    for slab in 0..nz.div_ceil(SLAB) {
        let low = (slab * SLAB) as f64 * build.voxel;
        let high = ((slab + 1) * SLAB).min(nz) as f64 * build.voxel;
        let layers = build.layers_between(low, high);
        let fresh: Vec<i64> = (next.unwrap_or(layers.start)..layers.end).collect();
        next = Some(layers.end.max(next.unwrap_or(layers.end)));
        let mut maps: Vec<LayerMap> = fresh.into_par_iter().map(|i| build.layer(i)).collect();
        for map in &mut maps {
            grid.pores.append(&mut map.pores);
        }
        window.extend(maps);
        // Crowns and jitter are below the margin the layer range already leaves.
        let spent = |map: &LayerMap| f64::from(map.surface) + map.highest() < low;
        while window.front().is_some_and(spent) {
            window.pop_front();
        }
        let pages = slab * SLAB * page..((slab + 1) * SLAB).min(nz) * page;
        grid.metal[pages.clone()]
            .par_chunks_mut(page)
            .zip(grid.labels[pages].par_chunks_mut(page))
            .enumerate()
            .for_each(|(i, (metal, labels))| {
                let low = (slab * SLAB + i) as f64 * build.voxel;
                melt_slice(&window, [low, low + build.voxel], metal, labels);
            });
    }
    grid
}

/// One slice between two heights: the melted part of a voxel is the largest any layer covers.
fn melt_slice(layers: &VecDeque<LayerMap>, heights: [f64; 2], metal: &mut [u8], labels: &mut [u8]) {
    let [low, high] = heights.map(|height| height as f32);
    let scale = 1.0 / (high - low);
    let mut melted = vec![0.0f32; metal.len()];
    let mut calm = Vec::new();
    for layer in layers {
        let surface = layer.surface;
        if surface - layer.deepest > high || f64::from(surface) + layer.highest() < f64::from(low) {
            continue;
        }
        for ((melted, depth), crown) in melted.iter_mut().zip(&layer.depth).zip(&layer.crown) {
            let top = high.min(surface + crown);
            let bottom = low.max(surface - depth);
            *melted = melted.max((top - bottom) * scale);
        }
        if !layer.calm_depth.is_empty() && calm.is_empty() {
            calm = vec![0.0f32; metal.len()];
        }
    }
    if !calm.is_empty() {
        melt_calmly(layers, heights, &mut calm);
    }
    for (i, &melted) in melted.iter().enumerate() {
        metal[i] = (melted.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        if metal[i] < 128 {
            let balled = calm.get(i).is_some_and(|&calm| calm >= 0.5);
            labels[i] = if balled { LABEL_BALLING } else { LABEL_LACK_OF_FUSION };
        }
    }
}

/// The same slice had no track balled.
fn melt_calmly(layers: &VecDeque<LayerMap>, [low, high]: [f64; 2], melted: &mut [f32]) {
    let [low, high] = [low as f32, high as f32];
    let scale = 1.0 / (high - low);
    for layer in layers {
        let depths = if layer.calm_depth.is_empty() { &layer.depth } else { &layer.calm_depth };
        for ((melted, depth), crown) in melted.iter_mut().zip(depths).zip(&layer.crown) {
            let top = high.min(layer.surface + crown);
            let bottom = low.max(layer.surface - depth);
            *melted = melted.max((top - bottom) * scale);
        }
    }
}

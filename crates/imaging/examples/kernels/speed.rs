//! Volumes to measure speed on, and the time that kernels and readers take on them.

use crate::stopwatch::{Task, bandwidth, timed};
use crate::{Done, uniform};
use microdiff_imaging::filter::{
    block_mean, gaussian, gaussian_into, histogram, level_at, median3, median3_into,
};
use microdiff_imaging::io::{ReadOptions, read_scan};
use microdiff_imaging::measure::{TwoPointOptions, two_point, two_point_in, two_point_room};
use microdiff_imaging::segment::{
    Bits, Connectivity, label, otsu, squared_distance, squared_distance_into,
};
use std::error::Error;
use std::path::Path;

/// Shares of pores, by the names of the files.
const SHARES: [(&str, f64); 2] = [("1 %", 0.01), ("10 %", 0.1)];
const SOLID: f32 = 40_000.0;
const PORE: f32 = 12_000.0;

/// Writes for each share of pores the grey volume and the mask of its pores, one byte per voxel.
pub fn make(edge: usize, folder: &Path) -> Done {
    std::fs::create_dir_all(folder)?;
    let shape = [edge; 3];
    for (seed, (name, share)) in SHARES.into_iter().enumerate() {
        let grey = printed(shape, seed as u64, share)?;
        let quiet = median3(&grey, shape)?;
        std::fs::write(folder.join(format!("grey {name}")), bytes_of(&grey))?;
        let pores = Bits::darker_than(&quiet, shape, ((SOLID + PORE) / 2.0) as u16)?;
        let mask: Vec<u8> = pores.to_mask().into_iter().map(u8::from).collect();
        std::fs::write(folder.join(format!("mask {name}")), mask)?;
    }
    Ok(())
}

fn bytes_of(grey: &[u16]) -> Vec<u8> {
    grey.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A blurred and noisy solid with pores, half of them irregular and half of them balls of 1.5 to 5
/// voxels' radius.
fn printed(shape: [usize; 3], seed: u64, share: f64) -> Result<Vec<u16>, Box<dyn Error>> {
    let len = shape.iter().product();
    let noise: Vec<f32> = (0..len).map(|i| uniform(seed, i)).collect();
    let smooth = gaussian(&noise, shape, 3.0)?;
    drop(noise);
    let level = |v: f32| (v * 65_535.0) as u16;
    let levels: Vec<u16> = smooth.iter().map(|&v| level(v)).collect();
    let lowest = level_at(&histogram(&levels), share / 2.0);
    let mut solid = smooth;
    for (solid, level) in solid.iter_mut().zip(levels) {
        *solid = if level < lowest { PORE } else { SOLID };
    }
    let wanted = (share / 2.0 * len as f64) as usize;
    let (mut taken, mut ball) = (0, 0);
    while taken < wanted {
        taken += carve(&mut solid, shape, |k| uniform(seed + 100, 4 * ball + k));
        ball += 1;
    }
    let blurred = gaussian(&solid, shape, 1.0)?;
    let noisy = |(i, v): (usize, &f32)| v + 4000.0 * (uniform(seed + 200, i) - 0.5);
    Ok(blurred.iter().enumerate().map(noisy).map(|v| v as u16).collect())
}

/// Makes a ball a pore; its place and size by four numbers from 0 to 1. Gives its voxels.
fn carve(solid: &mut [f32], shape: [usize; 3], random: impl Fn(usize) -> f32) -> usize {
    let radius = 1.5 + 3.5 * random(3);
    let centre: [f32; 3] = std::array::from_fn(|k| random(k) * shape[k] as f32);
    let span = |k: usize| {
        let (from, to) = ((centre[k] - radius).max(0.0), centre[k] + radius + 1.0);
        from as usize..(to as usize).min(shape[k])
    };
    let square = |i: usize, k: usize| (i as f32 - centre[k]).powi(2);
    let mut voxels = 0;
    for z in span(0) {
        for y in span(1) {
            for x in span(2) {
                if square(z, 0) + square(y, 1) + square(x, 2) <= radius * radius {
                    solid[(z * shape[1] + y) * shape[2] + x] = PORE;
                    voxels += 1;
                }
            }
        }
    }
    voxels
}

fn read_grey(folder: &Path, name: &str) -> Result<Vec<u16>, Box<dyn Error>> {
    let bytes = std::fs::read(folder.join(format!("grey {name}")))?;
    Ok(bytes.as_chunks::<2>().0.iter().map(|&two| u16::from_le_bytes(two)).collect())
}

/// Measures each kernel whose name contains `only`.
pub fn kernels(edge: usize, folder: &Path, only: &str) -> Done {
    let (shape, voxels) = ([edge; 3], edge.pow(3));
    let asked = |name: &str| name.contains(only);
    let task = |name, bytes| Task { name, voxels, bytes };
    bandwidth();
    let grey = read_grey(folder, "1 %")?;
    if asked("median 3x3x3") {
        timed(task("median 3x3x3", 4.0), || median3(&grey, shape)).map(drop)?;
        let mut out = vec![0; voxels];
        timed(task("median 3x3x3, into", 4.0), || median3_into(&grey, shape, &mut out))?;
    }
    if asked("gaussian sigma 1") {
        let float: Vec<f32> = grey.iter().map(|&v| f32::from(v)).collect();
        timed(task("gaussian sigma 1", 8.0), || gaussian(&float, shape, 1.0)).map(drop)?;
        let mut out = vec![0.0; voxels];
        timed(task("gaussian sigma 1, into", 8.0), || gaussian_into(&float, shape, 1.0, &mut out))?;
    }
    if asked("otsu") {
        timed(task("otsu", 2.0), || otsu(&histogram(&grey)));
    }
    if asked("mean to 64^3") {
        timed(task("mean to 64^3", 2.0), || block_mean(&grey, shape, edge / 64)).map(drop)?;
    }
    drop(grey);
    for (share, _) in SHARES {
        let mask = std::fs::read(folder.join(format!("mask {share}")))?;
        phases(shape, &mask.into_iter().map(|m| m == 1).collect::<Vec<_>>(), share, &asked)?;
    }
    Ok(())
}

fn phases(shape: [usize; 3], mask: &[bool], share: &str, asked: &dyn Fn(&str) -> bool) -> Done {
    let voxels = mask.len();
    let name = format!("labels 26, {share}");
    if asked(&name) {
        timed(Task { name: &name, voxels, bytes: 5.0 }, || {
            let phase = Bits::from_mask(mask, shape)?;
            Ok::<_, Box<dyn Error>>(label(&phase, Connectivity::Corners)?.volume())
        })
        .map(drop)?;
        let (name, mut out) = (format!("{name}, into"), vec![0; voxels]);
        timed(Task { name: &name, voxels, bytes: 5.0 }, || {
            let phase = Bits::from_mask(mask, shape)?;
            label(&phase, Connectivity::Corners)?.volume_into(&mut out)
        })?;
    }
    let name = format!("distance in pores, {share}");
    if asked(&name) {
        timed(Task { name: &name, voxels, bytes: 5.0 }, || {
            squared_distance(&Bits::from_mask(mask, shape)?)
        })
        .map(drop)?;
        let (name, mut out) = (format!("{name}, into"), vec![0; voxels]);
        timed(Task { name: &name, voxels, bytes: 5.0 }, || {
            squared_distance_into(&Bits::from_mask(mask, shape)?, &mut out)
        })?;
    }
    let name = format!("distance in the solid, {share}");
    if asked(&name) {
        let solid = Bits::from_mask(mask, shape)?.complement();
        timed(Task { name: &name, voxels, bytes: 4.125 }, || squared_distance(&solid)).map(drop)?;
        let (name, mut out) = (format!("{name}, into"), vec![0; voxels]);
        timed(Task { name: &name, voxels, bytes: 4.125 }, || {
            squared_distance_into(&solid, &mut out)
        })?;
    }
    let name = format!("S2 periodic, {share}");
    if asked(&name) {
        let options = TwoPointOptions { max_lag: shape[0] / 2 - 1, periodic: true };
        let phase = Bits::from_mask(mask, shape)?;
        timed(Task { name: &name, voxels, bytes: 8.125 }, || two_point(&phase, &options))
            .map(drop)?;
        let (name, mut room) = (format!("{name}, into"), two_point_room(shape, &options)?);
        timed(Task { name: &name, voxels, bytes: 8.125 }, || {
            two_point_in(&phase, &options, &mut room)
        })
        .map(drop)?;
    }
    Ok(())
}

/// Measures reading of each `.tif` file of a folder, without the hash, as other readers do, and with.
pub fn loaders(folder: &Path) -> Done {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.flatten().map(|file| file.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "tif"));
    files.sort();
    bandwidth();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let scan = read_scan(&path, &ReadOptions::default())?;
        let voxels = scan.voxels.shape().iter().product();
        drop(scan);
        let stored = std::fs::metadata(&path)?.len();
        let bytes = 2.0 + stored as f64 / voxels as f64;
        for (name, unhashed) in [(name.clone(), true), (name + ", hashed", false)] {
            let options = ReadOptions { unhashed, ..ReadOptions::default() };
            timed(Task { name: &name, voxels, bytes }, || read_scan(&path, &options)).map(drop)?;
        }
    }
    Ok(())
}

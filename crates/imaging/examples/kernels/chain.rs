//! The whole way of a scan: file, median, threshold, components, measures, distance, S2, 64³.

use crate::Done;
use crate::stopwatch::{peak_bytes, print, processor_seconds};
use bytemuck::cast_slice_mut;
use microdiff_domain::VoxelSize;
use microdiff_imaging::Voxels;
use microdiff_imaging::filter::{block_mean, histogram, median3_into};
use microdiff_imaging::io::{ReadOptions, read_scan};
use microdiff_imaging::measure::{
    TwoPointOptions, chords, minkowski, pores, two_point_in, two_point_room,
};
use microdiff_imaging::segment::{Bits, Connectivity, label, otsu, squared_distance_into};
use serde_json::json;
use std::path::Path;
use std::time::Instant;

/// Prints what each stage took.
struct Stages {
    voxels: usize,
    began: Instant,
    spent: f64,
}

impl Stages {
    fn begin() -> Self {
        Self { voxels: 0, began: Instant::now(), spent: processor_seconds() }
    }

    /// `bytes`: see [`crate::stopwatch::Task`].
    fn end(&mut self, stage: &str, bytes: f64) {
        let (wall, spent) = (self.began.elapsed().as_secs_f64(), processor_seconds());
        print(&json!({
            "stage": stage, "voxels": self.voxels, "bytes": bytes, "wall": wall,
            "cpu": spent - self.spent, "peak": peak_bytes(),
        }));
        *self = Self { voxels: self.voxels, began: Instant::now(), spent };
    }
}

/// Runs all stages on a 16-bit file, once, and prints a line for each and one for all. One block of
/// memory serves for the filtered volume, the distances and the spectrum of S2 by turns.
pub fn run(file: &Path) -> Done {
    let (began, mut stages) = (Instant::now(), Stages::begin());
    let scan = read_scan(file, &ReadOptions::default())?;
    let shape = scan.voxels.shape();
    let voxels = shape.iter().product();
    stages.voxels = voxels;
    let stored = std::fs::metadata(file)?.len() as f64 / voxels as f64;
    stages.end("load", 2.0 + stored);
    let Voxels::U16(volume) = scan.voxels else { return Err("16-bit voxels are needed".into()) };
    let options = TwoPointOptions { max_lag: shape[0] / 2 - 1, periodic: true };
    let mut room = two_point_room(shape, &options)?;
    let grey = &mut cast_slice_mut::<f32, u16>(&mut room)[..voxels];
    median3_into(volume.data(), shape, grey)?;
    drop(volume);
    stages.end("median", 4.0);
    let level = otsu(&histogram(grey)).ok_or("a constant scan has no threshold")?;
    let phase = Bits::darker_than(grey, shape, level.saturating_add(1))?;
    stages.end("threshold", 4.125);
    let factor = shape[0] / 64;
    let small = block_mean(grey, shape, factor)?;
    stages.end("64^3", 2.0);
    let labels = label(&phase, Connectivity::Corners)?;
    stages.end("components", 0.125);
    let found = pores(&labels, VoxelSize::micrometres(5.0)?);
    let (whole, lengths) = (minkowski(&phase), chords(&phase));
    drop(labels);
    stages.end("measures", 0.125);
    let distance = &mut cast_slice_mut::<f32, u32>(&mut room)[..voxels];
    squared_distance_into(&phase.complement(), distance)?;
    let thickest = distance.iter().max().copied();
    stages.end("distance in the solid", 4.0);
    let correlation = two_point_in(&phase, &options, &mut room)?;
    stages.end("S2", 8.125);
    print(&json!({
        "stage": "all", "voxels": stages.voxels, "wall": began.elapsed().as_secs_f64(),
        "cpu": processor_seconds(), "peak": peak_bytes(), "pores": found.len(),
        "euler": whole.euler, "chords": lengths.map(|c| c.whole.iter().sum::<u64>()),
        "thickest": thickest, "share": correlation.radial[0], "mean": small.data()[0],
    }));
    Ok(())
}

//! Simulated scans with what is true of them, for studies outside this workspace: `volumes.u8` (grey
//! values of one byte, one volume after another), `rows.csv` and the shape in `volumes.json`.
//!
//! ```sh
//! cargo run --release -p microdiff-design --example volumes -- COUNT SEED FOLDER
//! ```

#![expect(clippy::print_stderr, reason = "an example talks to a terminal")]

use microdiff_design::simulate_scan;
use microdiff_diffusion::rows::Row;
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{Alloy, Parameter, Process};
use microdiff_imaging::{Scan, Voxels};
use rayon::prelude::*;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// Voxels along each axis of what is written.
const EDGE: usize = 48;
/// Scans simulated between two writes.
const CHUNK: usize = 256;
/// What the logarithms of a row are taken about, µm: a usual spot and a usual edge of a written voxel.
const USUAL_SPOT_UM: f64 = 85.0;
const USUAL_EDGE_UM: f64 = 10.0;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, seed, folder] = arguments.as_slice() else {
        return Err("usage: volumes COUNT SEED FOLDER".into());
    };
    let (count, seed): (usize, u64) = (count.parse()?, seed.parse()?);
    let folder = Path::new(folder);
    std::fs::create_dir_all(folder)?;
    let mut volumes = BufWriter::new(File::create(folder.join("volumes.u8"))?);
    let mut table = BufWriter::new(File::create(folder.join("rows.csv"))?);
    writeln!(table, "{}", head())?;
    for first in (0..count).step_by(CHUNK) {
        let next = first..count.min(first + CHUNK);
        let made = next.into_par_iter().map(|index| {
            let (row, scan) = simulate_scan(index, seed)?;
            Ok((line(&row, &scan), cube(&scan)))
        });
        for (line, volume) in made.collect::<Result<Vec<_>, microdiff_design::DesignError>>()? {
            writeln!(table, "{line}")?;
            volumes.write_all(&volume)?;
        }
        eprintln!("{} of {count}", count.min(first + CHUNK));
    }
    volumes.flush()?;
    table.flush()?;
    std::fs::write(folder.join("volumes.json"), format!("{{\"shape\":[{EDGE},{EDGE},{EDGE}]}}\n"))?;
    Ok(())
}

fn head() -> String {
    let mut names: Vec<String> = Vec::new();
    names.extend(Process::ALL.map(|process| format!("process_{process}")));
    names.extend(Alloy::ALL.map(|alloy| format!("alloy_{alloy}")));
    names.extend(["spot", "edge_z", "edge_y", "edge_x"].map(|name| format!("ln_{name}")));
    names.extend(Parameter::ALL.map(|parameter| format!("position_{parameter}")));
    names.push("class".to_owned());
    names.extend(DESCRIPTORS.map(|spec| format!("descriptor_{}", spec.name)));
    names.join(",")
}

/// The numbers of a row: process and alloy as one-hot, spot and edges of the written voxels,
/// parameters by their position in the prior's range, class, descriptors.
fn line(row: &Row, scan: &Scan) -> String {
    let mut numbers: Vec<f64> = Vec::new();
    numbers.extend(Process::ALL.map(|process| f64::from(process == row.process)));
    numbers.extend(Alloy::ALL.map(|alloy| f64::from(alloy == row.alloy)));
    numbers.push(row.spot.map_or(0.0, |spot| (spot.get() / USUAL_SPOT_UM).ln()));
    let voxel = scan.voxel_size.as_ref().map_or(f64::NAN, |known| known.size.get());
    let edges = scan.voxels.shape().map(|voxels| voxel * voxels as f64 / EDGE as f64);
    numbers.extend(edges.map(|edge| (edge / USUAL_EDGE_UM).ln()));
    let position = |p: Parameter| p.range(row.process, row.alloy).to_unit(row.theta[p.index()]);
    numbers.extend(Parameter::ALL.map(position));
    numbers.push(row.class.index() as f64);
    numbers.extend(row.descriptors.values());
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

/// The whole scan on `EDGE` voxels along each axis.
fn cube(scan: &Scan) -> Vec<u8> {
    match &scan.voxels {
        Voxels::U8(volume) => resampled(volume.shape(), volume.data()),
        Voxels::U16(volume) => resampled(volume.shape(), volume.data()),
    }
}

/// Means where there are more voxels, repeats where fewer; from the darkest to the brightest per cent.
fn resampled<T: Copy + Into<u64>>([depth, height, width]: [usize; 3], grey: &[T]) -> Vec<u8> {
    let spans = |voxels: usize| -> Vec<_> {
        let span = |i: usize| i * voxels / EDGE..((i + 1) * voxels).div_ceil(EDGE);
        (0..EDGE).map(span).collect()
    };
    let (across, along) = (spans(height), spans(width));
    let mut means = Vec::with_capacity(EDGE * EDGE * EDGE);
    for zs in spans(depth) {
        for ys in &across {
            for xs in &along {
                let voxels = zs.len() * ys.len() * xs.len();
                let rows = zs.clone().flat_map(|z| ys.clone().map(move |y| z * height + y));
                let sum: u64 = rows
                    .flat_map(|row| &grey[row * width + xs.start..row * width + xs.end])
                    .map(|&grey| grey.into())
                    .sum();
                means.push(sum as f32 / voxels as f32);
            }
        }
    }
    let mut sorted = means.clone();
    sorted.sort_unstable_by(f32::total_cmp);
    let (dark, bright) = (sorted[sorted.len() / 100], sorted[sorted.len() * 99 / 100]);
    let scale = 255.0 / (bright - dark).max(1e-6);
    means.iter().map(|mean| ((mean - dark) * scale).round().clamp(0.0, 255.0) as u8).collect()
}

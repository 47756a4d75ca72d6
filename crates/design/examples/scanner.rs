//! Measures the statistics of a real scanner and of the nominal simulated one by one yardstick, and
//! prints them as a table.
//!
//! `cargo run --release -p microdiff-design --example scanner -- scan.tif`

#![expect(clippy::print_stdout, reason = "an example talks to a terminal")]

use microdiff_design::nominal_scanner;
use microdiff_imaging::measure::{ScannerStatistics, scanner_statistics};
use microdiff_imaging::{Scan, Voxels, io};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("name a scan")?;
    let scan: Scan = io::read_scan(path.as_ref(), &io::ReadOptions::default())?;
    let Voxels::U16(voxels) = &scan.voxels else { return Err("the scan is not of 16 bit".into()) };
    let real = scanner_statistics(voxels.data(), voxels.shape())?;
    let simulated = nominal_scanner()?;
    println!("| statistic | real | simulated | ratio |\n|---|---:|---:|---:|");
    for ((name, real), (_, simulated)) in rows(&real).into_iter().zip(rows(&simulated)) {
        println!("| {name} | {real:.4} | {simulated:.4} | {:.2} |", simulated / real);
    }
    Ok(())
}

fn rows(found: &ScannerStatistics) -> Vec<(&'static str, f64)> {
    vec![
        ("noise in solid over grey of solid", found.noise),
        ("its correlation within slices, 1 voxel", found.in_plane[0]),
        ("2 voxels", found.in_plane[1]),
        ("its correlation along z, 1 slice", found.along_z[0]),
        ("2 slices", found.along_z[1]),
        ("3 slices", found.along_z[2]),
        ("grey of pore cores over grey of solid", found.pore_core.unwrap_or(f64::NAN)),
        ("10 to 90 % width of edges, voxels", found.edge_width.unwrap_or(f64::NAN)),
        ("trend from middle to rim of the crop", found.fall_off),
        ("what stands still along z", found.standing),
    ]
}

//! Measures a real scan of 16 bit and a scan by the nominal simulated scanner with one yardstick, and
//! prints both as a table; with a page, puts the table between its marks there.
//!
//! `cargo run --release -p microdiff-design --example scanner -- scan.tif [page.md]`

#![expect(clippy::print_stdout, reason = "an example talks to a terminal")]

use microdiff_design::nominal_scanner;
use microdiff_imaging::measure::{ScannerStatistics, scanner_statistics};
use microdiff_imaging::{Voxels, io};
use std::error::Error;
use std::fmt::Write;

/// Lines of the page around the table.
const BEGIN: &str = "<!-- begin: example scanner -->\n";
const END: &str = "<!-- end: example scanner -->\n";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("name a scan")?;
    let scan = io::read_scan(path.as_ref(), &io::ReadOptions::default())?;
    let Voxels::U16(voxels) = &scan.voxels else { return Err("the scan is not of 16 bit".into()) };
    let real = scanner_statistics(voxels.data(), voxels.shape())?;
    let table = table(&real, &nominal_scanner()?)?;
    print!("{table}");
    let Some(page) = arguments.next() else { return Ok(()) };
    let text = std::fs::read_to_string(&page)?;
    let (head, rest) = text.split_once(BEGIN).ok_or("the page has no begin mark")?;
    let (_, tail) = rest.split_once(END).ok_or("the page has no end mark")?;
    std::fs::write(&page, format!("{head}{BEGIN}{table}{END}{tail}"))?;
    Ok(())
}

fn table(
    real: &ScannerStatistics,
    simulated: &ScannerStatistics,
) -> Result<String, Box<dyn Error>> {
    let mut text = "| statistic | real | simulated | ratio |\n|---|---:|---:|---:|\n".to_owned();
    for ((name, real), (_, simulated)) in rows(real).into_iter().zip(rows(simulated)) {
        let show =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        let ratio = real.zip(simulated).map(|(real, simulated)| simulated / real);
        let ratio = ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        writeln!(text, "| {name} | {} | {} | {ratio} |", show(real), show(simulated))?;
    }
    Ok(text)
}

fn rows(found: &ScannerStatistics) -> [(&'static str, Option<f64>); 10] {
    [
        ("noise in solid, over grey of solid", Some(found.noise)),
        ("its correlation within slices at 1 voxel", Some(found.in_plane[0])),
        ("at 2 voxels", Some(found.in_plane[1])),
        ("its correlation along z at 1 slice", Some(found.along_z[0])),
        ("at 2 slices", Some(found.along_z[1])),
        ("at 3 slices", Some(found.along_z[2])),
        ("grey of pore cores, over grey of solid", found.pore_core),
        ("10 to 90 % width of edges, voxels", found.edge_width),
        ("trend from middle to rim of the crop", Some(found.fall_off)),
        ("what stands still along z, over grey of solid", Some(found.standing)),
    ]
}

//! The kernels' results on made-up volumes, and what they cost.
//!
//! `kernels agreement DIR` writes for each volume a folder of raw little-endian arrays and an
//! `index.json` that names them; `tests/agreement/agree.py` compares. `kernels make EDGE DIR` writes
//! the volume and masks that speed is measured on, `kernels bench EDGE DIR [NAME]` measures kernels
//! on them, `kernels load DIR` the readers on the `.tif` files there, and `kernels chain FILE` a
//! scan's whole way; each prints lines of JSON. `bench/imaging/compare.py` runs them beside others.

mod agreement;
mod chain;
mod speed;
mod stopwatch;

use microdiff_imaging::filter::gaussian;
use std::error::Error;
use std::path::Path;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["agreement", folder] => agreement::write(Path::new(folder)),
        ["make", edge, folder] => speed::make(edge.parse()?, Path::new(folder)),
        ["bench", edge, folder] => speed::kernels(edge.parse()?, Path::new(folder), ""),
        ["bench", edge, folder, name] => speed::kernels(edge.parse()?, Path::new(folder), name),
        ["load", folder] => speed::loaders(Path::new(folder)),
        ["chain", file] => chain::run(Path::new(file)),
        _ => {
            Err("usage: kernels agreement DIR | make EDGE DIR | bench EDGE DIR [NAME] | load DIR \
                  | chain FILE"
                .into())
        }
    }
}

/// Uniform from 0 to 1 by place (the finaliser of SplitMix64).
fn uniform(seed: u64, i: usize) -> f32 {
    let mut z = (seed << 40 ^ i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 24) as f32
}

/// Smoothed noise as 16-bit grey, with a little noise on top.
fn grey(shape: [usize; 3], seed: u64, sigma: f64) -> Result<Vec<u16>, Box<dyn Error>> {
    let len = shape.iter().product();
    let noise: Vec<f32> = (0..len).map(|i| uniform(seed, i)).collect();
    let smooth = gaussian(&noise, shape, sigma)?;
    let (low, high) =
        smooth.iter().fold((f32::MAX, f32::MIN), |(low, high), &v| (low.min(v), high.max(v)));
    let scale = 40_000.0 / (high - low).max(f32::MIN_POSITIVE);
    let level = |(i, v): (usize, &f32)| 10_000.0 + (v - low) * scale + 900.0 * uniform(seed + 7, i);
    Ok(smooth.iter().enumerate().map(level).map(|v| v as u16).collect())
}

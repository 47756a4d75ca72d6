//! The kernels' results on made-up volumes, for comparison with the tools that people use.
//!
//! `kernels agreement DIR` writes for each volume a folder of raw little-endian arrays and an
//! `index.json` that names them; `tests/agreement/agree.py` compares. `kernels bench EDGE FILE`
//! writes one volume and prints a line of JSON for each kernel with the seconds it took.

use microdiff_domain::VoxelSize;
use microdiff_imaging::filter::{
    BilateralOptions, NormaliseOptions, bilateral, block_mean, gaussian, histogram, level_at,
    median3, normalise,
};
use microdiff_imaging::measure::{
    TwoPointOptions, chords, local_thickness, minkowski, pores, two_point,
};
use microdiff_imaging::segment::{
    Bits, Connectivity, LocalOptions, fill_islands, hysteresis, label, local_threshold, otsu,
    split, squared_distance,
};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

type Done = Result<(), Box<dyn Error>>;

fn main() -> Done {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["agreement", folder] => agreement(Path::new(folder)),
        ["bench", edge, folder] => bench(edge.parse()?, Path::new(folder)),
        _ => Err("usage: kernels agreement DIR | kernels bench EDGE DIR".into()),
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

/// A folder of arrays with their index.
struct Case {
    folder: PathBuf,
    index: Map<String, Value>,
}

impl Case {
    fn new(folder: PathBuf) -> Result<Self, Box<dyn Error>> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, index: Map::new() })
    }

    fn put(&mut self, name: &str, kind: &str, shape: &[usize], bytes: Vec<u8>) -> Done {
        std::fs::write(self.folder.join(name), bytes)?;
        self.index.insert(name.to_owned(), json!({ "dtype": kind, "shape": shape }));
        Ok(())
    }

    fn u16(&mut self, name: &str, shape: &[usize], values: &[u16]) -> Done {
        self.put(name, "<u2", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn u32(&mut self, name: &str, shape: &[usize], values: &[u32]) -> Done {
        self.put(name, "<u4", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn f32(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Done {
        self.put(name, "<f4", shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    fn f64(&mut self, name: &str, values: &[f64]) -> Done {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.put(name, "<f8", &[values.len()], bytes)
    }

    fn bits(&mut self, name: &str, bits: &Bits) -> Done {
        self.put(name, "|u1", &bits.shape(), bits.to_mask().into_iter().map(u8::from).collect())
    }

    fn finish(self) -> Done {
        let text = serde_json::to_string_pretty(&Value::Object(self.index))?;
        Ok(std::fs::write(self.folder.join("index.json"), text)?)
    }
}

fn agreement(folder: &Path) -> Done {
    let shapes = [[40, 48, 70], [17, 33, 130], [64, 30, 31], [24, 24, 64]];
    for (seed, (shape, share)) in shapes.into_iter().zip([0.1, 0.02, 0.5, 0.9]).enumerate() {
        let mut case = Case::new(folder.join(format!("case-{seed}")))?;
        let grey = grey(shape, seed as u64, 1.5)?;
        case.u16("grey", &shape, &grey)?;
        filters(&mut case, &grey, shape)?;
        let counts = histogram(&grey);
        let phase = Bits::darker_than(&grey, shape, level_at(&counts, share))?;
        case.bits("mask", &phase)?;
        phases(&mut case, &phase)?;
        case.finish()?;
    }
    Ok(())
}

fn filters(case: &mut Case, grey: &[u16], shape: [usize; 3]) -> Done {
    case.u16("median", &shape, &median3(grey, shape)?)?;
    let float: Vec<f32> = grey.iter().map(|&v| f32::from(v)).collect();
    case.f32("gaussian-1", &shape, &gaussian(&float, shape, 1.0)?)?;
    case.f32("gaussian-2.5", &shape, &gaussian(&float, shape, 2.5)?)?;
    case.f32("normalised", &shape, &normalise(grey, &NormaliseOptions::default())?)?;
    let options = BilateralOptions { radius: 2, sigma_space: 1.5, sigma_grey: 2000.0 };
    case.f32("bilateral", &shape, &bilateral(&float, shape, &options)?)?;
    let small = block_mean(grey, shape, 4)?;
    case.f32("block-mean-4", &small.shape(), small.data())?;
    let counts = histogram(grey);
    let narrow: Vec<u32> = counts.iter().map(|&count| count as u32).collect();
    case.u32("histogram", &[narrow.len()], &narrow)?;
    case.f64("otsu", &[f64::from(otsu(&counts).unwrap_or(0))])?;
    let levels = [level_at(&counts, 0.03), level_at(&counts, 0.15)];
    case.f64("levels", &levels.map(f64::from))?;
    case.bits("hysteresis", &hysteresis(grey, shape, levels, Connectivity::Faces)?)?;
    let options = LocalOptions { radius: 3, offset: 1500 };
    case.bits("local", &local_threshold(grey, shape, &options)?)
}

fn phases(case: &mut Case, phase: &Bits) -> Done {
    let shape = phase.shape();
    for (name, connectivity) in
        [("labels-26", Connectivity::Corners), ("labels-6", Connectivity::Faces)]
    {
        case.u32(name, &shape, &label(phase, connectivity)?.volume())?;
    }
    case.u32("distance", &shape, &squared_distance(phase)?)?;
    for (name, periodic) in [("s2-periodic", true), ("s2", false)] {
        let found = two_point(phase, &TwoPointOptions { max_lag: 8, periodic })?;
        case.f64(name, &found.radial)?;
    }
    case.bits("islands", &fill_islands(phase, 5)?)?;
    case.f32("thickness", &shape, &local_thickness(phase)?)?;
    case.f64("basins", &[split(phase, 0.75)?.count as f64])?;
    let whole = minkowski(phase);
    case.f64("euler", &[whole.euler as f64])?;
    case.f64("surface", &[whole.surface])?;
    let lengths = chords(phase).map(|c| c.whole.iter().zip(&c.cut).map(|(a, b)| a + b).collect());
    for (name, lengths) in ["chords-z", "chords-y", "chords-x"].into_iter().zip(lengths) {
        let lengths: Vec<u64> = lengths;
        case.f64(name, &lengths.iter().map(|&n| n as f64).collect::<Vec<_>>())?;
    }
    let found = pores(&label(phase, Connectivity::Corners)?, VoxelSize::micrometres(1.0)?);
    let axes: Vec<f64> = found.iter().take(1).flat_map(|pore| pore.axes_um).collect();
    case.f64("axes", &axes)?;
    let places: Vec<f64> = found.iter().take(1).flat_map(|pore| pore.position_um).collect();
    case.f64("centroid", &places)
}

/// Seconds of the fastest of some rounds, and of processor time in that round.
fn timed<T>(name: &str, voxels: usize, mut work: impl FnMut() -> T) -> T {
    let mut best: Option<(f64, f64)> = None;
    let mut result = work();
    for _ in 0..5 {
        let (began, spent) = (Instant::now(), processor_seconds());
        result = work();
        let round = (began.elapsed().as_secs_f64(), processor_seconds() - spent);
        if best.is_none_or(|best| round.0 < best.0) {
            best = Some(round);
        }
    }
    if let Some((wall, processor)) = best {
        let line = json!({ "kernel": name, "voxels": voxels, "wall": wall, "cpu": processor });
        print(&line);
    }
    result
}

#[expect(clippy::print_stdout, reason = "the output of this program")]
fn print(line: &Value) {
    println!("{line}");
}

/// Time that the threads of this process have had a processor so far, in seconds; 0 where the
/// system does not tell.
fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let on_processor = |thread: std::fs::DirEntry| {
        let figures = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        figures.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.flatten().filter_map(on_processor).sum::<f64>() * 1e-9
}

/// Sum of bytes read from and written to memory per second, in a copy of 512 MiB.
fn bandwidth() {
    let from = vec![1u64; 64 << 20];
    let mut to = vec![0u64; 64 << 20];
    let half = to.len() / 2;
    timed("memory-copy", 3 * 8 * from.len(), || {
        let (left, right) = to.split_at_mut(half);
        rayon::join(
            || left.copy_from_slice(&from[..half]),
            || right.copy_from_slice(&from[half..]),
        );
    });
}

fn bench(edge: usize, folder: &Path) -> Done {
    let shape = [edge; 3];
    let voxels = edge.pow(3);
    std::fs::create_dir_all(folder)?;
    let grey = grey(shape, 3, 1.5)?;
    std::fs::write(
        folder.join("grey"),
        grey.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>(),
    )?;
    bandwidth();
    timed("median 3x3x3", voxels, || median3(&grey, shape)).map(drop)?;
    let float: Vec<f32> = grey.iter().map(|&v| f32::from(v)).collect();
    timed("gaussian sigma 1", voxels, || gaussian(&float, shape, 1.0)).map(drop)?;
    drop(float);
    timed("otsu", voxels, || otsu(&histogram(&grey)));
    timed("mean to 64^3", voxels, || block_mean(&grey, shape, edge / 64)).map(drop)?;
    let counts = histogram(&grey);
    for (name, share) in [("1 %", 0.01), ("10 %", 0.1)] {
        let level = level_at(&counts, share);
        let mask = Bits::darker_than(&grey, shape, level)?.to_mask();
        let bytes = mask.iter().map(|&m| u8::from(m)).collect::<Vec<u8>>();
        std::fs::write(folder.join(format!("mask {name}")), bytes)?;
        timed(&format!("labels 26, {name}"), voxels, || {
            let phase = Bits::from_mask(&mask, shape)?;
            Ok::<_, Box<dyn Error>>(label(&phase, Connectivity::Corners)?.volume())
        })
        .map(drop)?;
        timed(&format!("distance in pores, {name}"), voxels, || {
            let phase = Bits::from_mask(&mask, shape)?;
            Ok::<_, Box<dyn Error>>(squared_distance(&phase)?)
        })
        .map(drop)?;
        if share > 0.05 {
            let options = TwoPointOptions { max_lag: edge / 2 - 1, periodic: true };
            let phase = Bits::from_mask(&mask, shape)?;
            timed("S2 periodic", voxels, || two_point(&phase, &options)).map(drop)?;
        }
    }
    Ok(())
}

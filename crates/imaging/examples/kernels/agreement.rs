//! Arrays for `tests/agreement/agree.py`.

use crate::{Done, grey};
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

/// Writes all volumes with the results on them.
pub fn write(folder: &Path) -> Done {
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

//! Simulates draws of the prior and prints, by process and alloy, the share of each defect class and the time
//! a volume takes.
//!
//! `cargo run --release -p microdiff-process --example survey -- [volumes] [edge] [natural|mixed]`

#![expect(clippy::print_stdout, reason = "an example talks to a terminal")]

use microdiff_domain::{Alloy, DefectClass, Process, VoxelSize};
use microdiff_process::{
    BitDepth, GroundTruth, Nuisance, ProcessError, SimulationRequest, expected_shares, prior,
    simulate,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

fn main() -> Result<(), ProcessError> {
    let mut arguments = std::env::args().skip(1);
    let mut number =
        |default: usize| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (volumes, edge) = (number(400), number(48));
    let mixed = std::env::args().nth(3).is_some_and(|text| text == "mixed");
    for (process, alloy) in Process::pairs() {
        let begin = std::time::Instant::now();
        let truths: Vec<GroundTruth> = (0..volumes as u64)
            .into_par_iter()
            .map(|seed| Ok(simulate(&request((process, alloy), edge, seed, mixed)?)?.truth))
            .collect::<Result<_, ProcessError>>()?;
        let seconds = begin.elapsed().as_secs_f64();
        print!("{process:4} {:10} {:5.1} volumes/s", alloy.name(), volumes as f64 / seconds);
        for class in DefectClass::ALL {
            let count = truths.iter().filter(|truth| truth.defect_class == class).count();
            print!("  {} {:.1} %", class.name(), 100.0 * count as f64 / volumes as f64);
        }
        let mut porosity: Vec<f64> = truths.iter().map(|truth| truth.porosity).collect();
        porosity.sort_by(f64::total_cmp);
        let at = |part: f64| 100.0 * porosity[(part * (volumes - 1) as f64) as usize];
        let foretold = truths
            .iter()
            .filter(|t| expected_shares(&t.case(), &t.nuisance).class() == t.defect_class)
            .count();
        print!("  foretold {:.1} %", 100.0 * foretold as f64 / volumes as f64);
        println!("  porosity % {:.2} {:.2} {:.2} {:.2}", at(0.25), at(0.5), at(0.75), at(0.98));
    }
    Ok(())
}

fn request(
    (process, alloy): (Process, Alloy),
    edge: usize,
    seed: u64,
    mixed: bool,
) -> Result<SimulationRequest, ProcessError> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let (case, nuisance) = if mixed {
        prior::draw_mixed(process, alloy, rng)
    } else {
        (prior::draw(process, alloy, rng), Nuisance::draw(process, alloy, rng))
    };
    let voxel = 2.0 * (rng.random::<f64>() * 10f64.ln()).exp();
    Ok(SimulationRequest {
        case,
        voxel_size: VoxelSize::micrometres(voxel)?,
        shape: [edge; 3],
        seed,
        depth: BitDepth::U16,
        nuisance,
    })
}

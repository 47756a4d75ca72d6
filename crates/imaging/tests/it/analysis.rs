use crate::synthetic::{Recipe, lack_of_fusion, scan_u8, scan_u16};
use microdiff_domain::VoxelSize;
use microdiff_imaging::{Analysis, AnalysisOptions, ImagingError, Scan, analyze};

fn run(scan: &Scan, voxel_um: f64) -> Result<Analysis, ImagingError> {
    let voxel = VoxelSize::micrometres(voxel_um).unwrap();
    analyze(scan, voxel, &AnalysisOptions::default(), &mut ())
}

#[test]
fn dense_noise_reads_as_dense() {
    for noise in [0.0, 0.01, 0.03, 0.05] {
        for cupping in [-0.08, 0.0, 0.08] {
            for pore in [0.3, 0.6] {
                let recipe = Recipe { noise, cupping, rings: 0.005, pore, ..Recipe::default() };
                for (scan, _) in
                    [scan_u8(&recipe, |_, _, _| false), scan_u16(&recipe, |_, _, _| false)]
                {
                    let found = run(&scan, 5.0).unwrap();
                    assert!(found.porosity_high < 5e-4, "{noise} {cupping}: {}", found.porosity);
                    assert!(found.hatch_period_um.is_none() && found.layer_period_um.is_none());
                }
            }
        }
    }
}

#[test]
fn lack_of_fusion_reads_within_a_fifth() {
    for (fill, cupping) in [(0.2, 0.08), (0.3, -0.08), (0.62, 0.08), (0.95, 0.0)] {
        for pore in [0.3, 0.6] {
            for noise in [0.01, 0.04] {
                let recipe = Recipe { noise, cupping, pore, rings: 0.003, ..Recipe::default() };
                let gaps = lack_of_fusion(36.0, 14, fill);
                let (scan, truth) = scan_u16(&recipe, gaps);
                let found = run(&scan, 5.0).unwrap();
                eprintln!(
                    "{truth:.4} -> {:.4} ({:.4} to {:.4}) pore {pore} noise {noise} {:?} {:?}",
                    found.porosity,
                    found.porosity_low,
                    found.porosity_high,
                    found.layer_period_um,
                    found.hatch_period_um
                );
                let ratio = found.porosity / truth;
                assert!((0.8..1.25).contains(&ratio), "{truth} -> {}", found.porosity);
                assert!(found.porosity_low <= found.porosity);
                assert!(found.porosity <= found.porosity_high);
            }
        }
    }
}

//! Whether the posterior of the bundled model follows the part: scans of a nominal machine on which
//! one setting rises must be answered with a rising posterior.

use crate::bundled;
use crate::designer::infer;
use crate::{DesignRequest, Designer, Sight};
use microdiff_diffusion::{Model, Posterior};
use microdiff_domain::{
    Alloy, KnownParameters, PARAMETER_COUNT, Parameter, Process, ProcessParameters, SpotDiameter,
    VoxelSize,
};
use microdiff_imaging::{Scan, Voxels};
use microdiff_process::{BitDepth, Case, Nuisance, SimulationRequest, simulate};

fn model() -> Model {
    Model::from_bytes(bundled::MANIFEST, bundled::WEIGHTS).unwrap()
}

/// The posterior of a Ti-6Al-4V part of these settings, with what is known of them.
fn ask(theta: [f64; PARAMETER_COUNT], known: &str) -> Posterior {
    let (process, alloy) = (Process::Lpbf, Alloy::Ti6Al4V);
    let voxel_size = VoxelSize::micrometres(6.0).unwrap();
    let simulation = simulate(&SimulationRequest {
        case: Case {
            process,
            alloy,
            parameters: ProcessParameters::from_array(theta).unwrap(),
            spot: SpotDiameter::micrometres(90.0).unwrap(),
        },
        voxel_size,
        shape: [88; 3],
        seed: 5,
        depth: BitDepth::U16,
        nuisance: Nuisance::nominal(process),
    })
    .unwrap();
    let scan = Scan::in_memory(Voxels::U16(simulation.scan), Some(voxel_size));
    let known = KnownParameters::parse(known, process, alloy).unwrap();
    let request = DesignRequest { known, samples: 2000, ..DesignRequest::new(alloy) };
    infer(&model(), &scan, voxel_size, &request, &mut ()).unwrap().1
}

fn medians(parameter: Parameter, settings: [[f64; PARAMETER_COUNT]; 3]) -> [f64; 3] {
    settings.map(|theta| ask(theta, "").quantiles(parameter).median)
}

fn rises([first, second, third]: [f64; 3]) -> bool {
    first < second && second < third
}

#[test]
fn a_wider_hatch_and_a_thicker_layer_are_seen_where_fusion_lacks() {
    let hatch = |hatch| [180.0, 1500.0, 45.0, hatch, 80.0];
    let found = medians(Parameter::HatchSpacing, [hatch(120.0), hatch(150.0), hatch(180.0)]);
    assert!(rises(found), "{found:?}");
    let layer = |layer| [180.0, 1500.0, layer, 130.0, 80.0];
    let found = medians(Parameter::LayerThickness, [layer(40.0), layer(60.0), layer(80.0)]);
    assert!(rises(found), "{found:?}");
}

#[test]
fn more_energy_is_seen_from_lack_of_fusion_to_keyholes() {
    let energy = |power, speed| {
        let posterior = ask([power, speed, 40.0, 110.0, 80.0], "");
        let logs = posterior.draws.iter().map(|draw| (draw[0] / draw[1].sqrt()).ln());
        logs.sum::<f64>() / posterior.draws.len() as f64
    };
    let found = [energy(100.0, 1800.0), energy(220.0, 1100.0), energy(350.0, 400.0)];
    assert!(rises(found), "{found:?}");
}

#[test]
fn what_is_known_of_layer_and_hatch_narrows_speed() {
    let theta = [180.0, 1500.0, 45.0, 150.0, 80.0];
    let width = |known| {
        let posterior = ask(theta, known);
        let logs: Vec<f64> = posterior.draws.iter().map(|draw| draw[1].ln()).collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>()
    };
    let (known, unknown) = (width("layer_thickness=45,hatch_spacing=150"), width(""));
    assert!(known < unknown, "{known} against {unknown}");
}

#[test]
fn a_dense_scan_gives_back_the_prior_inside_the_dense_window() {
    let designer = Designer::bundled().unwrap();
    let mut scans = designer.dense(designer.validation().unwrap().rows(), 6, 500).unwrap();
    scans.retain(|scan| scan.sight != Sight::NothingInCoarseVoxels);
    assert!((6..=12).contains(&scans.len()), "{} scans", scans.len());
    for parameter in Parameter::ALL {
        let mut distance = 0.0;
        for scan in &scans {
            let range = parameter.range(scan.process, scan.alloy);
            let sorted = |draws: &[[f64; PARAMETER_COUNT]]| {
                let mut units: Vec<f64> =
                    draws.iter().map(|draw| range.to_unit(draw[parameter.index()])).collect();
                units.sort_by(f64::total_cmp);
                units
            };
            let (posterior, prior) = (sorted(&scan.posterior), sorted(&scan.prior));
            let gaps = posterior.iter().zip(&prior).map(|(a, b)| (a - b).abs());
            distance += gaps.sum::<f64>() / posterior.len() as f64 / scans.len() as f64;
        }
        // Wasserstein distance in shares of the range; 0.25 lies between a point and a uniform.
        assert!(distance < 0.08, "{parameter}: {distance}");
    }
}

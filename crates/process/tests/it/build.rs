use crate::cases::{DENSE, KEYHOLING, UNFUSED, titanium};
use microdiff_domain::{DefectClass, Process, Volume};
use microdiff_process::{
    GroundTruth, LABEL_GAS, LABEL_KEYHOLE, LABEL_LACK_OF_FUSION, LABEL_METAL, MAX_VOXELS, Nuisance,
    Simulation, SimulationRequest, prior, simulate,
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

fn share(labels: &Volume<u8>, label: u8) -> f64 {
    let count = labels.data().iter().filter(|&&l| l == label).count();
    count as f64 / labels.data().len() as f64
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let request = titanium([180.0, 1800.0, 60.0, 140.0, 80.0], 5.0, [70, 40, 50]);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| simulate(&request).unwrap())
    };
    let (one, two) = (with(1), with(2));
    assert!(one == two);
    let other = simulate(&SimulationRequest { seed: 8, ..request.clone() }).unwrap();
    assert_ne!(one.scan, other.scan);
    assert_ne!(one.labels, other.labels);
}

#[test]
fn a_dense_setting_is_nearly_dense() {
    let simulation = simulate(&titanium(DENSE, 5.0, [96; 3])).unwrap();
    assert!(simulation.truth.porosity < 3e-3, "{:?}", simulation.truth.defect_shares);
    assert!(simulation.truth.void_fraction < 5e-3);
}

#[test]
fn an_overlapping_setting_is_dense() {
    let simulation = simulate(&titanium([280.0, 1200.0, 30.0, 90.0, 80.0], 5.0, [96; 3])).unwrap();
    assert_eq!(simulation.truth.defect_class, DefectClass::Dense);
}

/// Pearson correlation of a series with itself `lag` later.
fn autocorrelation(series: &[f64], lag: usize) -> f64 {
    let mean = series.iter().sum::<f64>() / series.len() as f64;
    let variance: f64 =
        series.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / series.len() as f64;
    let pairs = series.len() - lag;
    let covariance: f64 =
        (0..pairs).map(|i| (series[i] - mean) * (series[i + lag] - mean)).sum::<f64>();
    covariance / pairs as f64 / variance
}

#[test]
fn lack_of_fusion_repeats_with_the_layers() {
    let simulation = simulate(&titanium(UNFUSED, 5.0, [180, 64, 64])).unwrap();
    let truth = &simulation.truth;
    assert_eq!(truth.defect_class, DefectClass::LackOfFusion);
    assert!(truth.defect_shares.lack_of_fusion > 0.2);
    let profile: Vec<f64> = (0..180)
        .map(|z| simulation.labels.page(z).iter().filter(|&&l| l != 0).count() as f64)
        .collect();
    // 90 µm are 18 voxels; the highest correlation beyond the first dip must lie there.
    let best = (9..30)
        .max_by(|&a, &b| autocorrelation(&profile, a).total_cmp(&autocorrelation(&profile, b)))
        .unwrap();
    assert!((17..=19).contains(&best), "period of {best} voxels");
    assert!(autocorrelation(&profile, best) > 0.3);
}

/// Strength of the period `hatch` across the tracks of each layer, summed over slices.
fn hatch_power(simulation: &Simulation, hatch: f64) -> f64 {
    let truth = &simulation.truth;
    let voxel = truth.voxel_size_um.get();
    let thickness = truth.parameters.layer_thickness.get();
    let [nz, ny, nx] = truth.shape;
    let mut power = 0.0;
    for z in 0..nz {
        let height = (z as f64 + 0.5) * voxel;
        let layer = (height / thickness - truth.pattern.layer_phase).ceil();
        let angle = truth.pattern.start_angle_deg + truth.pattern.rotation_deg * layer;
        let (sin, cos) = angle.to_radians().sin_cos();
        let (mut re, mut im) = (0.0, 0.0);
        for y in 0..ny {
            for x in 0..nx {
                if simulation.labels.page(z)[y * nx + x] == LABEL_METAL {
                    continue;
                }
                let px = (x as f64 + 0.5 - 0.5 * nx as f64) * voxel;
                let py = (y as f64 + 0.5 - 0.5 * ny as f64) * voxel;
                let (s, c) = (TAU * (py * cos - px * sin) / hatch).sin_cos();
                re += c;
                im += s;
            }
        }
        power += re * re + im * im;
    }
    power
}

#[test]
fn lack_of_fusion_repeats_with_the_hatch_across_the_tracks() {
    let mut request = titanium([200.0, 1500.0, 45.0, 160.0, 80.0], 8.0, [48, 120, 120]);
    request.nuisance.powder.packing = 0.0;
    request.nuisance.track.layer_sd = 0.0;
    let simulation = simulate(&request).unwrap();
    assert!(simulation.truth.defect_shares.lack_of_fusion > 0.02);
    let [shorter, exact, longer] =
        [0.8, 1.0, 1.25].map(|factor| hatch_power(&simulation, 160.0 * factor));
    assert!(exact > 4.0 * shorter && exact > 4.0 * longer, "{shorter} {exact} {longer}");
}

#[test]
fn without_a_track_all_is_powder() {
    let mut request = titanium([20.0, 3000.0, 30.0, 100.0, 25.0], 5.0, [64; 3]);
    request.nuisance.gas.fraction = 0.0;
    let simulation = simulate(&request).unwrap();
    let loose = simulation.truth.void_fraction;
    assert!((loose - 0.45).abs() < 0.04, "loose space {loose}, packing 0.55");
    assert_eq!(simulation.truth.defect_class, DefectClass::LackOfFusion);
}

/// Volume and extents (z, y, x) of each connected component (6 neighbours) of a label.
fn components(labels: &Volume<u8>, label: u8) -> Vec<(usize, [usize; 3])> {
    let [nz, ny, nx] = labels.shape();
    let mut open: Vec<bool> = labels.data().iter().map(|&l| l == label).collect();
    let mut found = Vec::new();
    for start in 0..open.len() {
        if !std::mem::take(&mut open[start]) {
            continue;
        }
        let (mut queue, mut volume) = (vec![start], 0);
        let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
        while let Some(at) = queue.pop() {
            volume += 1;
            let position = [at / (ny * nx), at / nx % ny, at % nx];
            for i in 0..3 {
                low[i] = low[i].min(position[i]);
                high[i] = high[i].max(position[i]);
            }
            for (axis, (count, stride)) in [(nz, ny * nx), (ny, nx), (nx, 1)].iter().enumerate() {
                for next in [
                    (position[axis] > 0).then(|| at - stride),
                    (position[axis] + 1 < *count).then(|| at + stride),
                ] {
                    if let Some(next) = next
                        && std::mem::take(&mut open[next])
                    {
                        queue.push(next);
                    }
                }
            }
        }
        found.push((volume, std::array::from_fn(|i| high[i] - low[i] + 1)));
    }
    found
}

#[test]
fn a_keyholing_setting_leaves_deep_round_pores() {
    let simulation = simulate(&titanium(KEYHOLING, 4.0, [128; 3])).unwrap();
    let truth = &simulation.truth;
    assert_eq!(truth.defect_class, DefectClass::Keyhole);
    assert!(truth.defect_shares.keyhole > 3e-3, "{:?}", truth.defect_shares);
    assert!(truth.melt_pool.has_spike());
    let mut heights: Vec<f64> = components(&simulation.labels, LABEL_KEYHOLE)
        .into_iter()
        .filter(|(volume, _)| *volume >= 60)
        .map(|(_, [z, y, x])| 2.0 * z as f64 / (y + x) as f64)
        .collect();
    heights.sort_by(f64::total_cmp);
    assert!(heights.len() > 30);
    let median = heights[heights.len() / 2];
    assert!((0.95..1.4).contains(&median), "height over width {median}");
}

#[test]
fn gas_pores_are_uniform_and_have_the_stated_volume() {
    let mut request = titanium([280.0, 1200.0, 30.0, 80.0, 80.0], 6.0, [128; 3]);
    request.nuisance.gas.fraction = 0.01;
    request.nuisance.gas.ln_sd = 0.1;
    request.nuisance.keyhole.rate_per_mm = 0.0;
    let simulation = simulate(&request).unwrap();
    assert_eq!(simulation.truth.defect_class, DefectClass::Dense);
    let volume = simulation.truth.void_fraction;
    assert!((0.009..0.011).contains(&volume), "{volume}");
    let mut octants = [0usize; 8];
    for (at, &label) in simulation.labels.data().iter().enumerate() {
        let side = |i: usize| usize::from(i >= 64);
        if label == LABEL_GAS {
            octants[side(at / 16384) * 4 + side(at / 128 % 128) * 2 + side(at % 128)] += 1;
        }
    }
    let mean = octants.iter().sum::<usize>() as f64 / 8.0;
    for count in octants {
        assert!((count as f64 / mean - 1.0).abs() < 0.3, "{octants:?}");
    }
}

#[test]
fn balling_takes_the_blame_for_what_calm_tracks_would_have_melted() {
    let mut request = titanium([280.0, 1200.0, 30.0, 120.0, 80.0], 5.0, [64; 3]);
    request.nuisance.balling_centre_shift = -20.0;
    let balled = simulate(&request).unwrap();
    assert_eq!(balled.truth.defect_class, DefectClass::Balling);
    request.nuisance.balling_centre_shift = 20.0;
    let calm = simulate(&request).unwrap();
    assert_eq!(calm.truth.defect_shares.balling, 0.0);
    assert!(balled.truth.porosity > 4.0 * calm.truth.porosity);
}

#[test]
fn impossible_requests_are_refused_in_one_line() {
    let refusal = |request: &SimulationRequest| simulate(request).unwrap_err().to_string();
    let good = titanium(DENSE, 5.0, [8; 3]);
    for shape in [[0, 8, 8], [usize::MAX, 2, 2], [MAX_VOXELS, 2, 1]] {
        let text = refusal(&SimulationRequest { shape, ..good.clone() });
        assert!(text.contains("at most 1073741824") && !text.contains('\n'), "{text}");
    }
    let text = refusal(&titanium(DENSE, 40.0, [8; 3]));
    assert_eq!(text, "voxel_size 40 um cannot be simulated; give 0.5 to 25 um");
    let mut wild = good;
    wild.nuisance.track.correlation_length_um = 0.0;
    assert!(refusal(&wild).contains("correlation_length_um"));
}

#[test]
fn settings_no_machine_is_run_at_are_still_built() {
    for theta in [[2000.0, 10.0, 5.0, 10.0, 1100.0], [10.0, 10000.0, 500.0, 1000.0, 0.0]] {
        for alloy in microdiff_domain::Alloy::ALL {
            let mut request = titanium(theta, 10.0, [8; 3]);
            request.case.alloy = alloy;
            assert!(simulate(&request).unwrap().truth.void_fraction.is_finite());
        }
    }
}

/// What version fusion-2 makes of one request. When this changes, so must `SIMULATOR_VERSION`: a
/// model names the version it was trained on. The tolerance covers other mathematics libraries.
#[test]
fn the_version_stands_for_these_numbers() {
    let truth =
        simulate(&titanium([180.0, 1800.0, 60.0, 140.0, 80.0], 5.0, [64; 3])).unwrap().truth;
    assert_eq!(truth.simulator, "fusion-2");
    assert!((truth.void_fraction - GOLDEN[0]).abs() < 1e-4, "{}", truth.void_fraction);
    assert!((truth.porosity - GOLDEN[1]).abs() < 1e-4, "{}", truth.porosity);
}

const GOLDEN: [f64; 2] = [0.230362, 0.224964];

#[test]
fn the_truth_survives_json() {
    let truth = simulate(&titanium(UNFUSED, 10.0, [8; 3])).unwrap().truth;
    let json = serde_json::to_value(&truth).unwrap();
    assert_eq!(json["schema"], "microdiff.truth/1");
    assert_eq!(json["parameters"]["laser_power_w"], 100.0);
    assert_eq!(json["defect_class"], "lack_of_fusion");
    assert_eq!(serde_json::from_value::<GroundTruth>(json).unwrap(), truth);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_draw_of_the_prior_can_be_built(
        seed in 0..1000u64, pair in 0..9usize, voxel in 0.5..25.0f64,
        shape in prop::array::uniform3(1..40usize),
    ) {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let (process, alloy) = Process::pairs().nth(pair).unwrap();
        let mut request = titanium(DENSE, voxel, shape);
        request.case = prior::draw(process, alloy, rng);
        request.seed = seed;
        request.nuisance = Nuisance::draw(process, alloy, rng);
        let simulation = simulate(&request).unwrap();
        prop_assert_eq!(simulation.labels.shape(), shape);
        prop_assert_eq!(simulation.scan.shape(), shape);
        let shares = simulation.truth.defect_shares;
        let labels = &simulation.labels;
        prop_assert_eq!(shares.lack_of_fusion, share(labels, LABEL_LACK_OF_FUSION));
        prop_assert_eq!(shares.keyhole, share(labels, LABEL_KEYHOLE));
        prop_assert_eq!(shares.gas, share(labels, LABEL_GAS));
        prop_assert!((simulation.truth.porosity - (1.0 - share(labels, LABEL_METAL))).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&simulation.truth.void_fraction));
    }
}

use super::*;
use crate::melt_pool::forward;
use crate::{Case, Nuisance};
use microdiff_domain::{Alloy, Machine, ProcessParameters, SpotDiameter};
use proptest::prelude::*;

fn setting(power_w: f64, speed_mm_s: f64) -> Setting {
    Setting {
        power_w: Some(power_w),
        speed_mm_s: Some(speed_mm_s),
        spot_um: Some(90.0),
        layer_um: Some(40.0),
        hatch_um: Some(100.0),
        bed_c: Some(80.0),
    }
}

fn predict(alloy: Alloy, process: Process, setting: &Setting) -> Prediction {
    Predictor::new(0).predict(&Condition::new(alloy, process, setting).unwrap())
}

fn steel(setting: &Setting) -> Prediction {
    predict(Alloy::Ss316L, Process::Lpbf, setting)
}

fn ordered(interval: &Interval) -> bool {
    interval.p05 <= interval.p50 && interval.p50 <= interval.p95 && interval.p05 >= 0.0
}

#[test]
fn a_usual_setting_is_dense_and_a_hasty_one_lacks_fusion() {
    let usual = Setting { layer_um: Some(20.0), hatch_um: Some(90.0), ..setting(195.0, 1083.0) };
    let usual = steel(&usual);
    let density = usual.relative_density_pct.unwrap();
    assert!(density.p50 > 98.5 && density.p95 > 99.8, "{usual:?}");
    assert!(usual.p_lack_of_fusion.unwrap() < 0.3 && usual.p_keyhole < 0.1, "{usual:?}");
    assert!((4e5..1e7).contains(&usual.cooling_rate_k_s), "{usual:?}");
    assert!((400.0..600.0).contains(&usual.yield_mpa.unwrap().p50), "{usual:?}");

    let hasty = steel(&Setting { hatch_um: Some(160.0), ..setting(100.0, 1800.0) });
    assert!(hasty.p_lack_of_fusion.unwrap() > 0.9, "{hasty:?}");
    assert!(hasty.relative_density_pct.unwrap().p50 < density.p05, "{hasty:?}");
    assert!(hasty.elongation_pct.unwrap().p50 < usual.elongation_pct.unwrap().p50);

    let slow = steel(&Setting { spot_um: Some(60.0), ..setting(350.0, 350.0) });
    assert!(slow.p_keyhole > 0.9, "{slow:?}");
}

#[test]
fn intervals_of_width_and_depth_are_those_of_the_law() {
    let here = steel(&setting(200.0, 900.0));
    let width = here.width_um;
    let half = 1.644_853_6 * LN_WIDTH_SD;
    assert!(((width.p95 / width.p50).ln() - half).abs() < 1e-6);
    assert!(((width.p50 / width.p05).ln() - half).abs() < 1e-6);
    assert_eq!(here.validity, Validity::Tracks);
}

#[test]
fn without_hatch_or_layer_nothing_is_said_about_the_part() {
    for bare in [
        Setting { hatch_um: None, ..setting(200.0, 900.0) },
        Setting { layer_um: Some(0.0), ..setting(200.0, 900.0) },
    ] {
        let bare = steel(&bare);
        assert!(bare.relative_density_pct.is_none() && bare.p_lack_of_fusion.is_none());
        assert!(bare.yield_mpa.is_none() && bare.elongation_pct.is_none());
        assert!(bare.width_um.p50 > 0.0 && bare.cooling_rate_k_s > 0.0);
    }
}

#[test]
fn an_unknown_spot_widens_the_interval() {
    let known = steel(&Setting { spot_um: Some(95.0), ..setting(200.0, 900.0) });
    let unknown = steel(&Setting { spot_um: None, ..setting(200.0, 900.0) });
    let spread = |interval: &Interval| interval.p95 / interval.p05;
    assert!(spread(&unknown.depth_um) > 1.1 * spread(&known.depth_um), "{unknown:?}");
    assert!((unknown.depth_um.p50 / known.depth_um.p50).ln().abs() < 0.2, "{unknown:?}");
}

#[test]
fn too_little_power_makes_no_track_and_loose_powder() {
    let nothing = steel(&setting(10.0, 9000.0));
    assert_eq!(nothing.width_um.p95, 0.0);
    assert_eq!(nothing.p_lack_of_fusion, Some(1.0));
    assert!(nothing.relative_density_pct.unwrap().p95 < 70.0);
}

#[test]
fn other_processes_and_alloys_without_tracks_are_marked() {
    let laser = setting(300.0, 1200.0);
    let of = |alloy, process, setting: &Setting| predict(alloy, process, setting);
    assert_eq!(of(Alloy::AlSi10Mg, Process::Lpbf, &laser).validity, Validity::Unvalidated);
    let beam = Setting {
        power_w: Some(1100.0),
        speed_mm_s: Some(4500.0),
        spot_um: Some(250.0),
        bed_c: None,
        ..laser
    };
    let beam = of(Alloy::Ti6Al4V, Process::Ebm, &beam);
    assert_eq!(beam.validity, Validity::Unvalidated);
    assert!((100.0..600.0).contains(&beam.width_um.p50), "{beam:?}");
    assert!(beam.depth_um.p50 < beam.width_um.p50, "{beam:?}");
    let clad = Setting {
        power_w: Some(800.0),
        speed_mm_s: Some(10.0),
        spot_um: Some(1500.0),
        layer_um: Some(400.0),
        hatch_um: Some(800.0),
        bed_c: None,
    };
    let clad = of(Alloy::Ss316L, Process::Ded, &clad);
    assert_eq!(clad.validity, Validity::Unvalidated);
    assert!((500.0..5000.0).contains(&clad.width_um.p50), "{clad:?}");
}

#[test]
fn the_balling_probability_is_the_measured_logistic() {
    for speed in [300.0, 700.0, 1100.0, 1500.0] {
        let here = steel(&setting(250.0, speed));
        let beam = Beam {
            material: properties(Alloy::Ss316L),
            power_w: 250.0,
            speed_mm_s: speed,
            spot_um: 90.0,
            bed_c: 80.0,
        };
        let expected = 1.0 / (1.0 + (-(beam.length_to_width(0.42) - 4.06) / 0.56f64).exp());
        assert!((here.p_balling.unwrap() - expected).abs() < 0.03, "{speed}: {here:?} {expected}");
    }
}

/// Usual settings of machines that run no laser in a powder bed, as the simulator and as a prediction
/// take them.
fn usual_of_siblings() -> impl Iterator<Item = (Case, Condition)> {
    let pairs = [
        (Machine::ArcamQ20, Alloy::Ti6Al4V),
        (Machine::ArcamQ20, Alloy::In718),
        (Machine::LensDed, Alloy::Ss316L),
    ];
    pairs.into_iter().map(|(machine, alloy)| {
        let usual = machine.usual(alloy).unwrap();
        let process = machine.process();
        let [spot, bed] = process.usual_spot_um_and_bed_c(alloy);
        let theta = [usual.power_w, usual.speed_mm_s, usual.layer_um, usual.hatch_um, bed];
        let parameters = ProcessParameters::from_array(theta).unwrap();
        let case =
            Case { process, alloy, parameters, spot: SpotDiameter::micrometres(spot).unwrap() };
        let setting = Setting {
            spot_um: Some(spot),
            layer_um: Some(usual.layer_um),
            hatch_um: Some(usual.hatch_um),
            bed_c: Some(bed),
            ..setting(usual.power_w, usual.speed_mm_s)
        };
        (case, Condition::new(alloy, process, &setting).unwrap())
    })
}

#[test]
fn beams_without_a_law_melt_as_in_the_simulator_and_usual_settings_are_sound() {
    for (case, condition) in usual_of_siblings() {
        let pool = forward(&case, &Nuisance::nominal(case.process));
        let [track] = mean_tracks(&condition)[..] else { panic!("one spot, one track") };
        let found = [track.extent_um[0], track.extent_um[1], track.keyhole_number];
        let wanted = [pool.width_um, pool.depth_um, pool.keyhole_number];
        for (found, wanted) in found.into_iter().zip(wanted) {
            assert!((found / wanted - 1.0).abs() < 1e-9, "{case:?}: {found} {wanted}");
        }
        let here = Predictor::new(0).predict(&condition);
        assert!(here.p_keyhole < 0.5, "{case:?}: {here:?}");
        assert!(here.relative_density_pct.unwrap().p50 > 98.0, "{case:?}: {here:?}");
    }
}

#[test]
fn nothing_is_said_of_balling_where_its_criterion_was_not_measured() {
    for (case, condition) in usual_of_siblings() {
        assert_eq!(Predictor::new(0).predict(&condition).p_balling, None, "{case:?}");
        // Nor does any draw's density count pores of it.
        let [track] = mean_tracks(&condition)[..] else { panic!("one spot, one track") };
        let source = PoreSource {
            alloy: case.alloy,
            spot_um: track.spot_um,
            keyhole_number: track.keyhole_number,
            length_to_width: track.length_to_width,
            hatch_um: condition.hatch_um.unwrap(),
            layer_um: condition.layer_um.unwrap(),
        };
        for draw in imperfections(0, 0) {
            assert_eq!(porosity::shares(&source, track.extent_um, &draw).balling, 0.0);
        }
    }
}

proptest! {
    #[test]
    fn every_number_is_finite_ordered_and_a_probability_where_it_should_be(
        alloy in 0..4usize, process in 0..3usize, parts in prop::array::uniform6(0.0..=1.0f64),
        seed in 0..50u64,
    ) {
        let process = Process::ALL[process];
        let mut setting = Setting::default();
        for (quantity, part) in Quantity::ALL.into_iter().zip(parts) {
            let [low, high] = quantity.limits(process);
            let value = if low > 0.0 { low * (high / low).powf(part) } else { high * part };
            setting.set(quantity, Some(value.clamp(low, high)));
        }
        let condition = Condition::new(Alloy::ALL[alloy], process, &setting).unwrap();
        let here = Predictor::new(seed).predict(&condition);
        prop_assert_eq!(here, Predictor::new(seed).predict(&condition));
        let optional = [here.relative_density_pct, here.yield_mpa, here.elongation_pct];
        for interval in optional.iter().flatten().chain([&here.width_um, &here.depth_um]) {
            prop_assert!(ordered(interval) && interval.p95.is_finite(), "{:?}", here);
        }
        prop_assert!(here.relative_density_pct.unwrap().p95 <= 100.0);
        prop_assert_eq!(here.p_balling.is_some(), process == Process::Lpbf);
        for p in [here.p_lack_of_fusion.unwrap(), here.p_keyhole].into_iter().chain(here.p_balling) {
            prop_assert!((0.0..=1.0).contains(&p), "{:?}", here);
        }
        prop_assert!(here.cooling_rate_k_s > 0.0 && here.cooling_rate_k_s.is_finite());
        prop_assert!(here.spacing_um > 0.0 && here.spacing_um.is_finite());
    }

    #[test]
    fn power_and_speed_move_defects_one_way(
        alloy in 0..4usize, power in 60.0..500.0f64, speed in 200.0..3000.0f64,
    ) {
        let alloy = Alloy::ALL[alloy];
        let at = |power, speed| predict(alloy, Process::Lpbf, &setting(power, speed));
        let (here, stronger, faster) =
            (at(power, speed), at(1.15 * power, speed), at(power, 1.15 * speed));
        prop_assert!(stronger.width_um.p50 >= here.width_um.p50);
        prop_assert!(stronger.depth_um.p05 >= here.depth_um.p05);
        prop_assert!(faster.depth_um.p95 <= here.depth_um.p95);
        prop_assert!(stronger.p_keyhole >= here.p_keyhole && faster.p_keyhole <= here.p_keyhole);
        prop_assert!(stronger.p_lack_of_fusion <= here.p_lack_of_fusion);
        prop_assert!(faster.p_lack_of_fusion >= here.p_lack_of_fusion);
        prop_assert!(faster.cooling_rate_k_s > here.cooling_rate_k_s);
        prop_assert!(stronger.cooling_rate_k_s < here.cooling_rate_k_s);
    }
}

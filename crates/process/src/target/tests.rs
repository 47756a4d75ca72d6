use super::*;
use crate::predict::{Condition, Predictor, Support};
use crate::target::search::build_rate_cm3_h;
use proptest::prelude::*;
use std::cmp::Ordering;

pub(super) fn request(target: &str) -> TargetRequest {
    TargetRequest {
        alloy: Alloy::Ss316L,
        process: Process::Lpbf,
        machine: Some(Machine::EosM290),
        spot: None,
        known: KnownParameters::NONE,
        target: target.parse().unwrap(),
        top: 10,
        seed: 0,
    }
}

fn known(text: &str) -> KnownParameters {
    KnownParameters::parse(text, Process::Lpbf, Alloy::Ss316L).unwrap()
}

/// What holds of every answer: its candidates are what the forward model says of them.
fn check(request: &TargetRequest, answer: &TargetAnswer) {
    let space = Space::new(request).unwrap();
    let predictor = Predictor::new(request.seed);
    let draws = Predictor::apart(request.seed, 8);
    assert!(answer.candidates.len() <= request.top);
    for one in answer.candidates.iter().chain([&answer.best]).chain(&answer.usual) {
        assert!(space.holds(&one.place()), "{one:?}");
        let condition = Condition::new(request.alloy, request.process, &one.setting).unwrap();
        assert_eq!(one.prediction, predictor.predict(&condition));
        let drawn = draws.drawn(&condition);
        let rate = build_rate_cm3_h(&one.place());
        assert_eq!(one.fit, fit::fit(&request.target, &one.prediction, rate, &drawn));
        assert!(one.fit.probability <= answer.best.fit.probability);
        for (bound, reach) in one.fit.bounds.iter().zip(&answer.reach) {
            assert!(bound.probability >= one.fit.probability && bound.probability <= *reach);
        }
    }
    for one in &answer.candidates {
        assert!(one.fit.probability >= answer.level, "{one:?}");
        for ((value, [low, high]), [least, most]) in
            one.place().iter().zip(one.window.unwrap()).zip(answer.searched)
        {
            assert!(least <= low && low <= *value && *value <= high && high <= most, "{one:?}");
        }
    }
    for (i, a) in answer.candidates.iter().enumerate() {
        for b in &answer.candidates[i + 1..] {
            let (a, b) = (space.units(&a.place()), space.units(&b.place()));
            assert!(a.iter().zip(b).any(|(a, b)| (a - b).abs() >= 0.15), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_modest_target_is_reached_in_many_places_on_measured_ground() {
    let request = request("relative_density>=93,elongation>=10,p_keyhole<=0.2");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert_eq!((answer.outcome, answer.level), (Outcome::Reached, REACHED));
    assert_eq!(answer.candidates.len(), 10);
    assert!(answer.candidates.iter().all(|one| one.evidence.support == Support::Tracks));
    assert!(answer.candidates.iter().all(|one| one.prediction.p_keyhole <= 0.2));
    assert!(answer.window.share > 0.01 && answer.window.share < 0.9, "{:?}", answer.window);
    let usual = answer.usual.as_ref().unwrap();
    assert_eq!(usual.place(), [195.0, 1083.0, 20.0, 90.0]);
    assert_eq!(usual.from_usual.unwrap().ratio, 1.0);
    assert!(answer.fitted_tracks.unwrap()[0] > 500);
    assert_eq!(answer.binding(), None);
    let best = &answer.candidates[0];
    let [power, speed, ..] = best.place();
    let plane = Plane { speed_mm_s: [speed, speed + 1000.0], power_w: [power, power + 50.0] };
    let grid = over_plane(&request, best, plane).unwrap();
    assert!((grid.at(0, 0) - best.fit.probability).abs() < 0.1, "{}", grid.at(0, 0));
}

#[test]
fn causes_that_no_setting_changes_keep_a_high_density_uncertain() {
    let request = request("relative_density>=99.8,elongation>=10");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert_eq!(answer.outcome, Outcome::Uncertain);
    assert!((answer.level - 0.9 * answer.best.fit.probability).abs() < 1e-12);
    assert!(answer.reach[0] < 0.6 && answer.reach[1] > 0.95, "{:?}", answer.reach);
    assert!(!answer.candidates.is_empty());
    assert_eq!((answer.binding(), answer.is_contradictory()), (Some(0), false));
}

#[test]
fn an_impossible_target_has_a_closest_setting_and_no_candidates() {
    let request = request("relative_density>=99,elongation>=90");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert_eq!(answer.outcome, Outcome::OutOfReach);
    assert!(answer.candidates.is_empty() && answer.window.ranges.is_none());
    assert!(answer.reach[1] < 0.1 && answer.best.fit.margin < 0.0, "{:?}", answer.best);
}

#[test]
fn bounds_that_exclude_each_other_can_each_be_kept() {
    // Deep and cold at once.
    let request = request("depth>=150,depth<=400,p_keyhole<=0.05,build_rate>=60");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert_ne!(answer.outcome, Outcome::Reached);
    assert!(answer.is_contradictory(), "{:?}", answer.reach);
}

#[test]
fn the_search_beats_the_spread_alone() {
    let request = request("width>=120,width<=150,depth>=60,depth<=110,build_rate>=15");
    let space = Space::new(&request).unwrap();
    let scout = Scout::new(&space, &request.target, 0);
    let looks = scout.look_at(space.spread(0, SPREAD)).unwrap();
    let starts = search::distinct(&space, &looks, 8);
    let (bettered, tried) = scout.better(&starts).unwrap();
    let after = scout.look_at(bettered).unwrap();
    assert!(tried > 50);
    // With the draws of the search none stands worse than its start, and most stand better.
    let order = |(start, end): (&Look, &Look)| end.standing.order(&start.standing);
    let orders: Vec<Ordering> = starts.iter().zip(&after).map(order).collect();
    assert!(orders.iter().all(|order| order.is_le()), "{orders:?}");
    assert!(orders.iter().filter(|order| order.is_lt()).count() > 4, "{orders:?}");
    let answer = search(&request).unwrap();
    let spread = looks.iter().map(|look| look.probability).fold(0.0, f64::max);
    let best = answer.best.fit.probability;
    assert!(best > spread - 0.05, "{best} {spread}");
}

#[test]
fn known_values_are_kept_and_all_known_is_a_judgement() {
    let mut request = request("relative_density>=95");
    request.known = known("layer_thickness=40,hatch_spacing=100");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert!(!answer.candidates.is_empty());
    for one in &answer.candidates {
        assert_eq!(one.place()[2..], [40.0, 100.0]);
        assert_eq!(one.window.unwrap()[2..], [[40.0; 2], [100.0; 2]]);
    }
    request.known = known("laser_power=195,scan_speed=1083,layer_thickness=20,hatch_spacing=90");
    let answer = search(&request).unwrap();
    check(&request, &answer);
    assert_eq!((answer.tried, answer.best.place()), (1, [195.0, 1083.0, 20.0, 90.0]));
}

#[test]
fn other_processes_are_unvalidated_and_contradictions_are_refused() {
    let beam = TargetRequest {
        alloy: Alloy::Ti6Al4V,
        process: Process::Ebm,
        machine: Some(Machine::ArcamQ20),
        ..request("relative_density>=95")
    };
    let answer = search(&beam).unwrap();
    check(&beam, &answer);
    assert_eq!((answer.validity, answer.fitted_tracks), (Validity::Unvalidated, None));
    assert_eq!(answer.best.evidence.support, Support::Unvalidated);
    let refusal = |request: TargetRequest| search(&request).unwrap_err().to_string();
    let steel = request("relative_density>=95");
    let other = TargetRequest { machine: Some(Machine::LensDed), ..steel.clone() };
    assert!(refusal(other).contains("it runs ded, not lpbf"));
    let target = "relative_density>=90,p_balling<=0.2".parse().unwrap();
    let balling = refusal(TargetRequest { target, ..beam.clone() });
    assert!(balling.contains("target p_balling: it is not predicted for ebm"), "{balling}");
    let pair = TargetRequest { alloy: Alloy::AlSi10Mg, ..beam };
    assert!(refusal(pair).contains("known: Ti-6Al-4V, IN718"));
    assert!(refusal(TargetRequest { top: 0, ..steel.clone() }).contains("give 1 to 50"));
    let wide = SpotDiameter::micrometres(300.0).unwrap();
    assert!(refusal(TargetRequest { spot: Some(wide), machine: None, ..steel }).contains("spot"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn answers_are_the_models_and_tighter_targets_gain_nothing(
        density in 90.0..99.5f64, elongation in 5.0..45.0f64, tighter in 0.1..1.0f64,
        machine in 0..3usize, seed in 0..20u64,
    ) {
        let of = |part: f64| {
            let density = density + (100.0 - density) * part;
            let elongation = elongation + 10.0 * part;
            let text = format!("relative_density>={density},elongation>={elongation}");
            let machine = Some(Machine::ALL[machine]);
            let request = TargetRequest { machine, seed, top: 5, ..request(&text) };
            let answer = search(&request).unwrap();
            check(&request, &answer);
            assert_eq!(answer, search(&request).unwrap());
            let space = Space::new(&request).unwrap();
            let scout = Scout::new(&space, &request.target, seed);
            let looks = scout.look_at(space.spread(seed, 500)).unwrap();
            (answer, looks)
        };
        let ((loose, loose_looks), (tight, tight_looks)) = (of(0.0), of(tighter));
        for (loose, tight) in loose_looks.iter().zip(&tight_looks) {
            prop_assert!(loose.place == tight.place && tight.probability <= loose.probability);
        }
        // The best is searched for, so a tighter search may end a little elsewhere.
        prop_assert!(tight.best.fit.probability <= loose.best.fit.probability + 0.02);
        let share = |looks: &[Look]| window(looks, REACHED).share;
        prop_assert!(share(&tight_looks) <= share(&loose_looks));
    }
}

use super::*;
use crate::network::tests::{random_parameters, small};
use crate::network::{KNOWN, Network, Scratch, TRUNK_INPUTS};
use crate::{Observation, Posterior};
use microdiff_domain::{
    Alloy, DESCRIPTOR_COUNT, DefectClass, Descriptors, KnownParameters, Machine, PARAMETER_COUNT,
    SpotDiameter, normal,
};
use rand_distr::{Distribution, StandardNormal};
use std::sync::OnceLock;

/// Standard deviation of the noise on the two informative descriptors.
const NOISE: f64 = 0.5;

/// Rows whose posterior is known: the first descriptor is the sum of the first two latent
/// parameters and noise, the second the third parameter and noise, two more are noise alone and the
/// rest constant, so that the problem does not grow with the schema. The spot tells nothing. The class
/// is whether the first descriptor is positive.
fn linear_rows(count: usize, seed: u64) -> RowSet {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || -> f64 { StandardNormal.sample(&mut rng) };
    let mut row = |index: usize| {
        let (process, alloy) = Process::pairs().nth(index % 9).unwrap();
        let [low, high] = process.spot_um();
        let latent = [0.0; PARAMETER_COUNT].map(|_: f64| draw().clamp(-4.7, 4.7));
        let mut values = [0.0; DESCRIPTOR_COUNT].map(|_: f64| draw());
        values[0] = latent[0] + latent[1] + NOISE * values[0];
        values[1] = latent[2] + NOISE * values[1];
        values.iter_mut().skip(4).for_each(|value| *value = 0.0);
        Row {
            process,
            alloy,
            spot: SpotDiameter::micrometres(low + (high - low) * normal::cdf(draw())).ok(),
            theta: space::from_latent(&latent, process, alloy),
            descriptors: Descriptors::new(values).unwrap(),
            appearance: None,
            class: if values[0] > 0.0 { DefectClass::Keyhole } else { DefectClass::Dense },
        }
    };
    let rows = (0..count).map(&mut row).collect();
    RowSet { simulator_version: "linear".into(), rows }
}

/// One model for all tests of this file.
fn model() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| {
        let options = TrainingOptions {
            steps: 4000,
            batch: 256,
            learning_rate: 3e-3,
            architecture: Architecture { embedding: 32, conditioning: 64, width: 48, ..small() },
            ..TrainingOptions::default()
        };
        let bundle = train(&linear_rows(16_000, 1), &[], &options, &mut |_| {}).unwrap();
        assert_eq!(bundle.log.len(), 40);
        bundle.open().unwrap()
    })
}

fn ask(first: f64, second: f64, known: KnownParameters) -> Posterior {
    let mut values = [0.0; DESCRIPTOR_COUNT];
    (values[0], values[1]) = (first, second);
    let descriptors = Descriptors::new(values).unwrap();
    let observation =
        Observation { known, ..Observation::new(Process::Lpbf, Alloy::In718, descriptors) };
    model().posterior(&observation, &SampleOptions::default(), &mut ()).unwrap()
}

/// Mean and standard deviation of a latent parameter.
fn moments(posterior: &Posterior, parameter: Parameter) -> (f64, f64) {
    let latent = |draw| space::to_latent(draw, Process::Lpbf, Alloy::In718)[parameter.index()];
    let values: Vec<f64> = posterior.draws.iter().map(latent).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    (mean, (square / values.len() as f64).sqrt())
}

fn close(found: (f64, f64), mean: f64, sd: f64) {
    assert!((found.0 - mean).abs() < 0.12, "mean {} for {mean}", found.0);
    assert!((found.1 / sd - 1.0).abs() < 0.12, "sd {} for {sd}", found.1);
}

#[test]
fn training_graph_and_serving_engine_are_one_function() {
    for architecture in [small(), Architecture::default()] {
        let values = random_parameters(&architecture, 5);
        let network = Network::new(architecture, &values).unwrap();
        let rows = linear_rows(100, 3);
        let rows: Vec<&Row> = rows.rows.iter().collect();
        let normaliser = Normaliser::fit(rows.iter().map(|row| &row.descriptors));
        let examples = Examples::new(&rows, &normaliser);
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        for index in 0..20 {
            let batch = examples.batch(&[index], &architecture, &mut rng);
            let (raw, logits) = graph::outputs(&architecture, &values, &batch);
            let known: &[f32; KNOWN] = batch.known.as_slice().try_into().unwrap();
            let embedding = network.embed(&batch.context);
            let film = network.film_of_features(&embedding, &batch.noise, known);
            let mut served = [0.0; PARAMETER_COUNT];
            let input: &[f32; TRUNK_INPUTS] = batch.input.as_slice().try_into().unwrap();
            network.forward(&film, input, &mut served, &mut Scratch::default());
            for (a, b) in raw.iter().zip(served) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            let sum: f64 = logits.iter().map(|v| f64::from(*v).exp()).sum();
            for (logit, share) in logits.iter().zip(network.classify(&embedding)) {
                assert!((f64::from(*logit).exp() / sum - share).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn a_linear_gaussian_problem_is_learnt_to_its_analytic_posterior() {
    for first in [-1.5, 0.0, 1.5] {
        let posterior = ask(first, 0.8, KnownParameters::NONE);
        let variance = 2.0 + NOISE * NOISE;
        let sd = (1.0 - 1.0 / variance).sqrt();
        close(moments(&posterior, Parameter::LaserPower), first / variance, sd);
        close(moments(&posterior, Parameter::ScanSpeed), first / variance, sd);
        let variance = 1.0 + NOISE * NOISE;
        close(
            moments(&posterior, Parameter::LayerThickness),
            0.8 / variance,
            (1.0 - 1.0 / variance).sqrt(),
        );
    }
}

#[test]
fn parameters_the_scan_says_nothing_of_keep_their_prior() {
    let posterior = ask(1.0, -1.0, KnownParameters::NONE);
    for parameter in [Parameter::HatchSpacing, Parameter::BedTemperature] {
        close(moments(&posterior, parameter), 0.0, 1.0);
        let quantiles = posterior.quantiles(parameter);
        let unit = |value| parameter.range(Process::Lpbf, Alloy::In718).to_unit(value);
        for (found, expected) in
            [(quantiles.p05, 0.05), (quantiles.median, 0.5), (quantiles.p95, 0.95)]
        {
            assert!((unit(found) - expected).abs() < 0.05, "{parameter} {expected}");
        }
    }
}

#[test]
fn a_known_parameter_is_returned_exactly_and_sharpens_the_others() {
    let range = Parameter::ScanSpeed.range(Process::Lpbf, Alloy::In718);
    let value = range.from_unit(microdiff_domain::normal::cdf(-0.7));
    let known = KnownParameters::NONE
        .with(Parameter::ScanSpeed, value, Process::Lpbf, Alloy::In718)
        .unwrap();
    let posterior = ask(0.5, 0.0, known);
    assert!(posterior.draws.iter().all(|draw| draw[Parameter::ScanSpeed.index()] == value));
    let variance = 1.0 + NOISE * NOISE;
    let sd = (1.0 - 1.0 / variance).sqrt();
    close(moments(&posterior, Parameter::LaserPower), (0.5 + 0.7) / variance, sd);
}

#[test]
fn a_machine_cuts_the_posterior_at_its_limits() {
    // Of the two parameters with a sum of 2.5, one may not exceed 400 W.
    let (process, alloy, power) = (Process::Lpbf, Alloy::AlSi10Mg, Parameter::LaserPower);
    let mut values = [0.0; DESCRIPTOR_COUNT];
    values[0] = 2.5;
    let mut observation = Observation::new(process, alloy, Descriptors::new(values).unwrap());
    let mut ask = |machine| {
        observation.machine = machine;
        let posterior =
            model().posterior(&observation, &SampleOptions::default(), &mut ()).unwrap();
        let latent = |draw| space::to_latent(draw, process, alloy)[power.index()];
        let sum: f64 = posterior.draws.iter().map(latent).sum();
        (sum / posterior.draws.len() as f64, posterior.redrawn)
    };
    let variance = 2.0 + NOISE * NOISE;
    let (mean, sd) = (2.5 / variance, (1.0 - 1.0 / variance).sqrt());
    let bound = (normal::quantile(power.range(process, alloy).to_unit(400.0)) - mean) / sd;
    let density = (-0.5 * bound * bound).exp() / std::f64::consts::TAU.sqrt();
    let cut = mean - sd * density / normal::cdf(bound);
    assert!(mean - cut > 0.5);
    let (found, redrawn) = ask(None);
    assert!((found - mean).abs() < 0.12 && redrawn == 0.0, "{found} for {mean}");
    let (found, redrawn) = ask(Some(Machine::EosM290));
    assert!((found - cut).abs() < 0.12, "{found} for {cut}");
    assert!(redrawn > 0.0 && redrawn < 0.8, "{redrawn}");
}

#[test]
fn it_beats_the_prior_and_the_nearest_simulations() {
    let options = crate::evaluate::EvaluateOptions::default();
    let (rows, simulations) = (linear_rows(300, 78).rows, linear_rows(2000, 79).rows);
    let comparison =
        crate::evaluate::compare(model(), &rows, &simulations, &options, &mut |_, _| ()).unwrap();
    let informed = |score: &&crate::evaluate::Compared| {
        score.regime == "all" && score.parameter == "layer_thickness"
    };
    let mut processes = 0;
    for score in comparison.scores.iter().filter(informed) {
        let crate::evaluate::Compared { prior, nearest, posterior, .. } = *score;
        assert!(posterior < nearest && nearest < prior, "{score:?}");
        processes += 1;
    }
    assert_eq!(processes, 3);
}

#[test]
fn the_class_head_reads_the_scan() {
    assert!(ask(2.0, 0.0, KnownParameters::NONE).defects[DefectClass::Keyhole.index()] > 0.9);
    assert!(ask(-2.0, 0.0, KnownParameters::NONE).defects[DefectClass::Dense.index()] > 0.9);
}

#[test]
fn held_out_rows_find_it_calibrated_and_its_canary_answers() {
    let rows = linear_rows(600, 77).rows;
    let mut heard = 0;
    let options = crate::evaluate::EvaluateOptions::default();
    let evaluation =
        crate::evaluate::evaluate(model(), &rows, &options, &mut |done, _| heard = done).unwrap();
    assert_eq!(heard, 600);
    // Five standard errors of a share, and a little for the network.
    for marginal in evaluation.marginals.iter().filter(|m| m.regime == "all") {
        let near = |found: f64, share: f64| {
            let error = (share * (1.0 - share) / marginal.rows as f64).sqrt();
            (found - share).abs() < 5.0 * error + 0.02
        };
        assert!(near(marginal.coverage_90, 0.9) && near(marginal.coverage_50, 0.5), "{marginal:?}");
        let informed = marginal.parameter == "layer_thickness";
        assert!(if informed { marginal.skill > 0.4 } else { marginal.skill > -0.05 });
    }
    assert_eq!(evaluation.calibration.len(), 4 * 3);
    for test in &evaluation.calibration {
        assert!(test.ranks.values().all(|ranks| ranks.p_value > 1e-5), "{test:?}");
        assert!(test.tarp.p_value > 1e-5, "{test:?}");
        // A machine is given only where it could have printed the row.
        let machine = test.given.iter().any(|name| name == "machine");
        assert!(machine == (test.tarp.count < 200) || test.process != Process::Lpbf, "{test:?}");
    }
    assert!(evaluation.false_alarm_rate < 0.1 && evaluation.classifier.accuracy > 0.9);
    let canary = model().check_canary(&mut ()).unwrap().unwrap();
    assert!(canary.passed && canary.difference == 0.0, "{canary:?}");
}

#[test]
fn training_is_reproducible_and_its_record_matches_the_log() {
    let options = TrainingOptions {
        steps: 12,
        batch: 32,
        architecture: small(),
        ..TrainingOptions::default()
    };
    let rows = linear_rows(800, 4);
    let mut lines = Vec::new();
    let first = train(&rows, &[], &options, &mut |line| lines.push(*line)).unwrap();
    assert_eq!(lines, first.log);
    assert_eq!(train(&rows, &[], &options, &mut |_| {}).unwrap(), first);
    let digest = sha256_hex(&[first.log_text().unwrap().as_bytes()]);
    assert_eq!(first.manifest.training.log_sha256, digest);
}

#[test]
fn rows_outside_the_prior_and_too_few_rows_are_refused() {
    let options = TrainingOptions { architecture: small(), ..TrainingOptions::default() };
    let mut rows = linear_rows(500, 4);
    rows.rows[7].theta[0] = 5000.0;
    let text = train(&rows, &[], &options, &mut |_| {}).unwrap_err().to_string();
    assert!(text.contains("row 7: laser_power 5000 is outside the prior"), "{text}");
    rows.rows.truncate(50);
    let text = train(&rows, &[], &options, &mut |_| {}).unwrap_err().to_string();
    assert_eq!(text, "rows 50 is outside 400 to 10000000");
}

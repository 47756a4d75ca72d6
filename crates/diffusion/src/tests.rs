//! The model as a whole: bundles that are damaged, and laws of the draws.

use crate::bundle::{
    AlloyPrior, BundleFiles, FORMAT, MODEL_TYPE, Manifest, Tensors, TrainingRecord, weights,
};
use crate::condition::Normaliser;
use crate::network::Parameters;
use crate::network::tests::{random_parameters, small};
use crate::outlier::{Detectors, Seen};
use crate::{Model, Observation, SampleOptions};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{
    APPEARANCE_COUNT, Alloy, Appearance, DESCRIPTOR_COUNT, Descriptors, KnownParameters, Machine,
    Observer, PARAMETER_COUNT, Parameter, Phase, Process, SpotDiameter,
};
use proptest::prelude::*;
use std::sync::OnceLock;

/// A bundle with random weights.
fn files() -> &'static BundleFiles {
    static FILES: OnceLock<BundleFiles> = OnceLock::new();
    FILES.get_or_init(|| bundle(random_parameters(&small(), 11)))
}

/// A bundle for two pairs of process and alloy.
fn bundle(parameters: Parameters) -> BundleFiles {
    let row = |i: usize| std::array::from_fn(|d| ((i * 7 + d * 13) as f64).sin());
    let rows: Vec<[f64; DESCRIPTOR_COUNT]> = (0..300).map(row).collect();
    let appearance = Appearance::new([0.5; APPEARANCE_COUNT]).unwrap();
    let seen: Vec<Seen<'_>> = rows.iter().map(|row| (*row, Some(&appearance))).collect();
    let priors = [
        AlloyPrior::current(Process::Lpbf, Alloy::Ti6Al4V),
        AlloyPrior::current(Process::Ebm, Alloy::In718),
    ];
    let tensors = Tensors {
        parameters,
        detectors: Detectors::fit(
            &[Process::Lpbf, Process::Ebm],
            100,
            [&|_| seen[..100].to_vec(), &|_| seen[100..250].to_vec(), &|_| seen[250..].to_vec()],
        ),
        priors: vec![vec![0.5; 10 * PARAMETER_COUNT]; 2],
    };
    let manifest = Manifest {
        format: FORMAT.into(),
        name: "random".into(),
        model_type: MODEL_TYPE.into(),
        architecture: small(),
        descriptors: DESCRIPTORS.map(|spec| spec.name.to_owned()).to_vec(),
        normaliser: Normaliser {
            mean: vec![0.0; DESCRIPTOR_COUNT],
            sd: vec![1.0; DESCRIPTOR_COUNT],
        },
        alloys: priors.to_vec(),
        training: TrainingRecord {
            simulator_version: "none".into(),
            rows: 150,
            validation_rows: 150,
            steps: 0,
            best_step: 0,
            validation_loss: 1.0,
            seed: 11,
            log_sha256: String::new(),
        },
        evaluation: None,
        canary: None,
        weights_sha256: String::new(),
    };
    let weights = weights(&small(), &priors, &tensors).unwrap();
    BundleFiles::with_manifest(weights, manifest).unwrap()
}

fn model() -> Model {
    Model::from_files(files()).unwrap()
}

fn observation() -> Observation {
    let descriptors = Descriptors::new([0.4; DESCRIPTOR_COUNT]).unwrap();
    Observation {
        spot: Some(SpotDiameter::micrometres(250.0).unwrap()),
        ..Observation::new(Process::Ebm, Alloy::In718, descriptors)
    }
}

/// Asks of a part that a machine printed whose limits do not hold the whole prior.
fn of_machine() -> Observation {
    let (process, alloy) = (Process::Lpbf, Alloy::Ti6Al4V);
    let machine = Some(Machine::RenishawAm400);
    let known = KnownParameters::parse("bed_temperature=80", process, alloy).unwrap();
    Observation { process, alloy, known, spot: None, machine, ..observation() }
}

fn known(text: &str) -> KnownParameters {
    KnownParameters::parse(text, Process::Ebm, Alloy::In718).unwrap()
}

fn refusal(manifest: &[u8], weights: &[u8]) -> String {
    let text = Model::from_bytes(manifest, weights).err().expect("must be refused").to_string();
    assert!(!text.chars().any(char::is_control), "{text:?}");
    text
}

/// The manifest with one text replaced.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(files().manifest.clone()).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn a_directory_and_memory_hold_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    files().write(&path).unwrap();
    let opened = Model::open(&path).unwrap();
    assert_eq!(opened.digest(), model().digest());
    assert_eq!(opened.info(), model().info());
    assert!(Model::open(&dir.path().join("none")).err().unwrap().to_string().contains("manifest"));
}

#[test]
fn what_does_not_match_is_refused_with_the_reason() {
    let weights = &files().weights;
    let says = |from, to, reason| {
        let text = refusal(&edited(from, to), weights);
        assert!(text.contains(reason), "{text}");
    };
    says("microdiff.bundle/1", "other/9", "format is \"other/9\"");
    says(MODEL_TYPE, "flow", "model type is \"flow\"");
    says(DESCRIPTORS[1].name, "another", "another descriptor schema");
    says("\"width\": 32", "\"width\": 33", "architecture");
    says("\"width\": 32", "\"width\": 1000000000000", "architecture");
    says("\"width\": 32", "\"width\": 48", "input.weight");
    says("\"high\": 400.0", "\"high\": 401.0", "another prior");
    says("\"format\"", "\"surplus\": 1, \"format\"", "surplus");
    assert!(refusal(b"", weights).contains("unreadable"));
    assert!(refusal(&files().manifest, &weights[..100]).contains("SHA-256"));
}

#[test]
fn weights_that_are_not_finite_are_refused_even_with_a_right_digest() {
    let mut weights = files().weights.clone();
    let end = weights.len();
    weights[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let manifest = model().info().clone();
    let bad = BundleFiles::with_manifest(weights, manifest).unwrap();
    refusal(&bad.manifest, &bad.weights);
}

proptest! {
    #[test]
    fn a_changed_byte_anywhere_in_the_weights_is_refused(at: prop::sample::Index, bit in 0..8u8) {
        let mut weights = files().weights.clone();
        let at = at.index(weights.len());
        weights[at] ^= 1 << bit;
        refusal(&files().manifest, &weights);
    }

    #[test]
    fn damaged_weights_with_a_right_digest_never_panic(
        at: prop::sample::Index, byte: u8, header: bool, cut: prop::sample::Index,
    ) {
        let mut weights = files().weights.clone();
        let at = at.index(if header { 3000 } else { weights.len() });
        weights[at] = byte;
        weights.truncate(weights.len() - cut.index(2));
        let bad = BundleFiles::with_manifest(weights, model().info().clone()).unwrap();
        let _ = Model::from_files(&bad);
    }

    #[test]
    fn a_damaged_manifest_never_panics(at: prop::sample::Index, byte: u8) {
        let mut manifest = files().manifest.clone();
        let at = at.index(manifest.len());
        manifest[at] = byte;
        if let Ok(model) = Model::from_bytes(&manifest, &files().weights) {
            let options = SampleOptions { samples: 1, steps: 4, seed: 0 };
            let _ = model.posterior(&observation(), &options, &mut ());
        }
    }
}

#[test]
fn draws_do_not_depend_on_threads_nor_on_how_many_are_asked() {
    let model = model();
    let ask = |samples| {
        let options = SampleOptions { samples, steps: 8, seed: 3 };
        model.posterior(&observation(), &options, &mut ()).unwrap()
    };
    let many = ask(1000);
    assert_eq!(ask(137).draws, many.draws[..137]);
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for threads in [1, 2, 5] {
        assert_eq!(pool(threads).install(|| ask(1000)), many);
    }
    assert_ne!(many.draws[0], many.draws[1]);
    let of_machine = |samples| {
        let options = SampleOptions { samples, steps: 8, seed: 3 };
        model.posterior(&of_machine(), &options, &mut ()).unwrap().draws
    };
    assert_eq!(of_machine(137), of_machine(1000)[..137]);
    let other = SampleOptions { samples: 1, steps: 8, seed: 4 };
    let other = model.posterior(&observation(), &other, &mut ()).unwrap();
    assert_ne!(other.draws[0], many.draws[0]);
}

#[test]
fn every_draw_is_inside_the_prior_and_known_values_are_exact() {
    let known = known("layer_thickness=50,hatch_spacing=137.3");
    let observation = Observation { known, ..observation() };
    let posterior = model().posterior(&observation, &SampleOptions::default(), &mut ()).unwrap();
    for draw in &posterior.draws {
        assert_eq!((draw[2], draw[3]), (50.0, 137.3));
        for p in Parameter::ALL {
            let range = p.range(Process::Ebm, Alloy::In718);
            assert!((range.low..=range.high).contains(&draw[p.index()]));
        }
    }
    let quantiles = posterior.quantiles(Parameter::LaserPower);
    assert!(quantiles.p05 < quantiles.median && quantiles.median < quantiles.p95);
    assert!((posterior.defects.iter().sum::<f64>() - 1.0).abs() < 1e-12);
}

#[test]
fn all_parameters_known_come_back_as_they_are() {
    let known = known(
        "laser_power=900,scan_speed=4500,layer_thickness=75,hatch_spacing=200,bed_temperature=975",
    );
    let observation = Observation { known, ..observation() };
    let options = SampleOptions { samples: 3, steps: 4, seed: 0 };
    let posterior = model().posterior(&observation, &options, &mut ()).unwrap();
    assert_eq!(posterior.draws, vec![[900.0, 4500.0, 75.0, 200.0, 975.0]; 3]);
}

#[test]
fn every_draw_is_inside_the_machine() {
    let posterior = model().posterior(&of_machine(), &SampleOptions::default(), &mut ()).unwrap();
    let limits = Machine::RenishawAm400.limits();
    assert!(posterior.draws.iter().all(|draw| limits.allow(draw)));
    assert!(posterior.redrawn > 0.0 && posterior.redrawn < 0.9, "{}", posterior.redrawn);
    let anywhere = Observation { machine: None, ..of_machine() };
    let posterior = model().posterior(&anywhere, &SampleOptions::default(), &mut ()).unwrap();
    assert!(posterior.draws.iter().any(|draw| !limits.allow(draw)));
    assert_eq!(posterior.redrawn, 0.0);
}

#[test]
fn a_scan_that_contradicts_its_machine_is_refused() {
    // A network that says "as fast as can be" whatever it is shown.
    let mut parameters = random_parameters(&small(), 11);
    parameters.get_mut("output.bias").unwrap()[Parameter::ScanSpeed.index()] = 100.0;
    let model = Model::from_files(&bundle(parameters)).unwrap();
    let options = SampleOptions { samples: 10, steps: 8, seed: 0 };
    let text = model.posterior(&of_machine(), &options, &mut ()).unwrap_err().to_string();
    assert!(text.contains("of the settings that explain this scan are none that Ren"), "{text}");
}

#[test]
fn requests_that_cannot_be_answered_say_why() {
    let model = model();
    let options = SampleOptions { samples: 10, steps: 8, seed: 0 };
    let says = |observation: &Observation, options: &SampleOptions| {
        model.posterior(observation, options, &mut ()).unwrap_err().to_string()
    };
    let text = says(&observation(), &SampleOptions { samples: 0, ..options });
    assert_eq!(text, "samples 0 is outside 1 to 100000");
    let text = says(&observation(), &SampleOptions { steps: 5000, ..options });
    assert_eq!(text, "steps 5000 is outside 4 to 1000");
    let unknown = Observation { process: Process::Lpbf, ..observation() };
    assert!(says(&unknown, &options).contains("known: lpbf Ti-6Al-4V, ebm IN718"));
    // 70 W is in the prior of a laser and below that of an electron beam.
    let known = KnownParameters::parse("laser_power=70", Process::Lpbf, Alloy::Ti6Al4V).unwrap();
    assert!(says(&Observation { known, ..observation() }, &options).contains("300 to 2500 W"));
    let spot = Some(SpotDiameter::micrometres(80.0).unwrap());
    let text = says(&Observation { spot, ..observation() }, &options);
    assert_eq!(text, "spot_diameter 80 um is outside 150 to 450 um");
    let machine = Some(Machine::EosM290);
    let text = says(&Observation { machine, ..observation() }, &options);
    assert!(text.contains("it runs lpbf, not ebm; for ebm: Arcam-Q20"), "{text}");
    let known = KnownParameters::parse("scan_speed=2500", Process::Lpbf, Alloy::Ti6Al4V).unwrap();
    let text = says(&Observation { known, ..of_machine() }, &options);
    assert!(text.ends_with("scan_speed 2500 mm/s is outside 10 to 2000 mm/s"), "{text}");
}

#[test]
fn phases_are_announced_in_order() {
    #[derive(Default)]
    struct Heard(Vec<(bool, Phase)>);
    impl Observer for Heard {
        fn begin(&mut self, phase: Phase) {
            self.0.push((true, phase));
        }
        fn end(&mut self, phase: Phase) {
            self.0.push((false, phase));
        }
    }
    let mut heard = Heard::default();
    let options = SampleOptions { samples: 2, steps: 4, seed: 0 };
    model().posterior(&observation(), &options, &mut heard).unwrap();
    let expected = [Phase::Encode, Phase::Sample, Phase::Check];
    assert_eq!(heard.0, expected.map(|phase| [(true, phase), (false, phase)]).concat());
}

//! The model's quality as operators see it: scored at start and on schedule, drift of a stream.

use crate::engine::{Script, Scripted, bundled};
use crate::server::{PATIENCE, Server, form, read, scan, start, start_with};
use microdiff_design::{
    CaseScore, DescriptorReading, DescriptorReference, DesignDocument, Designer, ModelSummary,
    SetScore,
};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{Alloy, DESCRIPTOR_COUNT, DefectClass, Observer, Process};
use microdiff_server::jobs::JobRequest;
use microdiff_server::problem::{Failure, FailureKind};
use microdiff_server::{Accuracy, Canary, Engine, EngineFailure, ValidationFacts};
use serde_json::Value;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tempfile::TempDir;

const MODEL: &str = "model_type=\"conditional_diffusion\"";
const ALL: &str = "validation_set=\"simulated_all\"";

static REFERENCE: LazyLock<DescriptorReference> =
    LazyLock::new(|| Designer::bundled().unwrap().reference().clone());

/// Scores what it is told, and answers with descriptors like the training scans, one moved.
struct Watched {
    inner: Arc<Scripted>,
    crps: Mutex<Result<f64, String>>,
    /// Moves the descriptor `noise`, in training standard deviations.
    shift: Mutex<f64>,
    answered: AtomicUsize,
}

impl Watched {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: Scripted::new(Script::Answer),
            crps: Mutex::new(Ok(0.1)),
            shift: Mutex::new(0.0),
            answered: AtomicUsize::new(0),
        })
    }

    fn failure(text: String) -> EngineFailure {
        let code = "scripted".into();
        let public = Failure { kind: FailureKind::Internal, code, detail: text.clone() };
        EngineFailure { public, internal: text }
    }
}

/// Designs of one round through the quantiles of the reference.
const ROUND: usize = 32;

/// The `k`-th of a round of designs whose descriptors have the reference's marginals: each
/// descriptor goes through its quantiles in an order of its own.
fn reading(k: usize, index: usize, shift: f64) -> f64 {
    let step = 2 * index + 1;
    let share = ((k * step + index) % ROUND) as f64 + 0.5;
    let value = REFERENCE.quantile(index, share / ROUND as f64);
    let sd = REFERENCE.quantile(index, 0.84) - REFERENCE.quantile(index, 0.5);
    if DESCRIPTORS[index].name == "noise" { value + shift * sd } else { value }
}

impl Engine for Watched {
    fn model(&self) -> ModelSummary {
        self.inner.model()
    }

    fn pairs(&self) -> Vec<(Process, Alloy)> {
        self.inner.pairs()
    }

    fn accuracy(&self) -> Vec<Accuracy> {
        self.inner.accuracy()
    }

    fn design(
        &self,
        scan: &Path,
        request: &JobRequest,
        observer: &mut dyn Observer,
    ) -> Result<DesignDocument, EngineFailure> {
        let mut document = self.inner.design(scan, request, observer)?;
        let k = self.answered.fetch_add(1, Ordering::Relaxed);
        let shift = *self.shift.lock().unwrap();
        for (index, spec) in DESCRIPTORS.iter().enumerate() {
            let value = reading(k, index, shift);
            let reading = DescriptorReading { value, percentile: 50.0 };
            document.quality.descriptors.insert(spec.name.to_owned(), reading);
        }
        Ok(document)
    }

    fn canary(&self) -> Result<Canary, EngineFailure> {
        self.inner.canary()
    }

    fn validation(&self) -> Result<ValidationFacts, EngineFailure> {
        let recorded = SetScore { regime: None, cases: 8, skill: 0.5, coverage_90: 1.0 };
        Ok(ValidationFacts {
            digest: "abc".into(),
            simulator_version: "0".into(),
            cases: 8,
            samples: 96,
            class_shares: [0.5, 0.5, 0.0, 0.0],
            recorded: vec![recorded],
        })
    }

    fn score(&self, case: usize) -> Result<CaseScore, EngineFailure> {
        let crps = self.crps.lock().unwrap().clone().map_err(Self::failure)?;
        let class = [DefectClass::Dense, DefectClass::LackOfFusion][case % 2];
        // The other class is exact.
        let crps = if case.is_multiple_of(2) { crps } else { 0.0 };
        Ok(CaseScore { class, crps: [crps; 5], prior_crps: [0.2; 5], inside_90: [1.0; 5] })
    }

    fn reference(&self) -> Option<&DescriptorReference> {
        Some(&REFERENCE)
    }
}

async fn watched(engine: &Arc<Watched>, every_seconds: u64) -> Server {
    let engine = Arc::clone(engine) as Arc<dyn Engine>;
    start_with(engine, Arc::new(TempDir::new().unwrap()), |config| {
        config.quality.evaluate = true;
        config.quality.every_seconds = every_seconds;
    })
    .await
}

async fn reached(server: &Server, series: &str, least: f64) {
    let reached = async {
        while server.metric(series).await < least {
            // The scoring thread has the lowest priority; polling must leave it a core.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // A scoring takes four seconds of one core, and what else runs here comes before it.
    tokio::time::timeout(10 * PATIENCE, reached).await.unwrap();
}

fn drift(descriptor: &str) -> String {
    format!("microdiff_descriptor_drift{{descriptor=\"{descriptor}\"}}")
}

#[tokio::test]
async fn the_model_is_scored_at_start_and_again_on_schedule_and_a_failure_keeps_the_old_value() {
    let engine = Watched::new();
    let server = watched(&engine, 1).await;
    let success = "microdiff_model_evaluations_total{status=\"success\"}";
    reached(&server, success, 1.0).await;
    let of = |name: &str, set: &str| {
        format!("microdiff_model_{name}{{{MODEL},validation_set=\"simulated_{set}\"}}")
    };
    // Dense scores 1 - 0.1/0.2; the other half of all simulations is exact.
    assert_eq!(server.metric(&of("accuracy", "dense")).await, 0.5);
    assert_eq!(server.metric(&of("accuracy", "lack_of_fusion")).await, 1.0);
    assert_eq!(server.metric(&of("accuracy", "all")).await, 0.75);
    assert_eq!(server.metric(&of("accuracy_recorded", "all")).await, 0.5);
    assert_eq!(server.metric(&of("accuracy_samples", "all")).await, 8.0);
    assert_eq!(server.metric(&of("coverage_90_ratio", "dense")).await, 1.0);
    let info = "microdiff_validation_set_info{digest=\"abc\",simulator_version=\"0\"}";
    assert_eq!(server.metric(info).await, 1.0);
    let (_, body) = server.get("/v1/models").await;
    let live = &body["models"][0]["live_evaluation"];
    assert_eq!((&live["digest"], &live["cases"]), (&Value::from("abc"), &Value::from(8)));
    assert_eq!(live["sets"][0]["validation_set"], "simulated_all");
    assert_eq!(live["sets"][0]["skill"].as_f64(), Some(0.75));
    assert_eq!(live["sets"][0]["recorded_skill"].as_f64(), Some(0.5));

    let time = of("accuracy_evaluated_timestamp_seconds", "all");
    let first = server.metric(&time).await;
    assert!(first > 1.7e9);
    *engine.crps.lock().unwrap() = Ok(0.3);
    reached(&server, &time, first + 0.5).await;
    let skill = of("accuracy", "dense");
    let moved = async { while (server.metric(&skill).await + 0.5).abs() > 1e-9 {} };
    tokio::time::timeout(PATIENCE, moved).await.unwrap();

    *engine.crps.lock().unwrap() = Err("scripted: no answer".into());
    reached(&server, "microdiff_model_evaluations_total{status=\"error\"}", 1.0).await;
    assert!((server.metric(&skill).await + 0.5).abs() < 1e-9);
    let log = server.log();
    let find = |message: &str| log.iter().find(|line| line["message"] == message).cloned();
    assert_eq!(find("Model evaluated").unwrap()["validation_set"], "abc");
    let failed = find("Model evaluation failed").unwrap();
    assert_eq!(failed["level"], "ERROR");
    assert_eq!(failed["error.type"], "scripted");
    server.drain().await;
}

#[tokio::test]
async fn an_engine_without_a_validation_set_is_told_and_serves() {
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Scripted::new(Script::Answer), dir, |config| {
        config.quality.evaluate = true;
        config.quality.every_seconds = 0;
    })
    .await;
    reached(&server, "microdiff_model_evaluations_total{status=\"error\"}", 1.0).await;
    let page = server.metrics().await;
    assert!(!page.contains(&format!("microdiff_model_accuracy{{{MODEL},{ALL}}}")), "{page}");
    server.until("/readyz", 200, "ready").await;
    server.drain().await;
}

#[tokio::test]
async fn drift_is_absent_at_first_low_on_the_reference_and_rises_with_the_stream() {
    let engine = Watched::new();
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(Arc::clone(&engine) as Arc<dyn Engine>, dir, |config| {
        config.quality.drift_window = ROUND;
    })
    .await;
    let design = async || {
        let (status, body) = read(server.post("?wait=60", form(vec![1])).await).await;
        assert_eq!(status, 200, "{body}");
    };
    for _ in 0..29 {
        design().await;
    }
    assert!(!server.metrics().await.contains(&drift("noise")));
    for _ in 29..ROUND {
        design().await;
    }
    assert_eq!(server.metric("microdiff_drift_window_samples").await, ROUND as f64);
    for spec in DESCRIPTORS {
        let found = server.metric(&drift(spec.name)).await;
        assert!(found < 0.25, "{}: {found}", spec.name);
    }
    *engine.shift.lock().unwrap() = 3.0;
    for _ in 0..ROUND {
        design().await;
    }
    assert_eq!(server.metric("microdiff_drift_window_samples").await, ROUND as f64);
    assert!(server.metric(&drift("noise")).await > 1.0);
    assert!(server.metric(&drift("contrast")).await < 0.25);
    assert_eq!(
        DESCRIPTOR_COUNT,
        server.metrics().await.matches("microdiff_descriptor_drift{").count()
    );
    server.drain().await;
}

#[tokio::test]
async fn the_bundled_model_scores_what_was_recorded_with_it() {
    let dir = Arc::new(TempDir::new().unwrap());
    let server = start_with(bundled(), dir, |config| {
        config.quality.evaluate = true;
        config.quality.every_seconds = 0;
    })
    .await;
    reached(&server, "microdiff_model_evaluations_total{status=\"success\"}", 1.0).await;
    let designer = Designer::bundled().unwrap();
    let set = designer.validation().unwrap();
    let cases: Vec<CaseScore> =
        (0..set.cases()).map(|case| designer.score(case).unwrap()).collect();
    for (direct, recorded) in set.summarise(&cases).iter().zip(set.recorded()) {
        let name = direct.regime.map_or("all", DefectClass::name);
        let labels = format!("{MODEL},validation_set=\"simulated_{name}\"");
        let live = server.metric(&format!("microdiff_model_accuracy{{{labels}}}")).await;
        assert_eq!(live, direct.skill, "{name}");
        assert!((live - recorded.skill).abs() < 1e-3, "{name}: {live}, recorded {recorded:?}");
        let kept = server.metric(&format!("microdiff_model_accuracy_recorded{{{labels}}}")).await;
        assert_eq!(kept, recorded.skill);
    }
    server.drain().await;
}

#[tokio::test]
async fn a_design_shows_its_own_signs() {
    let server = start(bundled()).await;
    let (status, job) = read(server.post("?wait=60", form(scan())).await).await;
    assert_eq!(status, 200, "{job}");
    let quality = &job["quality"];
    let p = quality["predictive"]["p_value"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&p), "{quality}");
    assert_eq!(quality["predictive"]["observables"][0]["name"], "porosity");
    assert_eq!(quality["descriptors"].as_object().unwrap().len(), DESCRIPTOR_COUNT);
    assert_eq!(quality["information_gain_nats"].as_object().unwrap().len(), 5);
    for (series, value) in [
        ("microdiff_posterior_predictive_p_value_count", 1.0),
        ("microdiff_posterior_predictive_error_count{observable=\"porosity\"}", 1.0),
        ("microdiff_posterior_information_gain_nats_count{parameter=\"laser_power\"}", 1.0),
        ("microdiff_drift_window_samples", 1.0),
    ] {
        assert_eq!(server.metric(series).await, value, "{series}");
    }
    server.drain().await;
}

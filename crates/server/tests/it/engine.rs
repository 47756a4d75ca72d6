//! The engines that tests run: the bundled model, and one that does what a test says.

use microdiff_design::{DesignDocument, Designer, ModelSummary};
use microdiff_domain::{Alloy, Observer, Parameter, Phase, Process};
use microdiff_server::jobs::JobRequest;
use microdiff_server::problem::{Failure, FailureKind};
use microdiff_server::{Accuracy, Canary, Engine, EngineFailure};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex};

/// The bundled model, loaded once.
pub fn bundled() -> Arc<dyn Engine> {
    static MODEL: LazyLock<Arc<Designer>> =
        LazyLock::new(|| Arc::new(Designer::bundled().unwrap()));
    Arc::clone(&*MODEL) as Arc<dyn Engine>
}

/// What a scripted engine does with a design.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Answers with a fixed document.
    Answer,
    /// Panics in the middle of a phase.
    Panic,
    /// Refuses the scan, quoting its path as a careless library would.
    Refuse,
    /// Waits until it is released, then answers.
    Wait,
}

/// An engine for faults that the real one cannot be made to have.
pub struct Scripted {
    script: Script,
    gate: (Mutex<bool>, Condvar),
    pub canary: Mutex<Result<Canary, String>>,
}

impl Scripted {
    pub fn new(script: Script) -> Arc<Self> {
        Arc::new(Self {
            script,
            gate: (Mutex::new(false), Condvar::new()),
            canary: Mutex::new(Ok(Canary { matched: true, deviation: 0.0 })),
        })
    }

    /// Lets waiting designs, and all later ones, go on.
    pub fn release(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn failure(kind: FailureKind, text: String) -> EngineFailure {
        let public = Failure { kind, code: "scripted".into(), detail: text.clone() };
        EngineFailure { public, internal: text }
    }
}

impl Engine for Scripted {
    fn model(&self) -> ModelSummary {
        ModelSummary {
            name: "scripted".into(),
            model_type: "conditional_diffusion".into(),
            digest: "0".repeat(64),
            simulator_version: "0".into(),
        }
    }

    fn pairs(&self) -> Vec<(Process, Alloy)> {
        vec![(Process::Lpbf, Alloy::Ti6Al4V)]
    }

    fn accuracy(&self) -> Vec<Accuracy> {
        let validation_set = "simulated_all".into();
        vec![Accuracy { validation_set, skill: 0.5, samples: 10, coverage_90: 0.9 }]
    }

    fn design(
        &self,
        scan: &Path,
        request: &JobRequest,
        observer: &mut dyn Observer,
    ) -> Result<DesignDocument, EngineFailure> {
        assert!(scan.is_file(), "the engine is handed a stored file");
        observer.begin(Phase::Load);
        match self.script {
            Script::Panic => panic!("scripted panic"),
            Script::Refuse => {
                let text = format!("cannot read {}: not a TIFF", scan.display());
                return Err(Self::failure(FailureKind::Data, text));
            }
            Script::Wait => {
                let open = self.gate.0.lock().unwrap();
                drop(self.gate.1.wait_while(open, |open| !*open).unwrap());
            }
            Script::Answer => {}
        }
        observer.end(Phase::Load);
        Ok(document(request))
    }

    fn canary(&self) -> Result<Canary, EngineFailure> {
        let canary = self.canary.lock().unwrap().clone();
        canary.map_err(|text| Self::failure(FailureKind::Internal, text))
    }
}

/// A document with the request's seed in it and nothing of interest otherwise.
fn document(request: &JobRequest) -> DesignDocument {
    let quantiles = json!({ "median": 3.0, "p05": 1.0, "p25": 2.0, "p75": 4.0, "p95": 5.0 });
    let keys = Parameter::ALL.map(|parameter| parameter.key().to_owned());
    let marginals: Value = keys.into_iter().map(|key| (key, quantiles.clone())).collect();
    let text = json!({
        "schema": microdiff_design::DESIGN_SCHEMA,
        "basis": "scripted",
        "scan": {
            "sha256": "", "shape": [1, 1, 1], "voxel_size_um": 5.0, "voxel_size_source": "request",
        },
        "request": {
            "alloy": request.alloy, "process": request.process, "known": {},
            "spot_diameter_um": null, "samples": request.samples, "steps": request.steps,
        },
        "analysis": {
            "porosity": 0.0, "porosity_low": 0.0, "porosity_high": 0.0, "detection_floor_um": 1.0,
            "pore_count": 0, "pores_per_mm3": 0.0, "median_equivalent_diameter_um": null,
            "max_equivalent_diameter_um": null, "mean_sphericity": null, "layer_period_um": null,
            "hatch_period_um": null,
            "shape_shares": { "lack_of_fusion": 0.0, "keyhole": 0.0, "gas": 0.0 },
        },
        "posterior": marginals,
        "prior": marginals,
        "defects": { "dense": 1.0, "lack_of_fusion": 0.0, "keyhole": 0.0, "balling": 0.0 },
        "quality": {
            "predictive": { "p_value": 0.01, "flagged": true, "observables": [], "draws": 0 },
            "information_gain_nats": {}, "unusual": [], "descriptors": {},
        },
        "out_of_distribution": { "score": 2.2, "p_value": 0.5, "flagged": true },
        "model": {
            "name": "scripted", "model_type": "conditional_diffusion", "digest": "",
            "simulator_version": "0",
        },
        "notes": [],
        "timings_ms": {},
        "seed": request.seed,
    });
    serde_json::from_value(text).unwrap()
}

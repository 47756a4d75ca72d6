use crate::dense::{DenseScan, dense};
use crate::digest::draws_sha256;
use crate::document::{
    AnalysisSummary, DESIGN_SCHEMA, DefectProbabilities, DesignDocument, Marginals, ModelSummary,
    OutOfDistributionSummary, RequestSummary, ScanSummary, ShapeShares, basis,
};
use crate::notes::{Findings, notes};
use crate::phantom::{CanaryReport, Phantom};
use crate::predictive::{PredictiveSummary, Question};
use crate::quality::{self, QualitySummary};
use crate::stopwatch::Stopwatch;
use crate::validation::ValidationSet;
use crate::{DesignError, DesignRequest, bundled, foreign};
use microdiff_diffusion::evaluate::{Comparison, EvaluateOptions, Evaluation, compare, evaluate};
use microdiff_diffusion::rows::Row;
use microdiff_diffusion::{
    CaseScore, DescriptorReference, Manifest, Model, Observation, Posterior, SampleOptions,
};
use microdiff_domain::{Observer, PARAMETER_COUNT, Parameter, Phase, VoxelSize};
use microdiff_imaging::{Analysis, AnalysisOptions, Scan, analyze, io};
use std::collections::BTreeMap;
use std::path::Path;

/// A loaded model that answers for scans.
pub struct Designer {
    model: Model,
    phantom: Phantom,
    reference: DescriptorReference,
    /// Or why there is none: a model answers without it, but cannot be scored while it serves.
    validation: Result<ValidationSet, String>,
    data_files: bool,
}

/// One answer with the draws behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// The answer.
    pub document: DesignDocument,
    /// Posterior draws, θ in the order of [`Parameter::ALL`] and in its units.
    pub draws: Vec<[f64; PARAMETER_COUNT]>,
    /// Draws from the prior of the alloy, before the scan and the known values are seen.
    pub prior_draws: Vec<[f64; PARAMETER_COUNT]>,
}

impl Designer {
    /// The model that is part of the binary.
    pub fn bundled() -> Result<Self, DesignError> {
        let model = Model::from_bytes(bundled::MANIFEST, bundled::WEIGHTS)?;
        let phantom = Phantom::from_bytes(bundled::PHANTOM, bundled::PHANTOM_VOXELS)?;
        let (record, rows) = (bundled::VALIDATION, bundled::VALIDATION_ROWS);
        let validation = ValidationSet::from_bytes(record, rows, model.digest());
        Ok(Self { reference: model.reference(), model, phantom, validation, data_files: false })
    }

    /// The model in a directory that `microdiff train` wrote.
    pub fn open(directory: &Path) -> Result<Self, DesignError> {
        let model = Model::open(directory)?;
        let phantom = Phantom::open(directory)?;
        let validation = ValidationSet::open(directory, model.digest());
        Ok(Self { reference: model.reference(), model, phantom, validation, data_files: false })
    }

    /// Reads also scans whose header and voxels are two files, as the owner of a folder wants it
    /// and a service that is sent files must not.
    #[must_use]
    pub fn with_data_files(self) -> Self {
        Self { data_files: true, ..self }
    }

    /// What the model is.
    pub fn model(&self) -> ModelSummary {
        let manifest = self.manifest();
        ModelSummary {
            name: manifest.name.clone(),
            model_type: manifest.model_type.clone(),
            digest: self.model.digest().to_owned(),
            simulator_version: manifest.training.simulator_version.clone(),
        }
    }

    /// Everything the model's bundle says of it.
    pub fn manifest(&self) -> &Manifest {
        self.model.info()
    }

    /// The model's quality on held-out simulations, as recorded when it was made.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.manifest().evaluation.as_ref()
    }

    /// The held-out scans that travel with the model.
    ///
    /// # Errors
    /// [`DesignError::Validation`] when there are none that fit it.
    pub fn validation(&self) -> Result<&ValidationSet, DesignError> {
        self.validation.as_ref().map_err(|reason| DesignError::Validation(reason.clone()))
    }

    /// Scores the model on one case of its validation set. The same case gives the same score.
    ///
    /// # Errors
    /// When there is no such case, or the model cannot answer.
    pub fn score(&self, case: usize) -> Result<CaseScore, DesignError> {
        self.validation()?.score(&self.model, case)
    }

    /// The distribution of each descriptor over training scans.
    pub fn reference(&self) -> &DescriptorReference {
        &self.reference
    }

    /// Scores the model on rows it has not seen; `progress` hears (done, total).
    pub fn evaluate(
        &self,
        rows: &[Row],
        options: &EvaluateOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Evaluation, DesignError> {
        Ok(evaluate(&self.model, rows, options, progress)?)
    }

    /// The model beside its prior and the nearest of the simulations it was trained on; `progress`
    /// hears (done, total).
    pub fn compare(
        &self,
        held_out: &[Row],
        simulations: &[Row],
        options: &EvaluateOptions,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Comparison, DesignError> {
        Ok(compare(&self.model, held_out, simulations, options, progress)?)
    }

    /// The posteriors of some dense rows of each sight beside the prior inside the dense window.
    pub fn dense(
        &self,
        rows: &[Row],
        scans: usize,
        draws: usize,
    ) -> Result<Vec<DenseScan>, DesignError> {
        dense(&self.model, rows, scans, draws)
    }

    /// Tries the out-of-distribution check on ordinary rows and on so many foreign scans of each
    /// kind from a seed; `progress` hears (kinds done, kinds).
    pub fn try_foreign(
        &self,
        rows: &[Row],
        count_and_seed: (usize, u64),
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<foreign::Trial, DesignError> {
        foreign::run(&self.model, rows, count_and_seed, progress)
    }

    /// Puts the phantom scan through analysis and model and compares with the recorded answer.
    pub fn canary(&self) -> Result<CanaryReport, DesignError> {
        self.phantom.check(&self.model)
    }

    /// Reads a scan and answers. Announces the phases from load to report.
    pub fn design(
        &self,
        scan: &Path,
        request: &DesignRequest,
        observer: &mut dyn Observer,
    ) -> Result<Design, DesignError> {
        request.check()?;
        let mut stopwatch = Stopwatch::start(observer);
        stopwatch.begin(Phase::Load);
        let options = io::ReadOptions {
            voxel_size: request.voxel_size,
            data_files: self.data_files,
            ..Default::default()
        };
        let scan = io::read_scan(scan, &options)?;
        let voxel_size = scan.require_voxel_size()?;
        stopwatch.end(Phase::Load);
        let (analysis, posterior) = infer(&self.model, &scan, voxel_size, request, &mut stopwatch)?;

        stopwatch.begin(Phase::Report);
        let prior_draws = self.model.prior(request.process, request.alloy);
        let mut document = self.document(&scan, &analysis, request, (&posterior, &prior_draws))?;
        stopwatch.end(Phase::Report);
        document.timings_ms = stopwatch.stop();
        Ok(Design { document, draws: posterior.draws, prior_draws })
    }

    fn document(
        &self,
        scan: &Scan,
        analysis: &Analysis,
        request: &DesignRequest,
        (posterior, prior_draws): (&Posterior, &[[f64; PARAMETER_COUNT]]),
    ) -> Result<DesignDocument, DesignError> {
        let marginals = Marginals::of(&posterior.draws);
        let prior = Marginals::of(prior_draws);
        let defects = DefectProbabilities::from_array(posterior.defects);
        let strange = posterior.out_of_distribution;
        let out_of_distribution = OutOfDistributionSummary {
            score: strange.score,
            p_value: strange.p_value,
            flagged: strange.flagged,
        };
        let quality = self.quality(analysis, request, (posterior, prior_draws))?;
        let notes = notes(&Findings {
            process: request.process,
            alloy: request.alloy,
            known: &request.known,
            posterior: &marginals,
            prior: &prior,
            defects: &defects,
            out_of_distribution: &out_of_distribution,
            predictive: quality.predictive.as_ref(),
        });
        Ok(DesignDocument {
            schema: DESIGN_SCHEMA.to_owned(),
            basis: basis(request.process),
            unvalidated: !request.process.is_validated(),
            scan: scan_summary(scan, analysis),
            request: request_summary(request),
            analysis: analysis_summary(analysis),
            posterior: marginals,
            prior,
            defects,
            out_of_distribution,
            quality,
            model: self.model(),
            notes,
            timings_ms: BTreeMap::new(),
            seed: request.seed,
            draws_sha256: draws_sha256(&posterior.draws),
        })
    }

    fn quality(
        &self,
        analysis: &Analysis,
        request: &DesignRequest,
        (posterior, prior_draws): (&Posterior, &[[f64; PARAMETER_COUNT]]),
    ) -> Result<QualitySummary, DesignError> {
        let (descriptors, unusual) = quality::place(&self.reference, &analysis.descriptors);
        let predictive = self.predictive(analysis, request, &posterior.draws)?;
        let information_gain_nats =
            quality::information_gain(&posterior.draws, prior_draws, &request.known);
        let redrawn = request.machine.map(|_| posterior.redrawn);
        Ok(QualitySummary { predictive, information_gain_nats, redrawn, unusual, descriptors })
    }

    /// Whether the draws predict what was measured; `None` without a calibration.
    fn predictive(
        &self,
        analysis: &Analysis,
        request: &DesignRequest,
        draws: &[[f64; PARAMETER_COUNT]],
    ) -> Result<Option<PredictiveSummary>, DesignError> {
        let Ok(validation) = &self.validation else { return Ok(None) };
        let question = Question {
            process: request.process,
            alloy: request.alloy,
            spots: request.spots(),
            descriptors: &analysis.descriptors,
            draws,
            seed: request.seed,
        };
        Ok(validation.calibration().judge(&question.predict()?, draws.len()))
    }
}

/// Measures a loaded scan and draws from the posterior.
pub(crate) fn infer(
    model: &Model,
    scan: &Scan,
    voxel_size: VoxelSize,
    request: &DesignRequest,
    observer: &mut dyn Observer,
) -> Result<(Analysis, Posterior), DesignError> {
    let analysis = analyze(scan, voxel_size, &AnalysisOptions::default(), observer)?;
    let observation = Observation {
        process: request.process,
        alloy: request.alloy,
        descriptors: analysis.descriptors.clone(),
        appearance: Some(analysis.appearance.clone()),
        known: request.known,
        spot: request.spot,
        machine: request.machine,
    };
    let options =
        SampleOptions { samples: request.samples, steps: request.steps, seed: request.seed };
    let posterior = model.posterior(&observation, &options, observer)?;
    Ok((analysis, posterior))
}

fn scan_summary(scan: &Scan, analysis: &Analysis) -> ScanSummary {
    ScanSummary {
        sha256: scan.sha256.clone(),
        shape: analysis.shape,
        voxel_size_um: analysis.voxel_size_um,
        voxel_size_source: scan
            .voxel_size
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |known| known.text.clone()),
    }
}

fn request_summary(request: &DesignRequest) -> RequestSummary {
    let known = Parameter::ALL.into_iter().filter_map(|parameter| {
        request.known.get(parameter).map(|value| (parameter.key().to_owned(), value))
    });
    RequestSummary {
        alloy: request.alloy,
        process: request.process,
        known: known.collect(),
        spot_diameter_um: request.spot.map(f64::from),
        machine: request.machine,
        samples: request.samples,
        steps: request.steps,
    }
}

/// What the document keeps of an analysis.
fn analysis_summary(analysis: &Analysis) -> AnalysisSummary {
    let mut diameters: Vec<f64> =
        analysis.pores.iter().map(|pore| pore.equivalent_diameter_um).collect();
    diameters.sort_by(f64::total_cmp);
    let volume: f64 = analysis.pores.iter().map(|pore| pore.volume_um3).sum();
    let weighted: f64 = analysis.pores.iter().map(|pore| pore.volume_um3 * pore.sphericity).sum();
    AnalysisSummary {
        porosity: analysis.porosity,
        porosity_low: analysis.porosity_low,
        porosity_high: analysis.porosity_high,
        detection_floor_um: analysis.threshold.detection_floor_um,
        pore_count: analysis.pores.len(),
        pores_per_mm3: analysis.pores.len() as f64 / analysis.part_volume_mm3,
        median_equivalent_diameter_um: diameters.get(diameters.len() / 2).copied(),
        max_equivalent_diameter_um: diameters.last().copied(),
        mean_sphericity: (volume > 0.0).then(|| weighted / volume),
        layer_period_um: analysis.layer_period_um,
        hatch_period_um: analysis.hatch_period_um,
        shape_shares: ShapeShares {
            lack_of_fusion: analysis.defect_shares.lack_of_fusion,
            keyhole: analysis.defect_shares.keyhole,
            gas: analysis.defect_shares.gas,
        },
    }
}

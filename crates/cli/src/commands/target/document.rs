//! The answer as the document `microdiff.target/1`.

use crate::commands::predict::{BALLING_UNKNOWN, basis};
use microdiff_domain::{Alloy, Machine, Parameter, Process};
use microdiff_process::predict::{Evidence, Prediction, Validity};
use microdiff_process::target::{
    Bound, BoundFit, Candidate, Outcome, Property, REACHED, SEARCHED, TargetAnswer, TargetRequest,
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// Value of `schema` in the document.
const SCHEMA: &str = "microdiff.target/1";
/// What the probabilities are not.
const METHOD: &str = "A separate optimisation of a forward model, not a posterior; not calibrated as \
                      one. A probability is a share of the model's imperfections, not of printed \
                      parts.";

/// What was found, with what was asked and what it rests on.
#[derive(Debug, Serialize)]
pub struct TargetDocument {
    schema: &'static str,
    /// What the probabilities are not.
    pub method: &'static str,
    /// What the predicted numbers rest on.
    pub basis: &'static str,
    /// Always false.
    calibrated: bool,
    /// Whether width and depth rest on measured tracks.
    pub validity: Validity,
    /// Tracks the law was fitted on; none for a process without a law.
    pub fitted_tracks: Option<FittedTracks>,
    /// What was asked.
    pub request: Request,
    /// Smallest and largest value tried of each parameter.
    pub searched: Ranges,
    /// Settings tried.
    pub tried: usize,
    /// Whether the target can be had.
    pub outcome: Outcome,
    /// Probability from which it counts as reached.
    pub reached_from: f64,
    /// Probability from which a setting is listed and lies in the window.
    pub level: f64,
    /// Each bound at the best setting, and what it could have been.
    pub bounds: Vec<BoundDocument>,
    /// The likeliest setting.
    pub best: CandidateDocument,
    /// The machine's usual one.
    pub usual: Option<CandidateDocument>,
    /// Acceptable settings all over what was searched.
    pub window: WindowDocument,
    /// Acceptable settings in distinct regions, best first.
    pub candidates: Vec<CandidateDocument>,
    /// What to know before using it.
    pub notes: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct FittedTracks {
    pub of_alloy: u32,
    pub all: u32,
}

#[derive(Debug, Serialize)]
pub struct Request {
    pub target: Vec<Bound>,
    pub alloy: Alloy,
    pub process: Process,
    pub machine: Option<Machine>,
    pub spot_um: Option<f64>,
    pub bed_temperature_c: Option<f64>,
    known: Map<String, Value>,
    top: usize,
    pub seed: u64,
}

#[derive(Debug, Serialize)]
pub struct BoundDocument {
    #[serde(flatten)]
    pub at_best: BoundFit,
    /// Largest probability of this bound alone at any setting judged.
    pub most_alone: f64,
    /// Whether it keeps the target from being reached.
    pub binds: bool,
}

#[derive(Debug, Serialize)]
pub struct WindowDocument {
    pub share: f64,
    /// Range of each parameter by itself; not every combination is acceptable.
    pub ranges: Option<Ranges>,
}

#[derive(Debug, Serialize)]
pub struct CandidateDocument {
    pub parameters: Map<String, Value>,
    /// That every bound is kept at once.
    pub probability: f64,
    /// Smallest margin of the bounds.
    pub margin: f64,
    bounds: Vec<BoundFit>,
    pub evidence: Evidence,
    pub from_usual: Option<FromUsualDocument>,
    pub build_rate_cm3_h: f64,
    prediction: Map<String, Value>,
    /// Range of each parameter while the others stay.
    pub window: Option<Ranges>,
    #[serde(skip)]
    pub candidate: Candidate,
}

/// Smallest and largest value of each searched parameter; in JSON by their names.
#[derive(Debug)]
pub struct Ranges(pub [[f64; 2]; SEARCHED.len()]);

impl Serialize for Ranges {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(SEARCHED.iter().map(|p| p.key()).zip(&self.0))
    }
}

#[derive(Debug, Serialize)]
pub struct FromUsualDocument {
    pub parameter: &'static str,
    pub ratio: f64,
}

impl TargetDocument {
    pub fn new(request: &TargetRequest, answer: &TargetAnswer) -> Self {
        let known = Parameter::ALL.into_iter().zip(request.known.values());
        let known = known.filter_map(|(p, value)| Some((p.key().to_owned(), value?.into())));
        let bounds = answer.best.fit.bounds.iter().zip(&answer.reach).enumerate();
        Self {
            schema: SCHEMA,
            method: METHOD,
            basis: basis(answer.validity),
            calibrated: false,
            validity: answer.validity,
            fitted_tracks: answer
                .fitted_tracks
                .map(|[of_alloy, all]| FittedTracks { of_alloy, all }),
            request: Request {
                target: request.target.bounds().to_vec(),
                alloy: request.alloy,
                process: request.process,
                machine: request.machine,
                spot_um: answer.fixed.spot_um,
                bed_temperature_c: answer.fixed.bed_c,
                known: known.collect(),
                top: request.top,
                seed: request.seed,
            },
            searched: Ranges(answer.searched),
            tried: answer.tried,
            outcome: answer.outcome,
            reached_from: REACHED,
            level: answer.level,
            bounds: bounds
                .map(|(index, (at_best, most_alone))| BoundDocument {
                    at_best: *at_best,
                    most_alone: *most_alone,
                    binds: answer.binding() == Some(index),
                })
                .collect(),
            best: CandidateDocument::new(&answer.best),
            usual: answer.usual.as_ref().map(CandidateDocument::new),
            window: WindowDocument {
                share: answer.window.share,
                ranges: answer.window.ranges.map(Ranges),
            },
            candidates: answer.candidates.iter().map(CandidateDocument::new).collect(),
            notes: notes(request, answer),
        }
    }
}

impl TargetDocument {
    /// Whether the target has a bound on a property.
    pub fn has_bound_on(&self, property: Property) -> bool {
        self.request.target.iter().any(|bound| bound.property == property)
    }
}

impl CandidateDocument {
    fn new(candidate: &Candidate) -> Self {
        let setting = &candidate.setting;
        let values = SEARCHED.into_iter().zip(candidate.place().map(Some));
        let values = values.chain([(Parameter::BedTemperature, setting.bed_c)]);
        let columns = Prediction::COLUMNS.into_iter().zip(candidate.prediction.values());
        Self {
            parameters: values.map(|(p, value)| (p.key().to_owned(), value.into())).collect(),
            probability: candidate.fit.probability,
            margin: candidate.fit.margin,
            bounds: candidate.fit.bounds.clone(),
            evidence: candidate.evidence,
            from_usual: candidate.from_usual.map(|from| FromUsualDocument {
                parameter: from.parameter.name(),
                ratio: from.ratio,
            }),
            build_rate_cm3_h: candidate.build_rate_cm3_h,
            prediction: columns.map(|(name, value)| (name.to_owned(), value.into())).collect(),
            window: candidate.window.map(Ranges),
            candidate: candidate.clone(),
        }
    }
}

fn notes(request: &TargetRequest, answer: &TargetAnswer) -> Vec<String> {
    let mut notes = Vec::new();
    let binding = answer.binding().and_then(|index| request.target.bounds().get(index));
    if answer.is_contradictory() {
        notes.push(
            "Each bound can be kept by some setting, but no setting tried keeps all.".to_owned(),
        );
    } else if binding.is_some_and(|bound| bound.property == Property::RelativeDensity) {
        notes.push(
            "The model gives every setting pores of causes that it does not know (spatter, powder, \
             contours, the method of measuring): no setting is certain of a high density."
                .to_owned(),
        );
    }
    notes.extend(defects(request, answer));
    if let Some(single) = request.target.bounds().iter().find(|b| !b.property.is_interval()) {
        notes.push(format!(
            "{} has no interval: its bound is kept or not, without a doubt that would be known.",
            single.property
        ));
    }
    if answer.best.prediction.p_balling.is_none() {
        notes.push(BALLING_UNKNOWN.to_owned());
    }
    if answer.fixed.spot_um.is_none() {
        notes.push("The spot is not given: all usual spots are averaged over.".to_owned());
    }
    notes
}

/// Defects that nobody asked about and that some of the candidates are likelier to have than not.
fn defects(request: &TargetRequest, answer: &TargetAnswer) -> Vec<String> {
    let defects = [
        (Property::LackOfFusion, "lack of fusion is"),
        (Property::Keyhole, "keyhole pores are"),
        (Property::Balling, "balling is"),
    ];
    let note = |(defect, told): (Property, &str)| {
        let is_likely = |candidate: &Candidate| {
            defect.interval(&candidate.prediction).is_some_and(|[_, p, _]| p > 0.5)
        };
        let with = answer.candidates.iter().enumerate().filter(|(_, one)| is_likely(one));
        let numbers: Vec<String> = with.map(|(index, _)| (index + 1).to_string()).collect();
        let asked = request.target.bounds().iter().any(|bound| bound.property == defect);
        (!asked && !numbers.is_empty()).then(|| {
            let settings = if numbers.len() == 1 { "Setting" } else { "Settings" };
            let numbers = numbers.join(", ");
            format!(
                "{settings} {numbers}: {told} likelier than not; {defect}<=0.5 in the target rules \
                 that out."
            )
        })
    };
    defects.into_iter().filter_map(note).collect()
}

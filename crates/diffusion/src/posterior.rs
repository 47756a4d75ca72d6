use crate::bundle::{AlloyPrior, BundleFiles, Manifest, Parts};
use crate::condition::{Metadata, context};
use crate::error::within;
use crate::network::{Film, KNOWN, Network, Scratch, TRUNK_INPUTS};
use crate::sampler::{initial_scale, karras_levels, sample_dpmpp_2m};
use crate::{DescriptorReference, DiffusionError, OutOfDistribution, space};
use microdiff_domain::{
    Alloy, Appearance, DefectClass, Descriptors, DomainError, KnownParameters, Machine, Observer,
    PARAMETER_COUNT, Parameter, Phase, Process, SpotDiameter,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Draws computed together, small enough for activations to stay in the second-level cache. A
/// multiple of the kernels' tile of 12 rows.
const BLOCK: usize = 48;

/// Times a draw outside a machine's limits is drawn again before the answer is refused: a scan that
/// leaves a fifth of its draws within is still answered, one that fits the machine takes two or
/// three.
const REDRAWS: u64 = 40;

/// A model ready to answer.
pub struct Model {
    parts: Parts,
}

/// What is known of a part: its scan's descriptors and what the user says.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The process.
    pub process: Process,
    /// The alloy.
    pub alloy: Alloy,
    /// The scan.
    pub descriptors: Descriptors,
    /// How its scan looks, where that was measured; for the out-of-distribution check alone.
    pub appearance: Option<Appearance>,
    /// Process parameters already known; conditioned on, and returned as given.
    pub known: KnownParameters,
    /// Spot diameter, if known.
    pub spot: Option<SpotDiameter>,
    /// The machine, if known; every draw lies within its limits.
    pub machine: Option<Machine>,
}

impl Observation {
    /// A scan of which nothing more is known.
    pub fn new(process: Process, alloy: Alloy, descriptors: Descriptors) -> Self {
        let known = KnownParameters::NONE;
        let (appearance, spot, machine) = (None, None, None);
        Self { process, alloy, descriptors, appearance, known, spot, machine }
    }

    fn metadata(&self) -> Metadata {
        let Self { alloy, process, machine, spot, .. } = *self;
        Metadata { alloy, process, machine, spot }
    }
}

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleOptions {
    /// Number of draws, 1 to 100,000.
    pub samples: usize,
    /// Solver steps, 4 to 1,000. The default of 32 is within 0.012 of exact (Kolmogorov) on
    /// posteriors down to a two-hundredth of the prior's width.
    pub steps: usize,
    /// Seed. Draw `i` is the same whatever the number of draws.
    pub seed: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self { samples: 4096, steps: 32, seed: 0 }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    /// Draws of θ in physical units, in the order of [`Parameter::ALL`]; all inside the prior and
    /// the limits of the machine, if one is known.
    pub draws: Vec<[f64; PARAMETER_COUNT]>,
    /// Share of all that was drawn that lay outside the machine's limits and was drawn again.
    pub redrawn: f64,
    /// Probabilities of the defect classes, in the order of [`DefectClass::ALL`].
    pub defects: [f64; DefectClass::ALL.len()],
    /// Whether the scan looks like the simulations the model learnt from.
    pub out_of_distribution: OutOfDistribution,
}

/// Five quantiles of one parameter, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// 5 %.
    pub p05: f64,
    /// 25 %.
    pub p25: f64,
    /// 50 %.
    pub median: f64,
    /// 75 %.
    pub p75: f64,
    /// 95 %.
    pub p95: f64,
}

impl Quantiles {
    /// Of a sample, linearly between order statistics (type 7 of Hyndman and Fan 1996); zeros of
    /// an empty one.
    pub fn of(mut sample: Vec<f64>) -> Self {
        sample.sort_by(f64::total_cmp);
        let at = |share: f64| quantile(&sample, share);
        Self { p05: at(0.05), p25: at(0.25), median: at(0.5), p75: at(0.75), p95: at(0.95) }
    }

    fn distance(&self, other: &Self) -> f64 {
        let list = |q: &Self| [q.p05, q.p25, q.median, q.p75, q.p95];
        let gaps = list(self).into_iter().zip(list(other)).map(|(a, b)| (a - b).abs());
        // A NaN counts as infinitely far, which `f64::max` would hide.
        gaps.fold(0.0, |most, gap| if gap.is_nan() { f64::INFINITY } else { most.max(gap) })
    }
}

/// Quantile of a rising sample, zero for an empty one.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let position = share * last as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(last);
    sorted[low] + (position - low as f64) * (sorted[high] - sorted[low])
}

impl Posterior {
    /// Quantiles of one parameter.
    pub fn quantiles(&self, parameter: Parameter) -> Quantiles {
        Quantiles::of(self.draws.iter().map(|draw| draw[parameter.index()]).collect())
    }
}

/// A known answer, stored in the bundle: the posterior of the average training scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Process asked about.
    pub process: Process,
    /// Alloy asked about.
    pub alloy: Alloy,
    /// Seed of the draws.
    pub seed: u64,
    /// Number of draws.
    pub samples: usize,
    /// Solver steps.
    pub steps: usize,
    /// Expected quantiles by parameter, as positions in the prior's range (0 to 1).
    pub quantiles: [Quantiles; PARAMETER_COUNT],
    /// Largest accepted difference of any quantile. Above zero because the system's `exp` and
    /// `ln` differ between platforms.
    pub tolerance: f64,
}

/// Whether the canary answered as it did when the bundle was made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CanaryOutcome {
    /// Largest difference of any quantile, as a share of the prior's range.
    pub difference: f64,
    /// Largest accepted difference.
    pub tolerance: f64,
    /// `difference` within `tolerance`.
    pub passed: bool,
}

impl Model {
    /// Opens a bundle directory.
    pub fn open(dir: &Path) -> Result<Self, DiffusionError> {
        Self::from_files(&BundleFiles::read(dir)?)
    }

    /// Opens a bundle held in memory.
    pub fn from_bytes(manifest: &[u8], weights: &[u8]) -> Result<Self, DiffusionError> {
        Self::from_files(&BundleFiles { manifest: manifest.to_vec(), weights: weights.to_vec() })
    }

    /// Opens a bundle held in memory.
    pub fn from_files(files: &BundleFiles) -> Result<Self, DiffusionError> {
        Ok(Self { parts: files.open()? })
    }

    /// What the bundle says of itself.
    pub fn info(&self) -> &Manifest {
        &self.parts.manifest
    }

    /// SHA-256 over manifest and weights, hexadecimal.
    pub fn digest(&self) -> &str {
        &self.parts.digest
    }

    /// Up to about two thousand training θ of an alloy and process, in physical units: what the posterior of an
    /// uninformative scan looks like. Empty for a pair the model does not know.
    pub fn prior(&self, process: Process, alloy: Alloy) -> Vec<[f64; PARAMETER_COUNT]> {
        let units = self.prior_units(process, alloy);
        units.iter().map(|unit| space::from_unit(unit, process, alloy)).collect()
    }

    /// The same as positions in the prior's ranges.
    pub(crate) fn prior_units(
        &self,
        process: Process,
        alloy: Alloy,
    ) -> Vec<[f64; PARAMETER_COUNT]> {
        let asked = |prior: &AlloyPrior| (prior.process, prior.alloy) == (process, alloy);
        let index = self.parts.manifest.alloys.iter().position(asked);
        let rows = index.and_then(|index| self.parts.priors.get(index));
        rows.map_or(Vec::new(), |rows| {
            rows.as_chunks::<PARAMETER_COUNT>().0.iter().map(|r| r.map(f64::from)).collect()
        })
    }

    /// The distribution of each descriptor over a thousand of the training scans.
    pub fn reference(&self) -> DescriptorReference {
        let normaliser = self.parts.manifest.normaliser.clone();
        DescriptorReference::new(normaliser, &self.parts.detectors.descriptors())
    }

    /// Draws from the posterior. Announces [`Phase::Encode`], [`Phase::Sample`] and
    /// [`Phase::Check`]. The same model, observation and options give the same bytes whatever the
    /// number of threads. Refuses options outside their range, a process and alloy the model was
    /// not trained on, known values and a spot outside their prior, a machine that could not have
    /// printed the part, and a scan whose settings the machine cannot be set to.
    pub fn posterior(
        &self,
        observation: &Observation,
        options: &SampleOptions,
        observer: &mut dyn Observer,
    ) -> Result<Posterior, DiffusionError> {
        within("samples", options.samples, 1..=100_000)?;
        within("steps", options.steps, 4..=1000)?;
        self.check(observation)?;
        let network = &self.parts.network;
        observer.begin(Phase::Encode);
        let normal = self.parts.manifest.normaliser.apply(&observation.descriptors);
        let embedding = network.embed(&context(&normal, &observation.metadata()));
        let defects = network.classify(&embedding);
        let levels = karras_levels(options.steps);
        let known = latent(observation);
        let features = known_features(&known);
        let film = |sigma: &f64| network.film(&embedding, *sigma, &features);
        let films: Vec<Film> = levels[..options.steps].iter().map(film).collect();
        observer.end(Phase::Encode);

        observer.begin(Phase::Sample);
        let seed = options.seed;
        let task = Task { network, levels: &levels, films: &films, known, seed, observation };
        let mut draws = task.draw(&(0..options.samples as u64).collect::<Vec<_>>());
        let redrawn = match observation.machine {
            Some(machine) => task.hold_within(machine, &mut draws)?,
            None => 0.0,
        };
        observer.end(Phase::Sample);

        observer.begin(Phase::Check);
        let out_of_distribution =
            self.judge(observation.process, &normal, observation.appearance.as_ref())?;
        observer.end(Phase::Check);
        Ok(Posterior { draws, redrawn, defects, out_of_distribution })
    }

    /// Whether a scan looks like the simulations of a process the model learnt from, without a
    /// draw. Refuses a process it did not learn.
    pub fn out_of_distribution(
        &self,
        process: Process,
        descriptors: &Descriptors,
        appearance: Option<&Appearance>,
    ) -> Result<OutOfDistribution, DiffusionError> {
        let normal = self.parts.manifest.normaliser.apply(descriptors);
        self.judge(process, &normal, appearance)
    }

    fn judge(
        &self,
        process: Process,
        normal: &[f64; microdiff_domain::DESCRIPTOR_COUNT],
        appearance: Option<&Appearance>,
    ) -> Result<OutOfDistribution, DiffusionError> {
        self.parts.detectors.judge(process, normal, appearance).ok_or_else(|| {
            DiffusionError::bundle(format!("no out-of-distribution reference for {process}"))
        })
    }

    fn check(&self, observation: &Observation) -> Result<(), DiffusionError> {
        let Observation { process, alloy, known, spot, machine, .. } = observation;
        let pairs = self.parts.manifest.pairs();
        if !pairs.clone().any(|pair| pair == (*process, *alloy)) {
            let known: Vec<String> =
                pairs.map(|(process, alloy)| format!("{process} {alloy}")).collect();
            return Err(DiffusionError::Domain(DomainError::UnknownName {
                kind: "process and alloy of the model",
                name: format!("{process} {alloy}"),
                known: known.join(", "),
            }));
        }
        // Known values may have been checked against another process and alloy.
        for parameter in Parameter::ALL {
            if let Some(value) = known.get(parameter) {
                KnownParameters::NONE.with(parameter, value, *process, *alloy)?;
            }
        }
        spot.map_or(Ok(()), |spot| process.check_spot(spot))?;
        Ok(machine.map_or(Ok(()), |machine| machine.check(*process, known, *spot))?)
    }

    /// Asks the bundle's canary and compares; `None` if the bundle has none.
    pub fn check_canary(
        &self,
        observer: &mut dyn Observer,
    ) -> Result<Option<CanaryOutcome>, DiffusionError> {
        let Some(canary) = &self.parts.manifest.canary else { return Ok(None) };
        let options =
            SampleOptions { samples: canary.samples, steps: canary.steps, seed: canary.seed };
        let found = self.canary_quantiles((canary.process, canary.alloy), &options, observer)?;
        let gaps = found.iter().zip(&canary.quantiles).map(|(found, kept)| found.distance(kept));
        let difference = gaps.fold(0.0, f64::max);
        let passed = difference <= canary.tolerance;
        Ok(Some(CanaryOutcome { difference, tolerance: canary.tolerance, passed }))
    }

    pub(crate) fn canary_quantiles(
        &self,
        (process, alloy): (Process, Alloy),
        options: &SampleOptions,
        observer: &mut dyn Observer,
    ) -> Result<[Quantiles; PARAMETER_COUNT], DiffusionError> {
        let mut mean = [0.0; microdiff_domain::DESCRIPTOR_COUNT];
        mean.copy_from_slice(&self.parts.manifest.normaliser.mean);
        let observation = Observation::new(process, alloy, Descriptors::new(mean)?);
        let posterior = self.posterior(&observation, options, observer)?;
        let units: Vec<_> =
            posterior.draws.iter().map(|draw| space::to_unit(draw, process, alloy)).collect();
        Ok(Parameter::ALL.map(|p| Quantiles::of(units.iter().map(|u| u[p.index()]).collect())))
    }
}

/// Known values in the space of the diffusion.
fn latent(observation: &Observation) -> [Option<f64>; PARAMETER_COUNT] {
    let Observation { alloy, process, known, .. } = observation;
    let low = |p: Parameter| p.range(*process, *alloy).low;
    let filled = Parameter::ALL.map(|p| known.get(p).unwrap_or(low(p)));
    let latent = space::to_latent(&filled, *process, *alloy);
    Parameter::ALL.map(|p| known.get(p).map(|_| latent[p.index()]))
}

/// One scan's sampling, shared by the threads.
struct Task<'a> {
    network: &'a Network,
    levels: &'a [f64],
    films: &'a [Film],
    known: [Option<f64>; PARAMETER_COUNT],
    seed: u64,
    observation: &'a Observation,
}

impl Task<'_> {
    /// One draw of θ from each noise stream.
    fn draw(&self, streams: &[u64]) -> Vec<[f64; PARAMETER_COUNT]> {
        let Observation { alloy, process, known, .. } = self.observation;
        // Known values exactly as given, not as they come back from the transform.
        let theta = |latent: [f64; PARAMETER_COUNT]| {
            let theta = space::from_latent(&latent, *process, *alloy);
            Parameter::ALL.map(|p| known.get(p).unwrap_or(theta[p.index()]))
        };
        streams
            .par_chunks(BLOCK)
            .map_init(Scratch::default, |scratch, streams| self.latent(streams, scratch))
            .flatten_iter()
            .map(theta)
            .collect()
    }

    /// Draws anew, from further streams of its own, what lies outside the machine's limits. The
    /// network knows the machine, so little does. Returns the share of all draws that did.
    fn hold_within(
        &self,
        machine: Machine,
        draws: &mut [[f64; PARAMETER_COUNT]],
    ) -> Result<f64, DiffusionError> {
        let limits = machine.limits();
        let (mut drawn, mut refused) = (draws.len(), 0);
        let mut outside: Vec<usize> = (0..draws.len()).collect();
        for round in 1..=REDRAWS {
            outside.retain(|index| !limits.allow(&draws[*index]));
            refused += outside.len();
            if outside.is_empty() {
                return Ok(refused as f64 / drawn.max(1) as f64);
            }
            // Draws are fewer than 2³².
            let streams: Vec<u64> = outside.iter().map(|i| *i as u64 | round << 32).collect();
            for (index, draw) in outside.iter().zip(self.draw(&streams)) {
                draws[*index] = draw;
            }
            drawn += streams.len();
        }
        let share = refused as f64 / drawn.max(1) as f64;
        Err(DiffusionError::Contradiction { machine: machine.name(), share })
    }

    /// Latent draws, one from each noise stream.
    fn latent(&self, streams: &[u64], scratch: &mut Scratch) -> Vec<[f64; PARAMETER_COUNT]> {
        let mut x = Vec::with_capacity(streams.len() * PARAMETER_COUNT);
        for stream in streams {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(*stream);
            for _ in 0..PARAMETER_COUNT {
                let noise: f64 = StandardNormal.sample(&mut rng);
                x.push(noise * initial_scale());
            }
        }
        let rows = x.len() / PARAMETER_COUNT;
        let mut input = vec![0.0; rows * TRUNK_INPUTS];
        let mut raw = vec![0.0; rows * PARAMETER_COUNT];
        let denoise = |level: usize, sigma: f64, x: &[f64], out: &mut [f64]| {
            fill_input(x, sigma, &self.known, &mut input);
            // A solver asks at the levels of the grid only; the last is above zero.
            if let Some(film) = self.films.get(level) {
                self.network.forward(film, &input, &mut raw, scratch);
            }
            denoised(x, sigma, &raw, out);
            for row in out.chunks_exact_mut(PARAMETER_COUNT) {
                for (value, known) in row.iter_mut().zip(&self.known) {
                    *value = known.unwrap_or(*value);
                }
            }
        };
        sample_dpmpp_2m(denoise, self.levels, &mut x);
        x.as_chunks::<PARAMETER_COUNT>().0.to_vec()
    }
}

/// The trunk's rows: known values clean, the rest scaled by `c_in`, then the mask of the known.
fn fill_input(x: &[f64], sigma: f64, known: &[Option<f64>; PARAMETER_COUNT], input: &mut [f32]) {
    let c_in = 1.0 / (sigma * sigma + 1.0).sqrt();
    let rows = x.chunks_exact(PARAMETER_COUNT).zip(input.chunks_exact_mut(TRUNK_INPUTS));
    for (x, input) in rows {
        for i in 0..PARAMETER_COUNT {
            input[i] = known[i].unwrap_or(x[i] * c_in) as f32;
            input[PARAMETER_COUNT + i] = if known[i].is_some() { 1.0 } else { 0.0 };
        }
    }
}

/// Known values or zero, then the mask.
pub(crate) fn known_features(known: &[Option<f64>; PARAMETER_COUNT]) -> [f32; KNOWN] {
    let mut features = [0.0; KNOWN];
    for (i, value) in known.iter().enumerate() {
        if let Some(value) = value {
            features[i] = *value as f32;
            features[PARAMETER_COUNT + i] = 1.0;
        }
    }
    features
}

/// `c_skip · x + c_out · F` of Karras et al. 2022 (table 1) with a data scale of one.
fn denoised(x: &[f64], sigma: f64, raw: &[f32], out: &mut [f64]) {
    let variance = sigma * sigma + 1.0;
    let (c_skip, c_out) = (1.0 / variance, sigma / variance.sqrt());
    for ((out, x), raw) in out.iter_mut().zip(x).zip(raw) {
        *out = c_skip * x + c_out * f64::from(*raw);
    }
}

//! What an answer says of its own trustworthiness without knowing the truth: whether its draws
//! predict the measurement, how much it learnt, and where the scan lies among the training scans.

use crate::predictive::PredictiveSummary;
use microdiff_diffusion::DescriptorReference;
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{Descriptors, KnownParameters, PARAMETER_COUNT, Parameter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Percentiles outside which a descriptor is listed as unusual: about one in fifty ordinary
/// descriptors is.
pub const ORDINARY_PERCENTILES: [f64; 2] = [1.0, 99.0];
/// Most descriptors listed as unusual.
const LISTED: usize = 5;
/// Equal shares of the prior that the information gain counts draws in.
const BINS: usize = 20;

/// Label-free quality of one answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QualitySummary {
    /// Posterior-predictive check; absent when the model came without its calibration.
    pub predictive: Option<PredictiveSummary>,
    /// Kullback–Leibler divergence of each marginal from the prior's, nats, by parameter key;
    /// parameters given as known are left out. 0 says that the scan told nothing; it ends near 3.
    pub information_gain_nats: BTreeMap<String, f64>,
    /// With a machine: share of all draws that lay outside its limits and were drawn again. Near 0
    /// when scan and machine agree.
    #[serde(default)]
    pub redrawn: Option<f64>,
    /// The most unusual descriptors, outside [`ORDINARY_PERCENTILES`]; most unusual first.
    pub unusual: Vec<UnusualDescriptor>,
    /// Every descriptor of the scan, by name.
    pub descriptors: BTreeMap<String, DescriptorReading>,
}

/// One descriptor and where it lies among the training scans.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DescriptorReading {
    /// The value, in the unit of the schema.
    pub value: f64,
    /// Percentage of training scans below it, ties counted half.
    pub percentile: f64,
}

/// A descriptor that hardly any training scan has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UnusualDescriptor {
    /// Name in the schema.
    pub name: String,
    /// Unit of value and median.
    pub unit: String,
    /// The value.
    pub value: f64,
    /// Median of the training scans.
    pub median: f64,
    /// Percentage of training scans below the value.
    pub percentile: f64,
    /// Distance from the training mean in training standard deviations, signed.
    pub deviation: f64,
}

/// Places every descriptor of a scan.
pub(crate) fn place(
    reference: &DescriptorReference,
    descriptors: &Descriptors,
) -> (BTreeMap<String, DescriptorReading>, Vec<UnusualDescriptor>) {
    let normal = reference.normal(descriptors);
    let mut readings = BTreeMap::new();
    let mut unusual = Vec::new();
    for (index, (name, value)) in descriptors.iter().enumerate() {
        let place = reference.place(index, normal[index]);
        let percentile = place.percentile;
        readings.insert(name.to_owned(), DescriptorReading { value, percentile });
        if !(ORDINARY_PERCENTILES[0]..=ORDINARY_PERCENTILES[1]).contains(&percentile) {
            unusual.push(UnusualDescriptor {
                name: name.to_owned(),
                unit: DESCRIPTORS[index].unit.to_owned(),
                value,
                median: reference.quantile(index, 0.5),
                percentile,
                deviation: place.deviation,
            });
        }
    }
    unusual.sort_by(|a, b| b.deviation.abs().total_cmp(&a.deviation.abs()));
    unusual.truncate(LISTED);
    (readings, unusual)
}

/// The divergence of each unknown parameter's draws from the prior's.
pub(crate) fn information_gain(
    draws: &[[f64; PARAMETER_COUNT]],
    prior: &[[f64; PARAMETER_COUNT]],
    known: &KnownParameters,
) -> BTreeMap<String, f64> {
    let unknown = Parameter::ALL.into_iter().filter(|p| known.get(*p).is_none());
    unknown
        .map(|parameter| {
            let column = |rows: &[[f64; PARAMETER_COUNT]]| {
                let mut column: Vec<f64> = rows.iter().map(|row| row[parameter.index()]).collect();
                column.sort_by(f64::total_cmp);
                column
            };
            (parameter.key().to_owned(), divergence(&column(draws), &column(prior)))
        })
        .collect()
}

/// Kullback–Leibler divergence of two rising samples, counted in equal shares of the second, less
/// the bias of counting (Miller 1955), at least 0.
fn divergence(sample: &[f64], prior: &[f64]) -> f64 {
    if sample.is_empty() || prior.len() < BINS {
        return 0.0;
    }
    let count = sample.len() as f64;
    let edge = |bin: usize| match bin {
        BINS => sample.len(),
        bin => sample.partition_point(|x| *x < prior[bin * prior.len() / BINS]),
    };
    let mut sum = 0.0;
    let mut first = 0;
    for bin in 1..=BINS {
        let next = edge(bin);
        let share = (next - first) as f64 / count;
        if share > 0.0 {
            sum += share * (share * BINS as f64).ln();
        }
        first = next;
    }
    (sum - (BINS - 1) as f64 / (2.0 * count)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::SeedableRng;

    fn ramp(count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count).map(|i| low + (high - low) * (i as f64 + 0.5) / count as f64).collect()
    }

    #[test]
    fn the_prior_gains_nothing_and_a_tenth_of_it_gains_ln_10() {
        let prior = ramp(2000, 0.0, 1.0);
        assert_eq!(divergence(&ramp(4096, 0.0, 1.0), &prior), 0.0);
        let gain = divergence(&ramp(4096, 0.4, 0.5), &prior);
        assert!((gain - 10f64.ln()).abs() < 0.05, "{gain}");
        assert_eq!(divergence(&[], &prior), 0.0);
    }

    #[test]
    fn few_draws_of_the_prior_do_not_read_as_knowledge() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut few: Vec<f64> = (0..64).map(|_| rng.random()).collect();
        few.sort_by(f64::total_cmp);
        let prior = ramp(2000, 0.0, 1.0);
        assert!(divergence(&few, &prior) < 0.15);
    }
}

//! What the network is conditioned on, as one vector: normalised descriptors, alloy and process, and
//! machine and spot diameter where they are known. The voxel size is one of the descriptors.

use microdiff_domain::{Alloy, DESCRIPTOR_COUNT, Descriptors, Machine, Process, SpotDiameter};
use serde::{Deserialize, Serialize};

/// Length of the condition: descriptors; alloy, process and machine, one-hot each; spot diameter and
/// whether it is given.
pub(crate) const CONTEXT: usize =
    DESCRIPTOR_COUNT + Alloy::ALL.len() + Process::ALL.len() + Machine::ALL.len() + 2;

/// Where the network's view of a descriptor ends, in standard deviations of the training rows. A
/// scan far outside is reported as such; it must not drive the network where it never was.
const CLAMP: f64 = 6.0;

/// Mean and standard deviation of each descriptor over the training rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    /// Means, in schema order.
    pub mean: Vec<f64>,
    /// Standard deviations, in schema order; one where the training rows do not vary.
    pub sd: Vec<f64>,
}

impl Normaliser {
    /// From training rows; identity when there are none.
    pub(crate) fn fit<'a>(rows: impl Iterator<Item = &'a Descriptors> + Clone) -> Self {
        let count = rows.clone().count().max(1) as f64;
        let mut mean = vec![0.0; DESCRIPTOR_COUNT];
        for row in rows.clone() {
            for (sum, value) in mean.iter_mut().zip(row.values()) {
                *sum += value / count;
            }
        }
        let mut sd = vec![0.0; DESCRIPTOR_COUNT];
        for row in rows {
            for ((sum, value), mean) in sd.iter_mut().zip(row.values()).zip(&mean) {
                *sum += (value - mean) * (value - mean) / count;
            }
        }
        let floor = |variance: f64| if variance > 1e-12 { variance.sqrt() } else { 1.0 };
        Self { mean, sd: sd.into_iter().map(floor).collect() }
    }

    /// Whether it fits this version's schema and can be divided by.
    pub(crate) fn is_valid(&self) -> bool {
        self.mean.len() == DESCRIPTOR_COUNT
            && self.sd.len() == DESCRIPTOR_COUNT
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.sd.iter().all(|sd| sd.is_finite() && *sd > 0.0)
    }

    /// Standard deviations from the training mean, unlimited.
    pub(crate) fn apply(&self, descriptors: &Descriptors) -> [f64; DESCRIPTOR_COUNT] {
        let mut out = *descriptors.values();
        for ((value, mean), sd) in out.iter_mut().zip(&self.mean).zip(&self.sd) {
            *value = (*value - mean) / sd;
        }
        out
    }
}

/// What is known of a part beside its scan.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metadata {
    pub(crate) alloy: Alloy,
    pub(crate) process: Process,
    pub(crate) machine: Option<Machine>,
    pub(crate) spot: Option<SpotDiameter>,
}

/// The condition vector, length [`CONTEXT`].
pub(crate) fn context(normal: &[f64; DESCRIPTOR_COUNT], metadata: &Metadata) -> Vec<f32> {
    let Metadata { alloy, process, machine, spot } = *metadata;
    let one = |is: bool| if is { 1.0 } else { 0.0 };
    let mut out: Vec<f32> = normal.iter().map(|value| value.clamp(-CLAMP, CLAMP) as f32).collect();
    out.extend(Alloy::ALL.map(|other| one(other == alloy)));
    out.extend(Process::ALL.map(|other| one(other == process)));
    out.extend(Machine::ALL.map(|other| one(Some(other) == machine)));
    let [low, high] = process.spot_um();
    let scaled = spot.map(|spot| (2.0 * spot.get() - low - high) / (high - low));
    out.push(scaled.map_or(0.0, |value| value as f32));
    out.push(one(spot.is_some()));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_rows_have_unit_spread_and_a_constant_stays_zero() {
        let row = |value: f64| {
            let mut values = [3.0; DESCRIPTOR_COUNT];
            values[0] = value;
            Descriptors::new(values).unwrap()
        };
        let rows = [row(1.0), row(3.0)];
        let normaliser = Normaliser::fit(rows.iter());
        let normal = normaliser.apply(&rows[1]);
        assert_eq!(normal[0], 1.0);
        assert!(normal[1..].iter().all(|value| *value == 0.0));
        assert!(normaliser.is_valid());
    }

    #[test]
    fn condition_by_eye() {
        let metadata = Metadata {
            alloy: Alloy::Ss316L,
            process: Process::Lpbf,
            machine: Some(Machine::Slm280),
            spot: Some(SpotDiameter::micrometres(140.0).unwrap()),
        };
        let full = context(&[100.0; DESCRIPTOR_COUNT], &metadata);
        assert_eq!(full.len(), CONTEXT);
        assert_eq!(full[0], 6.0);
        let (alloy, process) = ([0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0]);
        let machine = [0.0, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(
            full[DESCRIPTOR_COUNT..],
            [&alloy[..], &process, &machine, &[1.0, 1.0]].concat()
        );
        let metadata =
            Metadata { alloy: Alloy::Ti6Al4V, process: Process::Ded, machine: None, spot: None };
        let bare = context(&[0.0; DESCRIPTOR_COUNT], &metadata);
        let (alloy, process) = ([1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0]);
        assert_eq!(bare[DESCRIPTOR_COUNT..], [&alloy[..], &process, &[0.0; 7]].concat());
    }
}

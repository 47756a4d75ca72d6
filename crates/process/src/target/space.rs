//! Process, alloy, machine and known values → the settings a search may try.
//!
//! Power, speed, layer and hatch are free unless known, each on the steps an operator would type,
//! so that what is printed is what was judged. Bed and spot are not searched: they are what the
//! machine has.

use super::TargetRequest;
use super::error::TargetError;
use crate::predict::{Condition, Setting};
use microdiff_domain::{Alloy, Parameter, ParameterRange, Process};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::cmp::Ordering;

/// Parameters a search moves.
pub const SEARCHED: [Parameter; 4] = [
    Parameter::LaserPower,
    Parameter::ScanSpeed,
    Parameter::LayerThickness,
    Parameter::HatchSpacing,
];
/// Number of them.
pub(super) const AXES: usize = SEARCHED.len();
/// Values of the searched parameters, in the order of [`SEARCHED`].
pub(super) type Place = [f64; AXES];

/// One searched parameter.
#[derive(Debug, Clone, Copy)]
struct Axis {
    range: ParameterRange,
    /// Values are multiples of it.
    step: f64,
    known: Option<f64>,
}

/// The settings that may be tried.
#[derive(Debug, Clone, Copy)]
pub(super) struct Space {
    axes: [Axis; AXES],
    rest: Setting,
    pair: (Alloy, Process),
}

impl Space {
    /// The range of each parameter in the process, cut to the machine's limits.
    pub(super) fn new(request: &TargetRequest) -> Result<Self, TargetError> {
        let TargetRequest { alloy, process, machine, known, spot, .. } = request;
        let limits = machine.map(|machine| machine.limits());
        let axes = SEARCHED.map(|parameter| {
            let mut range = parameter.range(*process, *alloy);
            if let Some([low, high]) = limits.and_then(|limits| limits.of(parameter)) {
                // No machine of the table lies outside the ranges of its process; a test sees to it.
                (range.low, range.high) = (range.low.max(low), range.high.min(high));
            }
            Axis { range, step: step(*process, parameter), known: known.get(parameter) }
        });
        let rest = Setting {
            spot_um: spot.map(|spot| spot.get()),
            bed_c: known.get(Parameter::BedTemperature),
            ..Setting::default()
        }
        .with_usual(*alloy, *process, *machine);
        Ok(Self { axes, rest, pair: (*alloy, *process) })
    }

    /// Smallest and largest value of each searched parameter; both the known one where it is known.
    pub(super) fn ranges(&self) -> [[f64; 2]; AXES] {
        self.axes.map(|axis| axis.known.map_or([axis.range.low, axis.range.high], |x| [x, x]))
    }

    /// Whether a parameter is searched and not known.
    pub(super) fn is_free(&self, axis: usize) -> bool {
        self.axes[axis].known.is_none()
    }

    /// Whether a setting lies within the ranges.
    pub(super) fn holds(&self, place: &Place) -> bool {
        let ranges = self.ranges();
        place.iter().zip(ranges).all(|(value, [low, high])| (low..=high).contains(value))
    }

    /// Setting at parts of the ranges, on their steps.
    pub(super) fn place(&self, units: &[f64; AXES]) -> Place {
        std::array::from_fn(|k| {
            let Axis { range, step, known } = self.axes[k];
            let stepped = (range.from_unit(units[k].clamp(0.0, 1.0)) / step).round() * step;
            known.unwrap_or(stepped.clamp(range.low, range.high))
        })
    }

    /// Parts of the ranges at a setting; 0.5 where a value is known.
    pub(super) fn units(&self, place: &Place) -> [f64; AXES] {
        std::array::from_fn(|k| match self.axes[k].known {
            Some(_) => 0.5,
            None => self.axes[k].range.to_unit(place[k]),
        })
    }

    /// The next value of one parameter in a direction, at least `units` of its range away; `None`
    /// beyond the end.
    pub(super) fn neighbour(&self, place: &Place, axis: usize, units: f64) -> Option<Place> {
        let Axis { range, step, .. } = self.axes[axis];
        let mut moved = self.units(place);
        moved[axis] += units;
        let mut to = self.place(&moved);
        if to[axis] == place[axis] {
            to[axis] = (place[axis] + step * units.signum()).clamp(range.low, range.high);
        }
        (to[axis] != place[axis]).then_some(to)
    }

    /// Settings spread evenly over the space, each once: additive recurrence by the powers of the
    /// generalised golden ratio (Roberts 2018), shifted by the seed.
    pub(super) fn spread(&self, seed: u64, count: usize) -> Vec<Place> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shift: [f64; AXES] = std::array::from_fn(|_| rng.random());
        // The root of x⁵ = x + 1.
        let golden = (0..60).fold(1.5f64, |x, _| (1.0 + x).powf(1.0 / (AXES as f64 + 1.0)));
        let mut places: Vec<Place> = (0..count)
            .map(|i| {
                let unit = |k: usize| (shift[k] + i as f64 * golden.powi(-(k as i32 + 1))).fract();
                self.place(&std::array::from_fn(unit))
            })
            .collect();
        each_once(&mut places);
        places
    }

    /// The setting as an engineer gives it.
    pub(super) fn setting(&self, [power, speed, layer, hatch]: Place) -> Setting {
        Setting {
            power_w: Some(power),
            speed_mm_s: Some(speed),
            layer_um: Some(layer),
            hatch_um: Some(hatch),
            ..self.rest
        }
    }

    /// The condition of a setting.
    pub(super) fn condition(&self, place: Place) -> Result<Condition, TargetError> {
        let (alloy, process) = self.pair;
        Ok(Condition::new(alloy, process, &self.setting(place))?)
    }

    /// What is not searched: spot and bed.
    pub(super) fn rest(&self) -> Setting {
        self.rest
    }
}

/// Sorts settings and leaves each once.
pub(super) fn each_once(places: &mut Vec<Place>) {
    places.sort_by(|a, b| {
        let orders = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
        orders.fold(Ordering::Equal, Ordering::then)
    });
    places.dedup();
}

/// Steps in which settings are told: what an operator would type. Chosen.
fn step(process: Process, parameter: Parameter) -> f64 {
    match (process, parameter) {
        (Process::Lpbf, Parameter::ScanSpeed) => 10.0,
        (Process::Ebm, Parameter::ScanSpeed) => 50.0,
        (Process::Ded, Parameter::ScanSpeed) => 0.5,
        (Process::Ebm | Process::Ded, Parameter::LaserPower)
        | (Process::Ded, Parameter::LayerThickness | Parameter::HatchSpacing) => 10.0,
        _ => 5.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::tests::request;
    use microdiff_domain::{KnownParameters, Machine};
    use proptest::prelude::*;

    #[test]
    fn every_machine_leaves_something_to_search() {
        for machine in Machine::ALL {
            for alloy in machine.process().alloys() {
                let request = TargetRequest {
                    alloy: *alloy,
                    process: machine.process(),
                    machine: Some(machine),
                    ..request("elongation>=1")
                };
                let space = Space::new(&request).unwrap();
                for [low, high] in space.ranges() {
                    assert!(low < high, "{machine} {alloy}: {low} {high}");
                }
                for place in space.spread(0, 200) {
                    assert!(space.holds(&place) && space.condition(place).is_ok(), "{place:?}");
                }
            }
        }
    }

    #[test]
    fn the_spread_is_even_and_each_setting_comes_once() {
        let space = Space::new(&request("elongation>=1")).unwrap();
        let places = space.spread(3, 4096);
        assert!(places.len() > 3500, "{}", places.len());
        for axis in 0..AXES {
            for quarter in 0..4 {
                let low = 0.25 * f64::from(quarter);
                let inside = |place: &&Place| (low..low + 0.25).contains(&space.units(place)[axis]);
                let count = places.iter().filter(inside).count();
                let share = count as f64 / places.len() as f64;
                assert!((share - 0.25).abs() < 0.05, "{axis} {quarter}: {share}");
            }
        }
        assert_eq!(places, space.spread(3, 4096));
        assert_ne!(places, space.spread(4, 4096));
    }

    #[test]
    fn known_values_stay_and_are_not_rounded() {
        let known = "layer_thickness=33,laser_power=200";
        let mut request = request("elongation>=1");
        request.known = KnownParameters::parse(known, request.process, request.alloy).unwrap();
        let space = Space::new(&request).unwrap();
        for place in space.spread(0, 50) {
            assert_eq!((place[0], place[2]), (200.0, 33.0));
        }
        assert_eq!(space.neighbour(&[200.0, 900.0, 33.0, 200.0], 3, 0.01), None);
        let next = space.neighbour(&[200.0, 900.0, 33.0, 100.0], 3, -1e-6).unwrap();
        assert_eq!(next, [200.0, 900.0, 33.0, 95.0]);
    }

    proptest! {
        #[test]
        fn units_and_places_go_together(units in prop::array::uniform4(0.0..=1.0f64)) {
            let space = Space::new(&request("elongation>=1")).unwrap();
            let place = space.place(&units);
            prop_assert_eq!(space.place(&space.units(&place)), place);
        }
    }
}

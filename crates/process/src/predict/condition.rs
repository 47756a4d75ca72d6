//! Bare numbers of one setting → a condition that a prediction can be made for, and the table of
//! what each process accepts.

use microdiff_domain::{
    Alloy, BedTemperature, HatchSpacing, LaserPower, LayerThickness, Machine, Process, ScanSpeed,
    SpotDiameter, shown,
};
use thiserror::Error;

/// What a setting is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quantity {
    /// Power of laser or electron beam at the bed, W.
    Power,
    /// Scan speed, mm/s.
    Speed,
    /// Spot diameter (1/e²), µm.
    Spot,
    /// Layer thickness, µm; 0 is a bare plate.
    Layer,
    /// Hatch spacing, µm.
    Hatch,
    /// Bed temperature, °C.
    Bed,
}

impl Quantity {
    /// Every quantity.
    pub const ALL: [Quantity; 6] = [
        Quantity::Power,
        Quantity::Speed,
        Quantity::Spot,
        Quantity::Layer,
        Quantity::Hatch,
        Quantity::Bed,
    ];

    /// Name without unit, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Power => "laser_power",
            Quantity::Speed => "scan_speed",
            Quantity::Spot => "spot_diameter",
            Quantity::Layer => "layer_thickness",
            Quantity::Hatch => "hatch_spacing",
            Quantity::Bed => "bed_temperature",
        }
    }

    /// Unit of the bare number.
    pub fn unit(self) -> &'static str {
        match self {
            Quantity::Power => LaserPower::UNIT,
            Quantity::Speed => ScanSpeed::UNIT,
            Quantity::Spot => SpotDiameter::UNIT,
            Quantity::Layer => LayerThickness::UNIT,
            Quantity::Hatch => HatchSpacing::UNIT,
            Quantity::Bed => BedTemperature::UNIT,
        }
    }

    /// Smallest and largest accepted value. Chosen to contain the machines of the trade, from memory.
    pub fn limits(self, process: Process) -> [f64; 2] {
        match (process, self) {
            (Process::Lpbf, Quantity::Power) => [10.0, 2000.0],
            (Process::Lpbf, Quantity::Speed) => [10.0, 10_000.0],
            (Process::Lpbf, Quantity::Spot) => [20.0, 500.0],
            (Process::Lpbf, Quantity::Layer) => [5.0, 500.0],
            (Process::Lpbf, Quantity::Hatch) => [10.0, 1000.0],
            (_, Quantity::Bed) => [BedTemperature::LOW, BedTemperature::HIGH],
            (Process::Ebm, Quantity::Power) => [50.0, 6000.0],
            (Process::Ebm, Quantity::Speed) => [10.0, 20_000.0],
            (Process::Ebm, Quantity::Spot) => [50.0, 1000.0],
            (Process::Ebm, Quantity::Layer) => [20.0, 300.0],
            (Process::Ebm, Quantity::Hatch) => [20.0, 1000.0],
            (Process::Ded, Quantity::Power) => [50.0, 10_000.0],
            (Process::Ded, Quantity::Speed) => [0.5, 200.0],
            (Process::Ded, Quantity::Spot) => [100.0, 6000.0],
            (Process::Ded, Quantity::Layer) => [20.0, 5000.0],
            (Process::Ded, Quantity::Hatch) => [50.0, 10_000.0],
        }
    }
}

/// The numbers of one setting as they were given.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Setting {
    /// Power, W.
    pub power_w: Option<f64>,
    /// Scan speed, mm/s.
    pub speed_mm_s: Option<f64>,
    /// Spot diameter, µm.
    pub spot_um: Option<f64>,
    /// Layer thickness, µm.
    pub layer_um: Option<f64>,
    /// Hatch spacing, µm.
    pub hatch_um: Option<f64>,
    /// Bed temperature, °C.
    pub bed_c: Option<f64>,
}

impl Setting {
    /// The number of a quantity, if given.
    pub fn get(&self, quantity: Quantity) -> Option<f64> {
        match quantity {
            Quantity::Power => self.power_w,
            Quantity::Speed => self.speed_mm_s,
            Quantity::Spot => self.spot_um,
            Quantity::Layer => self.layer_um,
            Quantity::Hatch => self.hatch_um,
            Quantity::Bed => self.bed_c,
        }
    }

    /// What is usual in place of what is not given: the machine's spot, and the bed of
    /// [`usual_bed_c`].
    pub fn with_usual(mut self, alloy: Alloy, process: Process, machine: Option<Machine>) -> Self {
        self.spot_um = self.spot_um.or(machine.map(|machine| machine.limits().usual_spot_um));
        self.bed_c = self.bed_c.or(Some(usual_bed_c(alloy, process, machine)));
        self
    }

    /// Gives a quantity its number.
    pub fn set(&mut self, quantity: Quantity, value: Option<f64>) {
        *match quantity {
            Quantity::Power => &mut self.power_w,
            Quantity::Speed => &mut self.speed_mm_s,
            Quantity::Spot => &mut self.spot_um,
            Quantity::Layer => &mut self.layer_um,
            Quantity::Hatch => &mut self.hatch_um,
            Quantity::Bed => &mut self.bed_c,
        } = value;
    }
}

/// Why no prediction can be made for a setting.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConditionError {
    /// Without it nothing can be said.
    #[error("{} is missing", .0.name())]
    Missing(Quantity),
    /// A number that is not finite or outside what the process accepts.
    #[error(
        "{} {} {} is outside {low} to {high} {}",
        quantity.name(), shown(*value), quantity.unit(), quantity.unit()
    )]
    OutOfRange {
        /// What was given.
        quantity: Quantity,
        /// Its number.
        value: f64,
        /// Smallest accepted.
        low: f64,
        /// Largest accepted.
        high: f64,
    },
}

impl ConditionError {
    /// The quantity at fault.
    pub fn quantity(&self) -> Quantity {
        match self {
            ConditionError::Missing(quantity) | ConditionError::OutOfRange { quantity, .. } => {
                *quantity
            }
        }
    }
}

/// One valid setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Condition {
    pub(crate) alloy: Alloy,
    pub(crate) process: Process,
    pub(crate) power_w: f64,
    pub(crate) speed_mm_s: f64,
    pub(crate) spot_um: Option<f64>,
    pub(crate) layer_um: Option<f64>,
    pub(crate) hatch_um: Option<f64>,
    pub(crate) bed_c: f64,
}

impl Condition {
    /// Checks a setting. Power and speed are needed. A spot that is not given is drawn from what
    /// the process is usually run with; without layer and hatch nothing is said about density; a
    /// layer of 0 is a bare plate; a bed that is not given is that of [`measured_bed_c`].
    ///
    /// # Errors
    /// When power or speed is missing, or a number is not finite or outside
    /// [`Quantity::limits`].
    pub fn new(alloy: Alloy, process: Process, setting: &Setting) -> Result<Self, ConditionError> {
        for quantity in Quantity::ALL {
            let Some(value) = setting.get(quantity) else { continue };
            let [low, high] = quantity.limits(process);
            let bare = quantity == Quantity::Layer && value == 0.0;
            if !bare && !(low..=high).contains(&value) {
                return Err(ConditionError::OutOfRange { quantity, value, low, high });
            }
        }
        let needed = |quantity| setting.get(quantity).ok_or(ConditionError::Missing(quantity));
        Ok(Self {
            alloy,
            process,
            power_w: needed(Quantity::Power)?,
            speed_mm_s: needed(Quantity::Speed)?,
            spot_um: setting.spot_um,
            layer_um: setting.layer_um.filter(|layer| *layer > 0.0),
            hatch_um: setting.hatch_um,
            bed_c: setting.bed_c.unwrap_or(measured_bed_c(alloy, process)),
        })
    }

    /// Alloy.
    pub fn alloy(&self) -> Alloy {
        self.alloy
    }

    /// Process.
    pub fn process(&self) -> Process {
        self.process
    }

    /// Bed temperature the prediction is made for, °C.
    pub fn bed_c(&self) -> f64 {
        self.bed_c
    }
}

/// Bed temperature of a question that gives none, °C: the machine's usual one, else that of process
/// and alloy. The one rule of predictions, maps and targets; the numbers stand in
/// [`microdiff_domain::MachineLimits`] and [`Process::usual_spot_um_and_bed_c`].
pub fn usual_bed_c(alloy: Alloy, process: Process, machine: Option<Machine>) -> f64 {
    let of_machine = machine.and_then(|machine| machine.limits().usual_bed_c);
    of_machine.unwrap_or(process.usual_spot_um_and_bed_c(alloy)[1])
}

/// Bed temperature of a measurement that tells none, °C, as a row of a table: 25, for tables leave it
/// out where nobody heated the plate. Electron beams always do, so theirs is the usual one.
pub fn measured_bed_c(alloy: Alloy, process: Process) -> f64 {
    match process {
        Process::Lpbf | Process::Ded => crate::beam::COLD_BED_C,
        Process::Ebm => usual_bed_c(alloy, process, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> Setting {
        Setting { power_w: Some(200.0), speed_mm_s: Some(800.0), ..Setting::default() }
    }

    #[test]
    fn what_is_missing_or_out_of_range_is_named_with_its_unit() {
        let check = |setting: &Setting| Condition::new(Alloy::Ss316L, Process::Lpbf, setting);
        assert!(check(&setting()).is_ok());
        let told = |setting: Setting| check(&setting).unwrap_err().to_string();
        assert_eq!(told(Setting { power_w: None, ..setting() }), "laser_power is missing");
        assert_eq!(
            told(Setting { spot_um: Some(f64::NAN), ..setting() }),
            "spot_diameter NaN um is outside 20 to 500 um"
        );
        assert!(
            told(Setting { power_w: Some(1e308), ..setting() }).starts_with("laser_power 1e308 W")
        );
        assert!(told(Setting { hatch_um: Some(-1.0), ..setting() }).contains("10 to 1000 um"));
        assert!(told(Setting { layer_um: Some(1.0), ..setting() }).contains("5 to 500 um"));
    }

    #[test]
    fn a_layer_of_nothing_is_a_bare_plate() {
        let bare = Setting { layer_um: Some(0.0), ..setting() };
        let condition = Condition::new(Alloy::Ss316L, Process::Lpbf, &bare).unwrap();
        assert_eq!(condition.layer_um, None);
    }

    #[test]
    fn a_bed_not_given_is_the_machines_usual_one_then_that_of_process_and_alloy() {
        let bed = |alloy, process, machine| {
            Setting::default().with_usual(alloy, process, machine).bed_c.unwrap()
        };
        for (alloy, process, machine, expected) in [
            (Alloy::Ss316L, Process::Lpbf, None, 80.0),
            (Alloy::Ss316L, Process::Lpbf, Some(Machine::EosM290), 80.0),
            (Alloy::Ti6Al4V, Process::Ebm, None, 700.0),
            (Alloy::In718, Process::Ebm, None, 975.0),
            (Alloy::Ti6Al4V, Process::Ebm, Some(Machine::ArcamQ20), 700.0),
            (Alloy::In718, Process::Ebm, Some(Machine::ArcamQ20), 975.0),
            (Alloy::Ss316L, Process::Ded, Some(Machine::LensDed), 25.0),
        ] {
            assert_eq!(bed(alloy, process, machine), expected, "{process} {alloy} {machine:?}");
        }
        let given = Setting { bed_c: Some(30.0), ..Setting::default() };
        let given = given.with_usual(Alloy::Ss316L, Process::Lpbf, Some(Machine::EosM290));
        assert_eq!(given.bed_c, Some(30.0));
    }

    #[test]
    fn a_measurement_that_tells_no_bed_was_made_on_a_cold_plate() {
        let bed = |alloy, process| Condition::new(alloy, process, &setting()).unwrap().bed_c();
        assert_eq!(bed(Alloy::Ss316L, Process::Lpbf), 25.0);
        assert_eq!(bed(Alloy::In718, Process::Ebm), 975.0);
    }

    #[test]
    fn each_process_has_its_own_limits() {
        let beam = Setting { power_w: Some(2500.0), speed_mm_s: Some(4500.0), ..setting() };
        assert!(Condition::new(Alloy::Ti6Al4V, Process::Ebm, &beam).is_ok());
        assert!(Condition::new(Alloy::Ti6Al4V, Process::Lpbf, &beam).is_err());
        for process in Process::ALL {
            for quantity in Quantity::ALL {
                let [low, high] = quantity.limits(process);
                assert!(low < high, "{process} {quantity:?}");
            }
        }
    }
}

use crate::error::echo;
use crate::{
    Alloy, BedTemperature, DomainError, HatchSpacing, LaserPower, LayerThickness, Process,
    ScanSpeed,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Number of inferred process parameters.
pub const PARAMETER_COUNT: usize = Parameter::ALL.len();

/// The inferred process parameters, the model's θ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Parameter {
    /// Laser power, W.
    LaserPower,
    /// Scan speed, mm/s.
    ScanSpeed,
    /// Layer thickness, µm.
    LayerThickness,
    /// Hatch spacing, µm.
    HatchSpacing,
    /// Bed temperature, °C.
    BedTemperature,
}

/// Whether the prior is flat in the value or in its logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Uniform in the value.
    Linear,
    /// Uniform in the logarithm of the value.
    Log,
}

/// Range of a parameter that the prior covers, and so the only range the model can speak of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ParameterRange {
    /// Smallest value.
    pub low: f64,
    /// Largest value.
    pub high: f64,
    /// Density of the prior between them.
    pub scale: Scale,
}

impl ParameterRange {
    /// Position of `value` in the range under its scale: 0 at the low end, 1 at the high end.
    pub fn to_unit(self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        }
    }

    /// Inverse of [`ParameterRange::to_unit`]; the result is held inside the range.
    pub fn from_unit(self, unit: f64) -> f64 {
        let value = match self.scale {
            Scale::Linear => self.low + unit * (self.high - self.low),
            Scale::Log => self.low * (unit * (self.high / self.low).ln()).exp(),
        };
        value.clamp(self.low, self.high)
    }
}

impl Parameter {
    /// Every parameter, in the order of θ.
    pub const ALL: [Parameter; 5] = [
        Parameter::LaserPower,
        Parameter::ScanSpeed,
        Parameter::LayerThickness,
        Parameter::HatchSpacing,
        Parameter::BedTemperature,
    ];

    /// Position in θ.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name without unit, as on the command line: `laser_power`.
    pub fn name(self) -> &'static str {
        match self {
            Parameter::LaserPower => "laser_power",
            Parameter::ScanSpeed => "scan_speed",
            Parameter::LayerThickness => "layer_thickness",
            Parameter::HatchSpacing => "hatch_spacing",
            Parameter::BedTemperature => "bed_temperature",
        }
    }

    /// Name with unit, as in JSON and CSV: `laser_power_w`.
    pub fn key(self) -> &'static str {
        match self {
            Parameter::LaserPower => "laser_power_w",
            Parameter::ScanSpeed => "scan_speed_mm_s",
            Parameter::LayerThickness => "layer_thickness_um",
            Parameter::HatchSpacing => "hatch_spacing_um",
            Parameter::BedTemperature => "bed_temperature_c",
        }
    }

    /// Unit of the bare number.
    pub fn unit(self) -> &'static str {
        match self {
            Parameter::LaserPower => LaserPower::UNIT,
            Parameter::ScanSpeed => ScanSpeed::UNIT,
            Parameter::LayerThickness => LayerThickness::UNIT,
            Parameter::HatchSpacing => HatchSpacing::UNIT,
            Parameter::BedTemperature => BedTemperature::UNIT,
        }
    }

    /// Marginal range of the prior. Power and speed are log-uniform, and so are layer and hatch of
    /// directed energy, whose machines differ by ten times; the rest is uniform. Ranges for laser
    /// powder bed fusion: settings of 1,149 published density coupons and of common machines; for
    /// the others common machines alone, from memory; reliability: a choice, not a measurement.
    /// An alloy outside [`Process::alloys`] gets the range of the process at large.
    pub fn range(self, process: Process, alloy: Alloy) -> ParameterRange {
        match process {
            Process::Lpbf => self.laser_range(alloy),
            Process::Ebm => self.electron_range(alloy),
            Process::Ded => self.deposition_range(),
        }
    }

    fn laser_range(self, alloy: Alloy) -> ParameterRange {
        match (self, alloy) {
            (Parameter::LaserPower, Alloy::Ti6Al4V | Alloy::Ss316L) => log(60.0, 400.0),
            (Parameter::LaserPower, Alloy::In718) => log(80.0, 400.0),
            (Parameter::LaserPower, Alloy::AlSi10Mg) => log(120.0, 500.0),
            (Parameter::ScanSpeed, Alloy::Ti6Al4V) => log(200.0, 3000.0),
            (Parameter::ScanSpeed, Alloy::Ss316L) => log(150.0, 2500.0),
            (Parameter::ScanSpeed, Alloy::In718) => log(200.0, 2500.0),
            (Parameter::ScanSpeed, Alloy::AlSi10Mg) => log(300.0, 3000.0),
            (Parameter::LayerThickness, _) => linear(20.0, 90.0),
            (Parameter::HatchSpacing, _) => linear(50.0, 200.0),
            (Parameter::BedTemperature, Alloy::AlSi10Mg) => linear(25.0, 250.0),
            (Parameter::BedTemperature, _) => linear(25.0, 200.0),
        }
    }

    fn electron_range(self, alloy: Alloy) -> ParameterRange {
        match (self, alloy) {
            (Parameter::LaserPower, _) => log(300.0, 2500.0),
            (Parameter::ScanSpeed, _) => log(500.0, 8000.0),
            (Parameter::LayerThickness, _) => linear(50.0, 100.0),
            (Parameter::HatchSpacing, _) => linear(100.0, 250.0),
            (Parameter::BedTemperature, Alloy::In718) => linear(900.0, 1050.0),
            (Parameter::BedTemperature, _) => linear(600.0, 800.0),
        }
    }

    fn deposition_range(self) -> ParameterRange {
        match self {
            Parameter::LaserPower => log(300.0, 2500.0),
            Parameter::ScanSpeed => log(4.0, 25.0),
            Parameter::LayerThickness => log(150.0, 1200.0),
            Parameter::HatchSpacing => log(400.0, 2500.0),
            Parameter::BedTemperature => linear(20.0, 400.0),
        }
    }
}

fn log(low: f64, high: f64) -> ParameterRange {
    ParameterRange { low, high, scale: Scale::Log }
}

fn linear(low: f64, high: f64) -> ParameterRange {
    ParameterRange { low, high, scale: Scale::Linear }
}

impl fmt::Display for Parameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Parameter {
    type Err = DomainError;

    fn from_str(name: &str) -> Result<Self, DomainError> {
        Parameter::ALL.into_iter().find(|p| p.name() == name || p.key() == name).ok_or_else(|| {
            DomainError::UnknownName {
                kind: "parameter",
                name: echo(name),
                known: Parameter::ALL.map(Parameter::name).join(", "),
            }
        })
    }
}

/// One full machine setting.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProcessParameters {
    /// Laser power.
    #[serde(rename = "laser_power_w")]
    pub laser_power: LaserPower,
    /// Scan speed.
    #[serde(rename = "scan_speed_mm_s")]
    pub scan_speed: ScanSpeed,
    /// Layer thickness.
    #[serde(rename = "layer_thickness_um")]
    pub layer_thickness: LayerThickness,
    /// Hatch spacing.
    #[serde(rename = "hatch_spacing_um")]
    pub hatch_spacing: HatchSpacing,
    /// Bed temperature.
    #[serde(rename = "bed_temperature_c")]
    pub bed_temperature: BedTemperature,
}

impl ProcessParameters {
    /// Takes θ in the order of [`Parameter::ALL`], in the units of [`Parameter::unit`].
    pub fn from_array(theta: [f64; PARAMETER_COUNT]) -> Result<Self, DomainError> {
        let [power, speed, layer, hatch, bed] = theta;
        Ok(Self {
            laser_power: LaserPower::watts(power)?,
            scan_speed: ScanSpeed::mm_per_s(speed)?,
            layer_thickness: LayerThickness::micrometres(layer)?,
            hatch_spacing: HatchSpacing::micrometres(hatch)?,
            bed_temperature: BedTemperature::celsius(bed)?,
        })
    }

    /// θ in the order of [`Parameter::ALL`].
    pub fn to_array(self) -> [f64; PARAMETER_COUNT] {
        [
            self.laser_power.get(),
            self.scan_speed.get(),
            self.layer_thickness.get(),
            self.hatch_spacing.get(),
            self.bed_temperature.get(),
        ]
    }
}

/// The parameters a user already knows, checked against the prior of one process and alloy.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KnownParameters([Option<f64>; PARAMETER_COUNT]);

impl KnownParameters {
    /// Nothing known.
    pub const NONE: KnownParameters = KnownParameters([None; PARAMETER_COUNT]);

    /// Reads `layer_thickness=30,hatch_spacing=140`; names may carry their unit
    /// (`layer_thickness_um`). Refuses unknown and repeated names and values outside the prior
    /// of `process` and `alloy`.
    pub fn parse(text: &str, process: Process, alloy: Alloy) -> Result<Self, DomainError> {
        let mut known = Self::NONE;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let unreadable = |expected: &str| DomainError::Unreadable {
                text: echo(item),
                expected: expected.to_owned(),
            };
            let (name, value) = item
                .split_once('=')
                .ok_or_else(|| unreadable("expected name=value, as in layer_thickness=30"))?;
            let parameter: Parameter = name.trim().parse()?;
            let value: f64 = value
                .trim()
                .parse()
                .map_err(|_| unreadable("the value must be a number, without a unit"))?;
            if known.get(parameter).is_some() {
                return Err(unreadable("the parameter is given twice"));
            }
            known = known.with(parameter, value, process, alloy)?;
        }
        Ok(known)
    }

    /// The same with one more value known; refuses a value outside the prior of `process` and
    /// `alloy`.
    pub fn with(
        mut self,
        parameter: Parameter,
        value: f64,
        process: Process,
        alloy: Alloy,
    ) -> Result<Self, DomainError> {
        let range = parameter.range(process, alloy);
        if !(range.low..=range.high).contains(&value) {
            return Err(DomainError::OutOfRange {
                quantity: parameter.name(),
                value,
                low: range.low,
                high: range.high,
                unit: parameter.unit(),
            });
        }
        self.0[parameter.index()] = Some(value);
        Ok(self)
    }

    /// The known value, if any.
    pub fn get(&self, parameter: Parameter) -> Option<f64> {
        self.0[parameter.index()]
    }

    /// Known values in the order of θ.
    pub fn values(&self) -> [Option<f64>; PARAMETER_COUNT] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values_are_read_and_refused_with_their_range() {
        let read = |text: &str| KnownParameters::parse(text, Process::Lpbf, Alloy::Ti6Al4V);
        let known = read("layer_thickness=30, hatch_spacing_um=140").unwrap();
        assert_eq!(known.values(), [None, None, Some(30.0), Some(140.0), None]);
        let refusal = |text: &str| read(text).unwrap_err().to_string();
        assert_eq!(refusal("hatch_spacing=1000"), "hatch_spacing 1000 um is outside 50 to 200 um");
        assert!(refusal("hatch=100").contains("known: laser_power, scan_speed"));
        assert!(refusal("laser_power").contains("name=value"));
        assert!(refusal("laser_power=NaN").contains("outside"));
        assert!(refusal("laser_power=100,laser_power=100").contains("twice"));
        let beam = KnownParameters::parse("hatch_spacing=1000", Process::Ded, Alloy::Ti6Al4V);
        assert_eq!(beam.unwrap().get(Parameter::HatchSpacing), Some(1000.0));
    }

    #[test]
    fn parameters_round_trip_through_json() {
        let parameters = ProcessParameters::from_array([280.0, 1200.0, 30.0, 140.0, 80.0]).unwrap();
        let json = serde_json::to_value(parameters).unwrap();
        for parameter in Parameter::ALL {
            assert_eq!(json[parameter.key()], parameters.to_array()[parameter.index()]);
        }
    }

    proptest! {
        #[test]
        fn unit_position_round_trips_inside_the_units(
            units in prop::array::uniform5(0.0..=1.0f64), process in 0..3usize, alloy in 0..4usize,
        ) {
            let range = |p: Parameter| p.range(Process::ALL[process], Alloy::ALL[alloy]);
            let theta = Parameter::ALL.map(|p| range(p).from_unit(units[p.index()]));
            prop_assert!(ProcessParameters::from_array(theta).is_ok(), "{theta:?}");
            for p in Parameter::ALL {
                let (range, value, unit) = (range(p), theta[p.index()], units[p.index()]);
                prop_assert!(value >= range.low && value <= range.high);
                prop_assert!((range.to_unit(value) - unit).abs() < 1e-9);
            }
        }
    }
}

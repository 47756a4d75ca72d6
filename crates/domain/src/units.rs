//! Physical values as bounded newtypes, all from the one table at the end of this file.
//!
//! The bounds say what a machine of any process could be set to at all; the narrower range a model
//! was trained on belongs to [`crate::Parameter::range`].

use crate::DomainError;
use serde::{Deserialize, Serialize};

macro_rules! bounded {
    ($($(#[$doc:meta])* $name:ident, $ctor:ident, $quantity:literal, $unit:literal, $low:literal ..= $high:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(try_from = "f64", into = "f64")]
        pub struct $name(f64);

        impl $name {
            /// Smallest accepted value.
            pub const LOW: f64 = $low;
            /// Largest accepted value.
            pub const HIGH: f64 = $high;
            /// Unit of the bare number.
            pub const UNIT: &'static str = $unit;

            #[doc = concat!("Takes a value in ", $unit, "; refuses what is not finite or out of bounds.")]
            pub fn $ctor(value: f64) -> Result<Self, DomainError> {
                if (Self::LOW..=Self::HIGH).contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(DomainError::OutOfRange {
                        quantity: $quantity,
                        value,
                        low: Self::LOW,
                        high: Self::HIGH,
                        unit: $unit,
                    })
                }
            }

            #[doc = concat!("The value in ", $unit, ".")]
            pub fn get(self) -> f64 {
                self.0
            }
        }

        impl TryFrom<f64> for $name {
            type Error = DomainError;
            fn try_from(value: f64) -> Result<Self, DomainError> {
                Self::$ctor(value)
            }
        }

        impl From<$name> for f64 {
            fn from(value: $name) -> f64 {
                value.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{} {}", self.0, $unit)
            }
        }
    )*};
}

bounded! {
    /// Power of the laser or electron beam at the bed.
    LaserPower, watts, "laser_power", "W", 10.0 ..= 3000.0;
    /// Speed of the spot along a track.
    ScanSpeed, mm_per_s, "scan_speed", "mm/s", 4.0 ..= 10000.0;
    /// Height the platform moves down between layers.
    LayerThickness, micrometres, "layer_thickness", "um", 5.0 ..= 1200.0;
    /// Distance between neighbouring tracks of a layer.
    HatchSpacing, micrometres, "hatch_spacing", "um", 10.0 ..= 2500.0;
    /// Temperature the build plate is held at.
    BedTemperature, celsius, "bed_temperature", "C", 0.0 ..= 1100.0;
    /// Spot diameter, 1/e² (D4σ) convention.
    SpotDiameter, micrometres, "spot_diameter", "um", 20.0 ..= 3000.0;
    /// Edge of a cubic voxel.
    VoxelSize, micrometres, "voxel_size", "um", 0.05 ..= 1000.0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_range_and_unit() {
        let error = LaserPower::watts(-5.0).unwrap_err();
        assert_eq!(error.to_string(), "laser_power -5 W is outside 10 to 3000 W");
        assert!(ScanSpeed::mm_per_s(f64::NAN).is_err());
        assert!(VoxelSize::micrometres(f64::INFINITY).is_err());
    }

    #[test]
    fn json_cannot_smuggle_an_invalid_value() {
        assert!(serde_json::from_str::<LayerThickness>("30.0").is_ok());
        assert!(serde_json::from_str::<LayerThickness>("0.0").is_err());
    }
}

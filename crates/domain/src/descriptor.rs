//! The schema of the pore descriptors: the numbers a scan is reduced to before inference.
//!
//! One table names each descriptor with its unit and meaning; its order is the order of the
//! model's input. Changing the table makes older bundles unreadable, which the bundle checks.

use crate::DomainError;

/// One entry of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorSpec {
    /// Name, stable within a bundle format.
    pub name: &'static str,
    /// Unit of the stored number.
    pub unit: &'static str,
    /// What it measures, in a sentence.
    pub about: &'static str,
}

/// Number of descriptors.
pub const DESCRIPTOR_COUNT: usize = DESCRIPTORS.len();

const fn spec(name: &'static str, unit: &'static str, about: &'static str) -> DescriptorSpec {
    DescriptorSpec { name, unit, about }
}

/// The schema.
pub const DESCRIPTORS: [DescriptorSpec; 2] = [
    spec("log_voxel_size", "ln um", "edge of a voxel"),
    spec("log_porosity", "log10", "pore volume over scanned volume, with a floor of 1e-6"),
];

/// One value per entry of [`DESCRIPTORS`], all finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptors([f64; DESCRIPTOR_COUNT]);

impl Descriptors {
    /// Takes values in schema order; refuses any that is not finite, by name.
    pub fn new(values: [f64; DESCRIPTOR_COUNT]) -> Result<Self, DomainError> {
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(Self(values)),
            Some(index) => Err(DomainError::Descriptors {
                reason: format!("{} is {}", DESCRIPTORS[index].name, values[index]),
            }),
        }
    }

    /// Values in schema order.
    pub fn values(&self) -> &[f64; DESCRIPTOR_COUNT] {
        &self.0
    }

    /// The value of a descriptor by name, if the schema has it.
    pub fn get(&self, name: &str) -> Option<f64> {
        DESCRIPTORS.iter().position(|spec| spec.name == name).map(|index| self.0[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<_> = DESCRIPTORS.iter().map(|spec| spec.name).collect();
        assert_eq!(names.len(), DESCRIPTOR_COUNT);
    }

    #[test]
    fn a_value_that_is_not_finite_is_named() {
        let mut values = [0.0; DESCRIPTOR_COUNT];
        values[1] = f64::NAN;
        assert!(Descriptors::new(values).unwrap_err().to_string().contains("log_porosity"));
    }
}

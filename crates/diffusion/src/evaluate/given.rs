//! What is told the model of a held-out row beside its scan, alloy and process.

use crate::rows::Row;
use crate::{DiffusionError, Observation};
use microdiff_domain::{KnownParameters, Machine, Parameter};

/// One way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given {
    /// Parameters given as known.
    pub parameters: &'static [Parameter],
    /// Whether the spot diameter is given.
    pub spot: bool,
    /// Whether the machine is given.
    pub machine: bool,
}

impl Given {
    /// Nothing.
    pub const NOTHING: Given = Given { parameters: &[], spot: false, machine: false };

    /// Every way that is evaluated, [`Given::NOTHING`] first.
    pub const ALL: [Given; 4] = [
        Given::NOTHING,
        Given {
            parameters: &[Parameter::LayerThickness, Parameter::HatchSpacing],
            spot: false,
            machine: false,
        },
        Given { parameters: &[], spot: true, machine: true },
        Given {
            parameters: &[
                Parameter::LayerThickness,
                Parameter::HatchSpacing,
                Parameter::BedTemperature,
            ],
            spot: true,
            machine: true,
        },
    ];

    /// Names of what is given.
    pub fn names(&self) -> Vec<String> {
        let parameters = self.parameters.iter().map(|parameter| parameter.name());
        let spot = self.spot.then_some("spot_diameter");
        let machine = self.machine.then_some("machine");
        parameters.chain(spot).chain(machine).map(str::to_owned).collect()
    }

    /// The question about a row; `None` when the machine is to be given and the one that `index`
    /// picks could not have printed it. The machine is picked before the row is looked at: picked
    /// among those that could, it would tell more than its name.
    pub(crate) fn observation(
        &self,
        row: &Row,
        index: u64,
    ) -> Result<Option<Observation>, DiffusionError> {
        let mut known = KnownParameters::NONE;
        for parameter in self.parameters {
            let range = parameter.range(row.process, row.alloy);
            let value = row.theta[parameter.index()].clamp(range.low, range.high);
            known = known.with(*parameter, value, row.process, row.alloy)?;
        }
        let machine = if self.machine {
            let machines: Vec<Machine> = Machine::of(row.process).collect();
            let picked = machines.get((index % machines.len().max(1) as u64) as usize).copied();
            let Some(machine) = picked.filter(|machine| row.could_come_from(*machine)) else {
                return Ok(None);
            };
            Some(machine)
        } else {
            None
        };
        Ok(Some(Observation {
            alloy: row.alloy,
            process: row.process,
            descriptors: row.descriptors.clone(),
            appearance: row.appearance.clone(),
            known,
            spot: row.spot.filter(|_| self.spot),
            machine,
        }))
    }
}

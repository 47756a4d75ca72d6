use crate::problem::Problem;
use microdiff_design::DesignRequest;
use microdiff_domain::{
    Alloy, DomainError, KnownParameters, Machine, Process, SpotDiameter, VoxelSize,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is asked of a scan, in the form in which a job's record keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRequest {
    /// Alloy of the part.
    pub alloy: Alloy,
    /// Process that printed it.
    pub process: Process,
    /// Parameters that are known, as `layer_thickness=30,hatch_spacing=140`.
    #[serde(default)]
    pub known: String,
    /// Spot diameter.
    pub spot_um: Option<SpotDiameter>,
    /// Machine, if known.
    #[serde(default)]
    pub machine: Option<Machine>,
    /// Voxel size, if the file does not say.
    pub voxel_size_um: Option<VoxelSize>,
    /// Number of posterior draws.
    pub samples: usize,
    /// Number of sampler steps.
    pub steps: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl JobRequest {
    /// The form fields beside `scan`.
    pub const FIELDS: [&'static str; 9] = [
        "alloy",
        "process",
        "known",
        "spot_um",
        "machine",
        "voxel_size_um",
        "samples",
        "steps",
        "seed",
    ];

    /// Reads the fields of a form.
    ///
    /// # Errors
    /// A 400 problem naming the field, its range and unit, or what is known.
    pub fn from_fields(fields: &BTreeMap<&'static str, String>) -> Result<Self, Problem> {
        let alloy = fields.get("alloy").ok_or_else(|| {
            let known = Alloy::ALL.map(Alloy::name).join(", ");
            Problem::missing_field(&format!("field \"alloy\" is missing; known: {known}"))
        })?;
        let alloy: Alloy = alloy.parse().map_err(|error| refused(&error))?;
        let process =
            fields.get("process").map_or(Ok(Process::Lpbf), |name| name.parse::<Process>());
        let machine = fields.get("machine").map(|name| name.parse::<Machine>()).transpose();
        let spot = number(fields, "spot_um")?.map(SpotDiameter::micrometres).transpose();
        let voxel = number(fields, "voxel_size_um")?.map(VoxelSize::micrometres).transpose();
        let request = Self {
            alloy,
            process: process.map_err(|error| refused(&error))?,
            known: fields.get("known").map_or("", |known| known.trim()).to_owned(),
            spot_um: spot.map_err(|error| refused(&error))?,
            machine: machine.map_err(|error| refused(&error))?,
            voxel_size_um: voxel.map_err(|error| refused(&error))?,
            samples: count(fields, "samples", DesignRequest::SAMPLES)?
                .unwrap_or(DesignRequest::DEFAULT_SAMPLES),
            steps: count(fields, "steps", DesignRequest::STEPS)?
                .unwrap_or(DesignRequest::DEFAULT_STEPS),
            seed: number(fields, "seed")?.unwrap_or(0),
        };
        request.question().map_err(|error| refused(&error))?;
        Ok(request)
    }

    /// What is asked of the designer.
    ///
    /// # Errors
    /// When what is known does not fit process, alloy or machine, as in a record written by an older
    /// version.
    pub fn question(&self) -> Result<DesignRequest, DomainError> {
        self.process.check(self.alloy)?;
        let question = DesignRequest {
            process: self.process,
            known: KnownParameters::parse(&self.known, self.process, self.alloy)?,
            spot: self.spot_um,
            machine: self.machine,
            voxel_size: self.voxel_size_um,
            samples: self.samples,
            steps: self.steps,
            seed: self.seed,
            ..DesignRequest::new(self.alloy)
        };
        question.check()?;
        Ok(question)
    }
}

fn refused(error: &DomainError) -> Problem {
    Problem::invalid_field(&error.to_string())
}

fn number<T: std::str::FromStr>(
    fields: &BTreeMap<&'static str, String>,
    name: &'static str,
) -> Result<Option<T>, Problem> {
    fields
        .get(name)
        .map(|text| text.trim().parse())
        .transpose()
        .map_err(|_| Problem::invalid_field(&format!("field \"{name}\" is not a number")))
}

fn count(
    fields: &BTreeMap<&'static str, String>,
    name: &'static str,
    range: std::ops::RangeInclusive<usize>,
) -> Result<Option<usize>, Problem> {
    match number(fields, name)? {
        Some(value) if !range.contains(&value) => {
            let (low, high) = (range.start(), range.end());
            let text = format!("field \"{name}\" is {value}, outside {low} to {high}");
            Err(Problem::invalid_field(&text))
        }
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&'static str, &str)]) -> Result<JobRequest, String> {
        let fields = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        JobRequest::from_fields(&fields).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn only_the_alloy_is_needed() {
        let request = read(&[("alloy", "ti64")]).unwrap();
        assert_eq!(request.alloy, Alloy::Ti6Al4V);
        assert_eq!(request.question().unwrap(), DesignRequest::new(Alloy::Ti6Al4V));
        assert_eq!((request.samples, request.steps, request.seed), (4096, 32, 0));
    }

    #[test]
    fn every_field_reaches_the_design_and_survives_storage() {
        let request = read(&[
            ("alloy", "316L"),
            ("process", "lpbf"),
            ("known", "layer_thickness=30,hatch_spacing=140"),
            ("spot_um", "80"),
            ("machine", "eos m290"),
            ("voxel_size_um", "4.5"),
            ("samples", "100"),
            ("steps", "16"),
            ("seed", "7"),
        ])
        .unwrap();
        let json = serde_json::to_string(&request).unwrap();
        let design = serde_json::from_str::<JobRequest>(&json).unwrap().question().unwrap();
        assert_eq!(design.alloy, Alloy::Ss316L);
        assert_eq!(design.known.values(), [None, None, Some(30.0), Some(140.0), None]);
        assert_eq!(design.spot.unwrap().get(), 80.0);
        assert_eq!(design.machine, Some(Machine::EosM290));
        assert_eq!(design.voxel_size.unwrap().get(), 4.5);
        assert_eq!((design.samples, design.steps, design.seed), (100, 16, 7));
    }

    #[test]
    fn refusals_say_what_would_be_accepted() {
        let refusal = |name, value| read(&[("alloy", "316L"), (name, value)]).unwrap_err();
        assert!(read(&[]).unwrap_err().contains("known: Ti-6Al-4V"));
        assert!(read(&[("alloy", "brass")]).unwrap_err().contains("known: Ti-6Al-4V"));
        assert!(refusal("process", "casting").contains("known: lpbf, ebm, ded"));
        assert!(refusal("process", "ebm").contains("known: Ti-6Al-4V, IN718"));
        assert!(refusal("known", "hatch_spacing=1000").contains("outside 50 to 200 um"));
        assert!(refusal("voxel_size_um", "0").contains("outside 0.05 to 1000 um"));
        assert!(refusal("voxel_size_um", "NaN").contains("outside"));
        assert!(refusal("machine", "EOS").contains("known: EOS-M290"));
        assert!(refusal("machine", "LENS-DED").contains("it runs ded, not lpbf"));
        assert!(refusal("spot_um", "x").contains("not a number"));
        assert!(refusal("samples", "0").contains("outside 16 to 100000"));
        assert!(refusal("steps", "513").contains("outside 8 to 512"));
        assert!(refusal("seed", "-1").contains("not a number"));
    }
}

//! Simulated pairs of parameters and descriptors, and their file.
//!
//! The file is the line `MDROWS2`, the length of a JSON header (u32, little-endian), the header,
//! and one fixed-size record per row. The header names the descriptors and parameters, the
//! simulator's version, the number of rows and the SHA-256 of the records; a file of another
//! schema, cut short or altered is refused. A file whose header names no appearance holds none.

use crate::DiffusionError;
use crate::digest::sha256_hex;
use microdiff_domain::appearance::APPEARANCE;
use microdiff_domain::descriptor::{DESCRIPTORS, DescriptorSpec};
use microdiff_domain::{
    APPEARANCE_COUNT, Alloy, Appearance, DESCRIPTOR_COUNT, DefectClass, Descriptors, Machine,
    PARAMETER_COUNT, Parameter, Process, SpotDiameter,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const MAGIC: &[u8; 8] = b"MDROWS2\n";
const FORMAT: &str = "microdiff.rows/2";
/// Alloy, class, whether the spot is given, process and four bytes of zeros; then eight bytes a
/// number: spot, θ, descriptors. The appearance, where there is one, follows.
const RECORD: usize = 8 * (1 + 1 + PARAMETER_COUNT + DESCRIPTOR_COUNT);

/// One simulated part and what its scan measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The process.
    pub process: Process,
    /// The alloy.
    pub alloy: Alloy,
    /// Spot diameter, where the simulation states it.
    pub spot: Option<SpotDiameter>,
    /// True parameters in physical units, in the order of [`Parameter::ALL`].
    pub theta: [f64; PARAMETER_COUNT],
    /// Descriptors of the virtual scan.
    pub descriptors: Descriptors,
    /// How the virtual scan looks; in all rows of a set or in none.
    pub appearance: Option<Appearance>,
    /// True dominant defect.
    pub class: DefectClass,
}

impl Row {
    /// Whether a machine could have printed it: setting and spot lie within its limits.
    pub(crate) fn could_come_from(&self, machine: Machine) -> bool {
        let limits = machine.limits();
        machine.process() == self.process
            && limits.allow(&self.theta)
            && self.spot.is_some_and(|spot| limits.allow_spot(spot))
    }
}

/// Rows and the version of the simulator that made them.
#[derive(Debug, Clone, PartialEq)]
pub struct RowSet {
    /// Version of the simulator.
    pub simulator_version: String,
    /// The rows.
    pub rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    simulator_version: String,
    parameters: Vec<String>,
    descriptors: Vec<String>,
    #[serde(default)]
    appearance: Vec<String>,
    rows: usize,
    sha256: String,
}

impl RowSet {
    /// Reads a row file.
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        let bytes = std::fs::read(path).map_err(|error| DiffusionError::file(path, error))?;
        Self::from_bytes(&bytes)
    }

    /// Writes a row file.
    pub fn write(&self, path: &Path) -> Result<(), DiffusionError> {
        std::fs::write(path, self.to_bytes()?).map_err(|error| DiffusionError::file(path, error))
    }

    /// SHA-256 of the rows as they stand in the file, hexadecimal: the name of the set.
    pub fn digest(&self) -> String {
        sha256_hex(&[&self.records()])
    }

    fn has_appearance(&self) -> bool {
        self.rows.first().is_some_and(|row| row.appearance.is_some())
    }

    fn records(&self) -> Vec<u8> {
        let mut records = Vec::with_capacity(self.rows.len() * record_size(true));
        for row in &self.rows {
            let spot = u8::from(row.spot.is_some());
            let [alloy, class] = [row.alloy.index(), row.class.index()].map(|index| index as u8);
            records.extend([alloy, class, spot, row.process.index() as u8, 0, 0, 0, 0]);
            let numbers = [row.spot.map_or(0.0, SpotDiameter::get)];
            let numbers = numbers.iter().chain(&row.theta).chain(row.descriptors.values());
            let appearance = row.appearance.iter().flat_map(Appearance::values);
            let numbers = numbers.chain(appearance);
            records.extend(numbers.flat_map(|number| number.to_le_bytes()));
        }
        records
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DiffusionError> {
        if self.rows.iter().any(|row| row.appearance.is_some() != self.has_appearance()) {
            return Err(DiffusionError::rows("some rows have an appearance and some have none"));
        }
        let records = self.records();
        let appearance: &[DescriptorSpec] = if self.has_appearance() { &APPEARANCE } else { &[] };
        let header = Header {
            format: FORMAT.to_owned(),
            simulator_version: self.simulator_version.clone(),
            parameters: Parameter::ALL.map(|p| p.key().to_owned()).to_vec(),
            descriptors: DESCRIPTORS.map(|spec| spec.name.to_owned()).to_vec(),
            appearance: appearance.iter().map(|spec| spec.name.to_owned()).collect(),
            rows: self.rows.len(),
            sha256: sha256_hex(&[&records]),
        };
        let header = serde_json::to_vec(&header)
            .map_err(|error| DiffusionError::rows(format!("header: {error}")))?;
        let length = u32::try_from(header.len())
            .map_err(|_| DiffusionError::rows("the header is too long"))?;
        Ok([MAGIC.as_slice(), &length.to_le_bytes(), &header, &records].concat())
    }

    /// Reads what [`RowSet::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DiffusionError> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .ok_or_else(|| DiffusionError::rows("it does not begin with MDROWS2"))?;
        let short = || DiffusionError::rows("the file is cut short");
        let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (header, records) = rest.split_at_checked(length).ok_or_else(short)?;
        let header: Header = serde_json::from_slice(header)
            .map_err(|error| DiffusionError::rows(format!("header unreadable: {error}")))?;
        check_header(&header)?;
        let size = record_size(!header.appearance.is_empty());
        if header.rows.checked_mul(size) != Some(records.len()) {
            let text =
                format!("{} bytes of records do not make {} rows", records.len(), header.rows);
            return Err(DiffusionError::rows(text));
        }
        if sha256_hex(&[records]) != header.sha256 {
            return Err(DiffusionError::rows("the records do not have the header's SHA-256"));
        }
        let rows = records.chunks_exact(size).enumerate().map(|(index, record)| {
            read_record(record)
                .ok_or_else(|| DiffusionError::rows(format!("row {index} holds invalid values")))
        });
        let rows = rows.collect::<Result<Vec<Row>, DiffusionError>>()?;
        Ok(Self { simulator_version: header.simulator_version, rows })
    }
}

fn record_size(appearance: bool) -> usize {
    RECORD + if appearance { 8 * APPEARANCE_COUNT } else { 0 }
}

fn check_header(header: &Header) -> Result<(), DiffusionError> {
    if header.format != FORMAT {
        let text = format!("format is \"{}\", not \"{FORMAT}\"", header.format);
        return Err(DiffusionError::rows(text));
    }
    if header.parameters != Parameter::ALL.map(Parameter::key) {
        return Err(DiffusionError::rows("it is of other parameters"));
    }
    if header.descriptors != DESCRIPTORS.map(|spec| spec.name) {
        let text = format!(
            "it is of another descriptor schema ({} descriptors; this version has \
             {DESCRIPTOR_COUNT})",
            header.descriptors.len()
        );
        return Err(DiffusionError::rows(text));
    }
    if !header.appearance.is_empty() && header.appearance != APPEARANCE.map(|spec| spec.name) {
        return Err(DiffusionError::rows("it is of another schema of appearance"));
    }
    Ok(())
}

fn read_record(record: &[u8]) -> Option<Row> {
    let (codes, numbers) = record.split_first_chunk::<8>()?;
    let mut numbers = numbers.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
    let spot = numbers.next()?;
    let mut theta = [0.0; PARAMETER_COUNT];
    for value in &mut theta {
        *value = numbers.next().filter(|value| value.is_finite())?;
    }
    let mut descriptors = [0.0; DESCRIPTOR_COUNT];
    for value in &mut descriptors {
        *value = numbers.next()?;
    }
    let mut appearance = [0.0; APPEARANCE_COUNT];
    let rest = numbers.len();
    for (value, number) in appearance.iter_mut().zip(numbers) {
        *value = number;
    }
    Some(Row {
        process: *Process::ALL.get(usize::from(codes[3]))?,
        alloy: *Alloy::ALL.get(usize::from(codes[0]))?,
        class: *DefectClass::ALL.get(usize::from(codes[1]))?,
        spot: match codes[2] {
            0 => None,
            1 => Some(SpotDiameter::micrometres(spot).ok()?),
            _ => return None,
        },
        theta,
        descriptors: Descriptors::new(descriptors).ok()?,
        appearance: match rest {
            0 => None,
            _ => Some(Appearance::new(appearance).ok()?),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn example() -> RowSet {
        let row = |process, alloy, spot: Option<f64>| Row {
            process,
            alloy,
            spot: spot.map(|spot| SpotDiameter::micrometres(spot).unwrap()),
            theta: [280.0, 1200.0, 30.0, 140.0, 80.0],
            descriptors: Descriptors::new([-1.5; DESCRIPTOR_COUNT]).unwrap(),
            appearance: Some(Appearance::new([0.25; APPEARANCE_COUNT]).unwrap()),
            class: DefectClass::Keyhole,
        };
        let rows = vec![
            row(Process::Ebm, Alloy::In718, Some(80.0)),
            row(Process::Lpbf, Alloy::Ti6Al4V, None),
        ];
        RowSet { simulator_version: "1".into(), rows }
    }

    #[test]
    fn round_trip() {
        let set = example();
        let bytes = set.to_bytes().unwrap();
        assert_eq!(RowSet::from_bytes(&bytes).unwrap(), set);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows");
        set.write(&path).unwrap();
        assert_eq!(RowSet::read(&path).unwrap(), set);
    }

    #[test]
    fn rows_without_appearance_are_read_and_a_mixture_is_refused() {
        let mut set = example();
        set.rows[1].appearance = None;
        let text = set.to_bytes().unwrap_err().to_string();
        assert!(text.contains("some rows have an appearance"), "{text}");
        set.rows[0].appearance = None;
        assert_eq!(RowSet::from_bytes(&set.to_bytes().unwrap()).unwrap(), set);
    }

    #[test]
    fn another_schema_is_refused() {
        let bytes = example().to_bytes().unwrap();
        let name = DESCRIPTORS[0].name;
        let at = bytes.windows(name.len()).position(|w| w == name.as_bytes()).unwrap();
        let mut other = bytes.clone();
        other[at] = b'x';
        let text = RowSet::from_bytes(&other).unwrap_err().to_string();
        assert!(text.contains("another descriptor schema"), "{text}");
    }

    proptest! {
        #[test]
        fn every_changed_byte_and_every_cut_is_refused(at: prop::sample::Index, bit in 0..8u8) {
            let set = example();
            let bytes = set.to_bytes().unwrap();
            let at = at.index(bytes.len());
            prop_assert!(RowSet::from_bytes(&bytes[..at]).is_err());
            let mut bad = bytes;
            bad[at] ^= 1 << bit;
            // The simulator's version is free text, so a change there reads as another version.
            match RowSet::from_bytes(&bad) {
                Err(_) => {}
                Ok(read) => prop_assert_eq!(read.rows, set.rows),
            }
        }
    }
}

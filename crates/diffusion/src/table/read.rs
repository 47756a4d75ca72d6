//! Tables of numbers with a header row, as `.csv` or `.csv.gz`.

use crate::DiffusionError;
use crate::error::one_line;
use std::io::Read;
use std::path::Path;

/// Unpacked bytes read at most: a packed file may claim to be anything.
const LARGEST: u64 = 2 << 30;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Chosen columns of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows of finite numbers, in the order of `columns`.
    pub rows: Vec<Vec<f64>>,
}

impl Table {
    /// Reads columns of a file, which is unpacked if it begins as gzip does. Other columns are not
    /// looked at. Refuses, naming row (from 1, header not counted) and column: a file without
    /// rows, a name twice in the header, a missing column, a row of another length, and what is no
    /// finite number.
    pub fn read(path: &Path, columns: &[String]) -> Result<Self, DiffusionError> {
        let bytes = std::fs::read(path).map_err(|error| DiffusionError::file(path, error))?;
        let at = |reason| {
            DiffusionError::table(format!("{}: {reason}", one_line(&path.display().to_string())))
        };
        Self::parse(&unpack(bytes).map_err(at)?, columns).map_err(at)
    }

    /// The columns from the given one on as a table of their own.
    #[must_use]
    pub fn split_off(&mut self, column: usize) -> Self {
        let at = column.min(self.columns.len());
        let rows = self.rows.iter_mut().map(|row| row.split_off(at)).collect();
        Self { columns: self.columns.split_off(at), rows }
    }

    /// Reads columns of text; the error is the reason.
    pub fn parse(text: &[u8], columns: &[String]) -> Result<Self, String> {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut reader =
            csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text);
        let header = reader.headers().map_err(|error| format!("header unreadable: {error}"))?;
        if header.is_empty() || (header.len() == 1 && header.get(0) == Some("")) {
            return Err("the file is empty".into());
        }
        let names: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(twice) = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name)) {
            return Err(format!("column `{}` is in the header twice", one_line(twice.1)));
        }
        let place = |column: &String| {
            names.iter().position(|name| name == column).ok_or_else(|| {
                format!(
                    "column `{}` is missing (the header has {})",
                    one_line(column),
                    one_line(&names.join(", "))
                )
            })
        };
        let places = columns.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let mut rows = Vec::new();
        for (index, record) in reader.records().enumerate() {
            let record =
                record.map_err(|error| format!("row {} unreadable: {error}", index + 1))?;
            if record.len() != names.len() {
                let (found, wanted) = (record.len(), names.len());
                return Err(format!("row {} has {found} values, not {wanted}", index + 1));
            }
            rows.push(numbers(&record, &places, columns, index + 1)?);
        }
        if rows.is_empty() {
            return Err("there are no rows below the header".into());
        }
        Ok(Self { columns: columns.to_vec(), rows })
    }
}

fn numbers(
    record: &csv::StringRecord,
    places: &[usize],
    columns: &[String],
    row: usize,
) -> Result<Vec<f64>, String> {
    let number = |(place, column): (&usize, &String)| {
        let text = record.get(*place).unwrap_or("");
        text.parse::<f64>().ok().filter(|value| value.is_finite()).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            format!("row {row}, column `{column}`: `{text}` is not a finite number")
        })
    };
    places.iter().zip(columns).map(number).collect()
}

fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    if !bytes.starts_with(&GZIP) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(&bytes[..])
        .take(LARGEST + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("cannot be unpacked: {error}"))?;
    if text.len() as u64 > LARGEST {
        return Err(format!("is larger than {LARGEST} bytes when unpacked"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn columns_are_found_by_name() {
        let table = Table::parse(b"a, b,c\n1,2e0,x\n-3,4,y\n", &names(&["b", "a"])).unwrap();
        assert_eq!(table.rows, [[2.0, 1.0], [4.0, -3.0]]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases: [(&str, &str); 9] = [
            ("", "the file is empty"),
            ("a,b\n", "no rows"),
            ("a,c\n1,2\n", "column `b` is missing"),
            ("a,b,a\n1,2,3\n", "column `a` is in the header twice"),
            ("a,b\n1,2\n1,NaN\n", "row 2, column `b`: `NaN`"),
            ("a,b\ninf,2\n", "row 1, column `a`: `inf`"),
            ("a,b\n1,two\n", "row 1, column `b`: `two`"),
            ("a,b\n1,\n", "row 1, column `b`: ``"),
            ("a,b\n1,2\n1\n", "row 2 has 1 values, not 2"),
        ];
        for (text, reason) in cases {
            let error = Table::parse(text.as_bytes(), &names(&["a", "b"])).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        }
    }

    #[test]
    fn packed_and_plain_files_read_alike() {
        let directory = tempfile::tempdir().unwrap();
        let text = b"a,b\n1,2\n3,4\n";
        let plain = directory.path().join("t.csv");
        std::fs::write(&plain, text).unwrap();
        let packed = directory.path().join("t.csv.gz");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).unwrap();
        let bytes = encoder.finish().unwrap();
        std::fs::write(&packed, &bytes).unwrap();
        let columns = names(&["a", "b"]);
        assert_eq!(Table::read(&plain, &columns).unwrap(), Table::read(&packed, &columns).unwrap());
        std::fs::write(&packed, &bytes[..bytes.len() - 9]).unwrap();
        let error = Table::read(&packed, &columns).unwrap_err().to_string();
        assert!(error.contains("t.csv.gz: cannot be unpacked"), "{error}");
        let error = Table::read(&directory.path().join("no.csv"), &columns).unwrap_err();
        assert!(error.to_string().contains("no.csv"));
    }
}

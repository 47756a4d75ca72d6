//! CSV files with a header, plain or packed by gzip: named columns out, a whole file in.
//!
//! Text stays text: what a command does not read it hands on unchanged. Rows are counted from 1
//! below the header, and an error names the line of the file too.

use crate::failure::Failure;
use crate::output;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use microdiff_diffusion::table::Table;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Unpacked bytes read at most: a packed file may claim to be anything.
const LARGEST: u64 = 2 << 30;
/// Characters shown of the titles a table has.
const SHOWN_TITLES: usize = 200;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file in memory.
#[derive(Debug)]
pub struct CsvTable {
    path: PathBuf,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    index: usize,
    name: &'a str,
}

impl CsvTable {
    /// Reads a file whole; it is unpacked if it begins as gzip does.
    ///
    /// # Errors
    /// When it cannot be opened, is no text in UTF-8, has no header, or has a row of another length.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |reason: &dyn Display| {
            Failure::data(format!("cannot read {}: {reason}", path.display()))
        };
        let mut bytes = std::fs::read(path).map_err(|error| refuse(&error))?;
        if bytes.starts_with(&GZIP) {
            bytes = unpack(&bytes).map_err(|error| refuse(&error))?;
        }
        // Spreadsheets mark their UTF-8.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        if let Err(error) = std::str::from_utf8(text) {
            let at = error.valid_up_to();
            return Err(refuse(&format!("it is no text in UTF-8 (at byte {at}), so no CSV file")));
        }
        let mut reader = csv::ReaderBuilder::new().from_reader(text);
        let header = reader.headers().map_err(|error| refuse(&error))?.clone();
        if header.iter().all(str::is_empty) {
            return Err(refuse(&"it has no header"));
        }
        let rows: Result<Vec<_>, _> = reader.records().collect();
        let rows = rows.map_err(|error| refuse(&error))?;
        Ok(Self { path: path.to_owned(), header, rows })
    }

    /// Number of rows below the header.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The column of a name, if there is one.
    ///
    /// # Errors
    /// When there are two.
    pub fn optional<'a>(&self, name: &'a str) -> Result<Option<Column<'a>>, Failure> {
        let mut found = self.header.iter().enumerate().filter(|(_, title)| title.trim() == name);
        let first = found.next();
        if found.next().is_some() {
            return Err(self.refuse_header(&format!("has the column {name} twice")));
        }
        Ok(first.map(|(index, _)| Column { index, name }))
    }

    /// The column of a name.
    ///
    /// # Errors
    /// When there is none, or two.
    pub fn column<'a>(&self, name: &'a str) -> Result<Column<'a>, Failure> {
        let lacking = || {
            let titles: Vec<&str> = self.header.iter().map(str::trim).collect();
            let titles: String = titles.join(", ").chars().take(SHOWN_TITLES).collect();
            self.refuse_header(&format!("lacks the column {name}; it has {titles}"))
        };
        self.optional(name)?.ok_or_else(lacking)
    }

    /// Text of a cell, without the blanks around it.
    pub fn cell(&self, row: usize, column: Column<'_>) -> &str {
        self.rows.get(row).and_then(|record| record.get(column.index)).unwrap_or("").trim()
    }

    /// Number of a cell; `None` when it is empty.
    ///
    /// # Errors
    /// When it is no finite number.
    pub fn number(&self, row: usize, column: Column<'_>) -> Result<Option<f64>, Failure> {
        if self.cell(row, column).is_empty() {
            return Ok(None);
        }
        self.required(row, column).map(Some)
    }

    fn required(&self, row: usize, column: Column<'_>) -> Result<f64, Failure> {
        let cell = self.cell(row, column);
        let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
        let shown: String = cell.chars().take(40).collect();
        number.ok_or_else(|| self.refuse(row, column.name, &format!("\"{shown}\" is no number")))
    }

    /// The numbers of some columns, in the order they are named.
    ///
    /// # Errors
    /// When there is no row, a column is missing or there twice, or a cell is no finite number.
    pub fn numbers(&self, names: &[String]) -> Result<Table, Failure> {
        let columns: Vec<Column<'_>> =
            names.iter().map(|name| self.column(name)).collect::<Result<_, _>>()?;
        if self.rows.is_empty() {
            return Err(Failure::data(format!(
                "{}: no rows below the header",
                self.path.display()
            )));
        }
        let row = |row| columns.iter().map(|column| self.required(row, *column)).collect();
        let rows = (0..self.len()).map(row).collect::<Result<_, _>>()?;
        Ok(Table { columns: names.to_vec(), rows })
    }

    /// A complaint about a cell, told with file, row, line and column.
    pub fn refuse(&self, row: usize, column: &str, reason: &dyn Display) -> Failure {
        let line = self
            .rows
            .get(row)
            .and_then(csv::StringRecord::position)
            .map_or(row as u64 + 2, csv::Position::line);
        let path = self.path.display();
        Failure::data(format!("{path}: row {} (line {line}), column {column}: {reason}", row + 1))
    }

    fn refuse_header(&self, reason: &str) -> Failure {
        Failure::data(format!("{}: the header (line 1) {reason}", self.path.display()))
    }

    /// Writes the table with more columns on the right, one list of cells for each row; compressed
    /// if the name ends in `.gz`. The file appears whole or not at all.
    ///
    /// # Errors
    /// When one of the new columns is there already, or the file cannot be written.
    pub fn write_with(
        &self,
        path: &Path,
        names: &[&str],
        cells: impl Iterator<Item = Vec<String>>,
    ) -> Result<(), Failure> {
        for name in names {
            if self.optional(name)?.is_some() {
                return Err(self.refuse_header(&format!("already has the column {name}")));
            }
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer
            .write_record(self.header.iter().chain(names.iter().copied()))
            .map_err(Failure::internal)?;
        for (row, more) in self.rows.iter().zip(cells) {
            let more = more.iter().map(String::as_str);
            writer.write_record(row.iter().chain(more)).map_err(Failure::internal)?;
        }
        let mut bytes = writer.into_inner().map_err(Failure::internal)?;
        if is_gzip(path) {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&bytes).map_err(Failure::internal)?;
            bytes = encoder.finish().map_err(Failure::internal)?;
        }
        output::write_file(path, &bytes)
    }
}

fn unpack(bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes).take(LARGEST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LARGEST {
        let reason = format!("it is larger than {LARGEST} bytes when unpacked");
        return Err(std::io::Error::other(reason));
    }
    Ok(text)
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn read(bytes: &[u8], columns: &[&str]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, bytes).unwrap();
        let table = CsvTable::read(&path).and_then(|table| table.numbers(&names(columns)));
        table.map_err(|failure| failure.to_string())
    }

    #[test]
    fn columns_are_found_by_name() {
        let table = read(b"\xef\xbb\xbfa, b,c\n1,2e0,x\n-3, 4,y\n", &["b", "a"]).unwrap();
        assert_eq!(table.rows, [[2.0, 1.0], [4.0, -3.0]]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases: [(&str, &str); 9] = [
            ("", "it has no header"),
            ("a,b\n", "no rows below the header"),
            ("a,c\n1,2\n", "the header (line 1) lacks the column b"),
            ("a,b,a\n1,2,3\n", "has the column a twice"),
            ("a,b\n1,2\n1,NaN\n", "row 2 (line 3), column b: \"NaN\" is no number"),
            ("a,b\ninf,2\n", "row 1 (line 2), column a: \"inf\" is no number"),
            ("a,b\n1,two\n", "row 1 (line 2), column b: \"two\" is no number"),
            ("a,b\n1,\n", "row 1 (line 2), column b: \"\" is no number"),
            ("a,b\n1,2\n1\n", "line: 3"),
        ];
        for (text, reason) in cases {
            let error = read(text.as_bytes(), &["a", "b"]).unwrap_err();
            assert!(error.contains(reason) && error.contains("t.csv"), "{text:?}: {error}");
        }
    }

    #[test]
    fn packed_and_plain_files_read_alike_whatever_their_name() {
        let text = b"a,b\n1,2\n3,4\n";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        let packed = encoder.finish().unwrap();
        assert_eq!(read(text, &["a", "b"]).unwrap(), read(&packed, &["a", "b"]).unwrap());
        let error = read(&packed[..packed.len() - 9], &["a", "b"]).unwrap_err();
        assert!(error.contains("cannot read"), "{error}");
    }
}

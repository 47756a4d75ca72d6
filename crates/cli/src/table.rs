//! CSV files with a header, `.csv` or `.csv.gz`: named columns out, a whole file in.
//!
//! Text stays text: what a command does not read it hands on unchanged. Rows are counted from 1
//! below the header, and an error names the line of the file too.

use crate::failure::Failure;
use crate::output;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::fmt::Display;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// A table in memory.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    header: csv::StringRecord,
    rows: Vec<csv::StringRecord>,
}

/// Where a column stands.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    index: usize,
    name: &'static str,
}

impl Table {
    /// Reads a file whole.
    ///
    /// # Errors
    /// When it cannot be opened, is no text in UTF-8, has no header, or has a row of another length.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let refuse = |reason: &dyn Display| {
            Failure::data(format!("cannot read {}: {reason}", path.display()))
        };
        let file = std::fs::File::open(path).map_err(|error| refuse(&error))?;
        let mut bytes = Vec::new();
        let read = if is_gzip(path) {
            MultiGzDecoder::new(file).read_to_end(&mut bytes)
        } else {
            std::io::BufReader::new(file).read_to_end(&mut bytes)
        };
        read.map_err(|error| refuse(&error))?;
        // Spreadsheets mark their UTF-8.
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
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
    pub fn optional(&self, name: &'static str) -> Result<Option<Column>, Failure> {
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
    pub fn column(&self, name: &'static str) -> Result<Column, Failure> {
        let lacking = || self.refuse_header(&format!("lacks the column {name}"));
        self.optional(name)?.ok_or_else(lacking)
    }

    /// Text of a cell, without the blanks around it.
    pub fn cell(&self, row: usize, column: Column) -> &str {
        self.rows.get(row).and_then(|record| record.get(column.index)).unwrap_or("").trim()
    }

    /// Number of a cell; `None` when it is empty.
    ///
    /// # Errors
    /// When it is no finite number.
    pub fn number(&self, row: usize, column: Column) -> Result<Option<f64>, Failure> {
        let cell = self.cell(row, column);
        if cell.is_empty() {
            return Ok(None);
        }
        let number = cell.parse::<f64>().ok().filter(|number| number.is_finite());
        let shown: String = cell.chars().take(40).collect();
        number
            .map(Some)
            .ok_or_else(|| self.refuse(row, column.name, &format!("\"{shown}\" is no number")))
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
        names: &[&'static str],
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

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}

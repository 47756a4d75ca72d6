//! Simulations and draws as CSV, for comparisons that are made elsewhere (`bench/posterior`).
//! Parameters are positions in the prior's ranges, 0 to 1.

use crate::failure::Failure;
use crate::output;
use microdiff_design::Designer;
use microdiff_diffusion::rows::{Row, RowSet};
use microdiff_domain::descriptor::DESCRIPTORS;
use microdiff_domain::{Alloy, PARAMETER_COUNT, Parameter, Process};
use std::fmt::Write;
use std::path::Path;

/// Dense scans of each sight written with their draws, and draws of each.
const DENSE_SCANS: usize = 12;
const DENSE_DRAWS: usize = 2000;

/// Writes `training.csv`, `held-out.csv` and `dense.csv` into a directory that is made if missing.
pub fn write(
    designer: &Designer,
    directory: &Path,
    training: &RowSet,
    held_out: &RowSet,
) -> Result<(), Failure> {
    std::fs::create_dir_all(directory)
        .map_err(|error| Failure::usage(format!("cannot make {}: {error}", directory.display())))?;
    let file =
        |name: &str, text: String| output::write_file(&directory.join(name), text.as_bytes());
    file("training.csv", simulations(&training.rows))?;
    file("held-out.csv", simulations(&held_out.rows))?;
    file("dense.csv", dense(designer, &held_out.rows)?)
}

fn header(first: &str) -> String {
    Parameter::ALL.iter().fold(first.to_owned(), |head, p| head + ",position_" + p.name())
}

fn write_positions(
    text: &mut String,
    theta: &[f64; PARAMETER_COUNT],
    process: Process,
    alloy: Alloy,
) {
    for p in Parameter::ALL {
        let position = p.range(process, alloy).to_unit(theta[p.index()]);
        // Writing to a String cannot fail.
        let _ = write!(text, ",{position:.6}");
    }
}

fn simulations(rows: &[Row]) -> String {
    let mut text = header("process,alloy,class");
    for spec in DESCRIPTORS {
        text = text + "," + spec.name;
    }
    text.push('\n');
    for row in rows {
        let _ = write!(text, "{},{},{}", row.process, row.alloy, row.class.name());
        write_positions(&mut text, &row.theta, row.process, row.alloy);
        for value in row.descriptors.values() {
            let _ = write!(text, ",{value:.6}");
        }
        text.push('\n');
    }
    text
}

fn dense(designer: &Designer, rows: &[Row]) -> Result<String, Failure> {
    let mut text = header("scan,process,alloy,shows,source") + "\n";
    for (index, scan) in designer.dense(rows, DENSE_SCANS, DENSE_DRAWS)?.iter().enumerate() {
        for (source, draws) in [("posterior", &scan.posterior), ("prior", &scan.prior)] {
            for draw in draws {
                let (process, shows) = (scan.process, scan.sight.name());
                let _ = write!(text, "{index},{process},{},\"{shows}\",{source}", scan.alloy);
                write_positions(&mut text, draw, scan.process, scan.alloy);
                text.push('\n');
            }
        }
    }
    Ok(text)
}

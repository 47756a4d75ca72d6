//! Table mode: `microdiff train --table` and `microdiff design --observation`.

use crate::args::{DesignArgs, TrainArgs};
use crate::csv_table::CsvTable;
use crate::failure::Failure;
use crate::output;
use microdiff_diffusion::table::{
    Outside, Table, TableModel, TableOptions, TrainedTable, is_table_bundle, parse_priors,
};
use microdiff_diffusion::{DiffusionError, SampleOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Largest file of priors read.
const PRIOR_BYTES: u64 = 1 << 20;

pub fn train(args: &TrainArgs, path: &Path) -> Result<(), Failure> {
    check_names(args)?;
    check_directory(&args.output)?;
    let priors = match &args.prior {
        Some(path) => {
            let bytes = read_small(path)?;
            let at = |error| Failure::data(format!("{}: {error}", path.display()));
            parse_priors(&bytes).map_err(at)?
        }
        None => BTreeMap::new(),
    };
    // One reading, so that a pipe will do.
    let columns = [&args.parameters[..], &args.observables].concat();
    let mut parameters = CsvTable::read(path)?.numbers(&columns)?;
    let observables = parameters.split_off(args.parameters.len());
    let options = TableOptions { seed: args.seed, steps: None, priors };
    let trained = microdiff_diffusion::table::train(&parameters, &observables, &options)
        .map_err(|error| Failure::data(format!("{}: {error}", path.display())))?;
    let model = trained.open().map_err(Failure::internal)?;
    write_directory(&args.output, &trained)?;
    let training = &model.info().training;
    output::print(&format!(
        "{}: {} of {} rows, {} members, held-out loss {:.4}\n",
        args.output.display(),
        training.rows,
        training.rows + training.held_out_rows,
        model.info().members,
        training.losses.iter().sum::<f64>() / training.losses.len().max(1) as f64,
    ))
}

pub fn design(args: &DesignArgs, observation: &Path) -> Result<(), Failure> {
    let (Some(directory), Some(output)) = (&args.model, &args.output) else {
        return Err(Failure::usage("--observation needs --model and --output"));
    };
    if !is_table_bundle(directory) && microdiff_diffusion::Model::open(directory).is_ok() {
        return Err(Failure::usage(format!(
            "{} is a model of scans: give it a scan, not --observation",
            directory.display()
        )));
    }
    let model = TableModel::open(directory).map_err(|error| {
        Failure::data(format!("cannot use the model in {}: {error}", directory.display()))
    })?;
    let table = CsvTable::read(observation)?.numbers(&model.observables())?;
    let options = SampleOptions { samples: args.samples, steps: args.steps, seed: args.seed };
    let long = table.rows.len() > 1;
    let mut text = if long { "row,".to_owned() } else { String::new() };
    text += &quoted(&model.parameters());
    text.push('\n');
    for (row, values) in table.rows.iter().enumerate() {
        for draw in model.draw(values, row, &options).map_err(failed)? {
            if long {
                // Writing to a String cannot fail.
                let _ = write!(text, "{row},");
            }
            for (index, value) in draw.iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                let _ = write!(text, "{comma}{value}");
            }
            text.push('\n');
        }
    }
    output::write_file(output, text.as_bytes())?;
    warn(&model, &table);
    Ok(())
}

/// Refuses a table model where a scan is given.
pub fn refuse_scan(directory: &Path) -> Result<(), Failure> {
    if is_table_bundle(directory) {
        return Err(Failure::usage(format!(
            "{} is a model of a table: give it --observation, not a scan",
            directory.display()
        )));
    }
    Ok(())
}

fn failed(error: DiffusionError) -> Failure {
    match error {
        DiffusionError::Option { .. } => Failure::usage(error),
        _ => Failure::internal(error),
    }
}

/// Says on stderr which rows the model must extrapolate for.
fn warn(model: &TableModel, table: &Table) {
    let rows = table.rows.iter().enumerate();
    let outside: Vec<(usize, Outside)> = rows
        .flat_map(|(row, values)| model.outside(values).into_iter().map(move |o| (row, o)))
        .collect();
    let Some((row, first)) = outside.first() else { return };
    let count = outside.iter().map(|(row, _)| row).collect::<BTreeSet<_>>().len();
    let name: String = first.name.chars().filter(|c| !c.is_control()).collect();
    let text = format!(
        "microdiff: note: out of distribution: {count} of {} rows have observables outside the \
         training rows, first `{name}` = {} (trained on {} to {}) in row {row}; the model \
         extrapolates\n",
        table.rows.len(),
        first.value,
        first.low,
        first.high
    );
    // A closed stderr has no reader.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
}

/// Names as a header, quoted where they hold what would end a field.
fn quoted(names: &[String]) -> String {
    let quote = |name: &String| {
        if name.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", name.replace('"', "\"\""))
        } else {
            name.clone()
        }
    };
    names.iter().map(quote).collect::<Vec<_>>().join(",")
}

fn check_names(args: &TrainArgs) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    for name in args.parameters.iter().chain(&args.observables) {
        if name.is_empty() {
            return Err(Failure::usage("a column name is empty"));
        }
        if !seen.insert(name) {
            return Err(Failure::usage(format!("column `{name}` is named twice")));
        }
    }
    Ok(())
}

/// Before the training, because it would be lost: the directory must not be there, or be empty,
/// and the one it goes into must be.
fn check_directory(path: &Path) -> Result<(), Failure> {
    let refuse =
        |reason: &str| Err(Failure::usage(format!("cannot write {}: {reason}", path.display())));
    if path.exists() {
        let empty = std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        if !empty {
            return refuse("it exists");
        }
    }
    if !parent(path).is_dir() {
        return refuse("its directory does not exist");
    }
    match tempfile::tempfile_in(parent(path)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::internal(format!("cannot write {}: {error}", path.display()))),
    }
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes the bundle beside its place and renames it there.
fn write_directory(path: &Path, trained: &TrainedTable) -> Result<(), Failure> {
    let refuse = |error: std::io::Error| {
        Failure::internal(format!("cannot write {}: {error}", path.display()))
    };
    let beside = tempfile::Builder::new()
        .prefix(".microdiff-model-")
        .permissions(std::fs::Permissions::from_mode(0o777))
        .tempdir_in(parent(path))
        .map_err(refuse)?;
    trained.files.write(beside.path()).map_err(Failure::internal)?;
    std::fs::rename(beside.path(), path).map_err(refuse)?;
    // It has moved: there is nothing to clean up.
    let _ = beside.keep();
    Ok(())
}

fn read_small(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let refuse = |error| Failure::data(format!("cannot read {}: {error}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(refuse)?;
    file.take(PRIOR_BYTES + 1).read_to_end(&mut bytes).map_err(refuse)?;
    if bytes.len() as u64 > PRIOR_BYTES {
        return Err(Failure::data(format!("{} is too large", path.display())));
    }
    Ok(bytes)
}

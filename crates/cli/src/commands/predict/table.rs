//! Every row of a table → the same row with its prediction.

use crate::csv_table::{Column, CsvTable};
use crate::failure::Failure;
use crate::output::six_digits;
use microdiff_domain::{Alloy, Machine, Process};
use microdiff_process::predict::{Condition, Prediction, Predictor, Quantity, Setting};
use std::path::Path;

/// What holds for rows that do not say otherwise.
pub struct Defaults {
    pub process: Process,
    pub machine: Option<Machine>,
    pub seed: u64,
}

/// Column of each quantity.
const COLUMNS: [(Quantity, &str); 6] = [
    (Quantity::Power, "P_W"),
    (Quantity::Speed, "v_mm_s"),
    (Quantity::Spot, "spot_um"),
    (Quantity::Layer, "t_um"),
    (Quantity::Hatch, "h_um"),
    (Quantity::Bed, "T0_C"),
];

/// Column that says what a row's width and depth rest on.
const VALIDITY: &str = "validity";

pub fn run(input: &Path, output: &Path, defaults: &Defaults) -> Result<(), Failure> {
    let table = CsvTable::read(input)?;
    let conditions = conditions(&table, defaults)?;
    let predictions = Predictor::new(defaults.seed).predict_all(&conditions);
    let names: Vec<&'static str> = Prediction::COLUMNS.into_iter().chain([VALIDITY]).collect();
    let cells = predictions.iter().map(|prediction| {
        let numbers =
            prediction.values().into_iter().map(|value| value.map_or_else(String::new, six_digits));
        numbers.chain([prediction.validity.name().to_owned()]).collect()
    });
    table.write_with(output, &names, cells)
}

/// The condition of every row; the first row that is none ends it.
fn conditions(table: &CsvTable, defaults: &Defaults) -> Result<Vec<Condition>, Failure> {
    let alloy = table.column("alloy")?;
    let mut columns = Vec::with_capacity(COLUMNS.len());
    for (quantity, name) in COLUMNS {
        columns.push((quantity, name, table.column(name)?));
    }
    let process = table.optional("process")?;
    let row = |row| -> Result<Condition, Failure> {
        let alloy: Alloy =
            table.cell(row, alloy).parse().map_err(|error| table.refuse(row, "alloy", &error))?;
        let process = row_process(table, row, process, defaults)?;
        let mut setting = Setting::default();
        for (quantity, _, column) in &columns {
            setting.set(*quantity, table.number(row, *column)?);
        }
        // A machine stands in only on rows of its own process.
        let machine = defaults.machine.filter(|machine| machine.process() == process);
        if machine.is_some() {
            setting = setting.with_usual(alloy, process, machine);
        }
        Condition::new(alloy, process, &setting).map_err(|error| {
            let named = columns.iter().find(|(quantity, ..)| *quantity == error.quantity());
            table.refuse(row, named.map_or("", |(_, name, _)| name), &error)
        })
    };
    (0..table.len()).map(row).collect()
}

fn row_process(
    table: &CsvTable,
    row: usize,
    column: Option<Column<'_>>,
    defaults: &Defaults,
) -> Result<Process, Failure> {
    match column.map_or("", |column| table.cell(row, column)) {
        "" => Ok(defaults.process),
        name => name.parse().map_err(|error| table.refuse(row, "process", &error)),
    }
}

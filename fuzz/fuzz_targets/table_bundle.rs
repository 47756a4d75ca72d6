//! A table model with some of its bytes changed: a model that knows its columns, or an error.
#![no_main]

mod changed;

use changed::{Changes, changed};
use libfuzzer_sys::fuzz_target;
use microdiff_diffusion::bundle::BundleFiles;
use microdiff_diffusion::table::{Table, TableModel, TableOptions, train};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Trained for one step: its draws are poor, its files are like any other's.
static GOOD: LazyLock<BundleFiles> = LazyLock::new(|| {
    let rows = |scale: f64| (0..120).map(|i| vec![(f64::from(i) * scale).sin()]).collect();
    let parameters = Table { columns: vec!["a".to_owned()], rows: rows(0.7) };
    let observables = Table { columns: vec!["b".to_owned()], rows: rows(1.3) };
    let options = TableOptions { seed: 1, steps: Some(1), priors: BTreeMap::new() };
    train(&parameters, &observables, &options).expect("trains").files
});

fuzz_target!(|changes: Changes| {
    match TableModel::from_files(&changed(&GOOD, &changes)) {
        Ok(model) => assert_eq!(model.parameters().len(), model.info().parameters.len()),
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error:?}"),
    }
});

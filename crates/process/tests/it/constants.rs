//! The reference page of the constants is what the tables say.

use microdiff_process::constants::{Constant, alloys, machines, processes};
use std::fmt::Write;
use std::path::Path;

fn table(text: &mut String, heading: &str, rows: &[Constant]) {
    writeln!(
        text,
        "\n## {heading}\n\n| of | constant | value | unit | source | reliability |\n\
         |---|---|---|---|---|---|"
    )
    .unwrap();
    for row in rows {
        let Constant { of, name, value, unit, source, reliability } = row;
        let reliability = reliability.name();
        writeln!(text, "| {of} | {name} | {value} | {unit} | {source} | {reliability} |").unwrap();
    }
}

/// `UPDATE_GOLDEN=1` rewrites the page.
#[test]
fn the_reference_page_is_what_the_tables_say() {
    let mut page = String::from(
        "# Constants of alloys, machines and processes\n\n\
         Generated from the tables of `crates/process` and `crates/domain`. A constant of an alloy is \
         part of the\nfit of the melt-pool laws: replacing one by a better value makes the laws worse \
         unless they are fitted\nagain.\n",
    );
    table(&mut page, "Alloys", &alloys());
    table(&mut page, "Machines", &machines());
    table(&mut page, "Processes", &processes());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/constants.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page, "UPDATE_GOLDEN=1 if on purpose");
}

#[test]
fn every_constant_has_a_value_and_a_source() {
    for row in alloys().iter().chain(&machines()).chain(&processes()) {
        assert!(!row.value.is_empty() && !row.source.is_empty(), "{row:?}");
    }
}

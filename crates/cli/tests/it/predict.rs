//! The forward question: by flags, and over tables.

use crate::binary::{refuse, succeed, succeed_json, text};
use std::path::{Path, PathBuf};

const HEADER: &str = "alloy,P_W,v_mm_s,spot_um,t_um,h_um,T0_C";

const USUAL: [&str; 14] = [
    "--alloy",
    "316L",
    "--laser-power",
    "195",
    "--scan-speed",
    "1083",
    "--spot",
    "100",
    "--layer-thickness",
    "20",
    "--hatch-spacing",
    "90",
    "--bed-temperature",
    "80",
];

/// The columns a table gets, as promised to whoever reads it.
const ADDED: &str = "width_um_p05,width_um_p50,width_um_p95,depth_um_p05,depth_um_p50,depth_um_p95,\
                     relative_density_pct_p05,relative_density_pct_p50,relative_density_pct_p95,\
                     p_lack_of_fusion,p_keyhole,p_balling,cooling_rate_k_s,spacing_um,\
                     yield_mpa_p05,yield_mpa_p50,yield_mpa_p95,\
                     elongation_pct_p05,elongation_pct_p50,elongation_pct_p95,validity";

struct Tables {
    directory: tempfile::TempDir,
}

impl Tables {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("out.csv")
    }

    fn input(&self, content: &str) -> PathBuf {
        let path = self.directory.path().join("in.csv");
        std::fs::write(&path, content).expect("the table is written");
        path
    }

    fn predict(&self, content: &str) -> String {
        let (input, output) = (self.input(content), self.output());
        succeed(&["predict", "--table", text(&input), "--output", text(&output)]);
        read(&output)
    }

    /// Expects a refusal that leaves no output.
    fn refused(&self, content: &str) -> String {
        let (input, output) = (self.input(content), self.output());
        let line = refuse(&["predict", "--table", text(&input), "--output", text(&output)], 3);
        assert!(!output.exists(), "a refused table left an output behind");
        line
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("the output is there")
}

fn cells(table: &str, row: usize) -> Vec<&str> {
    table.lines().nth(row + 1).expect("the row is there").split(',').collect()
}

fn value(table: &str, row: usize, name: &str) -> f64 {
    let header: Vec<&str> = table.lines().next().expect("a header").split(',').collect();
    let index = header.iter().position(|title| *title == name).expect("the column is there");
    cells(table, row)[index].parse().expect("a number")
}

#[test]
fn the_report_of_a_usual_setting_matches_its_golden() {
    let mut args = vec!["predict"];
    args.extend(USUAL);
    let report = succeed(&args);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/predict-usual.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &report).expect("the golden is written");
    }
    let expected = std::fs::read_to_string(&golden).expect("the golden is there");
    assert_eq!(report, expected, "UPDATE_GOLDEN=1 if on purpose");
}

#[test]
fn a_table_keeps_its_columns_and_gets_the_promised_ones() {
    let tables = Tables::new();
    let out = tables.predict(&format!(
        "note,{HEADER},process\n\"a, \"\"b\"\"\",316L,195,1083,100,20,90,80,LPBF\n\
         plate,Ti64,200,1000,,0,,,\nbeam,ti-6al-4v,1100,4500,250,50,200,,ebm\n"
    ));
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some(&*format!("note,{HEADER},process,{ADDED}")));
    assert!(
        lines
            .next()
            .expect("a row")
            .starts_with("\"a, \"\"b\"\"\",316L,195,1083,100,20,90,80,LPBF,")
    );
    let plate = cells(&out, 1);
    assert_eq!(&plate[..9], ["plate", "Ti64", "200", "1000", "", "0", "", "", ""]);
    let at = |name: &str| 9 + ADDED.split(',').position(|n| n == name).expect("there");
    assert_eq!(plate[at("relative_density_pct_p50")], "");
    assert_eq!(plate[at("p_lack_of_fusion")], "");
    assert!(plate[at("depth_um_p50")].parse::<f64>().expect("a number") > 20.0);
    assert_eq!(plate[at("validity")], "tracks");
    assert!(out.lines().nth(3).expect("a row").ends_with(",unvalidated"));
    // The balling criterion says nothing of electron beams, and an empty cell says so.
    assert_eq!(cells(&out, 2)[at("p_balling")], "");
    assert_ne!(plate[at("p_balling")], "");
}

#[test]
fn flags_and_tables_give_the_same_numbers_and_a_seed_the_same_bytes() {
    let tables = Tables::new();
    let content = format!("{HEADER}\n316L,195,1083,100,20,90,80\n");
    let out = tables.predict(&content);
    assert_eq!(out, tables.predict(&content));
    let mut args = vec!["predict", "--json"];
    args.extend(USUAL);
    let document = succeed_json(&args);
    assert_eq!(document["schema"], "microdiff.prediction/1");
    assert_eq!(document["validity"], "tracks");
    for name in ADDED.split(',').filter(|name| *name != "validity") {
        let (flag, table) = (&document["prediction"][name], value(&out, 0, name));
        let flag = flag.as_f64().expect("a number");
        assert!((flag - table).abs() <= 1e-5 * flag.abs(), "{name}: {flag} {table}");
    }
    let (input, output) = (tables.input(&content), tables.output());
    succeed(&["predict", "--table", text(&input), "-o", text(&output), "--seed", "9"]);
    assert_ne!(out, read(&output));
}

#[test]
fn compressed_tables_are_read_and_written() {
    let tables = Tables::new();
    let content = format!("{HEADER}\nIN718,285,960,67,,,\n");
    let plain = tables.predict(&content);
    let packed = tables.directory.path().join("packed.csv.gz");
    let output = tables.output();
    let input = tables.input(&content);
    succeed(&["predict", "--table", text(&input), "--output", text(&packed)]);
    assert_eq!(std::fs::read(&packed).expect("written")[..2], [0x1f, 0x8b]);
    // The packed table already has its predictions.
    let line = refuse(&["predict", "--table", text(&packed), "--output", text(&output)], 3);
    assert!(line.contains("already has the column width_um_p05"), "{line}");
    assert!(plain.contains("IN718,285,960,67,,,,"), "{plain}");
}

#[test]
fn a_bad_cell_is_told_with_row_line_and_column_and_nothing_is_written() {
    let tables = Tables::new();
    let good = "316L,195,1083,100,20,90,80";
    for (bad, column, reason) in [
        ("Unobtainium,195,1083,100,20,90,80", "alloy", "known: Ti-6Al-4V, 316L"),
        ("316L,,1083,100,20,90,80", "P_W", "laser_power is missing"),
        ("316L,195,fast,100,20,90,80", "v_mm_s", "\"fast\" is no number"),
        ("316L,NaN,1083,100,20,90,80", "P_W", "no number"),
        ("316L,195,inf,100,20,90,80", "v_mm_s", "no number"),
        ("316L,195,1083,-3,20,90,80", "spot_um", "20 to 500 um"),
        ("316L,195,1083,100,1,90,80", "t_um", "5 to 500 um"),
        ("316L,195,1083,100,20,90000,80", "h_um", "10 to 1000 um"),
        ("316L,195,1083,100,20,90,-274", "T0_C", "0 to 1100 C"),
    ] {
        let line = tables.refused(&format!("{HEADER}\n{good}\n{good}\n{bad}\n{good}\n"));
        assert!(line.contains(&format!("row 3 (line 4), column {column}: ")), "{line}");
        assert!(line.contains(reason), "{line}");
    }
    let line = tables.refused(&format!("{HEADER},process\n{good},casting\n"));
    assert!(line.contains("row 1 (line 2), column process"), "{line}");
}

#[test]
fn a_missing_column_is_named() {
    let tables = Tables::new();
    for name in HEADER.split(',') {
        let without = |title| if title == name { "something" } else { title };
        let header = HEADER.split(',').map(without).collect::<Vec<_>>().join(",");
        let line = tables.refused(&format!("{header}\n316L,195,1083,100,20,90,80\n"));
        assert!(line.contains(&format!("lacks the column {name}")), "{line}");
    }
    let line = tables.refused(&format!("{HEADER},P_W\n316L,195,1083,100,20,90,80,195\n"));
    assert!(line.contains("P_W twice"), "{line}");
    assert!(tables.refused("").contains("no header"));
    let line = tables.refused(&format!("{HEADER}\n316L,195\n"));
    assert!(line.contains("line: 2"), "{line}");
}

#[test]
fn machines_stand_in_and_are_told_when_exceeded() {
    let mut args = vec!["predict", "--alloy", "316L", "--machine", "eos-m290", "--json"];
    args.extend(["--laser-power", "450", "--scan-speed", "1083"]);
    let document = succeed_json(&args);
    assert_eq!(document["request"]["spot_um"], 100.0);
    assert_eq!(document["request"]["bed_temperature_c"], 80.0);
    let notes = document["notes"].to_string();
    assert!(notes.contains("laser_power 450 W is beyond the EOS-M290: 20 to 400 W"), "{notes}");
    args.extend(["--process", "ebm"]);
    assert!(refuse(&args, 2).contains("EOS-M290 runs lpbf"));
}

#[test]
fn a_bed_not_given_is_the_usual_one_by_flags_and_in_a_target_and_cold_in_a_table() {
    let steel = ["--alloy", "316L"];
    let setting = ["--laser-power", "195", "--scan-speed", "1083"];
    let flags = succeed_json(&[&["predict", "--json"], &steel[..], &setting].concat());
    let bed = &flags["request"]["bed_temperature_c"];
    assert_eq!(*bed, 80.0);
    assert!(flags["notes"].to_string().contains("80 C is taken, the usual one"), "{flags}");
    let known = "laser_power=195,scan_speed=1083,layer_thickness=20,hatch_spacing=90";
    let target = ["design", "--json", "--target", "elongation>=1", "--known", known];
    let target = succeed_json(&[&target[..], &steel].concat());
    assert_eq!(target["request"]["bed_temperature_c"], *bed);
    let nickel =
        [&["predict", "--json", "--alloy", "IN718", "--machine", "Arcam-Q20"], &setting[..]];
    assert_eq!(succeed_json(&nickel.concat())["request"]["bed_temperature_c"], 975.0);

    let tables = Tables::new();
    let row = "316L,195,1083,100,20,90";
    let out = tables.predict(&format!("{HEADER}\n{row},\n{row},25\n{row},80\n"));
    let answer = |row: usize| cells(&out, row)[7..].to_vec();
    assert_eq!(answer(0), answer(1));
    assert_ne!(answer(0), answer(2));
}

#[test]
fn what_is_not_validated_says_so_in_report_and_document() {
    let args = ["predict", "--alloy", "Ti64", "--process", "ded", "--laser-power", "800"];
    let args = [&args[..], &["--scan-speed", "10", "--spot", "1500"]].concat();
    assert!(succeed(&args).contains("UNVALIDATED"));
    let document = succeed_json(&[&args[..], &["--json"]].concat());
    assert_eq!(document["validity"], "unvalidated");
    assert!(document["basis"].as_str().expect("text").contains("UNVALIDATED"));
    assert_eq!(document["prediction"]["relative_density_pct_p50"], serde_json::Value::Null);
    assert_eq!(document["prediction"]["p_balling"], serde_json::Value::Null);
    assert!(document["notes"].to_string().contains("Balling is not predicted"), "{document}");
    assert!(succeed(&args).contains("balling not known"));
}

#[test]
fn impossible_settings_are_refused() {
    let alloy = ["predict", "--alloy", "316L"];
    let with = |more: &[&'static str]| [&alloy[..], more].concat();
    assert!(refuse(&with(&["--scan-speed", "900"]), 2).contains("laser_power is missing"));
    let line = refuse(&with(&["--laser-power", "-5", "--scan-speed", "900"]), 2);
    assert!(line.contains("10 to 2000 W"), "{line}");
    let line = refuse(&with(&["--laser-power", "NaN", "--scan-speed", "900"]), 2);
    assert!(line.contains("laser_power NaN"), "{line}");
    refuse(&["predict"], 2);
    refuse(&["predict", "--table", "in.csv"], 2);
}

#[test]
fn design_refuses_an_alloy_that_its_process_does_not_print() {
    let scan = crate::binary::fixture();
    let args = ["design", text(&scan), "--alloy", "AlSi10Mg", "--process", "ebm"];
    assert!(refuse(&args, 2).contains("known: Ti-6Al-4V, IN718"));
}

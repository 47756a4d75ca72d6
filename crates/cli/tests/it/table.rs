//! A model of a table of one's own, made and asked.

use crate::binary::{fixture, refuse, run, succeed, text};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Rows of θ1 in (-1, 1), θ2 in (0, 4) and two observables, by a fixed recurrence.
fn rows(count: usize) -> String {
    let mut state = 7u64;
    let mut uniform = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut text = String::from("theta1,theta2,x1,x2,comment\n");
    for _ in 0..count {
        let (a, b) = (2.0 * uniform() - 1.0, 4.0 * uniform());
        let (x, y) = (a + 0.2 * uniform(), a + b + 0.2 * uniform());
        writeln!(text, "{a},{b},{x},{y},kept").expect("text");
    }
    text
}

struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        std::fs::write(self.path(name), content).expect("the file is written");
        self.path(name)
    }

    fn train(&self, table: &Path, output: &str) -> PathBuf {
        succeed(&train_args(table, &self.path(output)));
        self.path(output)
    }
}

fn train_args<'a>(table: &'a Path, output: &'a Path) -> [&'a str; 9] {
    let names = ["--parameters", "theta1,theta2", "--observables", "x1,x2"];
    let [a, b, c, d] = names;
    ["train", "--table", text(table), a, b, c, d, "--output", text(output)]
}

fn design_args<'a>(model: &'a Path, observation: &'a Path, output: &'a Path) -> [&'a str; 11] {
    let (model, observation, output) = (text(model), text(observation), text(output));
    let [a, b, c] = ["--model", "--observation", "--output"];
    ["design", a, model, b, observation, c, output, "--samples", "60", "--steps", "8"]
}

#[test]
fn a_table_becomes_a_model_that_answers_observations() {
    let bench = Bench::new();
    let table = bench.file("train.csv", &rows(120));
    let model = bench.train(&table, "model");
    let one = bench.file("one.csv", "x2,x1\n2.1,0.1\n");
    let draws = bench.path("draws.csv");
    let answer = run(&design_args(&model, &one, &draws));
    assert!(answer.status.success() && answer.stderr.is_empty());
    let first = std::fs::read_to_string(&draws).expect("draws");
    let lines: Vec<&str> = first.lines().collect();
    assert_eq!((lines[0], lines.len()), ("theta1,theta2", 61));
    for line in &lines[1..] {
        let values: Vec<f64> = line.split(',').map(|v| v.parse().expect("a number")).collect();
        assert!((-1.1..=1.1).contains(&values[0]) && (-0.1..=4.1).contains(&values[1]), "{line}");
    }
    let several = bench.file("several.csv", "x1,x2\n0.1,2.1\n99,2.1\n");
    let answer = run(&design_args(&model, &several, &draws));
    let note = String::from_utf8_lossy(&answer.stderr).into_owned();
    assert!(answer.status.success() && note.contains("out of distribution: 1 of 2"), "{note}");
    let long = std::fs::read_to_string(&draws).expect("draws");
    let lines: Vec<&str> = long.lines().collect();
    assert_eq!((lines[0], lines.len()), ("row,theta1,theta2", 121));
    assert!(lines[60].starts_with("0,") && lines[61].starts_with("1,"));
    // The first row of several is answered as it is alone.
    let alone: Vec<String> = first.lines().skip(1).map(|line| format!("0,{line}")).collect();
    assert_eq!(alone, lines[1..61]);
    let told = succeed(&["models", "verify", text(&model)]);
    assert!(told.contains("ok     bundle") && told.contains("no known answer"), "{told}");
    let told = succeed(&["models", "show", text(&model)]);
    assert!(told.contains("theta2: uniform") && told.contains("observable   x1"), "{told}");
    wrong_questions(&bench, &model);
}

fn wrong_questions(bench: &Bench, model: &Path) {
    let draws = bench.path("none.csv");
    let lacking = bench.file("lacking.csv", "x1\n1\n");
    let told = refuse(&design_args(model, &lacking, &draws), 3);
    assert!(told.contains("lacks the column x2"), "{told}");
    let wrong = bench.file("wrong.csv", "x1,x2\n1,2\n1,nan\n");
    let told = refuse(&design_args(model, &wrong, &draws), 3);
    assert!(told.contains("row 2 (line 3), column x2"), "{told}");
    let scan = fixture();
    let args = ["design", text(&scan), "--alloy", "316L", "--model", text(model)];
    let told = refuse(&args, 2);
    assert!(told.contains("a model of a table"), "{told}");
    let scans = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/lpbf-descriptors");
    let good = bench.file("good.csv", "x1,x2\n1,2\n");
    let told = refuse(&design_args(&scans, &good, &draws), 2);
    assert!(told.contains("a model of scans"), "{told}");
    let nowhere = bench.path("no/draws.csv");
    let told = refuse(&design_args(model, &good, &nowhere), 2);
    assert!(told.contains("its directory does not exist"), "{told}");
    let weights = model.join("weights.safetensors");
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("written");
    let told = refuse(&design_args(model, &good, &draws), 3);
    assert!(told.contains("SHA-256"), "{told}");
    assert!(!draws.exists());
}

#[test]
fn unusable_tables_and_priors_are_refused_and_leave_nothing() {
    let bench = Bench::new();
    let good = rows(120);
    let header = good.lines().next().expect("a header");
    let body = &good[header.len()..];
    let constant: String = (0..120).map(|i| format!("{i},1,{i},2,c\n")).collect();
    let cases = [
        (String::new(), "it has no header"),
        (format!("{header}\n"), "no rows below the header"),
        (format!("theta1,theta3,x1,x2,c{body}"), "lacks the column theta2"),
        (format!("theta1,theta2,x1,x2,x1{body}"), "has the column x1 twice"),
        (
            good.replacen("kept\n", "kept\n1,2,inf,4,5\n", 1),
            "row 2 (line 3), column x1: \"inf\" is no number",
        ),
        (rows(50), "50 rows are too few"),
        (format!("{header}\n{constant}"), "`theta2` is constant"),
    ];
    let model = bench.path("model");
    for (content, reason) in cases {
        let table = bench.file("train.csv", &content);
        let told = refuse(&train_args(&table, &model), 3);
        assert!(told.contains(reason) && told.contains("train.csv"), "{told}");
    }
    let table = bench.file("train.csv", &good);
    let prior = bench.file("prior.json", r#"{"theta1": {"low": 0, "high": 1}}"#);
    let with = [&train_args(&table, &model)[..], &["--prior", text(&prior)]].concat();
    let told = refuse(&with, 3);
    assert!(told.contains("column `theta1`") && told.contains("outside the declared"), "{told}");
    assert!(!model.exists());
    bench.file("file", "");
    let told = refuse(&train_args(&table, &bench.path("file")), 2);
    assert!(told.contains("it exists"), "{told}");
    let told = refuse(&train_args(&table, &bench.path("no/model")), 2);
    assert!(told.contains("its directory does not exist"), "{told}");
    let mut twice = train_args(&table, &model);
    twice[6] = "x1,theta1";
    assert!(refuse(&twice, 2).contains("`theta1` is named twice"));
    let left = std::fs::read_dir(bench.directory.path()).expect("a directory").count();
    assert_eq!(left, 3, "something was left behind");
}

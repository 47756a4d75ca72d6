use super::*;
use crate::{DiffusionError, SampleOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

fn table(prefix: &str, rows: Vec<Vec<f64>>) -> Table {
    let columns = (1..=rows[0].len()).map(|i| format!("{prefix}{i}")).collect();
    Table { columns, rows }
}

fn normal(rng: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(rng)
}

/// θ ~ N(0, 1)², x = θ + N(0, 1/4): the posterior is N(0.8 x, 0.2).
fn linear(rows: usize) -> (Table, Table) {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let theta: Vec<Vec<f64>> =
        (0..rows).map(|_| vec![normal(&mut rng), normal(&mut rng)]).collect();
    let x = theta.iter().map(|t| t.iter().map(|t| t + 0.5 * normal(&mut rng)).collect()).collect();
    (table("theta", theta), table("x", x))
}

fn options(steps: usize) -> TableOptions {
    TableOptions { seed: 1, steps: Some(steps), priors: Default::default() }
}

#[test]
fn closed_form_of_a_linear_model_is_reached() {
    let (theta, x) = linear(1500);
    let model = train(&theta, &x, &options(900)).unwrap().open().unwrap();
    let draws =
        model.draw(&[1.0, -0.5], 0, &SampleOptions { samples: 4000, steps: 24, seed: 3 }).unwrap();
    for (index, mean) in [(0, 0.8), (1, -0.4)] {
        let found = draws.iter().map(|d| d[index]).sum::<f64>() / 4000.0;
        let variance = draws.iter().map(|d| (d[index] - found).powi(2)).sum::<f64>() / 4000.0;
        assert!((found - mean).abs() < 0.1, "mean {found}, not {mean}");
        assert!((variance.sqrt() - 0.2f64.sqrt()).abs() < 0.08, "sd {}", variance.sqrt());
    }
}

#[test]
fn same_seed_same_bytes_whatever_the_threads() {
    let (theta, x) = linear(200);
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let options = TableOptions { seed, ..options(30) };
        pool.install(|| {
            let trained = train(&theta, &x, &options).unwrap();
            let sample = SampleOptions { samples: 300, steps: 8, seed: 2 };
            let draws = trained.open().unwrap().draw(&[0.1, 0.2], 0, &sample).unwrap();
            (trained.files, draws)
        })
    };
    let one = run(1, 5);
    assert_eq!(one, run(3, 5));
    assert_ne!(one.1, run(1, 6).1);
}

#[test]
fn draws_stay_inside_a_bounded_prior_and_rows_differ() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let theta: Vec<Vec<f64>> = (0..300).map(|_| vec![rng.random_range(-2.0..3.0)]).collect();
    let x = theta.iter().map(|t| vec![t[0] + normal(&mut rng)]).collect();
    let priors = [("theta1".to_owned(), Prior::Box { low: -2.0, high: 3.0 })].into();
    let options = TableOptions { priors, ..options(60) };
    let model = train(&table("theta", theta), &table("x", x), &options).unwrap().open().unwrap();
    let sample = SampleOptions { samples: 500, steps: 8, seed: 0 };
    let first = model.draw(&[3.0], 0, &sample).unwrap();
    assert!(first.iter().all(|draw| (-2.0..=3.0).contains(&draw[0])));
    assert_ne!(first, model.draw(&[3.0], 1, &sample).unwrap());
    let few = SampleOptions { samples: 20, ..sample };
    assert_eq!(first[..20], model.draw(&[3.0], 0, &few).unwrap());
    assert_eq!(model.outside(&[3.0]), []);
    assert_eq!(model.outside(&[40.0])[0].name, "x1");
    assert!(model.draw(&[3.0, 1.0], 0, &sample).is_err());
}

#[test]
fn unusable_rows_are_refused_with_the_reason() {
    let refusal = |theta: &Table, x: &Table, options: &TableOptions| {
        let error = train(theta, x, options).unwrap_err();
        assert!(matches!(error, DiffusionError::Table { .. }));
        error.to_string()
    };
    let (theta, x) = linear(120);
    let (few, few_x) = linear(99);
    assert!(refusal(&few, &few_x, &options(1)).contains("at least 100"));
    let mut constant = x.clone();
    constant.rows.iter_mut().for_each(|row| row[1] = 4.0);
    assert!(refusal(&theta, &constant, &options(1)).contains("`x2` is constant"));
    let mut constant = theta.clone();
    constant.rows.iter_mut().for_each(|row| row[0] = 4.0);
    assert!(refusal(&constant, &x, &options(1)).contains("`theta1` is constant"));
    let prior = |name: &str, prior| TableOptions {
        priors: [(name.to_owned(), prior)].into(),
        ..options(1)
    };
    let narrow = prior("theta2", Prior::Box { low: -1e-9, high: 1e-9 });
    assert!(refusal(&theta, &x, &narrow).contains("row 1, column `theta2`"));
    let foreign = prior("alpha", Prior::Normal { mean: 0.0, sd: 1.0 });
    assert!(refusal(&theta, &x, &foreign).contains("`alpha` is not among"));
}

#[test]
fn a_damaged_bundle_is_refused() {
    let (theta, x) = linear(120);
    let good = train(&theta, &x, &options(2)).unwrap();
    let refusal = |files: &crate::bundle::BundleFiles| {
        TableModel::from_files(files).err().unwrap().to_string()
    };
    let mut bad = good.files.clone();
    let last = bad.weights.len() - 1;
    bad.weights[last] ^= 1;
    assert!(refusal(&bad).contains("SHA-256"));
    let mut bad = good.files.clone();
    bad.manifest.truncate(100);
    assert!(refusal(&bad).contains("manifest unreadable"));
    let mut other = good.manifest.clone();
    other.format = "microdiff.bundle/1".into();
    let mut bad = good.files.clone();
    bad.manifest = serde_json::to_vec(&other).unwrap();
    assert!(refusal(&bad).contains("not \"microdiff.table/2\""));
    let mut other = good.manifest.clone();
    other.observables.pop();
    bad.manifest = serde_json::to_vec(&other).unwrap();
    assert!(refusal(&bad).contains("do not fit"));
}

//! Timing of small operations: alternating rounds, medians, on one thread and on two at once.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

/// An operation to repeat: runs itself the given number of times.
pub type Work = Arc<dyn Fn(u64) + Send + Sync>;

/// A named operation.
pub struct Case {
    pub name: &'static str,
    pub work: Work,
    /// Repetitions in one round.
    pub times: u64,
}

impl Case {
    pub fn new(name: &'static str, times: u64, work: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { name, work: Arc::new(work), times }
    }
}

const ROUNDS: usize = 11;

/// Nanoseconds of one operation of each case, on `threads` threads at once: medians over rounds.
pub fn compare(cases: &[Case], threads: usize, between: impl Fn()) -> Vec<f64> {
    let mut rounds: Vec<Vec<f64>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for (case, figures) in cases.iter().zip(&mut rounds) {
            let took = together(&case.work, case.times, threads);
            between();
            // The first round warms caches and lazy state.
            if round > 0 {
                figures.push(took.as_nanos() as f64 / case.times as f64);
            }
        }
    }
    rounds.into_iter().map(median).collect()
}

fn together(work: &Work, times: u64, threads: usize) -> Duration {
    if threads == 1 {
        let began = Instant::now();
        work(times);
        return began.elapsed();
    }
    let barrier = Arc::new(Barrier::new(threads));
    let running: Vec<_> = (0..threads)
        .map(|_| {
            let (work, barrier) = (Arc::clone(work), Arc::clone(&barrier));
            std::thread::spawn(move || {
                barrier.wait();
                let began = Instant::now();
                work(times);
                began.elapsed()
            })
        })
        .collect();
    running.into_iter().filter_map(|thread| thread.join().ok()).max().unwrap_or_default()
}

pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A table of figures with their ratio to the first row.
pub fn table(title: &str, heads: &[&str], rows: &[(String, Vec<f64>)]) -> String {
    let mut out = format!("### {title}\n\n| |");
    for head in heads {
        out += &format!(" {head} | ratio |");
    }
    out += "\n|---|";
    out += &"---:|---:|".repeat(heads.len());
    out += "\n";
    for (name, figures) in rows {
        out += &format!("| {name} |");
        for (column, figure) in figures.iter().enumerate() {
            let base = rows.first().and_then(|row| row.1.get(column)).copied().unwrap_or(f64::NAN);
            out += &if figure.is_nan() {
                " – | – |".to_owned()
            } else {
                format!(" {} | {:.2} |", shown(*figure), figure / base)
            };
        }
        out += "\n";
    }
    out
}

fn shown(figure: f64) -> String {
    if figure >= 1000.0 {
        format!("{figure:.0}")
    } else if figure >= 10.0 {
        format!("{figure:.1}")
    } else {
        format!("{figure:.2}")
    }
}

//! Figures of the telemetry crate beside those of its peers, in one run: prints Markdown tables of
//! medians and ratios. `telemetry-bench [SECTION ...]`, all sections without a name.
//!
//! Rounds of all cases alternate, so that a drift of the machine meets them alike. Cases that need a
//! process of their own (logging is global, a server has its own CPU time) run this binary again.

mod calls;
mod design;
mod encode;
mod http;
mod logs;
mod machine;
mod numbers;
mod python;
mod timing;
mod traces;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["child-log", rest @ ..] => logs::child(rest),
        ["child-serve", kind] => http::child(kind),
        ["child-calls", kind, collector] => calls::child(kind, collector),
        ["child-design", kind, collector] => design::child(kind, collector),
        [] => all(&["numbers", "encode", "logs", "traces", "http", "design"]),
        sections => all(sections),
    }
}

fn all(sections: &[&str]) -> Result<()> {
    println!("{}\n", machine::describe()?);
    for section in sections {
        let table = match *section {
            "numbers" => numbers::run()?,
            "encode" => encode::run()?,
            "logs" => logs::run()?,
            "traces" => traces::run()?,
            "http" => http::run()?,
            "design" => design::run()?,
            other => bail!("`{other}` is not one of numbers, encode, logs, traces, http, design"),
        };
        println!("{table}");
    }
    Ok(())
}

//! `microdiff validate-physics`: measurements that are not part of the project → the section of
//! `docs/validation.md` about them, with the fit of the track law.
//!
//! The measurements are read where they lie; only figures drawn from them are written down.

mod coupons;
mod tracks;

use crate::args::ValidatePhysicsArgs;
use crate::failure::Failure;
use crate::output;
use std::path::Path;

/// The section stands between these lines.
const BEGIN: &str = "<!-- begin: microdiff validate-physics -->";
const END: &str = "<!-- end: microdiff validate-physics -->";

pub fn run(args: &ValidatePhysicsArgs) -> Result<(), Failure> {
    let mut section = tracks::section(&args.data)?;
    section += &coupons::section(&args.data)?;
    match &args.page {
        Some(page) => replace(page, &section),
        None => output::print(&section),
    }
}

fn replace(page: &Path, section: &str) -> Result<(), Failure> {
    let shown = page.display();
    let text = std::fs::read_to_string(page)
        .map_err(|error| Failure::data(format!("cannot read {shown}: {error}")))?;
    let parts = text
        .split_once(BEGIN)
        .and_then(|(head, rest)| rest.split_once(END).map(|(_, tail)| (head, tail)));
    let Some((head, tail)) = parts else {
        return Err(Failure::data(format!("{shown} lacks the lines {BEGIN} and {END}")));
    };
    output::write_file(page, format!("{head}{BEGIN}\n{section}{END}{tail}").as_bytes())
}

/// A share as per cent.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

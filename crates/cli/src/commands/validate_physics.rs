//! `microdiff validate-physics`: measurements that are not part of the project → the section of
//! `docs/validation.md` about them, with the fit of the track law.
//!
//! The measurements are read where they lie; only figures drawn from them are written down.

mod coupons;
mod tracks;

use crate::args::ValidatePhysicsArgs;
use crate::failure::Failure;
use crate::{output, page};

pub fn run(args: &ValidatePhysicsArgs) -> Result<(), Failure> {
    let mut section = tracks::section(&args.data)?;
    section += &coupons::section(&args.data)?;
    match &args.page {
        Some(page) => page::replace(page, "validate-physics", &section),
        None => output::print(&section),
    }
}

/// A share as per cent.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

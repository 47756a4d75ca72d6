//! The kit as an operator meets it.
#![cfg(test)]

mod compress;
mod drawn;
mod drills;
mod fits;
mod reference;
mod whole;

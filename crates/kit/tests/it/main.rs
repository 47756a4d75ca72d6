//! The kit as an operator meets it.
#![cfg(test)]

mod drawn;
mod fits;
mod reference;
mod whole;

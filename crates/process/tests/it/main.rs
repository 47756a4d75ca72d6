//! Laws of the virtual build and the virtual scanner, seen from outside.

// `cfg(test)` tells the lints that these are tests, functions beside `#[test]` included.
#[cfg(test)]
mod build;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod constants;
#[cfg(test)]
mod physics;
#[cfg(test)]
mod scanner;

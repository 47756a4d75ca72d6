//! Behaviour of the crate as its users see it.

#[cfg(test)]
mod analysis;
#[cfg(test)]
mod files;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod synthetic;

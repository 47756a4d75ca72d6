//! Behaviour of the crate as its users see it.

#[cfg(test)]
mod analysis;
#[cfg(test)]
mod files;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod headers_hostile;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod peak;
#[cfg(test)]
mod strips;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod thirteen;

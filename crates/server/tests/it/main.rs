//! The service as its clients and operators meet it: over sockets, with the bundled model where an
//! answer is needed and a scripted engine where a fault is.

mod api;
mod engine;
mod faults;
mod goldens;
mod observability;
mod server;
mod store;

//! The routes of the API, by noun.

pub(crate) mod admin;
pub(crate) mod designs;
pub(crate) mod flight;
mod form;
pub(crate) mod index;
pub(crate) mod models;
pub(crate) mod openapi;
mod unparsed;

use crate::problem::Problem;

pub(crate) async fn unknown_route() -> Problem {
    Problem::unknown_route()
}

pub(crate) async fn wrong_method() -> Problem {
    Problem::wrong_method()
}

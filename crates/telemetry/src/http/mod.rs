//! HTTP: from requests to counts, durations, access lines, spans and ids.
//!
//! [`HttpLayer`] goes on an `axum` router with `Router::layer` (outside of it the matched route is
//! not known and every request counts as `_unmatched`). A request is recorded once: when the body
//! of its answer ends, when that fails, or when the client leaves and everything is dropped.
//!
//! Deliberately absent: retries, limits, authentication, anything that changes an answer beyond its
//! id headers.

mod body;
mod connections;
mod endpoint;
mod layer;
mod outcomes;
mod recorder;
mod routes;
mod totals;

pub use crate::context::Entered;
pub use body::RecordedBody;
pub use connections::{CountedConnection, CountedListener, active_connections};
pub use endpoint::UNMATCHED;
pub use layer::{HttpLayer, HttpOptions, HttpService, ResponseFuture};
pub use recorder::{ErrorType, RequestContext};
pub use routes::{health_routes, metrics_routes};
pub use totals::request_totals;

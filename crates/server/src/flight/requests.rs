//! API requests that fail beside any design: the database is away, the client leaves, a handler
//! breaks. Failed designs are recorded by their worker.

use super::{ABANDONED, Flight, REQUEST};
use crate::App;
use crate::handlers::designs::Origin;
use crate::present;
use crate::problem::Problem;
use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};
use microdiff_telemetry::flight::FlightRecord;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Records a request that ends in a server error or a timeout, or is dropped before its answer. An
/// answer that is given up while it is sent is beyond this place; the access line and the metrics
/// have it.
pub(crate) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let watched = Watched {
        flight: Arc::clone(&app.flight),
        origin: present::origin(&request),
        method: request.method().clone(),
        endpoint: request.extensions().get::<MatchedPath>().cloned(),
        bytes: request.body().size_hint().lower(),
        started: Instant::now(),
        answered: false,
    };
    let response = next.run(request).await;
    watched.answered(&response);
    response
}

struct Watched {
    flight: Arc<Flight>,
    origin: Origin,
    method: Method,
    endpoint: Option<MatchedPath>,
    bytes: u64,
    started: Instant,
    answered: bool,
}

impl Watched {
    fn answered(mut self, response: &Response) {
        self.answered = true;
        let status = response.status();
        if !status.is_server_error() && status != StatusCode::REQUEST_TIMEOUT {
            return;
        }
        match response.extensions().get::<Problem>() {
            // The design has a record of its own.
            Some(problem) if problem.error_type() == "design_failed" => {}
            Some(problem) => self.record(REQUEST, status.as_str(), problem.error_type()),
            None => self.record(REQUEST, status.as_str(), "internal"),
        }
    }

    fn record(&self, class: &str, status: &str, error_type: &'static str) {
        let known = ["GET", "HEAD", "POST"].into_iter();
        let method = known.into_iter().find(|known| *known == self.method.as_str());
        let endpoint = self.endpoint.as_ref().map_or("", MatchedPath::as_str).to_owned();
        let trace = self.origin.span.as_ref().map(|span| span.context().trace_id);
        self.flight.recorder.record(
            &[class],
            FlightRecord {
                id: self.origin.request_id.clone(),
                request_id: self.origin.request_id.clone(),
                trace_id: trace,
                time: SystemTime::now(),
                method: method.unwrap_or("other"),
                endpoint: endpoint.into(),
                status: status.to_owned().into(),
                error_type: Some(error_type.into()),
                duration: self.started.elapsed(),
                phases: Vec::new(),
                bytes: self.bytes,
                details: None,
            },
        );
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.answered {
            match std::thread::panicking() {
                true => self.record(REQUEST, "500", "panic"),
                false => self.record(ABANDONED, "499", "cancelled"),
            }
        }
    }
}

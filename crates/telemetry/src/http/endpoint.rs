//! The handles of each route, resolved once and found without hashing.

use std::sync::{Arc, OnceLock};

use http::Method;

use crate::builtin;
use crate::metrics::{Counter, Histogram, MetricSpec, Registry};
use crate::traces::{Span, catalogue};

/// What a request that matched no route counts under.
pub const UNMATCHED: &str = "_unmatched";

/// The rows that have one series for each route.
pub(super) struct RouteRows {
    pub(super) requests: MetricSpec,
    pub(super) duration: MetricSpec,
}

/// One route template with the handles of each method that was asked for.
pub(super) struct Endpoint {
    pub(super) name: Arc<str>,
    quiet: bool,
    methods: [OnceLock<Arc<Route>>; builtin::METHODS.len()],
}

/// The handles of one route and method.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) endpoint: Arc<str>,
    span: SpanNames,
    pub(super) quiet: bool,
    pub(super) success: Counter,
    pub(super) error: Counter,
    pub(super) duration: Histogram,
}

impl Endpoint {
    pub(super) fn new(name: &str, quiet: bool) -> Self {
        Self { name: name.into(), quiet, methods: Default::default() }
    }

    /// The handles of a method; its series exist from here on.
    pub(super) fn route(
        &self,
        method: &Method,
        rows: &RouteRows,
        registry: &Registry,
    ) -> Arc<Route> {
        let index = method_index(method);
        let resolve = || {
            let method = builtin::METHODS[index];
            let endpoint = &*self.name;
            let counter = |status| registry.counter(&rows.requests, &[method, endpoint, status]);
            Arc::new(Route {
                method,
                endpoint: Arc::clone(&self.name),
                span: SpanNames::of(method, (endpoint != UNMATCHED).then_some(endpoint)),
                quiet: self.quiet,
                success: counter("success"),
                error: counter("error"),
                duration: registry.histogram(&rows.duration, &[method, endpoint]),
            })
        };
        Arc::clone(self.methods[index].get_or_init(resolve))
    }
}

/// What the spans of one route are called by the semantic conventions.
struct SpanNames {
    name: Arc<str>,
    method: &'static str,
    route: Option<Arc<str>>,
}

impl SpanNames {
    /// `route` is the template that matched, if one did.
    fn of(method: &'static str, route: Option<&str>) -> Self {
        let known = catalogue::METHODS.contains(&method);
        let shown = if known { method } else { "HTTP" };
        let name = route.map_or_else(|| shown.to_owned(), |route| format!("{shown} {route}"));
        let method = if known { method } else { "_OTHER" };
        Self { name: name.into(), method, route: route.map(Arc::from) }
    }
}

impl Route {
    /// What is told of every request; `secure` by a request in absolute form.
    pub(super) fn describe(&self, span: &mut Span, secure: bool) {
        span.rename(Arc::clone(&self.span.name));
        span.set(catalogue::METHOD.name, self.span.method);
        if let Some(route) = &self.span.route {
            span.set(catalogue::ROUTE.name, Arc::clone(route));
        }
        span.set(catalogue::SCHEME.name, if secure { "https" } else { "http" });
    }
}

/// The place of a method in [`builtin::METHODS`].
const fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        Method::CONNECT => 7,
        Method::TRACE => 8,
        _ => builtin::METHODS.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_the_place_of_its_name() {
        for name in builtin::METHODS {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(builtin::METHODS[method_index(&method)], *name);
        }
        let strange = Method::from_bytes(b"BREW").unwrap();
        assert_eq!(builtin::METHODS[method_index(&strange)], "other");
    }
}

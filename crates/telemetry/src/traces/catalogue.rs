//! What spans a service emits, for its documentation and for a test that holds the two equal.
//!
//! A service brings a table of its own beside [`SPANS`], the rows of this crate. Nothing is
//! registered: a span costs nothing because it is described.

use super::SpanKind;

/// One kind of span.
#[derive(Clone, Copy, Debug)]
pub struct SpanSpec {
    /// Its name; `{...}` stands for a part that varies within a closed set.
    pub name: &'static str,
    /// Its role.
    pub kind: SpanKind,
    /// The names of the spans it may be inside; empty for the first of its process.
    pub parents: &'static [&'static str],
    /// When it is emitted, and what it covers.
    pub when: &'static str,
    /// When its status is an error; empty for never.
    pub fails: &'static str,
    /// What it carries.
    pub attributes: &'static [AttributeSpec],
}

/// The type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// Text.
    Text,
    /// A whole number.
    Int,
}

impl AttributeType {
    /// As in the reference.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Int => "integer",
        }
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct AttributeSpec {
    /// Its key.
    pub name: &'static str,
    /// Its type.
    pub kind: AttributeType,
    /// Its unit, or what is counted; empty when there is none.
    pub unit: &'static str,
    /// What it says, and when it is there if not always.
    pub meaning: &'static str,
    /// Its values, if they are a closed set; otherwise empty.
    pub values: &'static [&'static str],
}

impl AttributeSpec {
    /// An attribute of open text.
    #[must_use]
    pub const fn text(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: AttributeType::Text, unit: "", meaning, values: &[] }
    }

    /// An attribute that counts `unit`.
    #[must_use]
    pub const fn count(name: &'static str, unit: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: AttributeType::Int, unit, meaning, values: &[] }
    }

    /// The same with a closed set of values.
    #[must_use]
    pub const fn of(mut self, values: &'static [&'static str]) -> Self {
        self.values = values;
        self
    }
}

/// Why a span failed.
pub const ERROR_TYPE: AttributeSpec = AttributeSpec::text(
    "error.type",
    "Why it failed, from a bounded set; the reason is in the log. Only on failure.",
);

/// The request that a span belongs to.
pub const REQUEST_ID: AttributeSpec =
    AttributeSpec::text("request_id", "Id of the request, as in its log lines and its answer.");

/// Methods of requests; any other is `_OTHER`.
pub const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "_OTHER"];

pub(crate) const METHOD: AttributeSpec =
    AttributeSpec::text("http.request.method", "Method of the request.").of(METHODS);
pub(crate) const ROUTE: AttributeSpec = AttributeSpec::text(
    "http.route",
    "Template of the route that matched; absent when none did. The path itself is never recorded: \
     it is the caller's text.",
);
pub(crate) const SCHEME: AttributeSpec =
    AttributeSpec::text("url.scheme", "Scheme as the listener sees it.").of(&["http", "https"]);
pub(crate) const STATUS: AttributeSpec = AttributeSpec::count(
    "http.response.status_code",
    "",
    "Status of the answer; 499 when the client left before its end.",
);
pub(crate) const BODY_SIZE: AttributeSpec = AttributeSpec::count(
    "http.response.body.size",
    "bytes",
    "Bytes of the answer's body that were handed over.",
);

/// The span of every request to a recorded listener, by the semantic conventions of OpenTelemetry
/// for HTTP servers.
pub const REQUEST: SpanSpec = SpanSpec {
    name: "{method} {route}",
    kind: SpanKind::Server,
    parents: &[],
    when: "A request, from its first byte to the end of the answer's body. `{method}` alone when no \
           route matched; `HTTP` in place of a method that is not known. In the caller's trace if \
           the request has a valid `traceparent`.",
    fails: "Status 408 or from 500 on, a body that breaks off, a client that leaves (`cancelled`).",
    attributes: &[METHOD, ROUTE, SCHEME, STATUS, BODY_SIZE, REQUEST_ID, ERROR_TYPE],
};

/// The spans of this crate.
pub const SPANS: &[SpanSpec] = &[REQUEST];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_are_those_of_the_metrics() {
        let known = |methods: &[&str]| {
            methods
                .iter()
                .filter(|m| **m != "_OTHER" && **m != "other")
                .map(|method| (*method).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(known(METHODS), known(crate::builtin::METHODS));
    }
}

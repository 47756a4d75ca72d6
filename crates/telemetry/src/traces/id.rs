//! Trace and span ids, and the W3C `traceparent` header.
//!
//! Ids are made here, not by an exporter, so that logs, exemplars and answers carry them even when
//! nothing is exported. Source: W3C Trace Context, Recommendation of 23 November 2021.

use std::fmt;

use rand::Rng as _;

/// The id shared by all spans of one trace; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// The id of one span; never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        let mut rng = rand::rng();
        Self((u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).max(1))
    }

    /// From its 32 lower-case hexadecimal digits; `None` for anything else and for zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 32).then(|| lower_hex(text)).flatten().filter(|v| *v != 0).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }

    pub(crate) const fn halves(self) -> (u64, u64) {
        ((self.0 >> 64) as u64, self.0 as u64)
    }

    pub(crate) fn from_halves(high: u64, low: u64) -> Self {
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

impl SpanId {
    /// A new random id.
    #[must_use]
    pub fn random() -> Self {
        Self(rand::rng().next_u64().max(1))
    }

    /// From its 16 lower-case hexadecimal digits; `None` for anything else and for zero.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let value = (text.len() == 16).then(|| lower_hex(text)).flatten()?;
        u64::try_from(value).ok().filter(|v| *v != 0).map(Self)
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

fn lower_hex(text: &str) -> Option<u128> {
    text.bytes().try_fold(0_u128, |value, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u128::from(digit))
    })
}

/// Where a span stands in its trace: what is handed from one service or task to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that speaks.
    pub span_id: SpanId,
    /// Whether the trace is recorded.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header; `None` when it is not valid, and a new trace begins.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let mut parts = header.split('-');
        let version = parts.next().filter(|v| v.len() == 2).and_then(lower_hex)?;
        let trace_id = TraceId::parse(parts.next()?)?;
        let span_id = SpanId::parse(parts.next()?)?;
        let flags = parts.next().filter(|v| v.len() == 2).and_then(lower_hex)?;
        // Version 00 has exactly four fields; a later one may add more; 255 is forbidden.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }

    /// The `traceparent` header for a call made from this span; `traceresponse` has the same form.
    #[must_use]
    pub fn to_header(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }

    /// A log span that gives every event inside it this trace and span id, for work that runs
    /// outside the request (a queued job).
    #[must_use]
    pub fn log_span(&self) -> tracing::Span {
        tracing::error_span!("trace", trace_id = %self.trace_id, span_id = %self.span_id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation_is_read_and_written() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_header(), GOOD);
        let later = TraceContext::parse(&format!("cc{}-extra", &GOOD[2..])).unwrap();
        assert_eq!(later.trace_id, context.trace_id);
    }

    #[test]
    fn what_the_recommendation_forbids_is_refused() {
        let zero_trace = GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32));
        let zero_span = GOOD.replace("b7ad6b7169203331", &"0".repeat(16));
        for bad in [
            "",
            "00",
            &zero_trace,
            &zero_span,
            &GOOD.to_uppercase(),
            &GOOD.replace("00-", "ff-"),
            &format!("{GOOD}-x"),
            &GOOD[..GOOD.len() - 1],
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_context_survives_the_header(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let context =
                TraceContext { trace_id: TraceId(trace), span_id: SpanId(span), sampled };
            prop_assert_eq!(TraceContext::parse(&context.to_header()), Some(context));
        }

        #[test]
        fn no_header_panics(text in "\\PC*") {
            let _ = TraceContext::parse(&text);
        }
    }
}

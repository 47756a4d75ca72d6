//! The W3C `traceparent` header.
//!
//! Source: W3C Trace Context, Recommendation of 23 November 2021 (level 1) and level 2 for the
//! `random` flag. `tracestate` is not read: it concerns the calls made onward in the same trace,
//! and nothing here makes any; whoever adds one has to carry it. Baggage is not read either.

use http::HeaderMap;
use http::header::HeaderName;

use super::id::{SpanId, TraceId, lower_hex};

const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");
const SAMPLED: u8 = 1;
const RANDOM: u8 = 2;

/// Where a span stands in its trace: what is handed from one service or task to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: TraceId,
    /// The span that speaks.
    pub span_id: SpanId,
    /// Whether the trace is recorded: here, or by the caller who asked for it.
    pub sampled: bool,
    /// Whether the trace id is known to be random, so that others may sample by it.
    pub random: bool,
}

impl TraceContext {
    /// Reads the value of a `traceparent` header; `None` when it is not valid, and a new trace
    /// begins.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.trim_matches([' ', '\t']).split('-');
        let version = parts.next().and_then(octet)?;
        let trace_id = TraceId::parse(parts.next()?)?;
        let span_id = SpanId::parse(parts.next()?)?;
        let flags = parts.next().and_then(octet)?;
        // Version 00 has exactly four fields; a later one may add more; 255 is forbidden.
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return None;
        }
        let (sampled, random) = (flags & SAMPLED != 0, flags & RANDOM != 0);
        Some(Self { trace_id, span_id, sampled, random })
    }

    /// Reads the `traceparent` of a request; `None` without a valid one, and when there are several,
    /// of which none can be trusted.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(&TRACE_PARENT).iter();
        let only = values.next()?;
        if values.next().is_some() {
            return None;
        }
        only.to_str().ok().and_then(Self::parse)
    }

    /// The `traceparent` header for a call made from this span; `traceresponse` has the same form.
    #[must_use]
    pub fn to_header(&self) -> String {
        let flags = u8::from(self.sampled) * SAMPLED | u8::from(self.random) * RANDOM;
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// A log span that gives every event inside it this trace and span id, for work that runs
    /// outside the request (a queued job).
    #[must_use]
    pub fn log_span(&self) -> tracing::Span {
        tracing::error_span!("trace", trace_id = %self.trace_id, span_id = %self.span_id)
    }
}

fn octet(text: &str) -> Option<u8> {
    (text.len() == 2).then(|| lower_hex(text)).flatten().and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation_is_read_and_written() {
        let context = TraceContext::parse(GOOD).unwrap();
        assert!(context.sampled && !context.random);
        assert_eq!(context.to_header(), GOOD);
        // Flags of no meaning yet are not taken over, the one of level 2 is.
        let flags = |flags: &str| TraceContext::parse(&format!("{}{flags}", &GOOD[..53])).unwrap();
        assert_eq!(flags("ff").to_header(), format!("{}03", &GOOD[..53]));
        assert_eq!(flags("f8").to_header(), format!("{}00", &GOOD[..53]));
        assert!(flags("02").random && !flags("02").sampled);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let context = TraceContext::parse(GOOD).unwrap();
        for later in ["cc-?", "01-?-what-the-future-will-be-like", "fe-?-"] {
            let later = later.replace("-?", &GOOD[2..]);
            assert_eq!(TraceContext::parse(&later), Some(context), "{later}");
        }
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
            &GOOD.replace("00-", "0-"),
            &GOOD.replace("00-", "000-"),
            &GOOD.replace("00-", ".0-"),
            &format!("{GOOD}-x"),
            &format!("{GOOD}-"),
            &format!("cc{}.x", &GOOD[2..]),
            &GOOD[..GOOD.len() - 1],
            &format!("{GOOD}0"),
            &GOOD.replace('-', "_"),
            &GOOD.replace("b7ad", "b7 d"),
        ] {
            assert_eq!(TraceContext::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn of_several_headers_none_is_believed() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::from_headers(&headers), None);
        headers.append(TRACE_PARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::from_headers(&headers), TraceContext::parse(GOOD));
        headers.append(TRACE_PARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::from_headers(&headers), None);
        headers.insert(TRACE_PARENT, HeaderValue::from_bytes(b"00-\xff").unwrap());
        assert_eq!(TraceContext::from_headers(&headers), None);
    }

    proptest! {
        #[test]
        fn any_context_survives_the_header(
            trace in 1_u128.., span in 1_u64.., sampled: bool, random: bool,
        ) {
            let context = TraceContext {
                trace_id: TraceId::parse(&format!("{trace:032x}")).unwrap(),
                span_id: SpanId::parse(&format!("{span:016x}")).unwrap(),
                sampled,
                random,
            };
            prop_assert_eq!(TraceContext::parse(&context.to_header()), Some(context));
        }

        #[test]
        fn no_header_panics_and_what_is_read_is_valid(
            text in "[0-9a-f]{2}-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-g]{1,3}(-.*)?|\\PC*",
        ) {
            if let Some(context) = TraceContext::parse(&text) {
                prop_assert!(context.trace_id.get() != 0 && context.span_id.get() != 0);
                prop_assert_eq!(TraceContext::parse(&context.to_header()), Some(context));
            }
        }
    }
}

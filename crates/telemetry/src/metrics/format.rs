//! Which exposition format a scraper gets: from its `Accept` header to one of ours.
//!
//! Sources: RFC 9110 section 12.5.1 (ranges and quality values), prometheus.io "Exposition
//! formats" (media types and their parameters). What cannot be read counts as not asked for; a
//! scraper that asks for nothing we have gets text, as its error message would be text, too.

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0, with units and exemplars.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages, with exemplars and native
    /// histograms.
    Protobuf,
}

/// A quality value in thousandths; 0 means "not this one".
type Quality = u16;

impl Format {
    /// The format a scraper prefers by its `Accept` headers; text when they name none we have.
    /// Of equal wishes the first is taken.
    #[must_use]
    pub fn negotiate<'a>(accept: impl IntoIterator<Item = &'a str>) -> Self {
        let mut best: (Self, Quality) = (Self::Text, 0);
        for range in accept.into_iter().flat_map(|header| header.split(',')) {
            if let Some((format, quality)) = wish(range)
                && quality > best.1
            {
                best = (format, quality);
            }
        }
        best.0
    }

    /// The `Content-Type` of the answer.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                 encoding=delimited"
            }
        }
    }
}

/// Whether a client that takes both wants the media type `kind` at least as much as `usual`.
pub(crate) fn prefers(accept: &str, kind: &str, usual: &str) -> bool {
    let wanted = |kind: &str| {
        let ranges = accept.split(',').map(Range::parse);
        ranges
            .filter(|range| range.kind.eq_ignore_ascii_case(kind))
            .map(|range| range.quality)
            .max()
    };
    let quality = wanted(kind).unwrap_or(0);
    quality > 0 && quality >= wanted(usual).unwrap_or(0)
}

/// One media range with the parameters that mean something here.
struct Range<'a> {
    kind: &'a str,
    quality: Quality,
    version: Option<&'a str>,
    proto: Option<&'a str>,
    encoding: Option<&'a str>,
}

impl<'a> Range<'a> {
    fn parse(range: &'a str) -> Self {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or("");
        let mut range = Self { kind, quality: 1000, version: None, proto: None, encoding: None };
        for part in parts {
            let Some((name, value)) = part.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = parse_quality(value).unwrap_or(0),
                "version" => range.version = Some(value),
                "proto" => range.proto = Some(value),
                "encoding" => range.encoding = Some(value),
                _ => {}
            }
        }
        range
    }
}

/// One media range: the format it stands for, if we have it, and how much it is wanted.
fn wish(range: &str) -> Option<(Format, Quality)> {
    let Range { kind, quality, version, proto, encoding } = Range::parse(range);
    let is = |name: &str| kind.eq_ignore_ascii_case(name);
    let format = if is("application/openmetrics-text") && matches!(version, None | Some("1.0.0")) {
        Format::OpenMetrics
    } else if is("text/plain") && matches!(version, None | Some("0.0.4"))
        || is("text/*")
        || is("*/*")
    {
        Format::Text
    } else if is("application/vnd.google.protobuf")
        && proto == Some("io.prometheus.client.MetricFamily")
        && encoding == Some("delimited")
    {
        Format::Protobuf
    } else {
        return None;
    };
    Some((format, quality))
}

/// `qvalue` of RFC 9110: `0` or `1`, then at most three decimals, never above 1.
fn parse_quality(text: &str) -> Option<Quality> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let whole: Quality = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    let decimals: Quality = format!("{decimals:0<3}").parse().ok().filter(|_| digits)?;
    Some(whole + decimals).filter(|quality| *quality <= 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROTOBUF: &str = "application/vnd.google.protobuf;\
                            proto=io.prometheus.client.MetricFamily;encoding=delimited";

    fn negotiate(accept: &str) -> Format {
        Format::negotiate([accept])
    }

    #[test]
    fn what_prometheus_sends_gives_what_it_prefers() {
        let classic = "application/openmetrics-text;version=1.0.0,\
                       application/openmetrics-text;version=0.0.1;q=0.75,\
                       text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(negotiate(classic), Format::OpenMetrics);
        assert_eq!(negotiate(&format!("{PROTOBUF},{classic}")), Format::Protobuf);
        let newer = format!(
            "{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;\
             q=0.5,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        assert_eq!(negotiate(&newer), Format::Protobuf);
    }

    #[test]
    fn a_content_type_of_ours_asks_for_itself() {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            assert_eq!(negotiate(format.content_type()), format);
        }
    }

    #[test]
    fn quality_decides_and_then_the_order() {
        assert_eq!(negotiate(&format!("{PROTOBUF};q=0.3,text/plain;q=0.9")), Format::Text);
        assert_eq!(negotiate("text/plain, application/openmetrics-text"), Format::Text);
        assert_eq!(negotiate("application/openmetrics-text, text/plain"), Format::OpenMetrics);
        assert_eq!(negotiate("text/plain;q=0.998,application/openmetrics-text;q=0.999"), {
            Format::OpenMetrics
        });
        let apart = ["text/plain;q=0.1", "application/openmetrics-text;q=0.2"];
        assert_eq!(Format::negotiate(apart), Format::OpenMetrics, "two headers");
        assert_eq!(negotiate("Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=1.000"), {
            Format::OpenMetrics
        });
    }

    #[test]
    fn a_version_or_encoding_we_do_not_speak_is_not_given() {
        for text in [
            "application/openmetrics-text;version=9.9.9",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=x",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=inf",
            "application/openmetrics-text;q=1.001",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-text;q=0.1234",
            "application/vnd.google.protobuf",
            "application/vnd.google.protobuf;proto=other.Message;encoding=delimited",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/json",
            "*/*",
            "",
            ";;;,,,q=1;=;\"",
        ] {
            assert_eq!(negotiate(text), Format::Text, "{text:?}");
        }
        assert_eq!(Format::negotiate(None), Format::Text, "no header");
    }

    proptest! {
        #[test]
        fn no_accept_header_panics(accept in "\\PC*") {
            let _ = negotiate(&accept);
        }

        #[test]
        fn no_quality_panics_or_leaves_its_range(text in "[0-9.eE+-]{0,8}") {
            prop_assert!(parse_quality(&text).is_none_or(|quality| quality <= 1000));
        }
    }
}

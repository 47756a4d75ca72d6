//! The `tracing` layer: events in, lines into the queue.

use std::cell::RefCell;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::json::{Fields, Visitor, push_key, push_string};
use super::levels::LogLevels;
use super::queue::{Queue, level_index};
use crate::clock::push_rfc3339;
use crate::context;
use crate::metrics::Counter;
use crate::redaction::Scrubber;

/// What the layer, the writer and the handle share.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) levels: RwLock<LogLevels>,
    pub(super) loggers: Vec<(String, String)>,
    pub(super) scrubber: Scrubber,
    /// `,"service":"…","version":"…"}` and a newline.
    pub(super) tail: Vec<u8>,
    pub(super) lines: [Counter; 5],
    pub(super) dropped: [Counter; 5],
}

impl Shared {
    /// The logger's name of a `tracing` target: the longest mapped prefix decides, else `::` reads
    /// as `.`.
    pub(super) fn logger<'a>(&'a self, target: &'a str) -> std::borrow::Cow<'a, str> {
        let mapped = self
            .loggers
            .iter()
            .filter(|(prefix, _)| {
                target
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
            .max_by_key(|(prefix, _)| prefix.len());
        match mapped {
            Some((_, logger)) => logger.as_str().into(),
            None if target.contains("::") => target.replace("::", ".").into(),
            None => target.into(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Spans carry the ids that lines inherit, so quiet levels do not silence them.
        if metadata.is_span() && *metadata.level() <= Level::INFO {
            return true;
        }
        let levels = self.levels.read().unwrap_or_else(PoisonError::into_inner);
        *metadata.level() <= levels.for_logger(&self.logger(metadata.target()))
    }

    pub(super) fn push(&self, line: &[u8], level: Level) {
        let counters = if self.queue.push(line, level) { &self.lines } else { &self.dropped };
        counters[level_index(level)].inc();
    }
}

#[derive(Default)]
struct Scratch {
    line: Vec<u8>,
    fields: Fields,
    message: String,
    function: String,
    text: String,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) struct JsonLayer {
    pub(super) shared: Arc<Shared>,
}

impl JsonLayer {
    fn visit(&self, record: impl FnOnce(&mut Visitor<'_>)) -> Fields {
        let mut fields = Fields::default();
        let (mut message, mut function, mut scratch) = Default::default();
        record(&mut Visitor {
            scrubber: &self.shared.scrubber,
            fields: &mut fields,
            message: &mut message,
            function: &mut function,
            scratch: &mut scratch,
        });
        fields
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, scratch: &mut Scratch)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Scratch { line, fields, message, function, text } = scratch;
        line.clear();
        fields.clear();
        message.clear();
        function.clear();
        event.record(&mut Visitor {
            scrubber: &self.shared.scrubber,
            fields,
            message,
            function,
            scratch: text,
        });
        let metadata = event.metadata();
        let module = metadata.module_path().unwrap_or("");
        let mut inner_function = None;
        for span in ctx.event_scope(event).into_iter().flatten() {
            let same_module = span.metadata().module_path() == Some(module);
            if inner_function.is_none() && same_module {
                inner_function = Some(span.metadata().name());
            }
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        context::with_current(|ids| {
            ids.each(|key, text| fields.add_text(key, text, &self.shared.scrubber));
        });
        if function.is_empty() {
            let last = module.rsplit("::").next().unwrap_or("");
            function.push_str(inner_function.unwrap_or(last));
        }
        line.extend_from_slice(b"{\"timestamp\":\"");
        push_rfc3339(line, SystemTime::now());
        line.extend_from_slice(b"\",\"level\":\"");
        line.extend_from_slice(metadata.level().as_str().as_bytes());
        line.push(b'"');
        push_key(line, "logger");
        push_string(line, &self.shared.logger(metadata.target()));
        push_key(line, "message");
        push_string(line, message);
        push_key(line, "module");
        push_string(line, module);
        push_key(line, "function");
        push_string(line, function);
        push_key(line, "line");
        line.extend_from_slice(itoa::Buffer::new().format(metadata.line().unwrap_or(0)).as_bytes());
        line.extend_from_slice(&fields.rendered);
        line.extend_from_slice(&self.shared.tail);
        self.shared.push(line, *metadata.level());
    }
}

impl<S> Layer<S> for JsonLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.shared.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.shared.enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let levels = self.shared.levels.read().unwrap_or_else(PoisonError::into_inner);
        Some(levels.most_verbose().max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let fields = self.visit(|visitor| attributes.record(visitor));
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let newer = self.visit(|visitor| values.record(visitor));
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                fields.replace_with(newer);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        // An event from within the rendering of another one (a Debug impl that logs), or from a
        // thread that is ending, gets a scratch of its own.
        let done = SCRATCH.try_with(|scratch| {
            scratch
                .try_borrow_mut()
                .map(|mut scratch| self.write(event, &ctx, &mut scratch))
                .is_ok()
        });
        if !matches!(done, Ok(true)) {
            self.write(event, &ctx, &mut Scratch::default());
        }
    }
}

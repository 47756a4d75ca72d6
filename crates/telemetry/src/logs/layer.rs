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

use super::json::{Fields, Visitor, push_string};
use super::levels::LogLevels;
use super::plan::{Plan, Plans, Recent, Slot};
use super::queue::Queue;
use super::schema::Schema;
use crate::clock::Stamps;
use crate::context;
use crate::metrics::Counter;
use crate::redaction::Scrubber;

/// What the layer, the writer and the handle share.
pub(super) struct Shared {
    /// Tells the logger sets of one process apart.
    pub(super) id: u64,
    pub(super) queue: Queue,
    pub(super) levels: RwLock<LogLevels>,
    pub(super) loggers: Vec<(String, String)>,
    pub(super) scrubber: Scrubber,
    pub(super) schema: Schema,
    pub(super) plans: Plans,
    /// How the ids of [`crate::context`] are written.
    pub(super) ids: [Slot; context::NAMES.len()],
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

    fn plan(&self, metadata: &'static Metadata<'static>) -> Arc<Plan> {
        self.plans.get(metadata, || {
            Plan::new(metadata, &self.logger(metadata.target()), &self.schema, &self.scrubber)
        })
    }

    pub(super) fn push(&self, line: &[u8], level: Level) {
        let level = level_index(level);
        let counters = if self.queue.push(line, level) { &self.lines } else { &self.dropped };
        counters[level].inc();
    }
}

/// A level's place in [`crate::builtin::LEVELS`].
pub(super) fn level_index(level: Level) -> usize {
    match level {
        Level::ERROR => 0,
        Level::WARN => 1,
        Level::INFO => 2,
        Level::DEBUG => 3,
        Level::TRACE => 4,
    }
}

/// Buffers that a thread uses again and again, so that a line costs no allocation.
#[derive(Default)]
struct Scratch {
    plans: Recent,
    stamps: Stamps,
    buffers: Buffers,
}

#[derive(Default)]
struct Buffers {
    line: Vec<u8>,
    fields: Fields,
    function: Vec<u8>,
    text: String,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(super) struct JsonLayer {
    pub(super) shared: Arc<Shared>,
}

impl JsonLayer {
    fn visit(
        &self,
        metadata: &'static Metadata<'static>,
        record: impl FnOnce(&mut Visitor<'_>),
    ) -> Fields {
        let plan = self.shared.plan(metadata);
        let mut fields = Fields::default();
        let (mut memo, mut function, mut scratch) = Default::default();
        record(&mut Visitor {
            scrubber: &self.shared.scrubber,
            slots: &plan.slots,
            fields: &mut fields,
            memo: &mut memo,
            spoke: false,
            function: &mut function,
            scratch: &mut scratch,
        });
        fields
    }

    fn write<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>, scratch: &mut Scratch)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Scratch { plans, stamps, buffers } = scratch;
        let Buffers { line, fields, function, text } = buffers;
        let shared = &*self.shared;
        let metadata = event.metadata();
        let find = || shared.plan(metadata);
        let Some((plan, memo)) = plans.get(shared.id, metadata, find) else { return };
        line.clear();
        fields.clear();
        function.clear();
        let mut visitor = Visitor {
            scrubber: &shared.scrubber,
            slots: &plan.slots,
            fields,
            memo,
            spoke: false,
            function,
            scratch: text,
        };
        event.record(&mut visitor);
        let spoke = visitor.spoke;
        let mut inner_function = None;
        for span in ctx.event_scope(event).into_iter().flatten() {
            let same_module = span.metadata().module_path() == Some(plan.module);
            if inner_function.is_none() && same_module {
                inner_function = Some(span.metadata().name());
            }
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.inherit(outer);
            }
        }
        context::with_current(|ids| {
            for (slot, text) in shared.ids.iter().zip(ids.plain()) {
                fields.add_plain(slot, text);
            }
            if let Some((index, text)) = ids.user()
                && let Some(slot) = shared.ids.get(index)
            {
                fields.add_text(slot, text, &shared.scrubber);
            }
        });
        line.extend_from_slice(&shared.schema.start);
        stamps.push(line, SystemTime::now());
        line.extend_from_slice(&plan.frame.head);
        line.extend_from_slice(if spoke { memo.shown() } else { b"\"\"" });
        line.extend_from_slice(&plan.frame.middle);
        match inner_function {
            _ if !function.is_empty() => line.extend_from_slice(function),
            Some(name) => push_string(line, name),
            None => line.extend_from_slice(&plan.function),
        }
        line.extend_from_slice(&plan.frame.end);
        line.extend_from_slice(&fields.rendered);
        line.extend_from_slice(&shared.schema.tail);
        shared.push(line, *metadata.level());
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
            let fields = self.visit(attributes.metadata(), |visitor| attributes.record(visitor));
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        if let Some(span) = ctx.span(id) {
            let newer = self.visit(span.metadata(), |visitor| values.record(visitor));
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

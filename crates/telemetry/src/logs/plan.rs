//! What is worked out once per callsite and then only copied: logger, keys, what is secret.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tracing::Metadata;

use super::json::{push_key, push_string};
use super::schema::{Form, Frame, Schema, Source};
use crate::redaction::Scrubber;

/// What a field of an event is to the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Message,
    Function,
    Value,
}

/// One field of a callsite.
pub(super) struct Slot {
    /// Its name in the tables; the same for every callsite that means the same field.
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// `,"key":` by what the value turns out to be.
    pub(super) text_key: Box<[u8]>,
    pub(super) number_key: Box<[u8]>,
    pub(super) boolean_key: Box<[u8]>,
    pub(super) form: Form,
    /// The value is never shown.
    pub(super) secret: bool,
    /// The value is a route by its meaning and is not looked at for paths.
    pub(super) route: bool,
}

impl Slot {
    pub(super) fn new(name: &'static str, schema: &Schema, scrubber: &Scrubber) -> Self {
        let plain = name.strip_prefix("r#").unwrap_or(name);
        let name = if plain == "error" { "error.message" } else { plain };
        let (text, number, boolean, form) = schema.field(name);
        let key = |key: &str| {
            let mut out = Vec::new();
            push_key(&mut out, key);
            out.into_boxed_slice()
        };
        Self {
            name,
            role: match name {
                "message" => Role::Message,
                "function" => Role::Function,
                _ => Role::Value,
            },
            text_key: key(&text),
            number_key: key(&number),
            boolean_key: key(&boolean),
            form,
            secret: scrubber.is_secret_key(name),
            route: crate::redaction::is_route_key(name),
        }
    }
}

/// One callsite.
pub(super) struct Plan {
    pub(super) logger: String,
    pub(super) module: &'static str,
    pub(super) frame: Frame,
    /// The function, as a JSON string, when neither event nor span says.
    pub(super) function: Vec<u8>,
    /// By the field's index.
    pub(super) slots: Vec<Slot>,
}

impl Plan {
    pub(super) fn new(
        metadata: &'static Metadata<'static>,
        logger: &str,
        schema: &Schema,
        scrubber: &Scrubber,
    ) -> Self {
        let module = metadata.module_path().unwrap_or("");
        let source = Source {
            logger,
            module,
            file: metadata.file().unwrap_or(""),
            line: metadata.line().unwrap_or(0),
        };
        let mut function = Vec::new();
        push_string(&mut function, source.function());
        let slots =
            metadata.fields().iter().map(|f| Slot::new(f.name(), schema, scrubber)).collect();
        let frame = schema.frame(*metadata.level(), &source);
        Self { logger: logger.to_owned(), module, frame, function, slots }
    }
}

/// The plans of all callsites that have spoken so far.
#[derive(Default)]
pub(super) struct Plans {
    by_callsite: RwLock<HashMap<usize, Arc<Plan>>>,
}

/// Callsites are static, so their metadata's address names them.
pub(super) fn callsite(metadata: &'static Metadata<'static>) -> usize {
    std::ptr::from_ref(metadata) as usize
}

impl Plans {
    pub(super) fn get(
        &self,
        metadata: &'static Metadata<'static>,
        make: impl FnOnce() -> Plan,
    ) -> Arc<Plan> {
        let key = callsite(metadata);
        let plans = self.by_callsite.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(plan) = plans.get(&key) {
            return Arc::clone(plan);
        }
        drop(plans);
        let plan = Arc::new(make());
        let mut plans = self.by_callsite.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(plans.entry(key).or_insert(plan))
    }

    pub(super) fn loggers(&self) -> Vec<String> {
        let plans = self.by_callsite.read().unwrap_or_else(PoisonError::into_inner);
        plans.values().map(|plan| plan.logger.clone()).collect()
    }
}

/// The last message of a callsite, as it came and as it is shown. Most messages are the same each
/// time, and what is shown depends on nothing else.
#[derive(Default)]
pub(super) struct Memo {
    raw: String,
    shown: Vec<u8>,
}

impl Memo {
    /// What is shown for `raw`, worked out by `render` unless it was `raw` last time too.
    pub(super) fn show(&mut self, raw: &str, render: impl FnOnce(&mut Vec<u8>)) {
        if self.raw != raw || self.shown.is_empty() {
            self.raw.clear();
            self.raw.push_str(raw);
            self.shown.clear();
            render(&mut self.shown);
        }
    }

    /// What was shown last.
    pub(super) fn shown(&self) -> &[u8] {
        &self.shown
    }
}

struct Place {
    callsite: usize,
    plan: Arc<Plan>,
    memo: Memo,
}

/// Plans this thread used last, found without a lock. One place per hash; a clash costs a lookup.
#[derive(Default)]
pub(super) struct Recent {
    /// The logger set they belong to: a process may run several, as tests do.
    owner: u64,
    places: Vec<Option<Place>>,
}

const PLACES: usize = 128;

impl Recent {
    pub(super) fn get(
        &mut self,
        owner: u64,
        metadata: &'static Metadata<'static>,
        find: impl FnOnce() -> Arc<Plan>,
    ) -> Option<(&Plan, &mut Memo)> {
        if self.owner != owner || self.places.is_empty() {
            self.owner = owner;
            self.places.clear();
            self.places.resize_with(PLACES, || None);
        }
        let callsite = callsite(metadata);
        // Metadata are some 100 bytes each and lie side by side; the low bits say little.
        let place = self.places.get_mut((callsite >> 5 ^ callsite >> 12) % PLACES)?;
        if place.as_ref().is_none_or(|held| held.callsite != callsite) {
            *place = Some(Place { callsite, plan: find(), memo: Memo::default() });
        }
        place.as_mut().map(|held| (&*held.plan, &mut held.memo))
    }
}

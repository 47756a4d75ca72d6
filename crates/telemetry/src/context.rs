//! Whose request the calling thread works for at this moment.
//!
//! The HTTP layer sets it around every poll of a handler, so it holds across awaits; log lines read
//! it when they are written, and a request that writes none pays for no text. Deliberately absent:
//! following a request onto other threads and tasks by itself: there it is entered by hand
//! ([`crate::http::RequestContext::enter`]).

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use crate::traces::TraceContext;

/// What the ids of a request are called in log lines.
pub(crate) const NAMES: [&str; 4] = ["request_id", "trace_id", "span_id", "user_id"];

/// The ids of one request, as its log lines show them.
pub(crate) struct RequestIds {
    pub(crate) request_id: Arc<str>,
    pub(crate) trace: TraceContext,
    trace_id: [u8; 32],
    span_id: [u8; 16],
    /// A keyed hash; known only once the caller is.
    pub(crate) user_id: OnceLock<Arc<str>>,
}

impl RequestIds {
    /// `request_id` holds nothing that a log line must escape or hide.
    pub(crate) fn new(request_id: Arc<str>, trace: TraceContext) -> Self {
        let trace_id = hex(trace.trace_id.get());
        let mut span_id = [0; 16];
        span_id.copy_from_slice(&hex(trace.span_id.get().into())[16..]);
        Self { request_id, trace, trace_id, span_id, user_id: OnceLock::new() }
    }

    /// The ids at the first places of [`NAMES`], which are shown as they are.
    pub(crate) fn plain(&self) -> [&[u8]; 3] {
        [self.request_id.as_bytes(), &self.trace_id, &self.span_id]
    }

    /// The id at the last place of [`NAMES`], whose text is the service's own choice.
    pub(crate) fn user(&self) -> Option<(usize, &str)> {
        self.user_id.get().map(|user| (NAMES.len() - 1, &**user))
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<RequestIds>>> = const { RefCell::new(None) };
}

/// Until it is dropped, the calling thread works for one request.
#[must_use = "the request is left when this is dropped"]
pub struct Entered {
    previous: Option<Arc<RequestIds>>,
    /// It restores a thread's state, so it stays in that thread.
    _thread: PhantomData<*const ()>,
}

pub(crate) fn enter(ids: &Arc<RequestIds>) -> Entered {
    Entered { previous: replace(Some(Arc::clone(ids))), _thread: PhantomData }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let _ = replace(self.previous.take());
    }
}

/// A thread that is ending, or a line being written, has no request to change.
fn replace(ids: Option<Arc<RequestIds>>) -> Option<Arc<RequestIds>> {
    let swap = |current: &RefCell<Option<Arc<RequestIds>>>| {
        current.try_borrow_mut().ok().and_then(|mut held| std::mem::replace(&mut *held, ids))
    };
    CURRENT.try_with(swap).ok().flatten()
}

/// Runs `read` with the ids of the present request, if there is one.
pub(crate) fn with_current(read: impl FnOnce(&RequestIds)) {
    let _ = CURRENT.try_with(|current| {
        if let Ok(held) = current.try_borrow()
            && let Some(ids) = held.as_deref()
        {
            read(ids);
        }
    });
}

/// The two lower-case hexadecimal digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    pairs
};

/// The 32 lower-case hexadecimal digits of a number.
pub(crate) fn hex(value: u128) -> [u8; 32] {
    let mut text = [0; 32];
    for (byte, pair) in value.to_be_bytes().iter().zip(text.as_chunks_mut().0) {
        *pair = PAIRS[usize::from(*byte)];
    }
    text
}

/// Bytes that are known to be ASCII, as text.
pub(crate) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(request_id: &str) -> Arc<RequestIds> {
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        Arc::new(RequestIds::new(request_id.into(), TraceContext::parse(parent).unwrap()))
    }

    fn shown() -> Vec<String> {
        let mut shown = Vec::new();
        with_current(|ids| {
            let plain = ids.plain().map(ascii).into_iter().enumerate();
            shown.extend(plain.chain(ids.user()).map(|(i, text)| format!("{}={text}", NAMES[i])));
        });
        shown
    }

    #[test]
    fn the_ids_of_the_innermost_request_are_shown_while_it_is_entered() {
        assert_eq!(shown(), Vec::<String>::new());
        let outer = enter(&ids("a"));
        {
            let inner = ids("b");
            inner.user_id.set("u1".into()).unwrap();
            let _inner = enter(&inner);
            assert_eq!(
                shown(),
                [
                    "request_id=b",
                    "trace_id=0af7651916cd43dd8448eb211c80319c",
                    "span_id=b7ad6b7169203331",
                    "user_id=u1"
                ]
            );
        }
        assert_eq!(shown()[0], "request_id=a");
        std::thread::spawn(|| assert!(shown().is_empty())).join().unwrap();
        drop(outer);
        assert!(shown().is_empty());
    }

    #[test]
    fn a_number_reads_as_its_digits() {
        assert_eq!(ascii(&hex(0x0af7_6519)), format!("{:032x}", 0x0af7_6519));
    }
}

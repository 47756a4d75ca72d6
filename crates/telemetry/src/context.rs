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
    /// A keyed hash; known only once the caller is.
    pub(crate) user_id: OnceLock<Arc<str>>,
}

impl RequestIds {
    pub(crate) const fn new(request_id: Arc<str>, trace: TraceContext) -> Self {
        Self { request_id, trace, user_id: OnceLock::new() }
    }

    /// Calls `write` with the place in [`NAMES`] and the text of each id that is known.
    pub(crate) fn each(&self, mut write: impl FnMut(usize, &str)) {
        write(0, &self.request_id);
        write(1, ascii(&hex(self.trace.trace_id.get())));
        write(2, ascii(hex(self.trace.span_id.get().into()).get(16..).unwrap_or(&[])));
        if let Some(user) = self.user_id.get() {
            write(3, user);
        }
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

/// The 32 lower-case hexadecimal digits of a number.
pub(crate) fn hex(value: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (byte, pair) in value.to_be_bytes().iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
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
        with_current(|ids| ids.each(|i, text| shown.push(format!("{}={text}", NAMES[i]))));
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

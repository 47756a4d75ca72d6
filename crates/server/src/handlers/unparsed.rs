//! A bound on what a multipart parser may hold back.
//!
//! The parser keeps a part's head until it is whole, and a head that never ends would be kept for
//! as long as the body limit allows, which is sized for scans. So the bytes that went in since
//! something last came out are counted, and the body breaks off when they are too many.

use axum::body::Body;
use axum::extract::Request;
use hyper::body::{Body as HttpBody, Bytes, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

/// Most bytes that go into the parser before something comes out. A head takes hundreds; the rest
/// is what one read of a socket may bring.
const LIMIT: usize = 1 << 20;

/// Counts what the parser holds back.
#[derive(Clone, Default)]
pub(super) struct Unparsed(Arc<AtomicUsize>);

impl Unparsed {
    /// Puts the count round the body of a request.
    pub(super) fn watch(&self, request: Request) -> Request {
        request.map(|inner| Body::new(Watched { inner, held: self.clone() }))
    }

    /// Something came out of the parser.
    pub(super) fn reset(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) -> usize {
        self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes)
    }
}

struct Watched {
    inner: Body,
    held: Unparsed,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && self.held.add(data.len()) > LIMIT
        {
            return Poll::Ready(Some(Err(axum::Error::new("a part's head does not end"))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

//! The answer's body, with the request's record riding on it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};

use super::recorder::Recorder;
use crate::context;

pin_project_lite::pin_project! {
    /// A body that records its request when it ends, fails or is dropped.
    pub struct RecordedBody<B> {
        #[pin]
        body: B,
        // Dropped unfinished: the client left.
        recorder: Option<Box<Recorder>>,
    }
}

impl<B: Body> RecordedBody<B> {
    pub(super) fn new(body: B, mut recorder: Box<Recorder>) -> Self {
        // A body with nothing in it is never polled.
        if body.is_end_stream() || recorder.has_no_body() {
            recorder.complete();
            return Self { body, recorder: None };
        }
        Self { body, recorder: Some(recorder) }
    }
}

impl<B> Body for RecordedBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        let entered = this.recorder.as_ref().map(|recorder| context::enter(&recorder.ids));
        let polled = this.body.as_mut().poll_frame(cx);
        drop(entered);
        let Poll::Ready(frame) = &polled else { return polled };
        let over = match frame {
            None => true,
            Some(Ok(frame)) => {
                if let (Some(recorder), Some(data)) = (this.recorder.as_mut(), frame.data_ref()) {
                    recorder.add_bytes(data.remaining() as u64);
                }
                // A server that knows the length does not ask for the end.
                this.body.is_end_stream()
            }
            Some(Err(_)) => {
                if let Some(mut recorder) = this.recorder.take() {
                    recorder.fail("body");
                }
                false
            }
        };
        if over && let Some(mut recorder) = this.recorder.take() {
            recorder.complete();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! Counting open client connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::builtin;
use crate::metrics::{Gauge, GaugeHold, Registry};

/// The gauge of open connections, for servers that accept by themselves: `gauge.hold()` for as long
/// as a connection lives.
#[must_use]
pub fn active_connections(registry: &Registry) -> Gauge {
    registry.gauge(&builtin::CONNECTIONS.prefixed(registry.prefix()), &[])
}

/// A listener for `axum::serve` that counts its open connections.
pub struct CountedListener<L> {
    listener: L,
    gauge: Gauge,
}

impl<L: Listener> CountedListener<L> {
    /// Counts the connections of `listener` in the gauge of `registry`.
    pub fn new(listener: L, registry: &Registry) -> Self {
        Self { listener, gauge: active_connections(registry) }
    }
}

impl<L: Listener> Listener for CountedListener<L> {
    type Io = CountedConnection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (io, address) = self.listener.accept().await;
        (CountedConnection { io, _hold: self.gauge.hold() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

pin_project_lite::pin_project! {
    /// A connection that is counted while it lives.
    pub struct CountedConnection<I> {
        #[pin]
        io: I,
        _hold: GaugeHold,
    }
}

impl<I: AsyncRead> AsyncRead for CountedConnection<I> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buffer)
    }
}

impl<I: AsyncWrite> AsyncWrite for CountedConnection<I> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

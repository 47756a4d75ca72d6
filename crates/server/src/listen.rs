//! Sockets: bound before anything is announced, served with limits, closed gracefully.

use crate::ServerError;
use crate::audit::AuditLog;
use crate::config::ListenConfig;
use crate::stop::Stop;
use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use microdiff_telemetry::metrics::Gauge;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::util::MapRequest;

/// What each listener serves, by the flag that sets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Api,
    Metrics,
    Gpu,
    Admin,
}

impl Role {
    pub(crate) const ALL: [Role; 4] = [Role::Api, Role::Metrics, Role::Gpu, Role::Admin];

    fn flag(self) -> &'static str {
        match self {
            Role::Api => "--listen",
            Role::Metrics => "--metrics-listen",
            Role::Gpu => "--gpu-listen",
            Role::Admin => "--admin-listen",
        }
    }

    fn address(self, config: &ListenConfig) -> SocketAddr {
        match self {
            Role::Api => config.api,
            Role::Metrics => config.metrics,
            Role::Gpu => config.gpu,
            Role::Admin => config.admin,
        }
    }
}

/// A bound socket and the roles it has.
pub(crate) struct Bound {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) roles: Vec<Role>,
}

/// Binds every listener; roles with the same fixed address share one socket.
pub(crate) async fn bind(config: &ListenConfig) -> Result<Vec<Bound>, ServerError> {
    let mut sockets: Vec<(SocketAddr, Bound)> = Vec::new();
    for role in Role::ALL {
        let wanted = role.address(config);
        let shared = sockets.iter_mut().find(|(at, _)| *at == wanted && wanted.port() != 0);
        if let Some((_, bound)) = shared {
            bound.roles.push(role);
            continue;
        }
        let fault = |source| ServerError::Bind { address: wanted, flag: role.flag(), source };
        let listener = TcpListener::bind(wanted).await.map_err(fault)?;
        let address = listener.local_addr().map_err(fault)?;
        sockets.push((wanted, Bound { listener, address, roles: vec![role] }));
    }
    Ok(sockets.into_iter().map(|(_, bound)| bound).collect())
}

/// How a listener treats its connections.
#[derive(Clone)]
pub(crate) struct ServeOptions {
    /// Connections at the same time.
    pub(crate) connections: usize,
    /// Time in which the head of a request must arrive.
    pub(crate) header_read: Duration,
    /// Tells who calls.
    pub(crate) audit: AuditLog,
    /// Shows the connections, if they are to be shown.
    pub(crate) gauge: Option<Gauge>,
}

/// Serves until the sockets are to close, then finishes open requests; returns when the last is
/// answered.
pub(crate) async fn serve(listener: TcpListener, app: Router, options: ServeOptions, stop: Stop) {
    let slots = Arc::new(Semaphore::new(options.connections));
    let graceful = GracefulShutdown::new();
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(options.header_read);
    loop {
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = stop.closing() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, mostly: wait for some to come free instead of spinning.
                tracing::warn!(error = %error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Small answers should not wait for company; a refusal here costs only latency.
        let _ = stream.set_nodelay(true);
        let caller = options.audit.caller(peer.ip());
        let named = MapRequest::new(app.clone(), move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(caller.clone());
            request
        });
        let service = TowerToHyperService::new(named);
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        let hold = options.gauge.as_ref().map(Gauge::hold);
        tokio::spawn(async move {
            // A broken connection is the client's business; the request itself is already counted.
            let _ = connection.await;
            drop((hold, slot));
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

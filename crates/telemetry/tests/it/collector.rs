//! Collectors on real sockets, well and ill.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::serve::Listener;
use microdiff_telemetry::traces::Protocol;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};

pub(crate) const BOTH: [Protocol; 2] = [Protocol::HttpProtobuf, Protocol::Grpc];

/// What a collector does with the spans it is sent.
#[derive(Clone)]
pub(crate) struct Behaviour {
    pub(crate) received: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// Takes spans, or says that it is unavailable.
    well: Arc<Mutex<bool>>,
    /// A permit for each batch it may answer.
    gate: Arc<Semaphore>,
}

impl Behaviour {
    async fn take(&self, request: ExportTraceServiceRequest) -> bool {
        let well = *self.well.lock().unwrap();
        if well {
            self.received.lock().unwrap().push(request);
        }
        self.gate.acquire().await.unwrap().forget();
        well
    }
}

#[tonic::async_trait]
impl TraceService for Behaviour {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        if self.take(request.into_inner()).await {
            Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
        } else {
            Err(tonic::Status::unavailable("not now"))
        }
    }
}

/// A collector on a runtime of its own.
pub(crate) struct Collector {
    /// Its base address.
    pub(crate) endpoint: String,
    pub(crate) protocol: Protocol,
    behaviour: Behaviour,
    _runtime: tokio::runtime::Runtime,
}

/// An address that refuses connections and that nobody else is given meanwhile.
pub(crate) struct Reserved(TcpSocket, tokio::runtime::Runtime);

impl Reserved {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket, runtime)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    /// Starts a collector there.
    pub(crate) fn open(self, protocol: Protocol, tls: Option<&Certificate>) -> Collector {
        let Self(socket, runtime) = self;
        let address = socket.local_addr().unwrap();
        let listener = {
            let _inside = runtime.enter();
            socket.listen(64).unwrap()
        };
        let behaviour = Behaviour {
            received: Arc::default(),
            well: Arc::new(Mutex::new(true)),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        };
        match protocol {
            Protocol::HttpProtobuf => serve_http(&runtime, listener, &behaviour, tls),
            Protocol::Grpc => serve_grpc(&runtime, listener, &behaviour, tls),
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        let endpoint = format!("{scheme}://{address}");
        Collector { endpoint, protocol, behaviour, _runtime: runtime }
    }
}

fn serve_http(
    runtime: &tokio::runtime::Runtime,
    listener: TcpListener,
    behaviour: &Behaviour,
    tls: Option<&Certificate>,
) {
    let behaviour = behaviour.clone();
    let take = move |body: Bytes| {
        let behaviour = behaviour.clone();
        async move {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            if behaviour.take(request).await {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    };
    let app = Router::new().route("/v1/traces", post(take));
    match tls {
        None => drop(runtime.spawn(async move { axum::serve(listener, app).await })),
        Some(certificate) => {
            let listener = TlsListener(listener, certificate.acceptor());
            drop(runtime.spawn(async move { axum::serve(listener, app).await }));
        }
    }
}

fn serve_grpc(
    runtime: &tokio::runtime::Runtime,
    listener: TcpListener,
    behaviour: &Behaviour,
    tls: Option<&Certificate>,
) {
    let mut server = Server::builder();
    if let Some(Certificate { certificate, key }) = tls {
        let identity = Identity::from_pem(certificate, key);
        server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
    }
    let service = TraceServiceServer::new(behaviour.clone());
    let incoming = TcpIncoming::from(listener);
    drop(runtime.spawn(server.add_service(service).serve_with_incoming(incoming)));
}

impl Collector {
    /// One that takes everything.
    pub(crate) fn start(protocol: Protocol) -> Self {
        Reserved::new().open(protocol, None)
    }

    pub(crate) fn set_well(&self, well: bool) {
        *self.behaviour.well.lock().unwrap() = well;
    }

    /// From now on it takes what it is sent but answers nothing.
    pub(crate) fn hold_answers(&self) {
        self.behaviour.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn release_answers(&self) {
        self.behaviour.gate.add_permits(1 << 20);
    }

    /// Requests taken so far.
    pub(crate) fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        self.behaviour.received.lock().unwrap().clone()
    }

    /// Spans taken so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        let requests = self.requests();
        let scopes = requests.iter().flat_map(|r| &r.resource_spans).flat_map(|r| &r.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }
}

/// A certificate for this machine that nobody trusts yet, in PEM form.
pub(crate) struct Certificate {
    pub(crate) certificate: String,
    key: String,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    fn acceptor(&self) -> TlsAcceptor {
        use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let chain = vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config).into()
    }
}

/// Accepts connections that get through the handshake.
struct TlsListener(TcpListener, TlsAcceptor);

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else { continue };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

//! OTLP over HTTP and gRPC, with TLS where the endpoint says `https`.
//!
//! The exporting thread waits here; a runtime of one more thread drives the connections, so that a
//! collector that hangs up between two batches is noticed before the next.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::{HttpClient, HttpError, hyper::HyperClient};
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use tokio::runtime::Runtime;

use super::options::{Protocol, TraceOptions};
use crate::TelemetryError;
use crate::tls::{self, Trust};

/// The exporter with what drives it.
pub(super) struct Transport {
    exporter: SpanExporter,
    runtime: Runtime,
    limit: Duration,
    last_error: LastError,
}

/// Why the last attempt over HTTP failed; the exporter itself only says that it did.
type LastError = Arc<Mutex<Option<String>>>;

impl Transport {
    /// Prepares everything; the collector is reached for the first time by the first batch.
    pub(super) fn connect(
        options: &TraceOptions,
        endpoint: &str,
        resource: &Resource,
    ) -> Result<Self, TelemetryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("span-transport")
            .enable_all()
            .build()
            .map_err(|source| TelemetryError::System { what: "span exporter runtime", source })?;
        let last_error = LastError::default();
        let mut exporter = {
            let _inside = runtime.enter();
            match options.protocol {
                Protocol::HttpProtobuf => http(options, endpoint, Arc::clone(&last_error))?,
                Protocol::Grpc => grpc(options, endpoint)?,
            }
        };
        exporter.set_resource(resource);
        Ok(Self { exporter, runtime, limit: options.export_timeout, last_error })
    }

    /// Sends one batch, with the exporter's retries, within the deadline of one export.
    pub(super) fn export(&self, batch: Vec<SpanData>) -> Result<(), String> {
        let sent = async { tokio::time::timeout(self.limit, self.exporter.export(batch)).await };
        let result = self.runtime.block_on(sent);
        let detail = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).take();
        match result {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(detail.unwrap_or_else(|| error.to_string())),
            Err(_) => Err(format!("no answer within {} s", self.limit.as_secs_f64())),
        }
    }

    pub(super) fn shut_down(self) {
        // Nothing is left to lose by a failure here, and a name look-up may still hang.
        let _ = self.exporter.shutdown();
        self.runtime.shutdown_background();
    }
}

fn refuse(variable: &'static str, reason: impl std::fmt::Display) -> TelemetryError {
    TelemetryError::Traces { variable, reason: reason.to_string().escape_debug().to_string() }
}

fn refuse_endpoint(reason: impl std::fmt::Display) -> TelemetryError {
    refuse("OTEL_EXPORTER_OTLP_ENDPOINT", reason)
}

fn is_tls(endpoint: &str) -> bool {
    endpoint.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

fn http(
    options: &TraceOptions,
    endpoint: &str,
    last_error: LastError,
) -> Result<SpanExporter, TelemetryError> {
    let trust = match &options.certificate {
        _ if !is_tls(endpoint) => Trust::Nobody,
        Some(file) => Trust::Only(file),
        None => Trust::System,
    };
    let tls = tls::client_config(trust).map_err(refuse_certificate)?;
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
    let inner = HyperClient::new(connector, options.timeout, None);
    SpanExporter::builder()
        .with_http()
        .with_http_client(Client { inner, last_error })
        .with_endpoint(endpoint)
        .with_timeout(options.timeout)
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .build()
        .map_err(refuse_endpoint)
}

fn grpc(options: &TraceOptions, endpoint: &str) -> Result<SpanExporter, TelemetryError> {
    let mut builder =
        SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(options.timeout);
    if is_tls(endpoint) {
        let config = ClientTlsConfig::new();
        builder = builder.with_tls_config(match &options.certificate {
            Some(file) => {
                let pem = tls::checked_pem(file).map_err(refuse_certificate)?;
                config.ca_certificate(Certificate::from_pem(pem))
            }
            None => {
                tls::system().map_err(refuse_certificate)?;
                config.with_native_roots()
            }
        });
    }
    builder.build().map_err(refuse_endpoint)
}

fn refuse_certificate(reason: impl std::fmt::Display) -> TelemetryError {
    refuse("OTEL_EXPORTER_OTLP_CERTIFICATE", reason)
}

/// Notes why a request failed on its way through.
#[derive(Debug)]
struct Client<C> {
    inner: C,
    last_error: LastError,
}

impl<C: HttpClient> HttpClient for Client<C> {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let result = self.inner.send_bytes(request).await;
            let note = result.as_ref().err().map(|error| chain(&**error));
            *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = note;
            result
        })
    }
}

/// An error with what caused it: "client error (Connect): ... : connection refused".
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors already quote their cause.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

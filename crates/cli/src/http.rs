//! Asking other programs over HTTP: a service's own listeners, and the systems that watch it.
//!
//! One request, one answer, within a time and of a size that are bounded. No proxy of the
//! environment is asked, no redirect is followed, nothing is kept between two requests. A URL may
//! carry `user:password@`; it is sent as credentials and never shown.

use crate::failure::Failure;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use microdiff_telemetry::tls::{self, Trust};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use std::error::Error;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Longest body that is read, bytes.
const BODY_BYTES: usize = 64 << 20;
/// What stands as it is in a query.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A program that answers over HTTP.
pub struct Server {
    scheme: Scheme,
    authority: Authority,
    /// What stands before every path; empty, or beginning with a slash.
    prefix: String,
    authorization: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Runtime,
    patience: Duration,
}

/// How a server is asked, beside its URL.
#[derive(Default)]
pub struct Access<'a> {
    /// Value of the `authorization` header, in place of what the URL says.
    pub authorization: Option<HeaderValue>,
    /// Certificates to trust in place of the system's.
    pub certificate: Option<&'a Path>,
}

/// A request with a body.
pub struct Post<'a> {
    pub path: &'a str,
    pub content_type: &'a str,
    pub headers: &'a [(HeaderName, HeaderValue)],
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub patience: Duration,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer to work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// Nobody answered; the reason in words.
    NoAnswer(String),
    /// The answer is a refusal: the status, and what the body says of it.
    Refused(StatusCode, String),
    /// The answer is not of the kind that was asked for.
    NotUnderstood(String),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(reason) => write!(f, "gives no answer: {reason}"),
            Self::Refused(status, told) if told.is_empty() => write!(f, "answers {status}"),
            Self::Refused(status, told) => write!(f, "answers {status}: {told}"),
            Self::NotUnderstood(reason) => write!(f, "answer not understood: {reason}"),
        }
    }
}

impl Answer {
    /// The body of an answer that is no refusal, as JSON.
    pub fn json(&self) -> Result<Value, AskError> {
        self.accepted()?;
        serde_json::from_slice(&self.body)
            .map_err(|error| AskError::NotUnderstood(format!("it is not JSON ({error})")))
    }

    /// Refuses what is not a success.
    pub fn accepted(&self) -> Result<(), AskError> {
        if self.status.is_success() {
            return Ok(());
        }
        Err(AskError::Refused(self.status, told(&self.body)))
    }
}

impl Server {
    /// A server by its URL. Nothing is asked yet.
    pub fn at(url: &str, patience: Duration) -> Result<Self, Failure> {
        Self::with(url, Access::default(), patience)
    }

    /// A server by its URL and what it wants to see.
    pub fn with(url: &str, access: Access<'_>, patience: Duration) -> Result<Self, Failure> {
        // What is no URL may still hold a password.
        let shown = url.rsplit('@').next().unwrap_or_default();
        let refuse = |reason: &str| {
            let like = "give one as in http://127.0.0.1:9090";
            Failure::usage(format!("{shown} is no URL: {reason}; {like}"))
        };
        let uri: Uri = url.parse().map_err(|error| refuse(&format!("{error}")))?;
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or_else(|| refuse("it has no scheme"))?;
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(refuse("its scheme is neither http nor https"));
        }
        let full = parts.authority.ok_or_else(|| refuse("it names no host"))?;
        let (userinfo, host) = match full.as_str().rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, full.as_str()),
        };
        let authority = host.parse().map_err(|_| refuse("its host cannot be read"))?;
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(refuse("it has a query"));
        }
        let prefix = path.as_ref().map(PathAndQuery::path).unwrap_or_default();
        let prefix = prefix.trim_end_matches('/').to_owned();
        let authorization = match access.authorization {
            Some(value) => Some(value),
            None => userinfo.map(basic).transpose().map_err(|reason| refuse(&reason))?,
        };
        let trust = match access.certificate {
            _ if scheme == Scheme::HTTP => Trust::Nobody,
            Some(file) => Trust::Only(file),
            None => Trust::System,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::internal)?;
        let client = client(trust)?;
        Ok(Self { scheme, authority, prefix, authorization, client, runtime, patience })
    }

    /// The server's URL, without credentials.
    pub fn url(&self) -> String {
        format!("{}://{}{}", self.scheme, self.authority, self.prefix)
    }

    /// Whether credentials go with each request.
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    /// Asks for a path, which begins with a slash or is empty.
    pub fn get(&self, path: &str) -> Result<Answer, AskError> {
        let request = self.request(Method::GET, path).body(Full::default());
        self.send(request, self.patience)
    }

    /// Asks for JSON.
    pub fn get_json(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, AskError> {
        let encoded = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
        let pair = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
        let pairs: Vec<String> = query.iter().map(pair).collect();
        if pairs.is_empty() {
            return self.get(path)?.json();
        }
        self.get(&format!("{path}?{}", pairs.join("&")))?.json()
    }

    /// Asks with a JSON body for JSON.
    pub fn search(&self, path: &str, body: &Value) -> Result<Value, AskError> {
        let body = body.to_string().into_bytes();
        let (content_type, headers, patience) = ("application/json", &[], self.patience);
        self.post(Post { path, content_type, headers, body, patience })?.json()
    }

    /// Sends a body.
    pub fn post(&self, post: Post<'_>) -> Result<Answer, AskError> {
        let mut request =
            self.request(Method::POST, post.path).header(CONTENT_TYPE, post.content_type);
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        self.send(request.body(Full::from(post.body)), post.patience)
    }

    fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let target = format!("{}{path}", self.prefix);
        let target = if target.starts_with('/') { target } else { format!("/{target}") };
        let uri = Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(target);
        let mut request = Request::builder().method(method);
        // A path that cannot be one fails where the request is completed.
        request = match uri.build() {
            Ok(uri) => request.uri(uri),
            Err(_) => request.uri(" "),
        };
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        }
    }

    fn send(
        &self,
        request: http::Result<Request<Full<Bytes>>>,
        patience: Duration,
    ) -> Result<Answer, AskError> {
        let request = request.map_err(|error| AskError::NoAnswer(error.to_string()))?;
        let asked = async { tokio::time::timeout(patience, self.exchange(request)).await };
        self.runtime.block_on(asked).unwrap_or_else(|_| {
            Err(AskError::NoAnswer(format!("nothing came within {} s", patience.as_secs_f64())))
        })
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer, AskError> {
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| AskError::NoAnswer(innermost(&error)))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, BODY_BYTES)
            .collect()
            .await
            .map_err(|error| AskError::NoAnswer(innermost(&*error)))?;
        Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() })
    }
}

fn client(trust: Trust<'_>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>, Failure> {
    let config = tls::client_config(trust).map_err(Failure::usage)?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(config);
    let connector = builder.https_or_http().enable_http1().build();
    Ok(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector))
}

/// `user:password` of a URL as a header.
fn basic(userinfo: &str) -> Result<HeaderValue, String> {
    let plain = percent_decode_str(userinfo).collect::<Vec<u8>>();
    secret("Basic", &BASE64_STANDARD.encode(&plain))
}

/// A header with a secret in it, which is never shown.
pub fn secret(scheme: &str, value: &str) -> Result<HeaderValue, String> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}"))
        .map_err(|_| "its credentials have characters that a header may not have".to_owned())?;
    header.set_sensitive(true);
    Ok(header)
}

/// What a refusal says for people: a problem's detail, an API's error, or the first of its text.
fn told(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => {
            let places = ["/detail", "/error/reason", "/error", "/message", "/errors/0/msg"];
            let found = places.iter().find_map(|place| json.pointer(place)?.as_str());
            found.unwrap_or_default().to_owned()
        }
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(400)]).into_owned(),
    };
    // A page of HTML is no reason.
    let line = text.trim().lines().next().unwrap_or_default();
    if line.starts_with('<') { String::new() } else { line.chars().take(200).collect() }
}

/// The cause that says something: "Connection refused" rather than "error sending request".
fn innermost(error: &dyn Error) -> String {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Server {
        Server::at(url, Duration::from_secs(1)).expect("a URL")
    }

    fn refused(url: &str) -> String {
        Server::at(url, Duration::from_secs(1)).err().expect("no URL").to_string()
    }

    #[test]
    fn credentials_of_a_url_are_sent_and_not_shown() {
        let server = at("http://anna:p%40ss:w@host:9090/prom/");
        assert_eq!(server.url(), "http://host:9090/prom");
        let header = server.authorization.as_ref().expect("credentials");
        assert_eq!(header.as_bytes(), b"Basic YW5uYTpwQHNzOnc=");
        assert!(header.is_sensitive() && server.has_credentials());
        assert!(!at("http://host").has_credentials());
        for bad in
            ["anna:pass@host", "ftp://anna:pass@host", "http://anna:pass@", "http://a:pass@h?q"]
        {
            let told = refused(bad);
            assert!(told.contains("is no URL") && !told.contains("pass"), "{told}");
        }
    }

    #[test]
    fn a_path_follows_the_prefix() {
        let target = |server: &Server, path: &str| {
            let request = server.request(Method::GET, path).body(()).expect("a request");
            request.uri().to_string()
        };
        assert_eq!(target(&at("http://h:1/a/"), "/api?x=1"), "http://h:1/a/api?x=1");
        assert_eq!(target(&at("http://h:1"), ""), "http://h:1/");
        assert!(at("http://h:1").get("/a b").is_err(), "no panic for a path that is none");
    }

    #[test]
    fn a_refusal_is_told_by_what_its_body_says() {
        for (body, said) in [
            (r#"{"detail":"the queue is full"}"#, "the queue is full"),
            (r#"{"error":{"reason":"no such index"}}"#, "no such index"),
            (r#"{"status":"error","error":"bad_data"}"#, "bad_data"),
            (r#"{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}"#, "trace not found"),
            ("<html><body>login</body></html>", ""),
            ("Unauthorized\nmore", "Unauthorized"),
            ("[1]", ""),
            ("", ""),
        ] {
            assert_eq!(told(body.as_bytes()), said, "{body}");
        }
    }
}

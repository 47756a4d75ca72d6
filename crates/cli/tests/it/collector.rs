//! A collector of spans over HTTP that keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// A running collector; it runs as long as the test process.
#[derive(Clone)]
pub struct Collector {
    pub address: SocketAddr,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    refuses: AtomicBool,
    heads: Mutex<String>,
    bodies: Mutex<Vec<u8>>,
}

impl Collector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let kept = Arc::<Kept>::default();
        let collector = Self { address, kept: Arc::clone(&kept) };
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || while kept.take(&stream).is_some() {});
            }
        });
        collector
    }

    /// Whether spans are refused from now on.
    pub fn refuse(&self, refuses: bool) {
        self.kept.refuses.store(refuses, Ordering::Relaxed);
    }

    /// The heads of all requests, in lower case.
    pub fn heads(&self) -> String {
        self.kept.heads.lock().expect("no panic").clone()
    }

    /// The bodies of all requests: text lies in protobuf as it is.
    pub fn bodies(&self) -> Vec<u8> {
        self.kept.bodies.lock().expect("no panic").clone()
    }
}

impl Kept {
    /// Reads one request and answers it; `None` when the connection is over.
    fn take(&self, stream: &TcpStream) -> Option<()> {
        let mut input = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let begin = head.len();
            if input.read_line(&mut head).ok()? == 0 {
                return None;
            }
            head.make_ascii_lowercase();
            if let Some(value) = head[begin..].strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).ok()?;
        self.heads.lock().expect("no panic").push_str(&head);
        self.bodies.lock().expect("no panic").extend(body);
        let refuses = self.refuses.load(Ordering::Relaxed);
        let status = if refuses { "400 Bad Request" } else { "200 OK" };
        let mut output = stream;
        write!(output, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").ok()
    }
}

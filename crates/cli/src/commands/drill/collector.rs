//! A collector of spans that takes what it is sent, and can be down.

use crate::failure::Failure;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A connection that says nothing for this long is let go.
const IDLE: Duration = Duration::from_secs(60);
/// More than any batch of spans.
const LARGEST: usize = 16 * 1024 * 1024;

/// OTLP over HTTP: every batch is answered 200. Runs as long as the drill.
pub struct Collector {
    pub address: SocketAddr,
    down: Arc<AtomicBool>,
}

impl Collector {
    pub fn start() -> Result<Self, Failure> {
        let refuse = |error| Failure::internal(format!("no port for a collector: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let down = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&down);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let flag = Arc::clone(&flag);
                std::thread::spawn(move || while take(&stream, &flag).is_some() {});
            }
        });
        Ok(Self { address, down })
    }

    /// While it is down it hangs up on whoever sends.
    pub fn turn_down(&self, down: bool) {
        self.down.store(down, Ordering::Release);
    }
}

/// Reads one request and answers it; `None` when the connection is over.
fn take(stream: &TcpStream, down: &AtomicBool) -> Option<()> {
    stream.set_read_timeout(Some(IDLE)).ok()?;
    let mut input = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        line.make_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    if length > LARGEST {
        return None;
    }
    input.read_exact(&mut vec![0; length]).ok()?;
    if down.load(Ordering::Acquire) {
        return None;
    }
    let mut output = stream;
    output.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

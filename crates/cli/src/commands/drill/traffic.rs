//! Users of the sandboxed service: they read, and they send small parts to be designed.

use super::habit::Habit;
use crate::failure::Failure;
use crate::form::{Form, Part};
use crate::http::{Post, Server};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A user who waits longer gives up.
const USER: Duration = Duration::from_secs(30);

/// What a design costs.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub samples: u32,
    pub steps: u32,
}

impl Effort {
    /// Some ten milliseconds.
    pub const SMALL: Self = Self { samples: 64, steps: 8 };
    /// Some tenths of a second of the processor.
    pub const LARGE: Self = Self { samples: 2048, steps: 24 };

    /// Some seconds, on however many processors.
    pub fn enormous() -> Self {
        Self { samples: 100_000, steps: (12 * super::starve::processors()).clamp(8, 512) }
    }
}

/// Somebody who asks the service.
#[derive(Clone)]
pub struct User {
    service: Arc<Server>,
    api: SocketAddr,
    /// What they send: it costs a design next to nothing.
    part: Arc<Part>,
}

impl User {
    pub fn new(api: SocketAddr) -> Result<Self, Failure> {
        let service = Arc::new(Server::at(&format!("http://{api}"), USER)?);
        Ok(Self { service, api, part: Arc::new(Part::phantom()?) })
    }

    /// The service that is asked.
    pub fn service(&self) -> &Server {
        &self.service
    }

    /// Asks for the models; what comes of it is for the service to count.
    fn read(&self) {
        // The whole answer: a connection left in the middle would count as a user who hung up.
        let _ = self.service.get("/v1/models");
    }

    /// Submits a part; the id of the design when it is accepted.
    pub fn submit(&self, effort: Effort) -> Option<String> {
        self.post(&self.part.scan, effort)
    }

    /// Submits what is no scan: it is accepted, and its design fails.
    fn submit_rubbish(&self) {
        self.post(b"this is no scan", Effort::SMALL);
    }

    fn post(&self, scan: &[u8], effort: Effort) -> Option<String> {
        let form = self.submission(scan, effort);
        let answer = self.service.post(Post {
            path: "/v1/designs",
            content_type: &form.content_type(),
            headers: &[],
            body: form.body(),
            patience: USER,
        });
        answer.ok()?.json().ok()?["id"].as_str().map(str::to_owned)
    }

    /// The state of a design; `None` when the service does not say.
    pub fn state(&self, id: &str) -> Option<String> {
        let answer = self.service.get_json(&format!("/v1/designs/{id}"), &[]).ok()?;
        answer["state"].as_str().map(str::to_owned)
    }

    /// Submits a part, asks to wait for the answer, and hangs up instead.
    fn hang_up(&self) {
        let form = self.submission(&self.part.scan, Effort::SMALL);
        let body = form.body();
        let head = format!(
            "POST /v1/designs?wait=20 HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\
             content-type: {}\r\n\r\n",
            self.api,
            body.len(),
            form.content_type()
        );
        // By hand: no HTTP client hangs up at a chosen moment.
        if let Ok(mut stream) = TcpStream::connect_timeout(&self.api, USER) {
            // The service has all of the request, and sees that nobody is there any more.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    }

    fn submission(&self, scan: &[u8], effort: Effort) -> Form {
        Form::new("part-of-the-form".to_owned())
            .text("alloy", self.part.alloy.name())
            .text("samples", &effort.samples.to_string())
            .text("steps", &effort.steps.to_string())
            .scan("part.tif", scan)
    }
}

/// Users who hang up, and users who send what is no scan.
pub fn failing(user: User) -> Habit {
    let mut turn = 0_u32;
    Habit::of(move || {
        user.hang_up();
        turn = turn.wrapping_add(1);
        if turn.is_multiple_of(2) {
            user.submit_rubbish();
        }
        Duration::from_millis(600)
    })
}

/// Users who send more and more small parts.
pub fn flooding(user: User) -> Habit {
    Habit::of(move || {
        user.submit(Effort::SMALL);
        Duration::from_millis(300)
    })
}

/// Steady users, until this is dropped.
pub struct Traffic {
    reads_per_second: Arc<AtomicU32>,
    _habits: Vec<Habit>,
}

/// Of ordinary users.
const READS_PER_SECOND: u32 = 10;
const A_DESIGN_EVERY: Duration = Duration::from_secs(2);

impl Traffic {
    /// Users who read, and some who submit, if `designs` says so.
    pub fn start(user: &User, designs: bool) -> Self {
        let reads_per_second = Arc::new(AtomicU32::new(READS_PER_SECOND));
        let (reader, pace) = (user.clone(), Arc::clone(&reads_per_second));
        let mut habits = vec![Habit::of(move || {
            reader.read();
            Duration::from_secs(1) / pace.load(Ordering::Relaxed).max(1)
        })];
        if designs {
            let designer = user.clone();
            habits.push(Habit::of(move || {
                designer.submit(Effort::SMALL);
                A_DESIGN_EVERY
            }));
        }
        Self { reads_per_second, _habits: habits }
    }

    /// How often users read from now on.
    pub fn pace(&self, reads_per_second: u32) {
        self.reads_per_second.store(reads_per_second, Ordering::Relaxed);
    }
}

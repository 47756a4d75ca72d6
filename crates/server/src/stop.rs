//! The switch that stops the service, stage by stage.

use std::sync::Arc;
use tokio::sync::watch;

/// How far the service is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// Serving.
    Running,
    /// Not ready any more; takes no new work, finishes what it has.
    Draining,
    /// The deadline came: running jobs go back to the queue.
    Abandoning,
    /// No job runs any more: sockets close, open requests are answered.
    Closing,
}

/// Tells every part of the service to stop. Cheap to clone; clones are the same switch.
#[derive(Debug, Clone)]
pub struct Stop {
    stage: Arc<watch::Sender<Stage>>,
}

impl Default for Stop {
    fn default() -> Self {
        Self { stage: Arc::new(watch::Sender::new(Stage::Running)) }
    }
}

impl Stop {
    /// Begins the drain; later calls change nothing.
    pub fn drain(&self) {
        self.advance(Stage::Draining);
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.stage.borrow() >= Stage::Draining
    }

    /// Returns once the drain has begun.
    pub async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    pub(crate) fn abandon(&self) {
        self.advance(Stage::Abandoning);
    }

    pub(crate) async fn abandoning(&self) {
        self.reached(Stage::Abandoning).await;
    }

    pub(crate) fn close(&self) {
        self.advance(Stage::Closing);
    }

    pub(crate) async fn closing(&self) {
        self.reached(Stage::Closing).await;
    }

    fn advance(&self, to: Stage) {
        self.stage.send_if_modified(|stage| {
            let forward = *stage < to;
            if forward {
                *stage = to;
            }
            forward
        });
    }

    async fn reached(&self, stage: Stage) {
        // The sender lives in self, so the only way out is the stage itself.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }
}

//! The service's objectives: where their events come from and where they are kept.

use crate::config::SloConfig;
use crate::listen::Role;
use crate::router;
use microdiff_telemetry::Telemetry;
use microdiff_telemetry::http::request_totals;
use microdiff_telemetry::slo::{Meter, ObjectiveOptions, Slo, SloOptions, steady_clock};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const AVAILABILITY: &str = "availability";
const LATENCY: &str = "latency";
/// Events are put into their bucket this often.
const ADVANCE_EVERY: Duration = Duration::from_secs(1);
/// The counts are saved this often: a kill loses that much of them.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// The objectives with their file.
pub(crate) struct Objectives {
    slo: Slo,
    latency: Option<Meter>,
    limit: Duration,
    file: PathBuf,
}

impl Objectives {
    /// Takes over what the last process saved in `data_dir`.
    pub(crate) fn open(config: &SloConfig, data_dir: &Path, telemetry: &Telemetry) -> Arc<Self> {
        let endpoints = router::endpoints(Role::Api).iter();
        // Probes, pages and descriptions are not what users come for.
        let routes: Vec<(&str, &str)> = endpoints
            .filter(|(_, endpoint)| endpoint.starts_with("/v1/"))
            .map(|(method, endpoint)| (method.as_str(), *endpoint))
            .collect();
        let availability = ObjectiveOptions {
            name: AVAILABILITY,
            definition: "API requests that end in a server error, a timeout or a client that left"
                .into(),
            target: config.availability,
            totals: Some(Box::new(request_totals(telemetry.registry(), &routes))),
        };
        let latency = ObjectiveOptions {
            name: LATENCY,
            definition: format!("inferences that take longer than {} s", config.latency_seconds),
            target: config.latency_ratio,
            totals: None,
        };
        let slo = Slo::new(SloOptions {
            window: config.window(),
            objectives: vec![availability, latency],
            clock: steady_clock(),
        });
        let file = data_dir.join("slo.json");
        if let Err(error) = slo.load(&file) {
            tracing::warn!(error = %error, "the saved objectives are lost; counting starts anew");
        }
        slo.show(telemetry.registry());
        let latency = slo.meter(LATENCY);
        Arc::new(Self { slo, latency, limit: config.latency(), file })
    }

    /// Counts one inference.
    pub(crate) fn inference(&self, took: Duration) {
        if let Some(latency) = &self.latency {
            latency.record(took > self.limit);
        }
    }

    pub(crate) fn slo(&self) -> &Slo {
        &self.slo
    }

    /// Keeps the counts in step with time and on disk, for as long as it is polled.
    pub(crate) async fn keep(self: Arc<Self>) {
        let mut advance = tokio::time::interval(ADVANCE_EVERY);
        let mut save =
            tokio::time::interval_at(tokio::time::Instant::now() + SAVE_EVERY, SAVE_EVERY);
        loop {
            tokio::select! {
                _ = advance.tick() => self.slo.advance(),
                _ = save.tick() => {
                    let objectives = Arc::clone(&self);
                    // A panic in there is told by its own line.
                    let _ = tokio::task::spawn_blocking(move || objectives.save()).await;
                }
            }
        }
    }

    pub(crate) fn save(&self) {
        if let Err(error) = self.slo.save(&self.file) {
            tracing::warn!(error = %error, "cannot save the objectives");
        }
    }
}

//! SIGHUP: the log levels of the configuration file come into force, and the log file is opened
//! anew, as tools that rotate logs expect.
//!
//! Nothing else is changed while the service runs; a line says when the file holds more that waits
//! for a restart.

use crate::{App, Config, ServerError};
use serde_json::json;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// From here on SIGHUP no longer ends the process.
pub(crate) fn hangups() -> Result<Signal, ServerError> {
    let fault = |source| ServerError::System { what: "signal handler", source };
    signal(SignalKind::hangup()).map_err(fault)
}

/// Follows the signals until the task is ended.
pub(crate) async fn follow(mut hangups: Signal, app: Arc<App>) {
    while hangups.recv().await.is_some() {
        app.telemetry.logs().reopen();
        reload(&app).await;
    }
}

async fn reload(app: &App) {
    let (running, logs) = (&app.config, app.telemetry.logs());
    let again = running.clone();
    // The file may lie on a disk that takes its time.
    let read = tokio::task::spawn_blocking(move || {
        again.reload().and_then(|config| Ok((config.log.levels()?, config)))
    });
    let Ok(read) = read.await else { return };
    match read {
        Ok((levels, config)) => {
            let (shown, before) = (levels.to_string(), logs.levels().to_string());
            app.audit.record(
                "admin.log_levels",
                json!({ "caller": "signal", "from": before, "to": shown }),
            );
            logs.set_levels(levels);
            tracing::info!(levels = %shown, "log settings read again");
            let rest = Config { log: running.log.clone(), ..config.clone() };
            let log = config.log.level.clone();
            let same_log = crate::config::LogConfig { level: log, ..running.log.clone() };
            if rest != *running || same_log != config.log {
                tracing::warn!("the configuration file holds changes that wait for a restart");
            }
        }
        Err(error) => {
            tracing::error!(
                error = %error,
                error.type = "configuration",
                levels = %logs.levels(),
                "the configuration cannot be read again; the log levels stay as they are"
            );
        }
    }
}

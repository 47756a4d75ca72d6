//! SIGHUP: the log levels of the configuration file come into force, and the log file is opened
//! anew, as tools that rotate logs expect.
//!
//! Nothing else is changed while the service runs; a line says when the file holds more that waits
//! for a restart.

use crate::{Config, ServerError};
use microdiff_telemetry::logs::LogHandle;
use tokio::signal::unix::{SignalKind, signal};

/// Listens for SIGHUP until the process ends.
pub(crate) fn reload_on_hangup(running: Config, logs: LogHandle) -> Result<(), ServerError> {
    let fault = |source| ServerError::System { what: "signal handler", source };
    let mut hangup = signal(SignalKind::hangup()).map_err(fault)?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            logs.reopen();
            reload(&running, &logs).await;
        }
    });
    Ok(())
}

async fn reload(running: &Config, logs: &LogHandle) {
    let again = running.clone();
    // The file may lie on a disk that takes its time.
    let read = tokio::task::spawn_blocking(move || {
        again.reload().and_then(|config| Ok((config.log.levels()?, config)))
    });
    let Ok(read) = read.await else { return };
    match read {
        Ok((levels, config)) => {
            let shown = levels.to_string();
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

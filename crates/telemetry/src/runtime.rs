//! The tokio runtime that answers the scrape: workers, tasks, queue, busy time.
//!
//! Read when the page is made, from what tokio counts anyway. A scrape from outside a runtime
//! leaves the last values.

use std::time::Duration;

use tokio::runtime::Handle;

use crate::builtin;
use crate::metrics::{MetricSpec, Registry};

/// Makes `registry` show the runtime it is scraped in.
pub(crate) fn observe(registry: &Registry) {
    let gauge = |spec: &MetricSpec| registry.gauge(&spec.clone().prefixed(registry.prefix()), &[]);
    let counter = |spec: &MetricSpec| {
        registry.observed_counter(&spec.clone().prefixed(registry.prefix()), &[])
    };
    let workers = gauge(&builtin::TOKIO_WORKERS);
    let tasks = gauge(&builtin::TOKIO_TASKS);
    let queue = gauge(&builtin::TOKIO_QUEUE);
    let busy = counter(&builtin::TOKIO_BUSY);
    let parks = counter(&builtin::TOKIO_PARKS);
    registry.on_scrape(move || {
        let Ok(runtime) = Handle::try_current() else { return };
        let metrics = runtime.metrics();
        let count = metrics.num_workers();
        workers.set(count as f64);
        tasks.set(metrics.num_alive_tasks() as f64);
        queue.set(metrics.global_queue_depth() as f64);
        let time: Duration = (0..count).map(|i| metrics.worker_total_busy_duration(i)).sum();
        busy.set(time.as_secs_f64());
        parks.set((0..count).map(|i| metrics.worker_park_count(i)).sum::<u64>() as f64);
    });
}

//! Totals over routes, read from the counters that the layer keeps anyway.

use crate::builtin;
use crate::metrics::{Counter, Registry};
use crate::slo::Tally;

/// What reads how many requests of these routes there were and how many of them ended in an error,
/// as `requests_total` counts them. `routes` are methods with route templates. Reading costs a few
/// sums over threads; recording a request costs nothing more than before.
pub fn request_totals(
    registry: &Registry,
    routes: &[(&str, &str)],
) -> impl Fn() -> Tally + Send + Sync + use<> {
    let spec = builtin::REQUESTS.prefixed(registry.prefix());
    let counters = |status: &str| -> Vec<Counter> {
        let counter = |(method, endpoint): &(&str, &str)| {
            registry.counter(&spec, &[method, endpoint, status])
        };
        routes.iter().map(counter).collect()
    };
    let (good, bad) = (counters("success"), counters("error"));
    let sum = |counters: &[Counter]| counters.iter().map(Counter::get).sum::<u64>();
    move || {
        let bad = sum(&bad);
        Tally { total: bad + sum(&good), bad }
    }
}

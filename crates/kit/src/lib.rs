//! The monitoring kit: rules, dashboards, pipelines, manifests and runbooks of `deploy/` and
//! `docs/runbooks/`, embedded in the binary, and the check that they fit the service.
//!
//! [`Catalogue`] is what the service emits by its own tables; [`check`] parses every PromQL
//! expression of rules and dashboards and looks each metric, label and label value of it up there;
//! [`export`] writes the kit into a directory, [`read`] takes an edited copy in. [`compress`] makes the
//! rules run faster for drills, and [`DRILLS`] says which drill proves which alert. It talks to no
//! server: what a real Prometheus makes of the files is for the tests that run one.

mod catalogue;
mod check;
mod compress;
mod dashboards;
mod drills;
mod equivalent;
mod error;
mod expression;
mod files;
mod routing;
mod rules;
mod sampling;

pub use catalogue::{Catalogue, JOBS};
pub use check::{Finding, Report, check};
pub use compress::{Compression, compress, compress_expression, memory, waits};
pub use dashboards::{Panel, Threshold, dashboards};
pub use drills::{DRILLS, Drill, Fault, UNDRILLED, Undrilled};
pub use equivalent::equivalent;
pub use error::KitError;
pub use files::{File, Occupied, export, files, read};
pub use routing::Routing;
pub use rules::{RULES_FOLDER, Rule, WATCHDOG, manifest_rules, rules};
pub use sampling::TailSampling;

//! From a scan to the answer document: reads and measures the scan (`imaging`), draws from the
//! posterior (`diffusion`) and sets it beside the prior. The command line and the server both
//! answer through this crate, so they cannot disagree. It also makes what a model is trained and
//! checked on: rows of simulated and measured scans (`process`, `imaging`) and the phantom of the
//! known-answer canary. It emits no telemetry: callers observe.

mod bundled;
mod dense;
mod designer;
mod digest;
mod document;
mod error;
pub mod foreign;
mod notes;
mod phantom;
mod predictive;
mod quality;
mod request;
mod scanner;
#[cfg(test)]
mod shifts;
mod simulated;
mod stopwatch;
mod validation;

pub use bundled::write_bundled;
pub use dense::{DenseScan, Sight};
pub use designer::{Design, Designer};
pub use digest::{draws_sha256, scan_sha256};
pub use document::{
    AnalysisSummary, BASIS, DESIGN_SCHEMA, DefectProbabilities, DesignDocument, Marginals,
    ModelSummary, OutOfDistributionSummary, RequestSummary, ScanSummary, ShapeShares,
};
pub use error::{DesignError, ErrorKind};
pub use microdiff_diffusion::{CaseScore, DescriptorReference, Quantiles, SetScore, set_scores};
pub use phantom::{BundleContent, CanaryReport, PhantomScan, record_phantom};
pub use predictive::{Observable, ObservableCheck, PREDICTIVE_FALSE_ALARM_RATE, PredictiveSummary};
pub use quality::{DescriptorReading, ORDINARY_PERCENTILES, QualitySummary, UnusualDescriptor};
pub use request::DesignRequest;
pub use scanner::nominal_scanner;
pub use simulated::{simulate_rows, simulate_scan};
pub use validation::{ValidationSet, record_validation};

//! From a scan to the answer document: reads and measures the scan (`imaging`), draws from the
//! posterior (`diffusion`), sets it beside the prior (`process`). The command line and the server
//! both answer through this crate, so they cannot disagree. It emits no telemetry: callers observe.

mod document;

pub use document::{
    AnalysisSummary, BASIS, DESIGN_SCHEMA, DefectProbabilities, DesignDocument, Marginals,
    ModelSummary, OutOfDistributionSummary, Quantiles, RequestSummary, ScanSummary, ShapeShares,
};

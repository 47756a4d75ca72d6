//! Process parameters → melt pool, defect margins, and a virtual part under a virtual scanner.
//!
//! The model that training data come from and that posterior draws are pushed back through:
//! measured laws for the melt pool with their measured errors, a build of fluctuating tracks with
//! powder, keyhole, gas and balling pores, and a CT scan of it. Electron beams and directed energy
//! have a melt pool by conduction instead, which nothing measured supports: unvalidated.
//!
//! Beside it stands the forward question of an engineer, [`predict`], with a law of its own.
//!
//! Deliberately absent: heat transfer and fluid flow in time; files, clocks and threads of its own.
//! The same request gives the same bytes, whatever the number of threads.

pub mod alloy;
mod beam;
pub mod boundaries;
mod case;
pub mod constants;
mod cross_section;
pub mod eagar_tsai;
mod error;
mod expected;
pub mod melt_pool;
mod nuisance;
pub mod predict;
pub mod prior;
mod random;
mod simulate;
mod visible;

pub use boundaries::{DefectMargins, defect_margins};
pub use case::Case;
pub use error::ProcessError;
pub use expected::expected_shares;
pub use melt_pool::{MeltPool, forward};
pub use nuisance::{
    GasPores, Imaging, KeyholePores, MeltBias, Nuisance, PoolShape, Powder, PropertyFactors,
    TrackFluctuation,
};
pub use simulate::{
    BitDepth, DENSE_BELOW, DefectShares, GroundTruth, LABEL_BALLING, LABEL_GAS, LABEL_KEYHOLE,
    LABEL_LACK_OF_FUSION, LABEL_METAL, MAX_VOXELS, SIMULATOR_VERSION, ScanPattern, Simulation,
    SimulationRequest, in_u8, scan_body, simulate, voxel_size_um,
};
pub use visible::{View, visible_porosity};

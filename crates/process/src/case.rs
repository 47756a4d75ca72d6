use microdiff_domain::{Alloy, Process, ProcessParameters, SpotDiameter};

/// One setting of a machine with its process, alloy and spot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Process. Its parameters and nuisance values have ranges of their own.
    pub process: Process,
    /// Alloy.
    pub alloy: Alloy,
    /// The five inferred parameters.
    pub parameters: ProcessParameters,
    /// Spot diameter, 1/e².
    pub spot: SpotDiameter,
}

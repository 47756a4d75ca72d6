use serde::{Deserialize, Serialize};

/// Dominant cause of the pores in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectClass {
    /// No process-made porosity above the detection floor; gas pores may remain.
    Dense,
    /// Unmelted gaps between tracks or layers.
    LackOfFusion,
    /// Pores pinched off from a fluctuating vapour depression.
    Keyhole,
    /// Gaps of a track broken into beads by capillary instability.
    Balling,
}

impl DefectClass {
    /// Every class, in the order of the model's class probabilities.
    pub const ALL: [DefectClass; 4] =
        [DefectClass::Dense, DefectClass::LackOfFusion, DefectClass::Keyhole, DefectClass::Balling];

    /// Position in [`DefectClass::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Name as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            DefectClass::Dense => "dense",
            DefectClass::LackOfFusion => "lack_of_fusion",
            DefectClass::Keyhole => "keyhole",
            DefectClass::Balling => "balling",
        }
    }
}

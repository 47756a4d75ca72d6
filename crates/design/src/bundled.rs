//! The model that is part of the binary. `models/lpbf-descriptors/README.md` tells how it was made.

pub(crate) const MANIFEST: &[u8] = include_bytes!("../../../models/lpbf-descriptors/manifest.json");
pub(crate) const WEIGHTS: &[u8] =
    include_bytes!("../../../models/lpbf-descriptors/weights.safetensors");
pub(crate) const PHANTOM: &[u8] = include_bytes!("../../../models/lpbf-descriptors/phantom.json");
pub(crate) const PHANTOM_VOXELS: &[u8] =
    include_bytes!("../../../models/lpbf-descriptors/phantom.raw");
pub(crate) const VALIDATION: &[u8] =
    include_bytes!("../../../models/lpbf-descriptors/validation.json");
pub(crate) const VALIDATION_ROWS: &[u8] =
    include_bytes!("../../../models/lpbf-descriptors/validation.rows");

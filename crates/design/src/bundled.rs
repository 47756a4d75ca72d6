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

/// Writes the bundle of the binary into an existing directory, where `Designer::open` finds it.
///
/// # Errors
/// When a file cannot be written.
pub fn write_bundled(directory: &std::path::Path) -> std::io::Result<()> {
    let files = [
        ("manifest.json", MANIFEST),
        ("weights.safetensors", WEIGHTS),
        ("phantom.json", PHANTOM),
        ("phantom.raw", PHANTOM_VOXELS),
        ("validation.json", VALIDATION),
        ("validation.rows", VALIDATION_ROWS),
    ];
    files.into_iter().try_for_each(|(name, bytes)| std::fs::write(directory.join(name), bytes))
}

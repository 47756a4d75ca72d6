//! A model that answers wrongly and says all the right things of itself.
//!
//! Depends on nothing else of the command, so that the tests of the health checks use it too.

use microdiff_diffusion::bundle::BundleFiles;
use microdiff_diffusion::sha256_hex;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::Path;

/// What every weight of the network is multiplied by.
const FACTOR: f32 = 1.2;

/// Makes a copy of a bundle with every weight of its network a fifth too large, and with digests
/// that fit: only the known-answer canary can tell.
pub fn spoil(bundle: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(target)?;
    copy(bundle, target)?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(io::Error::other);
    let right = BundleFiles::read(bundle).map_err(io::Error::other)?;
    let weights =
        scaled(right.weights.clone()).ok_or_else(|| io::Error::other("weights are no tensors"))?;
    let (old, new) = (sha256_hex(&[&right.weights]), sha256_hex(&[&weights]));
    let manifest = text(right.manifest.clone())?;
    let changed = manifest.replace(&old, &new);
    if changed == manifest {
        return Err(io::Error::other("the manifest does not name the digest of the weights"));
    }
    let wrong = BundleFiles { manifest: changed.into_bytes(), weights };
    wrong.write(target).map_err(io::Error::other)?;
    let phantom = text(fs::read(bundle.join("phantom.json"))?)?;
    fs::write(target.join("phantom.json"), phantom.replace(&right.digest(), &wrong.digest()))
}

/// Copies the files of a bundle.
pub fn copy(bundle: &Path, target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(bundle)? {
        let entry = entry?;
        fs::copy(entry.path(), target.join(entry.file_name()))?;
    }
    Ok(())
}

/// The network's tensors, scaled; what the bundle knows of priors and of ordinary scans stays.
fn scaled(mut weights: Vec<u8>) -> Option<Vec<u8>> {
    let head: [u8; 8] = weights.get(..8)?.try_into().ok()?;
    let start = usize::try_from(u64::from_le_bytes(head)).ok()?.checked_add(8)?;
    let tensors: Value = serde_json::from_slice(weights.get(8..start)?).ok()?;
    for (name, tensor) in tensors.as_object()? {
        if name.starts_with("ood.") || name.starts_with("prior.") || name == "__metadata__" {
            continue;
        }
        let offset = |i: usize| {
            let offset = usize::try_from(tensor["data_offsets"][i].as_u64()?).ok()?;
            start.checked_add(offset)
        };
        let data = weights.get_mut(offset(0)?..offset(1)?)?;
        for bytes in data.as_chunks_mut::<4>().0 {
            *bytes = (f32::from_le_bytes(*bytes) * FACTOR).to_le_bytes();
        }
    }
    Some(weights)
}

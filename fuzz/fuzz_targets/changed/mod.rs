//! A bundle with some of its bytes changed and its digest put right again, so that what lies behind
//! the comparison of digests is reached.

use microdiff_diffusion::bundle::BundleFiles;

/// Places and values of bytes in the manifest, in the weights, and how many bytes to cut off.
pub type Changes = (Vec<(u16, u8)>, Vec<(u16, u8)>, u8);

/// Applies changes to a good bundle.
pub fn changed(good: &BundleFiles, (manifest, weights, cut): &Changes) -> BundleFiles {
    let mut files = good.clone();
    change(&mut files.weights, weights);
    files.weights.truncate(files.weights.len().saturating_sub(usize::from(*cut)));
    change(&mut files.manifest, manifest);
    let new = digest(&files.weights);
    if let Some(place) = place(&files.manifest).and_then(|at| files.manifest.get_mut(at..)) {
        let length = new.len().min(place.len());
        place[..length].copy_from_slice(&new.as_bytes()[..length]);
    }
    files
}

/// Where a manifest names the digest of the weights, unless a change has hit the name.
fn place(manifest: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"\"weights_sha256\"";
    let behind = manifest.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    Some(behind + manifest[behind..].iter().position(|&byte| byte == b'"')? + 1)
}

fn change(bytes: &mut [u8], changes: &[(u16, u8)]) {
    for &(at, value) in changes {
        if let Some(byte) = bytes.get_mut(usize::from(at)) {
            *byte = value;
        }
    }
}

/// SHA-256 of weights as a manifest names it.
fn digest(weights: &[u8]) -> String {
    BundleFiles { manifest: Vec::new(), weights: weights.to_vec() }.digest()
}

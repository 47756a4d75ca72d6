//! Removal of ring artefacts from reconstructed slices.
//!
//! A detector element that reads too high or too low draws a ring around the axis of rotation.
//! Each slice's grey is reduced to its median at each distance from the axis; what of that profile
//! a running median along the distance does not follow is ring and is subtracted. Medians, because
//! pores are no rings. Rings that do not close, and a raised centre, are left alone.

use crate::ImagingError;
use crate::arguments::{check_range, check_shape};
use crate::memory::zeroed;
use rayon::prelude::*;

/// Where the rings are and how wide they may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RingOptions {
    /// Axis of rotation (y, x) in voxels; may lie outside the slice.
    pub centre: [f64; 2],
    /// Widest ring removed, in voxels, 1 to 100.
    pub width: usize,
}

/// Fewest voxels at a distance for its median to be trusted.
const FEWEST: usize = 12;

/// Removes the rings of each (y, x) slice of a (z, y, x) volume.
pub fn remove_rings(
    grey: &[u16],
    shape: [usize; 3],
    options: &RingOptions,
) -> Result<Vec<u16>, ImagingError> {
    check_shape(shape, grey.len())?;
    check_range("ring width", options.width as f64, [1.0, 100.0], "voxels")?;
    for centre in options.centre {
        check_range("ring centre", centre, [-1e5, 1e5], "voxels")?;
    }
    let [_, ny, nx] = shape;
    let away: Vec<f32> = (0..ny * nx)
        .map(|i| {
            let [y, x] = [(i / nx) as f64, (i % nx) as f64];
            (y - options.centre[0]).hypot(x - options.centre[1]) as f32
        })
        .collect();
    let nearest = away.iter().copied().fold(f32::MAX, f32::min).floor();
    let away: Vec<f32> = away.into_iter().map(|r| r - nearest).collect();
    let mut out = zeroed(grey.len());
    out.par_chunks_mut(ny * nx).zip(grey.par_chunks(ny * nx)).for_each(|(out, page)| {
        let rings = rings(page, &away, options.width);
        for ((out, &grey), &r) in out.iter_mut().zip(page).zip(&away) {
            let (low, rest) = (r as usize, r.fract());
            let ring = rings[low] * (1.0 - rest) + rings[low + 1] * rest;
            *out = (f32::from(grey) - ring).round().clamp(0.0, 65535.0) as u16;
        }
    });
    Ok(out)
}

/// Grey that rings add at each whole distance.
fn rings(page: &[u16], away: &[f32], width: usize) -> Vec<f32> {
    let farthest = away.iter().copied().fold(0.0, f32::max) as usize;
    let mut at: Vec<Vec<u16>> = vec![Vec::new(); farthest + 3];
    for (&grey, &r) in page.iter().zip(away) {
        at[r.round() as usize].push(grey);
    }
    let profile: Vec<Option<f32>> = at
        .iter_mut()
        .map(|values| (values.len() >= FEWEST).then(|| f32::from(median(values))))
        .collect();
    (0..profile.len())
        .map(|r| {
            let Some(own) = profile[r] else { return 0.0 };
            // Twice the width on each side, so that a ring is the smaller part of its window.
            let window = r.saturating_sub(2 * width)..(r + 2 * width + 1).min(profile.len());
            let mut around: Vec<f32> = profile[window].iter().flatten().copied().collect();
            around.sort_by(f32::total_cmp);
            own - around[around.len() / 2]
        })
        .collect()
}

fn median(values: &mut [u16]) -> u16 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_and_a_pore_stays() {
        let ring = |r: f64| 800.0 * (1.0 - (r - 21.0).abs() / 2.0).max(0.0);
        let pore = |y: f64, x: f64| (y - 44.0).hypot(x - 32.0) < 4.0;
        let clean: Vec<f64> = (0..64 * 64)
            .map(|i| if pore((i / 64) as f64, (i % 64) as f64) { 8000.0 } else { 30000.0 })
            .collect();
        let grey: Vec<u16> = (0..64 * 64)
            .map(|i| {
                let r = ((i / 64) as f64 - 31.5).hypot((i % 64) as f64 - 31.5);
                (clean[i] + ring(r) + (i * 7919 % 101) as f64) as u16
            })
            .collect();
        let options = RingOptions { centre: [31.5; 2], width: 3 };
        let out = remove_rings(&grey, [1, 64, 64], &options).unwrap();
        let error = |of: &[u16]| -> f64 {
            let off = |(v, c): (&u16, &f64)| (f64::from(*v) - c - 50.0).powi(2);
            (of.iter().zip(&clean).map(off).sum::<f64>() / of.len() as f64).sqrt()
        };
        assert!(error(&out) < 0.5 * error(&grey), "{} {}", error(&out), error(&grey));
        assert!(f64::from(out[44 * 64 + 32]) < 9500.0);
        assert!(remove_rings(&grey, [1, 64, 64], &RingOptions { width: 0, ..options }).is_err());
    }
}

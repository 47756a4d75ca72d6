//! A folder of single-page slices.
//!
//! All files ending in `.tif` or `.tiff` belong to the scan, ordered by the last number in their
//! names. Names must share everything but that number, and the numbers must follow one another: a
//! gap is a missing slice, and a stack without it would be silently squeezed.

use super::budget::PageKind;
use super::metadata::Tags;
use super::pages::Pages;
use super::samples::Samples;
use super::{Digest, Limits, clean, shown, unreadable};
use crate::ImagingError;
use std::path::{Path, PathBuf};

/// Reads the slices of a folder; names and contents go into the digest.
pub(super) fn read(
    folder: &Path,
    limits: &Limits,
    digest: &mut Digest,
) -> Result<(Samples, Tags), ImagingError> {
    let slices = slices(folder, limits)?;
    let unusable = |reason: String| ImagingError::Slices { path: shown(folder), reason };
    let Some(first) = slices.first() else {
        return Err(unusable("it holds no .tif or .tiff file".to_owned()));
    };
    let mut stored = 0u64;
    for (_, path) in &slices {
        stored += std::fs::metadata(path).map_err(|error| unreadable(path, error))?.len();
    }
    let head = Pages::open(&first.1, limits)?;
    let (page, tags) = (head.page, head.tags.clone());
    if let Some(reason) = tags.ome_contradicts(slices.len()) {
        return Err(ImagingError::Mixed { path: shown(folder), reason });
    }
    limits.check(folder, &page, (slices.len() as u64, stored))?;
    let shape = [slices.len(), page.height, page.width];
    let mut samples = Samples::new(folder, shape, page.kind)?;
    let decode = || {
        samples.fill(
            || Ok(()),
            |(), index, place| {
                let Some((name, path)) = slices.get(index) else { return Ok(()) };
                let mut slice = slice(folder, (name, path), (&first.0, &page, limits))?;
                slice.decode_single(place)
            },
        )
    };
    let hash =
        || slices.iter().try_for_each(|(name, path)| digest.add_named_file(name.as_bytes(), path));
    let (decoded, hashed) = rayon::join(decode, hash);
    decoded.and(hashed)?;
    Ok((samples, tags))
}

/// Opens one slice; refuses one that is not like the first.
fn slice(
    folder: &Path,
    (name, path): (&str, &Path),
    (first, page, limits): (&str, &PageKind, &Limits),
) -> Result<Pages, ImagingError> {
    let slice = Pages::open(path, limits)?;
    if slice.count() != 1 {
        let reason = format!("{} has {} pages, not one", clean(name), slice.count());
        return Err(ImagingError::Slices { path: shown(folder), reason });
    }
    if slice.page != *page {
        let (other, own) = (slice.page.text(), page.text());
        let reason = format!("{} is {other}, {} is {own}", clean(name), clean(first));
        return Err(ImagingError::Mixed { path: shown(folder), reason });
    }
    Ok(slice)
}

/// Names and paths of the slices in order.
fn slices(folder: &Path, limits: &Limits) -> Result<Vec<(String, PathBuf)>, ImagingError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unreadable(folder, error))? {
        let entry = entry.map_err(|error| unreadable(folder, error))?;
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let lower = name.to_lowercase();
        if name.starts_with('.') || !(lower.ends_with(".tif") || lower.ends_with(".tiff")) {
            continue;
        }
        if found.len() >= limits.pages {
            let reason = format!("more than {} files", limits.pages);
            return Err(ImagingError::TooLarge { path: shown(folder), reason });
        }
        found.push((name, entry.path()));
    }
    order(found).map_err(|reason| ImagingError::Slices { path: shown(folder), reason })
}

/// Sorts by number and refuses gaps, repeats and mixed series.
fn order(mut found: Vec<(String, PathBuf)>) -> Result<Vec<(String, PathBuf)>, String> {
    // By text first, so that a complaint does not depend on the order of the file system.
    found.sort();
    let mut numbered = Vec::with_capacity(found.len());
    for (name, path) in found {
        let Some((before, number, after)) = split(&name) else {
            return Err(format!("{} has no slice number in its name", clean(&name)));
        };
        let series = format!("{before}#{after}");
        numbered.push((number, series, name, path));
    }
    numbered.sort_by_key(|(number, ..)| *number);
    for pair in numbered.windows(2) {
        let [(a, series_a, name_a, _), (b, series_b, name_b, _)] = pair else { continue };
        let (name_a, name_b) = (clean(name_a), clean(name_b));
        if series_a != series_b {
            return Err(format!("{name_a} and {name_b} belong to different series"));
        }
        if a == b {
            return Err(format!("{name_a} and {name_b} have the same number"));
        }
        if *b != a + 1 {
            return Err(format!("slice {} is missing between {name_a} and {name_b}", a + 1));
        }
    }
    Ok(numbered.into_iter().map(|(_, _, name, path)| (name, path)).collect())
}

/// What stands before, in and after the last number of the name without its extension.
fn split(name: &str) -> Option<(&str, u64, &str)> {
    let stem = &name[..name.rfind('.')?];
    let end = stem.rfind(|c: char| c.is_ascii_digit())? + 1;
    let start = stem[..end]
        .rfind(|c: char| !c.is_ascii_digit())
        .map_or(0, |at| at + stem[at..].chars().next().map_or(1, char::len_utf8));
    // Eighteen digits fit; a longer number is no slice number.
    let digits = &stem[start..end];
    if digits.len() > 18 {
        return None;
    }
    Some((&stem[..start], digits.parse().ok()?, &stem[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Result<Vec<String>, String> {
        let found = names.iter().map(|n| ((*n).to_owned(), PathBuf::from(n))).collect();
        Ok(order(found)?.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn two_comes_before_ten() {
        let ordered = names(&["s10.tif", "s9.tif", "s8.tif", "s11.tif"]).unwrap();
        assert_eq!(ordered, ["s8.tif", "s9.tif", "s10.tif", "s11.tif"]);
        assert_eq!(split("scan_5um_0012_rec.tif"), Some(("scan_5um_", 12, "_rec")));
        assert_eq!(split("µ7.tif"), Some(("µ", 7, "")));
    }

    #[test]
    fn gaps_repeats_and_mixtures_are_named() {
        assert!(names(&["s1.tif", "s3.tif"]).unwrap_err().contains("slice 2 is missing"));
        assert!(names(&["s1.tif", "s01.tif"]).unwrap_err().contains("same number"));
        assert!(names(&["a1.tif", "b2.tif"]).unwrap_err().contains("different series"));
        assert!(names(&["a.tif"]).unwrap_err().contains("no slice number"));
    }
}

//! What the filters and measures refuse: a shape that is not the volume's, an option out of range.

use crate::ImagingError;
use microdiff_domain::DomainError;

/// Refuses a shape that is empty or does not have `len` voxels.
pub(crate) fn check_shape(shape: [usize; 3], len: usize) -> Result<(), ImagingError> {
    let product = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    if product == Some(len) && len > 0 {
        Ok(())
    } else {
        Err(DomainError::GridShape { shape, len }.into())
    }
}

/// Refuses an option outside its range; NaN is outside.
pub(crate) fn check_range(
    quantity: &'static str,
    value: f64,
    [low, high]: [f64; 2],
    unit: &'static str,
) -> Result<(), ImagingError> {
    if value >= low && value <= high {
        Ok(())
    } else {
        Err(DomainError::OutOfRange { quantity, value, low, high, unit }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_and_ranges_are_checked() {
        assert!(check_shape([2, 3, 4], 24).is_ok());
        assert!(check_shape([2, 3, 4], 23).is_err() && check_shape([0, 3, 4], 0).is_err());
        assert!(check_shape([usize::MAX, 2, 2], 4).is_err());
        assert!(check_range("sigma", 1.0, [0.1, 10.0], "voxels").is_ok());
        assert!(check_range("sigma", f64::NAN, [0.1, 10.0], "voxels").is_err());
    }
}

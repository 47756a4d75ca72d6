use crate::DomainError;

/// A dense voxel grid. Shape is (z, y, x); x varies fastest; z is the build direction, upwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume<T> {
    shape: [usize; 3],
    data: Vec<T>,
}

impl<T> Volume<T> {
    /// Takes `data` in (z, y, x) order; refuses a shape with an empty axis or another length.
    pub fn new(shape: [usize; 3], data: Vec<T>) -> Result<Self, DomainError> {
        let product = shape.iter().try_fold(1usize, |acc, &n| acc.checked_mul(n));
        match product {
            Some(len) if len == data.len() && len > 0 => Ok(Self { shape, data }),
            _ => Err(DomainError::GridShape { shape, len: data.len() }),
        }
    }

    /// Number of voxels along (z, y, x).
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All voxels, x fastest.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// All voxels, x fastest, for change in place.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// Gives the voxels back.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// One page (y, x) at height `z`; empty beyond the grid.
    pub fn page(&self, z: usize) -> &[T] {
        let len = self.shape[1] * self.shape[2];
        self.data.get(z * len..(z + 1) * len).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_length_must_agree() {
        assert!(Volume::new([2, 1, 3], vec![0u8; 6]).is_ok());
        assert!(Volume::new([2, 1, 3], vec![0u8; 5]).is_err());
        assert!(Volume::<u8>::new([0, 1, 1], vec![]).is_err());
        assert!(Volume::new([usize::MAX, 2, 1], vec![0u8; 2]).is_err());
    }

    #[test]
    fn pages_are_contiguous() {
        let volume = Volume::new([2, 1, 2], vec![1, 2, 3, 4]).unwrap();
        assert_eq!(volume.page(1), [3, 4]);
        assert!(volume.page(2).is_empty());
    }
}

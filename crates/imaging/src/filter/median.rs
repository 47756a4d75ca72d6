//! Median over the 3×3×3 neighbourhood, edge voxels repeated outwards.
//!
//! Each row sorts its nine neighbouring rows once per column; a column is shared by three
//! neighbours along x. Of the 27 values, seen as three sorted columns whose rows are sorted too,
//! seven are always below the median and seven above, so the median is the 7th of the remaining
//! thirteen. Branch-free over fixed lanes, which the compiler turns into vector code.

use rayon::prelude::*;

/// Lanes handled together.
const LANES: usize = 16;

type Lanes = [u16; LANES];

/// A voxel type the filter reads; the result is `u16`, wide enough to average the 8-bit levels.
pub(crate) trait Grey: Copy + PartialEq + Send + Sync {
    /// Distance between neighbouring levels in the `u16` scale.
    const QUANTUM: u16;
    /// The value in the `u16` scale.
    fn widen(self) -> u16;
}

impl Grey for u8 {
    const QUANTUM: u16 = 256;
    fn widen(self) -> u16 {
        u16::from(self) << 8
    }
}

impl Grey for u16 {
    const QUANTUM: u16 = 1;
    fn widen(self) -> u16 {
        self
    }
}

/// Median-filters a (z, y, x) volume. `data` must have the length `shape` says.
pub(crate) fn median3<T: Grey>(data: &[T], shape: [usize; 3]) -> Vec<u16> {
    let [nz, ny, nx] = shape;
    let mut out = vec![0u16; data.len()];
    out.par_chunks_mut(ny * nx).enumerate().for_each_init(
        || Rows::new(nx),
        |rows, (z, page)| {
            let zs = [z.saturating_sub(1), z, (z + 1).min(nz - 1)];
            for (y, row) in page.chunks_mut(nx).enumerate() {
                let ys = [y.saturating_sub(1), y, (y + 1).min(ny - 1)];
                for (k, &zz) in zs.iter().enumerate() {
                    for (j, &yy) in ys.iter().enumerate() {
                        let start = (zz * ny + yy) * nx;
                        rows.load(3 * k + j, &data[start..start + nx]);
                    }
                }
                rows.median_into(row);
            }
        },
    );
    out
}

/// Nine rows padded by one voxel on the left and at least one on the right.
struct Rows {
    width: usize,
    rows: [Vec<u16>; 9],
}

impl Rows {
    fn new(nx: usize) -> Self {
        let width = (nx + 2).next_multiple_of(LANES) + LANES;
        Self { width, rows: std::array::from_fn(|_| vec![0; width]) }
    }

    fn load<T: Grey>(&mut self, slot: usize, row: &[T]) {
        let padded = &mut self.rows[slot];
        for (to, from) in padded[1..].iter_mut().zip(row) {
            *to = from.widen();
        }
        padded[0] = row.first().map_or(0, |v| v.widen());
        let last = row.last().map_or(0, |v| v.widen());
        padded[row.len() + 1..].fill(last);
    }

    fn median_into(&mut self, out: &mut [u16]) {
        for x in (0..self.width).step_by(LANES) {
            let mut column: [Lanes; 9] = std::array::from_fn(|k| lanes(&self.rows[k], x));
            sort9(&mut column);
            for (row, sorted) in self.rows.iter_mut().zip(column) {
                row[x..x + LANES].copy_from_slice(&sorted);
            }
        }
        for (chunk, row) in out.chunks_mut(LANES).enumerate() {
            let x = chunk * LANES;
            let median = median_of_columns([x, x + 1, x + 2].map(|x| {
                let column: [Lanes; 9] = std::array::from_fn(|k| lanes(&self.rows[k], x));
                column
            }));
            let len = row.len();
            row.copy_from_slice(&median[..len]);
        }
    }
}

fn lanes(row: &[u16], x: usize) -> Lanes {
    let mut out = [0; LANES];
    out.copy_from_slice(&row[x..x + LANES]);
    out
}

fn order(values: &mut [Lanes], low: usize, high: usize) {
    let (a, b) = (values[low], values[high]);
    values[low] = std::array::from_fn(|lane| a[lane].min(b[lane]));
    values[high] = std::array::from_fn(|lane| a[lane].max(b[lane]));
}

/// Sorting network for nine values, 25 comparisons (Floyd, in Knuth, TAOCP 3, 5.3.4).
fn sort9(v: &mut [Lanes; 9]) {
    const NETWORK: [(usize, usize); 25] = [
        (0, 3),
        (1, 7),
        (2, 5),
        (4, 8),
        (0, 7),
        (2, 4),
        (3, 8),
        (5, 6),
        (0, 2),
        (1, 3),
        (4, 5),
        (7, 8),
        (1, 4),
        (3, 6),
        (5, 7),
        (0, 1),
        (2, 4),
        (3, 5),
        (6, 8),
        (2, 3),
        (4, 5),
        (6, 7),
        (1, 2),
        (3, 4),
        (5, 6),
    ];
    for (low, high) in NETWORK {
        order(v, low, high);
    }
}

fn median_of_columns(mut columns: [[Lanes; 9]; 3]) -> Lanes {
    let [left, middle, right] = &mut columns;
    for k in 0..9 {
        for lane in 0..LANES {
            let (a, b, c) = (left[k][lane], middle[k][lane], right[k][lane]);
            let (low, high) = (a.min(b), a.max(b));
            left[k][lane] = low.min(c);
            middle[k][lane] = low.max(high.min(c));
            right[k][lane] = high.max(c);
        }
    }
    // Outer candidates: two sorted fours, merged to a sorted eight (odd-even merge).
    let mut outer = [left[5], left[6], left[7], left[8], right[0], right[1], right[2], right[3]];
    for (low, high) in [(0, 4), (1, 5), (2, 6), (3, 7), (2, 4), (3, 5), (1, 2), (3, 4), (5, 6)] {
        order(&mut outer, low, high);
    }
    // Seventh of the sorted eight and the sorted five: the least of max(outer[i], inner[j]) over
    // i + j = 7, counting from one.
    let inner = [middle[2], middle[3], middle[4], middle[5], middle[6]];
    let mut median = outer[6];
    for (j, inner) in inner.iter().enumerate() {
        for lane in 0..LANES {
            median[lane] = median[lane].min(outer[5 - j][lane].max(inner[lane]));
        }
    }
    median
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(data: &[u16], shape: [usize; 3]) -> Vec<u16> {
        let [nz, ny, nx] = shape;
        let clamp = |i: usize, d: usize, n: usize| (i + d).saturating_sub(1).min(n - 1);
        let mut out = Vec::new();
        for z in 0..nz {
            for y in 0..ny {
                for x in 0..nx {
                    let mut all = Vec::new();
                    for k in 0..27 {
                        let (c, b, a) = (k / 9, k / 3 % 3, k % 3);
                        let (z, y, x) = (clamp(z, c, nz), clamp(y, b, ny), clamp(x, a, nx));
                        all.push(data[(z * ny + y) * nx + x]);
                    }
                    all.sort_unstable();
                    out.push(all[13]);
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn agrees_with_sorting(
            shape in [1..5usize, 1..5usize, 1..40usize],
            values in prop::collection::vec(any::<u16>(), 5 * 5 * 40),
            levels in 2..=u16::MAX,
        ) {
            let len = shape.iter().product();
            let data: Vec<u16> = values[..len].iter().map(|v| v % levels).collect();
            prop_assert_eq!(median3(&data, shape), plain(&data, shape));
        }
    }

    #[test]
    fn a_single_outlier_is_removed() {
        let mut data = vec![7u8; 27];
        data[13] = 255;
        assert_eq!(median3(&data, [3, 3, 3]), vec![7 << 8; 27]);
    }
}

use crate::DesignError;
use microdiff_domain::{PARAMETER_COUNT, hex};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// SHA-256 in hexadecimal of a scan in one file, as [`crate::ScanSummary::sha256`] has it.
pub fn scan_sha256(file: &Path) -> Result<String, DesignError> {
    Ok(microdiff_imaging::io::file_sha256(file)?)
}

/// SHA-256 in hexadecimal over draws of θ, each value as the eight bytes of its IEEE 754 double,
/// little-endian, draw after draw: equal exactly when every draw is equal to the last bit.
pub fn draws_sha256(draws: &[[f64; PARAMETER_COUNT]]) -> String {
    let mut digest = Sha256::new();
    // A hash is quick on long pieces; 128 draws are 5 KiB.
    let mut piece = Vec::with_capacity(128 * PARAMETER_COUNT * size_of::<f64>());
    for draws in draws.chunks(128) {
        piece.clear();
        piece.extend(draws.iter().flatten().flat_map(|value| value.to_le_bytes()));
        digest.update(&piece);
    }
    hex(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_that_are_promised() {
        // `python3 -c "import hashlib,struct;
        // print(hashlib.sha256(struct.pack('<5d',280,1200,30,140,80)).hexdigest())"`
        let expected = "9c69b552bd49697839c4d56e1186086ead7f7eaf1f39f6c443c2c334a16a1b62";
        assert_eq!(draws_sha256(&[[280.0, 1200.0, 30.0, 140.0, 80.0]]), expected);
    }

    #[test]
    fn one_bit_in_a_long_list_tells() {
        let mut draws = vec![[1.0; PARAMETER_COUNT]; 1000];
        let before = draws_sha256(&draws);
        draws[999][4] = f64::from_bits(draws[999][4].to_bits() + 1);
        assert_ne!(draws_sha256(&draws), before);
        draws[999][4] = 1.0;
        assert_eq!(draws_sha256(&draws), before);
    }
}

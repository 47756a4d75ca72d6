use std::fmt;

/// A number as a person reads it in a sentence: very large and very small ones with an exponent,
/// because a slip of the keyboard must not fill an error with zeros.
pub fn shown(value: f64) -> impl fmt::Display {
    Shown(value)
}

struct Shown(f64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            0.0 | 1e-4..1e6 => write!(f, "{}", self.0),
            far if far.is_finite() => write!(f, "{:e}", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn numbers_far_from_one_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (-3.0, "-3"),
            (0.02, "0.02"),
            (999_999.0, "999999"),
            (1e6, "1e6"),
            (-1e308, "-1e308"),
            (5e-7, "5e-7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(shown(value).to_string(), text);
        }
    }
}

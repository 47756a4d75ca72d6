//! Discrete Fourier transforms of two to eight complex values, in each lane of a register.

use super::floats::Floats;

/// Complex values, one in each lane.
#[derive(Clone, Copy)]
pub(super) struct Complexes<F> {
    pub re: F,
    pub im: F,
}

impl<F: Floats> Complexes<F> {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self { re: self.re.plus(other.re), im: self.im.plus(other.im) }
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self { re: self.re.minus(other.re), im: self.im.minus(other.im) }
    }

    #[inline(always)]
    fn scaled(self, by: F) -> Self {
        Self { re: self.re.times(by), im: self.im.times(by) }
    }

    /// Times −i.
    #[inline(always)]
    fn turned(self) -> Self {
        Self { re: self.im, im: F::all(0.0).minus(self.re) }
    }

    /// Times a complex number.
    #[inline(always)]
    pub(super) fn times(self, [re, im]: [F; 2]) -> Self {
        Self {
            re: self.re.times(re).minus(self.im.times(im)),
            im: self.re.times(im).plus(self.im.times(re)),
        }
    }
}

/// The transform of `R` values.
pub(super) trait Butterfly<const R: usize> {
    fn apply<F: Floats>(values: [Complexes<F>; R]) -> [Complexes<F>; R];
}

/// The transforms there are.
pub(super) struct Small;

impl Butterfly<2> for Small {
    #[inline(always)]
    fn apply<F: Floats>([a, b]: [Complexes<F>; 2]) -> [Complexes<F>; 2] {
        [a.plus(b), a.minus(b)]
    }
}

impl Butterfly<3> for Small {
    #[inline(always)]
    fn apply<F: Floats>([a, b, c]: [Complexes<F>; 3]) -> [Complexes<F>; 3] {
        let (sum, difference) = (b.plus(c), b.minus(c));
        let middle = a.minus(sum.scaled(F::all(0.5)));
        let aside = difference.turned().scaled(F::all(0.75f32.sqrt()));
        [a.plus(sum), middle.plus(aside), middle.minus(aside)]
    }
}

impl Butterfly<4> for Small {
    #[inline(always)]
    fn apply<F: Floats>([a, b, c, d]: [Complexes<F>; 4]) -> [Complexes<F>; 4] {
        let (even, odd) = (a.plus(c), b.plus(d));
        let (even_rest, odd_rest) = (a.minus(c), b.minus(d).turned());
        [even.plus(odd), even_rest.plus(odd_rest), even.minus(odd), even_rest.minus(odd_rest)]
    }
}

impl Butterfly<5> for Small {
    #[inline(always)]
    fn apply<F: Floats>([a, b, c, d, e]: [Complexes<F>; 5]) -> [Complexes<F>; 5] {
        // Cosines and sines of one and two fifths of a turn.
        const COS: [f32; 2] = [0.309_017, -0.809_017];
        const SIN: [f32; 2] = [0.951_056_5, 0.587_785_25];
        let (outer, inner) = (b.plus(e), c.plus(d));
        let (outer_rest, inner_rest) = (b.minus(e).turned(), c.minus(d).turned());
        let by = |value: Complexes<F>, factor: f32| value.scaled(F::all(factor));
        let first = a.plus(by(outer, COS[0])).plus(by(inner, COS[1]));
        let second = a.plus(by(outer, COS[1])).plus(by(inner, COS[0]));
        let first_rest = by(outer_rest, SIN[0]).plus(by(inner_rest, SIN[1]));
        let second_rest = by(outer_rest, SIN[1]).minus(by(inner_rest, SIN[0]));
        [
            a.plus(outer).plus(inner),
            first.plus(first_rest),
            second.plus(second_rest),
            second.minus(second_rest),
            first.minus(first_rest),
        ]
    }
}

impl Butterfly<8> for Small {
    #[inline(always)]
    fn apply<F: Floats>([a, b, c, d, e, f, g, h]: [Complexes<F>; 8]) -> [Complexes<F>; 8] {
        let [p, q, r, s] = Self::apply([a, c, e, g]);
        let [t, u, v, w] = Self::apply([b, d, f, h]);
        // Times the first three eighths of a turn.
        let half = F::all(std::f32::consts::FRAC_1_SQRT_2);
        let u = u.plus(u.turned()).scaled(half);
        let v = v.turned();
        let w = w.turned().minus(w).scaled(half);
        [p.plus(t), q.plus(u), r.plus(v), s.plus(w), p.minus(t), q.minus(u), r.minus(v), s.minus(w)]
    }
}

//! Sums of scaled points, where the points are the same every time: those of a
//! verifying key. A table of multiples replaces all doublings.

use std::fmt;

use ark_bn254::{Fr, G1Affine, G1Projective};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::PrimeField;

/// Bits of a scalar that one table row serves.
const WINDOW_BITS: usize = 4;
/// Rows a point: a scalar is below 2²⁵⁴.
const WINDOWS: usize = 256 / WINDOW_BITS;
/// Multiples in a row: one to fifteen.
const MULTIPLES: usize = (1 << WINDOW_BITS) - 1;

/// Multiples of fixed points; half a megabyte for eight points.
#[derive(Clone)]
pub(crate) struct FixedBases {
    /// By point, window and multiple.
    multiples: Vec<G1Affine>,
}

impl FixedBases {
    /// Computes the table. Some milliseconds.
    pub(crate) fn new(points: &[G1Affine]) -> Self {
        let mut multiples = Vec::with_capacity(points.len() * WINDOWS * MULTIPLES);
        for point in points {
            let mut unit = point.into_group();
            for _ in 0..WINDOWS {
                let mut multiple = unit;
                for _ in 0..MULTIPLES {
                    multiples.push(multiple);
                    multiple += unit;
                }
                unit = multiple;
            }
        }
        Self { multiples: G1Projective::normalize_batch(&multiples) }
    }

    /// The sum of each point times its scalar. Takes as long as the scalars make it: they are public.
    pub(crate) fn sum(&self, scalars: &[Fr]) -> G1Projective {
        let mut sum = G1Projective::default();
        for (scalar, table) in scalars.iter().zip(self.multiples.chunks_exact(WINDOWS * MULTIPLES)) {
            let limbs = scalar.into_bigint().0;
            for (window, row) in table.chunks_exact(MULTIPLES).enumerate() {
                let bit = window * WINDOW_BITS;
                let digit = (limbs[bit / 64] >> (bit % 64)) as usize & MULTIPLES;
                if digit > 0 {
                    sum += row[digit - 1];
                }
            }
        }
        sum
    }
}

impl fmt::Debug for FixedBases {
    /// The number of points; their multiples would fill pages.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FixedBases({})", self.multiples.len() / (WINDOWS * MULTIPLES))
    }
}

#[cfg(test)]
mod tests {
    use ark_ec::VariableBaseMSM;
    use ark_ff::{AdditiveGroup, One};

    use super::*;

    #[test]
    fn sums_are_those_of_plain_multiplication() {
        let points: Vec<G1Affine> = (1_u64..=3).map(|k| (G1Affine::generator() * Fr::from(k * k)).into()).collect();
        let table = FixedBases::new(&points);
        let cases = [
            [Fr::ZERO, Fr::ZERO, Fr::ZERO],
            [Fr::one(), Fr::ZERO, -Fr::one()],
            [Fr::from(u64::MAX), -Fr::from(16_u64), Fr::from(1_u128 << 100)],
        ];
        for scalars in cases {
            let plain = G1Projective::msm(&points, &scalars).expect("as many points as scalars");
            assert_eq!(table.sum(&scalars), plain);
        }
    }
}

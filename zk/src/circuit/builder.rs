//! Linear combinations, variables and rank-one constraints, and nothing else.
//!
//! One builder serves two passes. Recording keeps the constraints and gives the
//! circuit's [`Shape`]; assigning keeps the variables' values only, which is
//! what a prover needs and some ten times faster. Both walk the same code, and
//! no branch of it depends on a value, so the shape cannot either.

use std::ops::{Add, Mul, Range, Sub};

use ark_bn254::Fr;
use ark_ff::{Field, One, Zero};
use ark_relations::{
    gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, Matrix, SynthesisError, Variable},
    utils::Result as SynthesisResult,
};

/// A linear combination of variables, with its value.
#[derive(Clone, Debug)]
pub struct Wire {
    value: Fr,
    /// Ascending by variable, no zero coefficient; empty while assigning.
    /// Variable 0 is the constant one, then come inputs, then the rest.
    terms: Vec<(Fr, usize)>,
}

/// The constraints of a circuit: `(A·z) ∘ (B·z) = C·z`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// A, B and C, row by row.
    pub matrices: [Matrix<Fr>; 3],
    /// Number of public inputs and the constant one.
    pub instance_variables: usize,
    /// Number of all variables.
    pub variables: usize,
    /// Variables that a prover chooses; the others follow from them.
    pub declared: Vec<usize>,
    /// Names of the parts of the circuit and the constraints in each.
    pub sections: Vec<(&'static str, Range<usize>)>,
}

/// What a pass keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Keeps constraints and values.
    Record,
    /// Keeps values only.
    Assign,
}

/// Builds a circuit, one variable and one constraint at a time.
#[derive(Debug)]
pub struct Builder {
    pass: Pass,
    values: Vec<Fr>,
    instance_variables: usize,
    declared: Vec<usize>,
    matrices: [Matrix<Fr>; 3],
    sections: Vec<(&'static str, Range<usize>)>,
}

impl Wire {
    /// The value under the assignment at hand.
    pub fn value(&self) -> Fr {
        self.value
    }

    /// This combination times a constant.
    pub fn scale(&self, factor: Fr) -> Self {
        let terms = self.terms.iter().map(|(coefficient, variable)| (*coefficient * factor, *variable));
        let terms = terms.filter(|(coefficient, _)| !coefficient.is_zero()).collect();
        Self { value: self.value * factor, terms }
    }

    /// This combination times a power of two.
    pub fn shift(&self, bits: u32) -> Self {
        self.scale(Fr::from(2_u64).pow([u64::from(bits)]))
    }

    fn combine(&self, other: &Self, factor: Fr) -> Self {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let term = match (left.peek(), right.peek()) {
                (None, None) => break,
                (Some(&&term), None) => {
                    left.next();
                    term
                }
                (Some(&&term), Some(&&(_, variable))) if term.1 < variable => {
                    left.next();
                    term
                }
                (Some(&&(first, variable)), Some(&&(second, same))) if variable == same => {
                    left.next();
                    right.next();
                    (first + second * factor, variable)
                }
                (_, Some(&&(coefficient, variable))) => {
                    right.next();
                    (coefficient * factor, variable)
                }
            };
            if !term.0.is_zero() {
                terms.push(term);
            }
        }
        Self { value: self.value + other.value * factor, terms }
    }
}

impl Add for &Wire {
    type Output = Wire;

    fn add(self, other: Self) -> Wire {
        self.combine(other, Fr::one())
    }
}

impl Sub for &Wire {
    type Output = Wire;

    fn sub(self, other: Self) -> Wire {
        self.combine(other, -Fr::one())
    }
}

impl Mul<Fr> for &Wire {
    type Output = Wire;

    fn mul(self, factor: Fr) -> Wire {
        self.scale(factor)
    }
}

impl Builder {
    /// A builder with these public inputs, and their wires.
    pub fn new<const N: usize>(pass: Pass, inputs: [Fr; N]) -> (Self, [Wire; N]) {
        let mut builder = Self {
            pass,
            values: vec![Fr::one()],
            instance_variables: N + 1,
            declared: Vec::new(),
            matrices: [Vec::new(), Vec::new(), Vec::new()],
            sections: Vec::new(),
        };
        let wires = inputs.map(|value| builder.derive(value));
        (builder, wires)
    }

    /// A new variable that the prover chooses.
    pub fn allocate(&mut self, value: Fr) -> Wire {
        self.declared.push(self.values.len());
        self.derive(value)
    }

    /// A new variable that constraints determine from others.
    pub fn derive(&mut self, value: Fr) -> Wire {
        let variable = self.values.len();
        self.values.push(value);
        Wire { value, terms: self.keep((Fr::one(), variable)) }
    }

    /// A constant.
    pub fn constant(&self, value: Fr) -> Wire {
        let terms = if value.is_zero() { Vec::new() } else { self.keep((value, 0)) };
        Wire { value, terms }
    }

    /// A constant and a sum of scaled wires. The wires are single variables or
    /// constants in ascending order, so that no terms meet.
    pub fn linear<'a>(&self, constant: Fr, scaled: impl Iterator<Item = (Fr, &'a Wire)>) -> Wire {
        let mut wire = self.constant(constant);
        for (factor, other) in scaled {
            wire.value += other.value * factor;
            for (coefficient, variable) in &other.terms {
                let coefficient = *coefficient * factor;
                match wire.terms.last_mut() {
                    Some(last) if last.1 == *variable => last.0 += coefficient,
                    Some(last) => {
                        debug_assert!(last.1 < *variable, "terms come in ascending order");
                        wire.terms.push((coefficient, *variable));
                    }
                    None => wire.terms.push((coefficient, *variable)),
                }
            }
        }
        wire.terms.retain(|(coefficient, _)| !coefficient.is_zero());
        wire
    }

    fn keep(&self, term: (Fr, usize)) -> Vec<(Fr, usize)> {
        match self.pass {
            Pass::Record => vec![term],
            Pass::Assign => Vec::new(),
        }
    }

    /// Requires `a · b = c`.
    pub fn enforce(&mut self, a: &Wire, b: &Wire, c: &Wire) {
        if self.pass == Pass::Record {
            for (matrix, wire) in self.matrices.iter_mut().zip([a, b, c]) {
                matrix.push(wire.terms.clone());
            }
        }
    }

    /// A new variable that is `a · b`. One constraint.
    pub fn multiply(&mut self, a: &Wire, b: &Wire) -> Wire {
        let product = self.derive(a.value * b.value);
        self.enforce(a, b, &product);
        product
    }

    /// Requires `a = b`. One constraint.
    pub fn equal(&mut self, a: &Wire, b: &Wire) {
        let one = self.constant(Fr::one());
        self.enforce(a, &one, b);
    }

    /// Begins a named part of the circuit.
    pub fn section(&mut self, name: &'static str) {
        let start = self.matrices[0].len();
        self.sections.push((name, start..start));
    }

    /// The recorded constraints and the values of all variables.
    pub fn finish(mut self) -> (Shape, Vec<Fr>) {
        let end = self.matrices[0].len();
        let starts: Vec<usize> = self.sections.iter().map(|(_, range)| range.start).collect();
        let ends = starts.into_iter().skip(1).chain([end]);
        for ((_, range), end) in self.sections.iter_mut().zip(ends) {
            range.end = end;
        }
        let shape = Shape {
            matrices: self.matrices,
            instance_variables: self.instance_variables,
            variables: self.values.len(),
            declared: self.declared,
            sections: self.sections,
        };
        (shape, self.values)
    }
}

impl Shape {
    /// Number of constraints.
    pub fn constraints(&self) -> usize {
        self.matrices[0].len()
    }

    /// The first constraint that an assignment of all variables breaks.
    pub fn broken(&self, values: &[Fr]) -> Option<usize> {
        (0..self.constraints()).find(|row| !self.row_holds(*row, values))
    }

    /// Whether constraint `row` holds.
    pub fn row_holds(&self, row: usize, values: &[Fr]) -> bool {
        let [a, b, c] = [0, 1, 2].map(|matrix: usize| -> Fr {
            let terms = &self.matrices[matrix][row];
            terms.iter().map(|(coefficient, variable)| *coefficient * values[*variable]).sum()
        });
        a * b == c
    }

    /// The name of the part of the circuit that constraint `row` belongs to.
    pub fn section_of(&self, row: usize) -> &'static str {
        let section = self.sections.iter().find(|(_, range)| range.contains(&row));
        section.map_or("", |(name, _)| name)
    }
}

/// Hands the constraints to arkworks, for the setup.
impl ConstraintSynthesizer<Fr> for &Shape {
    fn generate_constraints(self, system: ConstraintSystemRef<Fr>) -> SynthesisResult<()> {
        let missing = || Err(SynthesisError::AssignmentMissing);
        let mut variables = vec![Variable::One];
        for index in 1..self.variables {
            variables.push(if index < self.instance_variables {
                system.new_input_variable(missing)?
            } else {
                system.new_witness_variable(missing)?
            });
        }
        let combination = |row: &[(Fr, usize)]| {
            let terms = row.iter().map(|(coefficient, index)| (*coefficient, variables[*index]));
            LinearCombination(terms.collect())
        };
        let [a, b, c] = &self.matrices;
        for ((a, b), c) in a.iter().zip(b).zip(c) {
            system.enforce_r1cs_constraint(|| combination(a), || combination(b), || combination(c))?;
        }
        Ok(())
    }
}

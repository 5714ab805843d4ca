//! How many ways a satisfying assignment can move and still satisfy, to first
//! order: what an auditor asks of a circuit, and a stronger question than
//! whether one variable can change alone.
//!
//! The constraints' derivative at the assignment is a linear system; its free
//! dimensions are the directions in which nothing holds the assignment.

use std::collections::BTreeMap;

use ark_bn254::Fr;
use ark_ff::{Field, One, Zero};

use super::builder::Shape;

/// A variable as a combination of others.
type Expression = Vec<(usize, Fr)>;

/// The variables that stay free when those that `is_fixed` names may not move.
/// Which of several dependent ones is named is a matter of order; how many is
/// not. Variable 0 is the constant one and never moves.
pub fn free_variables(shape: &Shape, values: &[Fr], is_fixed: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut system = System { solved: vec![None; shape.variables] };
    for variable in (0..shape.variables).filter(|variable| *variable == 0 || is_fixed(*variable)) {
        system.solved[variable] = Some(Vec::new());
    }
    for row in 0..shape.constraints() {
        system.add(&tangent(shape, row, values));
    }
    (0..shape.variables).filter(|variable| system.solved[*variable].is_none()).collect()
}

/// The derivative of `a·b − c`: `b·da + a·db − dc`.
fn tangent(shape: &Shape, row: usize, values: &[Fr]) -> Expression {
    let [a, b, c] = [0, 1, 2].map(|matrix: usize| &shape.matrices[matrix][row]);
    let value = |terms: &[(Fr, usize)]| -> Fr { terms.iter().map(|(k, variable)| *k * values[*variable]).sum() };
    let weighted = [(a, value(b)), (b, value(a)), (c, -Fr::one())];
    let terms = weighted.into_iter().flat_map(|(terms, weight)| {
        terms.iter().map(move |(coefficient, variable)| (*variable, *coefficient * weight))
    });
    terms.collect()
}

/// Linear equations, each solved for one variable as soon as it is known.
struct System {
    solved: Vec<Option<Expression>>,
}

impl System {
    /// Requires the sum to be zero.
    fn add(&mut self, sum: &Expression) {
        let mut reduced = self.reduce(sum);
        let Some((pivot, coefficient)) = reduced.pop() else {
            return;
        };
        let factor = -coefficient.inverse().expect("a reduced sum has no zero coefficient");
        self.solved[pivot] = Some(reduced.into_iter().map(|(variable, k)| (variable, k * factor)).collect());
    }

    /// The sum over variables that are not solved, ascending, without zeros.
    fn reduce(&mut self, sum: &Expression) -> Expression {
        let mut total = BTreeMap::new();
        for (variable, coefficient) in sum.iter().filter(|(_, coefficient)| !coefficient.is_zero()) {
            self.refresh(*variable);
            match &self.solved[*variable] {
                None => *total.entry(*variable).or_insert(Fr::zero()) += coefficient,
                Some(expression) => {
                    for (other, k) in expression {
                        *total.entry(*other).or_insert(Fr::zero()) += *k * coefficient;
                    }
                }
            }
        }
        total.into_iter().filter(|(_, coefficient)| !coefficient.is_zero()).collect()
    }

    /// Rewrites a solved variable whose expression names one solved since.
    fn refresh(&mut self, variable: usize) {
        let stale = self.solved[variable]
            .as_ref()
            .is_some_and(|expression| expression.iter().any(|(other, _)| self.solved[*other].is_some()));
        if stale {
            let expression = self.solved[variable].clone().expect("a stale variable is solved");
            let fresh = self.reduce(&expression);
            self.solved[variable] = Some(fresh);
        }
    }
}

//! The circuit's building blocks: bits, comparisons, Poseidon, Merkle paths.

use std::{collections::BTreeMap, sync::LazyLock};

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, BigInteger, Field, One, PrimeField, Zero};

use super::{
    assignment::RawPath,
    builder::{Builder, Wire},
};
use crate::{
    poseidon::{self, Domain},
    tree::ARITY,
};

/// Requires `wire` to be zero or one. One constraint.
pub fn boolean(builder: &mut Builder, wire: &Wire) {
    let one = builder.constant(Fr::one());
    let zero = builder.constant(Fr::zero());
    builder.enforce(wire, &(wire - &one), &zero);
}

/// Requires `wire` to be below 2^`bits`. `bits` + 1 constraints.
pub fn range(builder: &mut Builder, wire: &Wire, bits: u32) {
    let hint = wire.value().into_bigint();
    let mut sum = builder.constant(Fr::zero());
    let mut weight = Fr::one();
    for place in 0..bits as usize {
        let bit = builder.derive(Fr::from(hint.get_bit(place)));
        boolean(builder, &bit);
        sum = &sum + &bit.scale(weight);
        weight.double_in_place();
    }
    builder.equal(&sum, wire);
}

/// Requires `low` ≤ `high`, where both are known to be below 2^`bits` and
/// `bits` is far below the field's 254: otherwise the difference wraps to a
/// number of more than `bits` bits.
pub fn at_most(builder: &mut Builder, low: &Wire, high: &Wire, bits: u32) {
    range(builder, &(high - low), bits);
}

/// The sum of `values`, each times its selector.
pub fn select(builder: &mut Builder, selectors: &[Wire], values: &[Wire]) -> Wire {
    let mut sum = builder.constant(Fr::zero());
    for (selector, value) in selectors.iter().zip(values) {
        let product = builder.multiply(selector, value);
        sum = &sum + &product;
    }
    sum
}

/// What enters each S-box of a permutation, and what leaves the permutation, as
/// linear combinations of what left the S-boxes before. They depend on the
/// width only, so each is computed once and not for each hash.
struct Template {
    width: usize,
    /// S-boxes after the first round, in order, then the permutation's output.
    forms: Vec<(Fr, Vec<(usize, Fr)>)>,
}

impl Template {
    fn new(width: usize) -> Self {
        let parameters = poseidon::parameters(width);
        let half = parameters.full_rounds / 2;
        let partial = half..half + parameters.partial_rounds;
        // Each state element: a constant, and coefficients of S-box outputs.
        let mut state: Vec<(Fr, Vec<Fr>)> = vec![(Fr::zero(), Vec::new()); width];
        let mut outputs = 0;
        let mut forms = Vec::new();
        for round in 0..parameters.full_rounds + parameters.partial_rounds {
            let boxes = if partial.contains(&round) { 1 } else { width };
            for (place, element) in state.iter_mut().enumerate() {
                element.0 += parameters.ark[round * width + place];
                if place < boxes {
                    if round > 0 {
                        forms.push(sparse(element));
                    }
                    *element = (Fr::zero(), vec![Fr::zero(); outputs + 1]);
                    element.1[outputs] = Fr::one();
                    outputs += 1;
                }
            }
            state = parameters.mds.iter().map(|row| mix(row, &state, outputs)).collect();
        }
        forms.push(sparse(&state[0]));
        Self { width, forms }
    }

    fn of(width: usize) -> &'static Self {
        static TEMPLATES: LazyLock<BTreeMap<usize, Template>> =
            LazyLock::new(|| [3, 5, 6, 9].into_iter().map(|width| (width, Template::new(width))).collect());
        TEMPLATES.get(&width).expect("the circuit hashes two, four, five or eight elements")
    }
}

fn mix(row: &[Fr], state: &[(Fr, Vec<Fr>)], outputs: usize) -> (Fr, Vec<Fr>) {
    let mut mixed = (Fr::zero(), vec![Fr::zero(); outputs]);
    for (factor, element) in row.iter().zip(state) {
        mixed.0 += *factor * element.0;
        for (sum, coefficient) in mixed.1.iter_mut().zip(&element.1) {
            *sum += *factor * coefficient;
        }
    }
    mixed
}

fn sparse((constant, coefficients): &(Fr, Vec<Fr>)) -> (Fr, Vec<(usize, Fr)>) {
    let terms = coefficients.iter().copied().enumerate();
    (*constant, terms.filter(|(_, coefficient)| !coefficient.is_zero()).collect())
}

/// Poseidon of `inputs` under a domain; what [`poseidon::hash`] computes. Three
/// constraints for each S-box but the one over the constant tag.
pub fn hash(builder: &mut Builder, domain: Domain, inputs: &[&Wire]) -> Wire {
    let template = Template::of(inputs.len() + 1);
    let constants = &poseidon::parameters(template.width).ark;
    let tag = domain.tag() + constants[0];
    let mut outputs = vec![builder.constant(tag * tag.square().square())];
    for (input, constant) in inputs.iter().zip(&constants[1..]) {
        let shifted = *input + &builder.constant(*constant);
        outputs.push(power_of_five(builder, &shifted));
    }
    let last = template.forms.len() - 1;
    for form in &template.forms[..last] {
        let input = evaluate(builder, form, &outputs);
        outputs.push(power_of_five(builder, &input));
    }
    evaluate(builder, &template.forms[last], &outputs)
}

fn power_of_five(builder: &mut Builder, wire: &Wire) -> Wire {
    let square = builder.multiply(wire, wire);
    let fourth = builder.multiply(&square, &square);
    builder.multiply(&fourth, wire)
}

fn evaluate(builder: &Builder, form: &(Fr, Vec<(usize, Fr)>), outputs: &[Wire]) -> Wire {
    let terms = form.1.iter().map(|(index, coefficient)| (*coefficient, &outputs[*index]));
    builder.linear(form.0, terms)
}

/// The root that a leaf and its path give. Each level holds all four children
/// and two bits that say which one is the node below: 306 constraints.
pub fn root(builder: &mut Builder, leaf: &Wire, path: &RawPath) -> Wire {
    let mut node = leaf.clone();
    for (children, position) in path.children.iter().zip(&path.positions) {
        let children = children.map(|child| builder.allocate(child));
        let [low, high] = position.map(|bit| builder.allocate(bit));
        boolean(builder, &low);
        boolean(builder, &high);
        let both = builder.multiply(&low, &high);
        // Which child is the node below: one of these is one, the others zero.
        let chosen = [&low - &both, &high - &both, both];
        let mut sum = children[0].clone();
        for (selector, child) in chosen[..ARITY - 2].iter().zip(&children[1..]) {
            let step = builder.multiply(selector, &(child - &children[0]));
            sum = &sum + &step;
        }
        let last = &children[ARITY - 1] - &children[0];
        builder.enforce(&chosen[ARITY - 2], &last, &(&node - &sum));
        let [first, second, third, fourth] = &children;
        node = hash(builder, Domain::NODE, &[first, second, third, fourth]);
    }
    node
}

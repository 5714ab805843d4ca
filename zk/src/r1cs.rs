//! The circuit in the iden3 `.r1cs` format (version 1), which snarkjs and other
//! tools read: what a ceremony starts from, and what the circuit's digest is of.

use ark_bn254::Fr;
use ark_ff::{BigInteger, PrimeField};

use crate::circuit::builder::Shape;

const MAGIC: &[u8; 4] = b"r1cs";
const VERSION: u32 = 1;
const HEADER_SECTION: u32 = 1;
const CONSTRAINT_SECTION: u32 = 2;
const LABEL_SECTION: u32 = 3;
/// Bytes of a field element.
const ELEMENT_BYTES: u32 = 32;

/// The circuit's constraints as bytes. Everything is little-endian; wire 0 is
/// one, then come the public inputs, then the private ones.
pub fn encode(shape: &Shape) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&3_u32.to_le_bytes());
    section(&mut bytes, HEADER_SECTION, &header(shape));
    section(&mut bytes, CONSTRAINT_SECTION, &constraints(shape));
    let labels: Vec<u8> = (0..shape.variables as u64).flat_map(u64::to_le_bytes).collect();
    section(&mut bytes, LABEL_SECTION, &labels);
    bytes
}

fn section(bytes: &mut Vec<u8>, kind: u32, content: &[u8]) {
    bytes.extend_from_slice(&kind.to_le_bytes());
    bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
    bytes.extend_from_slice(content);
}

fn header(shape: &Shape) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&ELEMENT_BYTES.to_le_bytes());
    bytes.extend_from_slice(&Fr::MODULUS.to_bytes_le());
    let inputs = shape.instance_variables - 1;
    let private = shape.variables - shape.instance_variables;
    for count in [shape.variables, 0, inputs, private] {
        put(&mut bytes, count);
    }
    bytes.extend_from_slice(&(shape.variables as u64).to_le_bytes());
    put(&mut bytes, shape.constraints());
    bytes
}

fn constraints(shape: &Shape) -> Vec<u8> {
    let mut bytes = Vec::new();
    let [a, b, c] = &shape.matrices;
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for terms in [a, b, c] {
            put(&mut bytes, terms.len());
            for (coefficient, variable) in terms {
                put(&mut bytes, *variable);
                bytes.extend_from_slice(&coefficient.into_bigint().to_bytes_le());
            }
        }
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("a circuit has fewer than 2^32 of anything");
    bytes.extend_from_slice(&count.to_le_bytes());
}

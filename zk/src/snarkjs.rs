//! Keys, proofs and inputs as snarkjs writes them, so that an insurer can check
//! a proof with a tool none of us wrote: `snarkjs groth16 verify
//! verification_key.json public.json proof.json`.

use std::str::FromStr;

use ark_bn254::{Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ff::PrimeField;
use serde::{Deserialize, Serialize};

use crate::{
    field::Element,
    key::{KeyError, KeyKind, VerifyingKey},
    statement::{INPUTS, PublicInputs},
    verify::Proof,
};

type G1Json = [String; 3];
type G2Json = [[String; 2]; 3];

/// Contents of `proof.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJson {
    pi_a: G1Json,
    pi_b: G2Json,
    pi_c: G1Json,
    protocol: String,
    curve: String,
}

/// Contents of `verification_key.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyJson {
    protocol: String,
    curve: String,
    #[serde(rename = "nPublic")]
    inputs: usize,
    vk_alpha_1: G1Json,
    vk_beta_2: G2Json,
    vk_gamma_2: G2Json,
    vk_delta_2: G2Json,
    #[serde(rename = "IC")]
    input_points: Vec<G1Json>,
}

/// Contents of `public.json`: the inputs in decimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicJson(Vec<String>);

/// Why snarkjs JSON is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnarkjsError {
    /// Not Groth16 over bn128.
    #[error("the file is not of a groth16 proof over bn128")]
    Protocol,
    /// A number is not canonical decimal.
    #[error("a number is not in canonical decimal below its modulus")]
    Number,
    /// A point is not in its group, or the identity.
    #[error("a point is not a point of its group, or is the identity")]
    Point,
    /// Not eight inputs, or not those of the statement.
    #[error("the file does not hold the eight public inputs of the statement")]
    Inputs,
    /// The key may not be used.
    #[error(transparent)]
    Key(#[from] KeyError),
}

const PROTOCOL: &str = "groth16";
const CURVE: &str = "bn128";

impl From<&Proof> for ProofJson {
    fn from(proof: &Proof) -> Self {
        let points = proof.points();
        Self {
            pi_a: write_g1(&points.a),
            pi_b: write_g2(&points.b),
            pi_c: write_g1(&points.c),
            protocol: PROTOCOL.to_owned(),
            curve: CURVE.to_owned(),
        }
    }
}

impl ProofJson {
    /// The proof in the file.
    pub fn to_proof(&self) -> Result<Proof, SnarkjsError> {
        check_protocol(&self.protocol, &self.curve)?;
        let points = ark_groth16::Proof { a: read_g1(&self.pi_a)?, b: read_g2(&self.pi_b)?, c: read_g1(&self.pi_c)? };
        Proof::new(points).map_err(|_| SnarkjsError::Point)
    }
}

impl From<&VerifyingKey> for KeyJson {
    fn from(key: &VerifyingKey) -> Self {
        let points = key.points();
        Self {
            protocol: PROTOCOL.to_owned(),
            curve: CURVE.to_owned(),
            inputs: INPUTS,
            vk_alpha_1: write_g1(&points.alpha_g1),
            vk_beta_2: write_g2(&points.beta_g2),
            vk_gamma_2: write_g2(&points.gamma_g2),
            vk_delta_2: write_g2(&points.delta_g2),
            input_points: points.gamma_abc_g1.iter().map(write_g1).collect(),
        }
    }
}

impl KeyJson {
    /// The key in the file. The file does not say where the key comes from, so
    /// the caller does.
    pub fn to_key(&self, kind: KeyKind) -> Result<VerifyingKey, SnarkjsError> {
        check_protocol(&self.protocol, &self.curve)?;
        if self.inputs != INPUTS || self.input_points.len() != INPUTS + 1 {
            return Err(SnarkjsError::Inputs);
        }
        let points = ark_groth16::VerifyingKey {
            alpha_g1: read_g1(&self.vk_alpha_1)?,
            beta_g2: read_g2(&self.vk_beta_2)?,
            gamma_g2: read_g2(&self.vk_gamma_2)?,
            delta_g2: read_g2(&self.vk_delta_2)?,
            gamma_abc_g1: self.input_points.iter().map(read_g1).collect::<Result<_, _>>()?,
        };
        Ok(VerifyingKey::new(kind, points)?)
    }
}

impl From<&PublicInputs> for PublicJson {
    fn from(inputs: &PublicInputs) -> Self {
        Self(inputs.to_elements().iter().map(|element| element.inner().to_string()).collect())
    }
}

impl PublicJson {
    /// The inputs in the file.
    pub fn to_inputs(&self) -> Result<PublicInputs, SnarkjsError> {
        let elements: Vec<Element> =
            self.0.iter().map(|text| decimal::<Fr>(text).map(Element::from)).collect::<Result<_, _>>()?;
        let elements = elements.try_into().map_err(|_| SnarkjsError::Inputs)?;
        PublicInputs::from_elements(elements).map_err(|_| SnarkjsError::Inputs)
    }
}

fn check_protocol(protocol: &str, curve: &str) -> Result<(), SnarkjsError> {
    if protocol == PROTOCOL && curve == CURVE { Ok(()) } else { Err(SnarkjsError::Protocol) }
}

/// A canonical decimal number; arkworks alone would reduce a larger one.
fn decimal<F: PrimeField + FromStr>(text: &str) -> Result<F, SnarkjsError> {
    let value = F::from_str(text).map_err(|_| SnarkjsError::Number)?;
    if value.to_string() == text { Ok(value) } else { Err(SnarkjsError::Number) }
}

fn write_g1(point: &G1Affine) -> G1Json {
    [point.x.to_string(), point.y.to_string(), "1".to_owned()]
}

fn write_g2(point: &G2Affine) -> G2Json {
    let pair = |value: &Fq2| [value.c0.to_string(), value.c1.to_string()];
    [pair(&point.x), pair(&point.y), ["1".to_owned(), "0".to_owned()]]
}

/// The coordinates as a point; `Proof::new` and `VerifyingKey::new` check the group.
fn read_g1(json: &G1Json) -> Result<G1Affine, SnarkjsError> {
    let [x, y, z] = json;
    if z != "1" {
        return Err(SnarkjsError::Point);
    }
    Ok(G1Affine::new_unchecked(decimal(x)?, decimal(y)?))
}

/// As [`read_g1`].
fn read_g2(json: &G2Json) -> Result<G2Affine, SnarkjsError> {
    let pair =
        |[c0, c1]: &[String; 2]| -> Result<Fq2, SnarkjsError> { Ok(Fq2::new(decimal::<Fq>(c0)?, decimal::<Fq>(c1)?)) };
    let [x, y, z] = json;
    if z[0] != "1" || z[1] != "0" {
        return Err(SnarkjsError::Point);
    }
    Ok(G2Affine::new_unchecked(pair(x)?, pair(y)?))
}

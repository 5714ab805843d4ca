//! Verifying keys: read strictly, named by their content, refused when unsafe.
//!
//! Encoding, 520 bytes: `CLVK`, version 1, kind (1 from a ceremony, 0xde for
//! development), number of input points as two big-endian bytes, then α (32),
//! β, γ, δ (64 each) and the input points (32 each), compressed as arkworks
//! does (little-endian x, sign in the top bit).

use ark_bn254::{Bn254, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use sha2::{Digest, Sha256};

use crate::{
    fixed_base::FixedBases,
    statement::{CIRCUIT_ID, INPUTS},
};

/// Bytes of an encoded verifying key.
pub const KEY_BYTES: usize = HEADER_BYTES + G1_BYTES + 3 * G2_BYTES + (INPUTS + 1) * G1_BYTES;
/// Bytes of a compressed point of the first group.
pub const G1_BYTES: usize = 32;
/// Bytes of a compressed point of the second group.
pub const G2_BYTES: usize = 64;
/// The development key, which `setup` computes from its published seed.
const DEVELOPMENT_KEY: &[u8] = include_bytes!("../keys/eligibility-1-development.vk");
const HEADER_BYTES: usize = 8;
const MAGIC: &[u8; 4] = b"CLVK";
const VERSION: u8 = 1;

/// Where a key comes from. It is the first byte of the key's id, so that an id
/// in a genesis file or a log says by itself that a key is not safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// From a ceremony: sound while one contributor was honest.
    Ceremony = 0x01,
    /// From a published seed: anyone can forge proofs under it.
    Development = 0xde,
}

/// A verifying key of the eligibility circuit. Its points are valid, none is
/// the identity, and γ is not δ.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyingKey {
    kind: KeyKind,
    points: ark_groth16::VerifyingKey<Bn254>,
}

/// A verifying key with what every verification needs computed once.
#[derive(Clone, Debug)]
pub struct PreparedKey {
    pub(crate) inner: ark_groth16::PreparedVerifyingKey<Bn254>,
    pub(crate) input_points: FixedBases,
    pub(crate) bytes_digest: [u8; 32],
    kind: KeyKind,
}

/// Why bytes are not a verifying key that may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not exactly [`KEY_BYTES`] bytes.
    #[error("a verifying key has 520 bytes")]
    Length,
    /// Another magic, version or kind.
    #[error("the bytes are not a verifying key of a known version and kind")]
    Header,
    /// Another number of input points than the circuit's inputs and one.
    #[error("the key is for another number of public inputs")]
    InputCount,
    /// A point is not on its curve, not in its subgroup, or not canonical.
    #[error("a point of the key is not a canonical point of its group")]
    Point,
    /// A point is the identity.
    #[error("a point of the key is the identity")]
    Identity,
    /// γ = δ: a key that nobody contributed to; proofs under it can be forged.
    #[error("gamma equals delta: nobody contributed to this key, and proofs can be forged")]
    GammaIsDelta,
    /// The points of the development key without its mark.
    #[error("the points are those of the development key, but the key is not marked so")]
    DevelopmentUnmarked,
}

impl VerifyingKey {
    /// A key from its points; refuses an unsafe one.
    pub fn new(kind: KeyKind, points: ark_groth16::VerifyingKey<Bn254>) -> Result<Self, KeyError> {
        if points.gamma_abc_g1.len() != INPUTS + 1 {
            return Err(KeyError::InputCount);
        }
        let g2 = [points.beta_g2, points.gamma_g2, points.delta_g2];
        let g1 = std::iter::once(&points.alpha_g1).chain(&points.gamma_abc_g1);
        if g1.clone().any(AffineRepr::is_zero) || g2.iter().any(AffineRepr::is_zero) {
            return Err(KeyError::Identity);
        }
        let on_g1 = |point: &G1Affine| point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve();
        let on_g2 = |point: &G2Affine| point.is_on_curve() && point.is_in_correct_subgroup_assuming_on_curve();
        if !g1.clone().all(on_g1) || !g2.iter().all(on_g2) {
            return Err(KeyError::Point);
        }
        if points.gamma_g2 == points.delta_g2 {
            return Err(KeyError::GammaIsDelta);
        }
        // Whoever knows the seed knows α, and a later contribution to δ does not mend that.
        let mut alpha = Vec::with_capacity(G1_BYTES);
        put(&mut alpha, &points.alpha_g1);
        let published = DEVELOPMENT_KEY.get(HEADER_BYTES..HEADER_BYTES + G1_BYTES);
        if kind == KeyKind::Ceremony && published == Some(&alpha[..]) {
            return Err(KeyError::DevelopmentUnmarked);
        }
        Ok(Self { kind, points })
    }

    /// The development key: deterministic, the same everywhere, and insecure.
    ///
    /// # Panics
    /// Never: a test holds the committed bytes to the seed.
    pub fn development() -> Self {
        Self::decode(DEVELOPMENT_KEY).expect("the committed development key is a key")
    }

    /// Reads exactly what [`Self::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().map_err(|_| KeyError::Length)?;
        let (header, mut rest) = bytes.split_at(HEADER_BYTES);
        let kind = match header[5] {
            byte if byte == KeyKind::Ceremony as u8 => KeyKind::Ceremony,
            byte if byte == KeyKind::Development as u8 => KeyKind::Development,
            _ => return Err(KeyError::Header),
        };
        if header[..4] != MAGIC[..] || header[4] != VERSION {
            return Err(KeyError::Header);
        }
        if header[6..] != ((INPUTS + 1) as u16).to_be_bytes() {
            return Err(KeyError::InputCount);
        }
        let alpha_g1 = take::<G1Affine, G1_BYTES>(&mut rest)?;
        let beta_g2 = take::<G2Affine, G2_BYTES>(&mut rest)?;
        let gamma_g2 = take::<G2Affine, G2_BYTES>(&mut rest)?;
        let delta_g2 = take::<G2Affine, G2_BYTES>(&mut rest)?;
        let gamma_abc_g1 = (0..=INPUTS).map(|_| take::<G1Affine, G1_BYTES>(&mut rest)).collect::<Result<_, _>>()?;
        Self::new(kind, ark_groth16::VerifyingKey { alpha_g1, beta_g2, gamma_g2, delta_g2, gamma_abc_g1 })
    }

    /// The key's one encoding.
    pub fn encode(&self) -> [u8; KEY_BYTES] {
        let mut bytes = Vec::with_capacity(KEY_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[VERSION, self.kind as u8]);
        bytes.extend_from_slice(&((INPUTS + 1) as u16).to_be_bytes());
        let points = &self.points;
        put(&mut bytes, &points.alpha_g1);
        put(&mut bytes, &points.beta_g2);
        put(&mut bytes, &points.gamma_g2);
        put(&mut bytes, &points.delta_g2);
        for point in &points.gamma_abc_g1 {
            put(&mut bytes, point);
        }
        bytes.try_into().expect("a key with the right number of inputs has one length")
    }

    /// The key's id: its kind in the first byte, then 31 bytes of SHA-256 over
    /// the circuit's id, the circuit's digest ([`crate::statement::CIRCUIT_DIGEST`])
    /// and the encoding.
    pub fn id(&self, circuit_digest: &[u8; 32]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(b"careledger/zk/key/1");
        hasher.update(CIRCUIT_ID);
        hasher.update(circuit_digest);
        hasher.update(self.encode());
        let mut id: [u8; 32] = hasher.finalize().into();
        id[0] = self.kind as u8;
        id
    }

    /// Whether anyone can forge proofs under this key. Only a chain whose id
    /// says that it is a development chain may accept it.
    pub fn is_development(&self) -> bool {
        self.kind == KeyKind::Development
    }

    /// Computes once what every verification needs.
    pub fn prepare(&self) -> PreparedKey {
        PreparedKey {
            inner: ark_groth16::prepare_verifying_key(&self.points),
            input_points: FixedBases::new(&self.points.gamma_abc_g1[1..]),
            bytes_digest: Sha256::digest(self.encode()).into(),
            kind: self.kind,
        }
    }

    /// The points, as arkworks holds them.
    pub fn points(&self) -> &ark_groth16::VerifyingKey<Bn254> {
        &self.points
    }
}

impl PreparedKey {
    /// Whether anyone can forge proofs under this key.
    pub fn is_development(&self) -> bool {
        self.kind == KeyKind::Development
    }
}

/// Reads one point; refuses another spelling of it, and points off the subgroup.
fn take<P, const BYTES: usize>(bytes: &mut &[u8]) -> Result<P, KeyError>
where
    P: CanonicalDeserialize + CanonicalSerialize + AffineRepr,
{
    let (head, tail) = bytes.split_at_checked(BYTES).ok_or(KeyError::Length)?;
    *bytes = tail;
    read_point(head).ok_or(KeyError::Point)
}

/// The point that these bytes, and no others, stand for.
pub(crate) fn read_point<P>(bytes: &[u8]) -> Option<P>
where
    P: CanonicalDeserialize + CanonicalSerialize + AffineRepr,
{
    let point = P::deserialize_compressed(bytes).ok()?;
    let mut again = Vec::with_capacity(bytes.len());
    put(&mut again, &point);
    (again == bytes).then_some(point)
}

pub(crate) fn put<P: CanonicalSerialize>(bytes: &mut Vec<u8>, point: &P) {
    point.serialize_compressed(bytes).expect("writing to memory cannot fail");
}

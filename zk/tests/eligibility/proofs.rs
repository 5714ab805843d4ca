//! Proofs, keys and their encodings, ours and snarkjs's.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use crate::{
    node_project,
    scenario::{anchor, day, eligible, later, restate},
};
use ark_bn254::{Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, PrimeField, UniformRand};
use ark_groth16::Groth16;
use ark_serialize::CanonicalSerialize;
use ark_std::rand::{SeedableRng, rngs::StdRng};
use careledger_zk::{
    circuit,
    document::{DocumentError, ProofDocument},
    field::Element,
    key::{KEY_BYTES, KeyError, KeyKind, VerifyingKey},
    prover::{ProveError, Prover},
    r1cs,
    rule::{Statement, Violation},
    setup,
    snarkjs::{KeyJson, ProofJson, PublicJson, SnarkjsError},
    statement::{CIRCUIT_DIGEST, PublicInputs},
    verify::{PROOF_BYTES, Proof, VerifyError, verify, verify_batch},
};
use proptest::prelude::*;

static PROVER: LazyLock<Prover> =
    LazyLock::new(|| Prover::development(env!("CARGO_TARGET_TMPDIR").as_ref()).expect("development keys"));
static PROVEN: LazyLock<(Statement, [u8; PROOF_BYTES])> = LazyLock::new(|| {
    let (statement, witness) = eligible();
    let proof = PROVER.prove(&statement, &witness).expect("an eligible member proves it");
    (statement, proof)
});

#[test]
fn the_committed_key_is_the_seeds() {
    let key = setup::development_key(&circuit::shape()).expect("the setup succeeds");
    let key = setup::development_verifying_key(&key);
    assert_eq!(hex::encode(key.encode()), hex::encode(VerifyingKey::development().encode()));
    assert_eq!(
        hex::encode(key.id(&CIRCUIT_DIGEST)),
        "decbb3f7f56cfad5e2e548016e690898452799057935f6ffccfb022831f67aa8"
    );
    assert!(key.is_development());
}

#[test]
fn a_damaged_key_cache_is_computed_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = setup::cache_file(folder.path());
    fs::write(&file, b"torn").expect("a file");
    let prover = Prover::development(folder.path()).expect("keys");
    assert_eq!(*prover.verifying_key(), VerifyingKey::development());
    assert!(fs::metadata(&file).expect("a file").len() > 1_000_000);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing unfinished");
}

#[test]
fn proofs_are_blinded_and_can_be_made_again_by_anyone() {
    let (statement, witness) = eligible();
    let second = PROVER.prove(&statement, &witness).expect("it proves again");
    assert_ne!(second, PROVEN.1);
    let key = VerifyingKey::development();
    let mut randomness = StdRng::seed_from_u64(7);
    let points = Proof::from_bytes(&second).expect("a proof").points().clone();
    let third = Groth16::<ark_bn254::Bn254>::rerandomize_proof(key.points(), &points, &mut randomness);
    let third = Proof::new(third).expect("a proof").to_bytes();
    for proof in [PROVEN.1, second, third] {
        assert_eq!(verify(&key.prepare(), &statement, &proof), Ok(()));
    }
}

#[test]
fn a_prover_refuses_what_the_rule_refuses() {
    let (statement, mut witness) = eligible();
    witness.claim_number = 3;
    let refused = PROVER.prove(&statement, &witness);
    assert!(matches!(refused, Err(ProveError::Rule(Violation::TooManyClaims))));
}

#[test]
fn a_proof_is_of_its_own_inputs_only() {
    let (statement, proof) = *PROVEN;
    let key = VerifyingKey::development().prepare();
    for number in 0..8 {
        let mut elements = statement.to_elements();
        elements[number] = Element::from(elements[number].inner() + Fr::from(1));
        let other = PublicInputs::from_elements(elements).expect("still inputs");
        assert_eq!(verify(&key, &other, &proof), Err(VerifyError::Refused), "input {number}");
    }
}

/// A point of the twist outside the subgroup that pairings need.
fn stray_point() -> G2Affine {
    (1_u64..)
        .filter_map(|x| G2Affine::get_point_from_x_unchecked(Fq2::new(Fq::from(x), Fq::ZERO), true))
        .find(|point| !point.is_in_correct_subgroup_assuming_on_curve())
        .expect("most points of the twist are outside")
}

fn compressed<P: CanonicalSerialize>(point: &P) -> Vec<u8> {
    let mut bytes = Vec::new();
    point.serialize_compressed(&mut bytes).expect("memory");
    bytes
}

#[test]
fn unsafe_points_in_a_proof_are_refused() {
    let (statement, proof) = *PROVEN;
    let key = VerifyingKey::development().prepare();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = proof;
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let mut infinity_with_x = compressed(&G1Affine::zero());
    infinity_with_x[0] = 1;
    let modulus_x = hex::decode("47fd7cd8168c203c8dca7168916a81975d588181b64550b829a031e1724e6430");
    let cases = [
        ("A is the identity", with(0, &compressed(&G1Affine::zero()))),
        ("B is the identity", with(32, &compressed(&G2Affine::zero()))),
        ("C is the identity", with(96, &compressed(&G1Affine::zero()))),
        ("infinity with an x", with(0, &infinity_with_x)),
        ("both flags", with(31, &[proof[31] | 0xc0])),
        ("x is the modulus", with(0, &modulus_x.expect("hex"))),
        ("B is outside the subgroup", with(32, &compressed(&stray_point()))),
        ("nothing", [0; PROOF_BYTES]),
        ("everything", [0xff; PROOF_BYTES]),
    ];
    for (name, bytes) in cases {
        assert_eq!(verify(&key, &statement, &bytes), Err(VerifyError::Encoding), "{name}");
    }
    let swapped = [&proof[96..], &proof[32..96], &proof[..32]].concat();
    let swapped = swapped.try_into().expect("the length is right");
    assert_eq!(verify(&key, &statement, &swapped), Err(VerifyError::Refused));
}

#[test]
fn unsafe_keys_are_refused() {
    let good = VerifyingKey::development().encode();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.to_vec();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let (beta, gamma, delta, inputs) = (40, 104, 168, 232);
    let cases = [
        ("as it is", good.to_vec(), None),
        ("gamma is delta", with(delta, &good[gamma..delta]), Some(KeyError::GammaIsDelta)),
        ("unmarked", with(5, &[KeyKind::Ceremony as u8]), Some(KeyError::DevelopmentUnmarked)),
        ("another kind", with(5, &[2]), Some(KeyError::Header)),
        ("another version", with(4, &[2]), Some(KeyError::Header)),
        ("another magic", with(0, b"X"), Some(KeyError::Header)),
        ("another input count", with(7, &[8]), Some(KeyError::InputCount)),
        ("a byte more", [&good[..], &[0]].concat(), Some(KeyError::Length)),
        ("a byte less", good[..KEY_BYTES - 1].to_vec(), Some(KeyError::Length)),
        ("nothing", Vec::new(), Some(KeyError::Length)),
        ("alpha is the identity", with(8, &compressed(&G1Affine::zero())), Some(KeyError::Identity)),
        ("beta is the identity", with(beta, &compressed(&G2Affine::zero())), Some(KeyError::Identity)),
        ("an input point is the identity", with(inputs + 32, &compressed(&G1Affine::zero())), Some(KeyError::Identity)),
        ("outside the subgroup", with(gamma, &compressed(&stray_point())), Some(KeyError::Point)),
        ("off the curve", with(8, &[0xff; 32]), Some(KeyError::Point)),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(VerifyingKey::decode(&bytes).err(), expected, "{name}");
    }
}

#[test]
fn a_key_is_named_by_all_it_is() {
    let key = VerifyingKey::development();
    let mut points = key.points().clone();
    points.delta_g2 = points.beta_g2;
    let other = VerifyingKey::new(KeyKind::Development, points.clone()).expect("a key");
    points.alpha_g1 = points.gamma_abc_g1[1];
    let ceremony = VerifyingKey::new(KeyKind::Ceremony, points).expect("a key");
    assert_ne!(key.id(&CIRCUIT_DIGEST), other.id(&CIRCUIT_DIGEST));
    assert_ne!(key.id(&CIRCUIT_DIGEST), key.id(&[0; 32]));
    assert_eq!(key.id(&CIRCUIT_DIGEST)[0], 0xde);
    assert_eq!(ceremony.id(&CIRCUIT_DIGEST)[0], 0x01);
    assert_eq!(verify(&other.prepare(), &PROVEN.0, &PROVEN.1), Err(VerifyError::Refused));
}

#[test]
fn a_batch_gives_each_proof_its_own_verdict() {
    let key = VerifyingKey::development().prepare();
    let (statement, proof) = *PROVEN;
    let (_, mut witness) = eligible();
    witness.claim_number = 1;
    anchor(&mut witness);
    let second = restate(&witness, later(day("2026-03-20"), 1));
    let second_proof = PROVER.prove(&second, &witness).expect("a second claim");
    let good = [(statement, proof), (second, second_proof), (statement, proof)];
    assert_eq!(verify_batch(&key, &good), [Ok(()); 3]);
    assert_eq!(verify_batch(&key, &good[..1]), [Ok(())]);
    assert_eq!(verify_batch(&key, &[]), []);
    let mixed = [(statement, proof), (second, proof), (statement, [1; 128]), (second, second_proof)];
    let singly: Vec<_> = mixed.iter().map(|(inputs, bytes)| verify(&key, inputs, bytes)).collect();
    assert_eq!(verify_batch(&key, &mixed), singly);
    assert_eq!(singly, [Ok(()), Err(VerifyError::Refused), Err(VerifyError::Encoding), Ok(())]);
    // Two errors that cancel in a plain sum: C and its negative, shifted alike.
    let mut first_points = Proof::from_bytes(&proof).expect("a proof").points().clone();
    let mut second_points = first_points.clone();
    let shift = G1Affine::rand(&mut StdRng::seed_from_u64(9));
    first_points.c = (first_points.c + shift).into();
    second_points.c = (second_points.c - shift).into();
    let cancelling =
        [first_points, second_points].map(|points| (statement, Proof::new(points).expect("points").to_bytes()));
    assert_eq!(verify_batch(&key, &cancelling), [Err(VerifyError::Refused); 2]);
}

#[test]
fn a_proof_document_is_refused_for_another_circuit_key_or_spelling() {
    let key = VerifyingKey::development();
    let (statement, proof) = *PROVEN;
    let document = serde_json::to_value(ProofDocument::new(&key, statement, &proof)).expect("JSON");
    let cases = [
        ("circuit", "00", Err(DocumentError::Circuit)),
        ("key", "00", Err(DocumentError::Key)),
        ("proof", &hex::encode_upper(proof), Err(DocumentError::Hex)),
        ("proof", &hex::encode(proof)[2..], Err(DocumentError::Hex)),
        ("proof", &hex::encode(proof), Ok(())),
    ];
    for (field, value, expected) in cases {
        let mut changed = document.clone();
        changed[field] = value.into();
        let read: ProofDocument = serde_json::from_value(changed).expect("still a document");
        assert_eq!(read.verify(&key), expected);
        let id = if field == "key" { Err(DocumentError::KeyHex) } else { Ok(key.id(&CIRCUIT_DIGEST)) };
        assert_eq!(read.key_id(), id);
    }
    let mut unknown = document;
    unknown["note"] = "x".into();
    assert!(serde_json::from_value::<ProofDocument>(unknown).is_err());
}

#[test]
fn snarkjs_files_come_back_as_they_went() {
    let key = VerifyingKey::development();
    let proof = Proof::from_bytes(&PROVEN.1).expect("a proof");
    assert_eq!(KeyJson::from(&key).to_key(KeyKind::Development), Ok(key.clone()));
    assert_eq!(ProofJson::from(&proof).to_proof(), Ok(proof.clone()));
    assert_eq!(PublicJson::from(&PROVEN.0).to_inputs(), Ok(PROVEN.0));

    let json = serde_json::to_string(&ProofJson::from(&proof)).expect("JSON");
    let a_x = proof.points().a.x.to_string();
    let above = "21888242871839275222246405745257275088696311157297823662689037894645226208584";
    let cases = [
        (json.replace("groth16", "plonk"), SnarkjsError::Protocol),
        (json.replace("bn128", "bls12381"), SnarkjsError::Protocol),
        (json.replace(&a_x, &format!("0{a_x}")), SnarkjsError::Number),
        (json.replace(&a_x, &format!("-{a_x}")), SnarkjsError::Number),
        (json.replace(&a_x, above), SnarkjsError::Number),
        (json.replace(&a_x, "5"), SnarkjsError::Point),
        (json.replacen("\"1\"]", "\"0\"]", 1), SnarkjsError::Point),
    ];
    for (text, expected) in cases {
        let read: ProofJson = serde_json::from_str(&text).expect("still JSON of a proof");
        assert_eq!(read.to_proof(), Err(expected), "{expected}");
    }
}

/// docs/circuits/eligibility.md, "The bytes of a proof": little-endian numbers, flags in the top two bits.
#[test]
fn a_proof_is_written_as_the_page_says() {
    let json = serde_json::to_value(ProofJson::from(&Proof::from_bytes(&PROVEN.1).expect("a proof"))).expect("JSON");
    let number = |text: &serde_json::Value| -> Fq { text.as_str().expect("a number").parse().expect("canonical") };
    let x = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes[31] &= 0x3f;
        Fq::from_le_bytes_mod_order(&bytes)
    };
    let is_larger = |y: Fq| y > -y;
    let (a, b, c) = (&PROVEN.1[..32], &PROVEN.1[32..96], &PROVEN.1[96..]);
    for (bytes, point) in [(a, &json["pi_a"]), (c, &json["pi_c"])] {
        assert_eq!(x(bytes), number(&point[0]));
        assert_eq!(bytes[31] >> 6, u8::from(is_larger(number(&point[1]))) << 1);
    }
    let b_json = &json["pi_b"];
    assert_eq!((x(&b[..32]), x(&b[32..])), (number(&b_json[0][0]), number(&b_json[0][1])));
    assert_eq!(b[31] >> 6, 0, "only the last byte of a point has flags");
    let (y0, y1) = (number(&b_json[1][0]), number(&b_json[1][1]));
    let larger = if y1 == -y1 { is_larger(y0) } else { is_larger(y1) };
    assert_eq!(b[63] >> 6, u8::from(larger) << 1);
}

/// The folder with snarkjs and circomlibjs, installed from the committed lock file where they are missing.
pub fn outside_tools() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> =
        LazyLock::new(|| node_project::installed(Path::new(env!("CARGO_MANIFEST_DIR")).join("snarkjs")));
    &FOLDER
}

fn snarkjs(arguments: &[&Path]) -> (bool, String) {
    let output = Command::new("node")
        .arg(outside_tools().join("node_modules/snarkjs/build/cli.cjs"))
        .args(arguments)
        .output()
        .expect("this test needs node: install Node.js 20 or later");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn snarkjs_accepts_our_proofs_and_reads_our_circuit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, value: serde_json::Value| {
        fs::write(path(name), value.to_string()).expect("a file");
    };
    let proof = Proof::from_bytes(&PROVEN.1).expect("a proof");
    let json = |value| serde_json::to_value(value).expect("JSON");
    write("key.json", serde_json::to_value(KeyJson::from(&VerifyingKey::development())).expect("JSON"));
    write("proof.json", serde_json::to_value(ProofJson::from(&proof)).expect("JSON"));
    write("public.json", json(PublicJson::from(&PROVEN.0)));
    let mut other = PROVEN.0;
    other.ctx = Element::from(1);
    write("other.json", json(PublicJson::from(&other)));
    let check = |public: &str| {
        let arguments = [path("key.json"), path(public), path("proof.json")];
        let [key, public, proof] = &arguments;
        snarkjs(&["groth16".as_ref(), "verify".as_ref(), key, public, proof])
    };
    let (accepted, text) = check("public.json");
    assert!(accepted && text.contains("OK!"), "{text}");
    let (accepted, text) = check("other.json");
    assert!(!accepted && text.contains("Invalid proof"), "{text}");

    let shape = circuit::shape();
    fs::write(path("circuit.r1cs"), r1cs::encode(&shape)).expect("a file");
    let (read, text) = snarkjs(&["r1cs".as_ref(), "info".as_ref(), &path("circuit.r1cs")]);
    assert!(read && text.contains("bn-128"), "{text}");
    for line in [
        format!("# of Constraints: {}", shape.constraints()),
        format!("# of Wires: {}", shape.variables),
        "# of Public Inputs: 8".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bit_of_a_proof_can_flip(bit in 0..PROOF_BYTES * 8) {
        let (statement, mut proof) = *PROVEN;
        proof[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(verify(&VerifyingKey::development().prepare(), &statement, &proof).is_err());
        if let Ok(read) = Proof::from_bytes(&proof) {
            prop_assert_eq!(read.to_bytes(), proof);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), seed in any::<u64>()) {
        if let Ok(key) = VerifyingKey::decode(&bytes) {
            prop_assert_eq!(&key.encode()[..], &bytes[..]);
        }
        let mut flipped = VerifyingKey::development().encode();
        let bit = seed as usize % (KEY_BYTES * 8);
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(key) = VerifyingKey::decode(&flipped) {
            prop_assert_eq!(key.encode(), flipped);
        }
        let mut proof = [0; PROOF_BYTES];
        let length = bytes.len().min(PROOF_BYTES);
        proof[..length].copy_from_slice(&bytes[..length]);
        prop_assert!(Proof::from_bytes(&proof).map_or(true, |read| read.to_bytes() == proof));
    }
}

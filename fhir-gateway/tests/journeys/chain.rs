//! What the gateway's tests share: a ledger with registered organizations, and patients' wallets.

use std::path::Path;

use careledger_gateway::{
    keys::{OrganizationKeys, OrganizationSigner},
    ledger::{
        Ledger, clock,
        embedded::{Embedded, Memory, Settings},
    },
    outcome::Refusal,
};
use careledger_wire::{
    message::Message,
    proto::identity::{MsgRegisterOrganization, OrganizationKind},
    transaction::{Replay, Unsigned},
};
use serde_json::json;

/// A chain that accepts development keys.
pub const CHAIN: &str = "careledger-dev-1";
/// Half a year, in seconds.
pub const HALF_A_YEAR: i64 = 180 * 86_400;

/// Settings of an embedded ledger with one registrar.
pub fn settings(registrar: &OrganizationSigner) -> Settings {
    let key = include_bytes!("../../../zk/keys/eligibility-1-development.vk");
    let genesis =
        json!({"registrars": [registrar.address()], "registrar_threshold": 1, "verifying_keys": [hex::encode(key)]});
    Settings {
        chain_id: CHAIN.to_owned(),
        app_state: genesis.to_string().into_bytes(),
        rpc_listen: "127.0.0.1:0".parse().expect("a loopback address"),
        memory: Memory::default(),
    }
}

/// Opens an embedded ledger in `folder`, and where its RPC listens.
pub fn embedded(folder: &Path, registrar: &OrganizationSigner) -> (Ledger, String) {
    let embedded = Embedded::open(folder, &settings(registrar)).expect("the ledger opens");
    let url = format!("http://{}", embedded.rpc_address());
    (Ledger::Embedded(embedded), url)
}

/// Registers an organization.
pub async fn register(
    ledger: &Ledger,
    registrar: &OrganizationSigner,
    keys: &OrganizationKeys,
    kind: OrganizationKind,
) -> Result<(), Refusal> {
    let message = MsgRegisterOrganization {
        sender: registrar.address().to_string(),
        organization: keys.signer.address().to_vec(),
        kind: kind as i32,
        encryption_key: keys.encryption.public().to_vec(),
        evidence: vec![1; 32],
        expires_at: clock() + HALF_A_YEAR,
        emergency: false,
    };
    ledger.submit(registrar, vec![message.into()]).await.map(|_| ())
}

/// A patient's transaction, signed with the next sequence of the patient's account.
pub async fn signed(ledger: &Ledger, wallet: &OrganizationSigner, message: Message) -> Vec<u8> {
    signed_ahead(ledger, wallet, message, 0).await
}

/// As [`signed`], to follow on `ahead` others.
pub async fn signed_ahead(ledger: &Ledger, wallet: &OrganizationSigner, message: Message, ahead: u64) -> Vec<u8> {
    let account = ledger.get(&careledger_app::keys::account(&wallet.address())).await.expect("the ledger answers");
    let account = account.expect("the patient's account is known");
    let replay = Replay::Sequence(account.sequence + ahead);
    let unsigned = Unsigned::new(&[message], wallet.public_key(), ledger.chain_id(), account.number, replay);
    let signature = wallet.sign(&unsigned.sign_bytes());
    unsigned.signed(signature)
}

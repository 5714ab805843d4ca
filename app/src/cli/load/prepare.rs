//! What is there before the clock starts: organizations, claimed subjects, signed transactions.

use std::time::Duration;

use careledger_app::{
    client::{Account, Client},
    limits::MESSAGES_PER_TRANSACTION_MAX,
    wallet::Signer,
};
use careledger_wire::{
    commitment,
    ids::{Address, SubjectId},
    message::Message,
    proto::{consent, identity, records},
    transaction::{Replay, Unsigned},
};

use crate::cli::{Failure, Result, parse::now};

/// Organizations that anchor batches: several, because what one account may have waiting is bounded.
pub const CUSTODIANS: usize = 16;
/// Records of a batch.
pub const BATCH_RECORDS: u32 = 10_000;
/// Bytes of a pair: as many as a signed consent has.
const PAIR_BYTES: usize = 350;
/// Longest that one step of the preparation may wait for its block.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the signed consents can be sent.
const VALID_SECONDS: i64 = 580;

/// A patient whose subject is claimed.
pub struct Claimant {
    signer: Signer,
    account_number: u64,
    chain_id: String,
    subject: SubjectId,
    grantee: Address,
}

/// An organization that anchors.
pub struct Custodian {
    signer: Signer,
    account_number: u64,
    chain_id: String,
}

/// Registers organizations that anchor batches.
pub async fn custodians(url: &str, registrar: &Signer) -> Result<Vec<Custodian>> {
    let client = Client::new(url)?;
    let chain_id = client.chain_id().await?;
    let signers: Vec<Signer> = (0..CUSTODIANS).map(|_| Signer::random()).collect();
    for chunk in signers.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let register: Vec<_> = chunk.iter().map(|signer| registration(registrar, signer)).collect();
        send(&client, &chain_id, registrar, &register).await?;
    }
    let mut custodians = Vec::with_capacity(signers.len());
    for signer in signers {
        let account_number = registered(&client, &signer).await?.number;
        custodians.push(Custodian { signer, account_number, chain_id: chain_id.clone() });
    }
    Ok(custodians)
}

/// `count` anchors of whole batches, each of the next organization in turn.
pub fn batches(custodians: &[Custodian], count: u32) -> Vec<Vec<u8>> {
    let replay = Replay::UntilTime(now() + VALID_SECONDS);
    let sign_one = |custodian: &Custodian| {
        let anchor = records::MsgAnchorBatch {
            sender: custodian.signer.address().to_string(),
            root: rand::random::<[u8; 32]>().to_vec(),
            count: BATCH_RECORDS,
        };
        sign(&custodian.signer, &custodian.chain_id, custodian.account_number, replay, &[anchor.into()])
    };
    custodians.iter().cycle().take(count as usize).map(sign_one).collect()
}

/// Registers an organization and has `count` subjects opened and claimed.
pub async fn claimants(url: &str, registrar: &Signer, count: u32) -> Result<Vec<Claimant>> {
    let client = Client::new(url)?;
    let chain_id = client.chain_id().await?;
    let organization = Signer::random();
    send(&client, &chain_id, registrar, &[registration(registrar, &organization)]).await?;
    registered(&client, &organization).await?;
    let signers: Vec<Signer> = (0..count).map(|_| Signer::random()).collect();
    for chunk in signers.chunks(MESSAGES_PER_TRANSACTION_MAX) {
        let open = chunk.iter().map(|signer| {
            let sender = organization.address().to_string();
            Message::from(identity::MsgOpenSubject { sender, claimant: signer.address().to_vec(), binding: None })
        });
        send(&client, &chain_id, &organization, &open.collect::<Vec<_>>()).await?;
    }
    let mut claimants = Vec::with_capacity(signers.len());
    let mut claims = Vec::with_capacity(signers.len());
    for signer in signers {
        let account = account(&client, &signer).await?;
        let subject = commitment::subject_id(&organization.address(), &signer.address());
        let claim = identity::MsgClaimSubject {
            sender: signer.address().to_string(),
            subject: subject.to_vec(),
            encryption_key: vec![9; 32],
        };
        let bytes = sign(&signer, &chain_id, account.number, Replay::Sequence(account.sequence), &[claim.into()]);
        claims.push(client.broadcast(&bytes).await?);
        let (chain_id, grantee) = (chain_id.clone(), organization.address());
        claimants.push(Claimant { signer, account_number: account.number, chain_id, subject, grantee });
    }
    for hash in claims {
        let result = client.wait(&hash, DEADLINE).await?;
        if result.code != 0 {
            return Err(Failure::new(format!("a claim was refused with code {}: {}", result.code, result.log)));
        }
    }
    Ok(claimants)
}

/// `count` consents, each of the next claimant in turn; valid for a few minutes, in any order.
pub fn consents(claimants: &[Claimant], count: u32) -> Vec<Vec<u8>> {
    let now = now();
    let sign_one = |claimant: &Claimant| {
        let grant = consent::MsgGrantConsent {
            sender: claimant.signer.address().to_string(),
            subject: claimant.subject.to_vec(),
            grant: rand::random::<[u8; 32]>().to_vec(),
            grantee: claimant.grantee.to_vec(),
            mode: consent::ConsentMode::View.into(),
            not_before: now,
            expires_at: now + 86_400,
            terms: rand::random::<[u8; 32]>().to_vec(),
            body: rand::random::<[u8; 32]>().to_vec(),
            request: Vec::new(),
            delegable: false,
        };
        let replay = Replay::UntilTime(now + VALID_SECONDS);
        sign(&claimant.signer, &claimant.chain_id, claimant.account_number, replay, &[grant.into()])
    };
    claimants.iter().cycle().take(count as usize).map(sign_one).collect()
}

/// `count` pairs `KEY=VALUE` of CometBFT's key-value store, each of its own key.
pub fn pairs(count: u32) -> Vec<Vec<u8>> {
    // A pair that a node has seen before is none to it.
    let run: u64 = rand::random();
    let pair = |number: u32| {
        let mut pair = format!("load{run:016x}{number:08}=").into_bytes();
        pair.resize(PAIR_BYTES, b'x');
        pair
    };
    (0..count).map(pair).collect()
}

fn registration(registrar: &Signer, organization: &Signer) -> Message {
    let register = identity::MsgRegisterOrganization {
        sender: registrar.address().to_string(),
        organization: organization.address().to_vec(),
        kind: identity::OrganizationKind::Provider.into(),
        encryption_key: vec![9; 32],
        evidence: vec![1; 32],
        expires_at: now() + 30 * 86_400,
        emergency: false,
    };
    register.into()
}

/// The account of an organization that one registrar just registered.
async fn registered(client: &Client, organization: &Signer) -> Result<Account> {
    client.account(&organization.address()).await?.ok_or_else(|| {
        Failure::new("one registrar is not enough on this chain")
            .next("measure a network whose registrar_threshold is 1")
    })
}

async fn send(client: &Client, chain_id: &str, signer: &Signer, messages: &[Message]) -> Result<()> {
    let account = account(client, signer).await?;
    let bytes = sign(signer, chain_id, account.number, Replay::Sequence(account.sequence), messages);
    let result = client.deliver(&bytes, DEADLINE).await?;
    match result.code {
        0 => Ok(()),
        code => Err(Failure::new(format!("refused with code {code}: {}", result.log))),
    }
}

async fn account(client: &Client, signer: &Signer) -> Result<Account> {
    let address = signer.address();
    let account = client.account(&address).await?;
    account.ok_or_else(|| Failure::new(format!("the ledger does not know the account {address}")))
}

fn sign(signer: &Signer, chain_id: &str, account_number: u64, replay: Replay, messages: &[Message]) -> Vec<u8> {
    signer.sign(Unsigned::new(messages, &signer.public_key(), chain_id, account_number, replay))
}

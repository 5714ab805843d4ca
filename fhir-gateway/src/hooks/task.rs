//! A Task that asks a patient of another organization for access. docs/api/access-request.md

use careledger_app::keys;
use careledger_wire::{
    commitment::{self, Salt},
    ids::{EncryptionKey, RequestId},
};
use serde_json::Value;

use super::{Effects, Proposed};
use crate::{
    mapping::{
        element::Element,
        practitioner,
        task::{self, Delivery},
    },
    organization::Organization,
    outcome::Refusal,
    records::{Change, Content},
    release::messages::{AccessRequest, Sealed},
};

/// What a proposed Task asks for.
pub async fn before(organization: &Organization, proposed: &Proposed, effects: &mut Effects) -> Result<(), Refusal> {
    let Some(document) = &proposed.document else { return Ok(()) };
    let unchangeable = || Refusal::Rule("an access request cannot be changed; post another".to_owned());
    let (_, id, _) = proposed.change.target();
    // What became of a request follows from its id: nothing else may stand there, whatever it says.
    if organization.ledger.get(&keys::request(&identity(organization, id).0)).await?.is_some() {
        return Err(unchangeable());
    }
    let resource = document.to_value();
    if !task::is_access_request(&resource) {
        return Ok(());
    }
    if matches!(proposed.change, Change::Update { .. }) {
        return Err(unchangeable());
    }
    let request = task::request(&resource)?;
    let requester = requester(organization, &request.requester).await?;
    let account = practitioner::account(&requester)?;
    let account =
        account.ok_or_else(|| Refusal::Rule("the requester is not enrolled: it names no account".to_owned()))?;
    let (request_id, salt) = identity(organization, id);
    let delivery = Delivery {
        request: request_id,
        subject: request.subject,
        practitioner: account,
        display: display(&requester),
        purpose: request.purpose,
        scope: request.scope,
        expires_at: request.expires_at,
        salt: hex::encode(salt),
    };
    let custodian = organization.ledger.get_proven(&keys::organization(&request.custodian)).await?.value;
    let custodian =
        custodian.ok_or_else(|| Refusal::Rule("the custodian is not registered on the ledger".to_owned()))?;
    let key = EncryptionKey::try_from(custodian.encryption_key.as_slice())
        .map_err(|_| Refusal::Internal("a registered encryption key has a wrong length"))?;
    let sealed = Sealed::access_request(&delivery, &key, &request_id)
        .map_err(|_| Refusal::Rule("the custodian's registered encryption key is not usable".to_owned()))?;
    effects.messages.push(delivery.message(&organization.address(), &salt, &sealed.digest()));
    // Kept before the ledger knows of it, so that no crash can lose it; what the ledger never came
    // to know is dropped when it expires.
    let outbox = organization.network.outbox().clone();
    outbox.keep(&request.custodian, request.expires_at, &AccessRequest { request: request_id, sealed })?;
    effects.after.push(Box::new(move |_| Box::pin(async move { outbox.wake() })));
    Ok(())
}

/// The id on the ledger of the access request in the Task `id`, and the salt of its terms. Both
/// can be made again from a key that only this organization has.
pub fn identity(organization: &Organization, id: &str) -> (RequestId, Salt) {
    let record = organization.keys.record_id("Task", id);
    let derive = |purpose: &str| {
        let secret = organization.keys.record_ids.derive(purpose);
        commitment::hash(purpose, &[secret.as_bytes(), record.as_bytes()])
    };
    (RequestId::new(derive("careledger/request-id/1")), derive("careledger/request-salt/1"))
}

/// The Practitioner who asks.
pub async fn requester(organization: &Organization, id: &str) -> Result<Value, Refusal> {
    match organization.records.read("Practitioner", id).await {
        Ok(stored) => match stored.content {
            Content::Json(bytes) => {
                serde_json::from_slice(&bytes).map_err(|_| Refusal::Internal("a Practitioner does not parse"))
            }
            Content::Raw { .. } | Content::Deleted => Err(unknown_requester()),
        },
        Err(Refusal::NotFound | Refusal::Gone) => Err(unknown_requester()),
        Err(other) => Err(other),
    }
}

/// The refusal of a requester who is not here.
pub fn unknown_requester() -> Refusal {
    Refusal::invalid("Task.requester.reference", "names no Practitioner of this server")
}

fn display(practitioner: &Value) -> Option<String> {
    let name = Element::resource(practitioner).get("name").items().next()?;
    if let Some(text) = name.get("text").text() {
        return Some(text.to_owned());
    }
    let given = name.get("given");
    let given = given.items().filter_map(|part| part.text().map(str::to_owned)).collect::<Vec<_>>();
    Some([given.join(" "), name.get("family").text()?.to_owned()].join(" ").trim().to_owned())
}

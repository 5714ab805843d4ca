//! What gateways say to each other. Every body is JSON; every answer is sealed to the requester's
//! key on the ledger, so the transport learns sizes and no content.

use careledger_wire::{
    commitment,
    ids::{Address, Digest, EncryptionKey, GrantId, RequestId, SubjectId},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    envelope::{self, Document, EnvelopeError, Wrap, base64_bytes},
    keys::EncryptionPair,
};

/// Names the use of HPKE for answers (RFC 9180 `info`).
const ANSWER: &[u8] = b"careledger/peer-answer/1";
/// Names the use of HPKE for access requests.
const ACCESS_REQUEST: &[u8] = b"careledger/access-request/1";

/// By which right something is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// The grant.
    pub grant: GrantId,
    /// The patient's subject at the custodian.
    pub subject: SubjectId,
    /// Code of v3 ActReason.
    pub purpose: String,
    /// The practitioner who asks.
    pub practitioner: Address,
}

/// Body of `POST …/peer/v1/search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// By which right.
    pub right: Right,
    /// FHIR resource type.
    pub resource_type: String,
    /// Only what has a greater id, in the order of bytes: the last of an answer that was truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Body of `POST …/peer/v1/read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// By which right.
    pub right: Right,
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id at the custodian.
    pub id: String,
}

/// Body of `POST …/peer/v1/access-requests`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessRequest {
    /// Its id on the ledger, whose body digest is that of `sealed`.
    pub request: RequestId,
    /// A [`crate::mapping::task::Delivery`], sealed to the custodian.
    pub sealed: Sealed,
}

/// Anything sealed to one organization's registered key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// HPKE's encapsulated key.
    #[serde(with = "base64_bytes")]
    pub enc: Vec<u8>,
    /// The ciphertext.
    #[serde(with = "base64_bytes")]
    pub ciphertext: Vec<u8>,
}

/// What is in a sealed answer. A denial and an absence are both the empty list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// What consent opens of what was asked for, in order of id.
    pub documents: Vec<Released>,
    /// Whether there is more than one answer can hold: ask again with [`Search::after`].
    pub is_truncated: bool,
}

/// One released document: as it lies in the custodian's vault, with its key for the requester.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    /// FHIR resource type.
    pub resource_type: String,
    /// FHIR id at the custodian.
    pub id: String,
    /// Time of the version's block, Unix seconds.
    pub last_updated: i64,
    /// Media type of what is sealed.
    pub content_type: String,
    /// What the body is bound to.
    pub document: Document,
    /// Ciphertext.
    #[serde(with = "base64_bytes")]
    pub body: Vec<u8>,
    /// The document's key for the requester.
    pub wrap: Wrap,
}

impl Sealed {
    /// Seals an answer to a requester. `exchange` is the digest of the request that it answers.
    pub fn answer(answer: &Answer, requester: &EncryptionKey, exchange: &Digest) -> Result<Self, EnvelopeError> {
        seal(answer, requester, ANSWER, exchange.as_bytes())
    }

    /// Opens an answer to one's own request.
    pub fn open_answer(&self, own: &EncryptionPair, exchange: &Digest) -> Result<Answer, EnvelopeError> {
        self.open(own, ANSWER, exchange.as_bytes())
    }

    /// Seals an access request to the custodian.
    pub fn access_request<T: Serialize>(
        content: &T,
        custodian: &EncryptionKey,
        request: &RequestId,
    ) -> Result<Self, EnvelopeError> {
        seal(content, custodian, ACCESS_REQUEST, request.as_bytes())
    }

    /// Opens an access request to oneself.
    pub fn open_access_request<T: DeserializeOwned>(
        &self,
        own: &EncryptionPair,
        request: &RequestId,
    ) -> Result<T, EnvelopeError> {
        self.open(own, ACCESS_REQUEST, request.as_bytes())
    }

    /// What the ledger holds of a sealed access request.
    pub fn digest(&self) -> Digest {
        Digest::new(commitment::hash("careledger/sealed/1", &[&self.enc, &self.ciphertext]))
    }

    fn open<T: DeserializeOwned>(&self, own: &EncryptionPair, info: &[u8], aad: &[u8]) -> Result<T, EnvelopeError> {
        let plaintext = envelope::open_from(own, info, &self.enc, &self.ciphertext, aad)?;
        serde_json::from_slice(&plaintext).map_err(|_| EnvelopeError::Refused)
    }
}

fn seal<T: Serialize>(
    content: &T,
    recipient: &EncryptionKey,
    info: &[u8],
    aad: &[u8],
) -> Result<Sealed, EnvelopeError> {
    let plaintext = serde_json::to_vec(content).expect("the messages between gateways are plain data");
    let (enc, ciphertext) = envelope::seal_to(recipient, info, &plaintext, aad)?;
    Ok(Sealed { enc, ciphertext })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_from_the_beginning_is_written_as_it_was_before_there_was_a_place_to_go_on_from() {
        let right = Right {
            grant: GrantId::new([1; 32]),
            subject: SubjectId::new([2; 32]),
            purpose: "TREAT".to_owned(),
            practitioner: Address::new([3; 20]),
        };
        let from_beginning = Search { right, resource_type: "DocumentReference".to_owned(), after: None };
        let mut json = serde_json::to_value(&from_beginning).unwrap();
        assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), ["right", "resource_type"]);
        json["after"] = "d".into();
        let going_on = Search { after: Some("d".to_owned()), ..from_beginning };
        assert_eq!(serde_json::from_value::<Search>(json).unwrap(), going_on);
    }

    #[test]
    fn an_answer_opens_for_its_asker_as_the_answer_to_that_request_only() {
        let (asker, stranger) = (EncryptionPair::random(), EncryptionPair::random());
        let exchange = Digest::new([1; 32]);
        let answer = Answer { documents: Vec::new(), is_truncated: true };
        let sealed = Sealed::answer(&answer, &asker.public(), &exchange).expect("a usable key");
        assert_eq!(sealed.open_answer(&asker, &exchange), Ok(answer));
        assert_eq!(sealed.open_answer(&asker, &Digest::new([2; 32])), Err(EnvelopeError::Refused));
        assert_eq!(sealed.open_answer(&stranger, &exchange), Err(EnvelopeError::Refused));
        let as_request = sealed.open_access_request::<Answer>(&asker, &RequestId::new([1; 32]));
        assert_eq!(as_request, Err(EnvelopeError::Refused));
    }

    #[test]
    fn an_access_request_opens_for_its_custodian_under_its_id_only() {
        let (custodian, stranger) = (EncryptionPair::random(), EncryptionPair::random());
        let request = RequestId::new([1; 32]);
        // The content of an answer, so that nothing but the seal tells the two apart.
        let content = Answer::default();
        let sealed = Sealed::access_request(&content, &custodian.public(), &request).expect("a usable key");
        let open = |pair, id| sealed.open_access_request::<Answer>(pair, &RequestId::new(id));
        assert_eq!(open(&custodian, [1; 32]), Ok(content));
        assert_eq!(open(&custodian, [2; 32]), Err(EnvelopeError::Refused));
        assert_eq!(open(&stranger, [1; 32]), Err(EnvelopeError::Refused));
        assert_eq!(sealed.open_answer(&custodian, &Digest::new([1; 32])), Err(EnvelopeError::Refused));
    }
}

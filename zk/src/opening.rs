//! What passes between people, off the ledger: the openings of commitments, as
//! JSON files that the receiver can read and check.
//!
//! A provider gives the patient an [`AttestationOpening`]; an insurer gives the
//! member an [`EnrolmentOpening`]. Each is as confidential as a health record.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    binding,
    code::{self, CodeError},
    date::{DAY_BITS, Day},
    field::Element,
    plan::{AMOUNT_BITS, from_u128},
    poseidon::{Domain, hash},
};

/// Fact slots of an attestation. Unused ones are zero.
pub const FACTS_MAX: usize = 8;
/// Bits of a fact's event number.
pub const EVENT_BITS: u32 = 64;

/// The account of an organization: twenty bytes, forty hexadecimal digits in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(pub [u8; 20]);

/// One line of an attestation: something that happened, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "FactFile", into = "FactFile")]
pub struct Fact {
    system: String,
    code: String,
    number: u64,
    day: Day,
    amount: u64,
    event: u64,
}

/// Why a fact or an attestation cannot be committed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpeningError {
    /// The code has no number.
    #[error(transparent)]
    Code(#[from] CodeError),
    /// The amount is not below 2⁴⁰ minor units.
    #[error("an amount is below 2^40 minor units")]
    Amount,
    /// The event is not sixteen hexadecimal digits.
    #[error("an event is written as 16 lower-case hexadecimal digits")]
    Event,
    /// More than [`FACTS_MAX`] facts.
    #[error("an attestation has at most 8 facts")]
    FactCount,
}

impl Fact {
    /// A fact. `system` is a FHIR code system's URI, `amount` is in minor units,
    /// and `event` names the event among the issuer's own for good: a corrected
    /// record of the same event keeps it.
    pub fn new(system: &str, code: &str, day: Day, amount: u64, event: u64) -> Result<Self, OpeningError> {
        let number = code::encode(system, code)?;
        if amount >= 1 << AMOUNT_BITS {
            return Err(OpeningError::Amount);
        }
        Ok(Self { system: system.to_owned(), code: code.to_owned(), number, day, amount, event })
    }

    /// The code's number ([`crate::code::encode`]).
    pub fn code(&self) -> u64 {
        self.number
    }

    /// When it happened.
    pub fn day(&self) -> Day {
        self.day
    }

    /// What it cost, in minor units.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The event's number among the issuer's own.
    pub fn event(&self) -> u64 {
        self.event
    }

    /// `code | day | amount | event` in one element, the event lowest.
    fn packed(&self) -> Element {
        let rest = (u128::from(self.day.number()) << (AMOUNT_BITS + EVENT_BITS))
            | (u128::from(self.amount) << EVENT_BITS)
            | u128::from(self.event);
        let mut bytes = [0; 32];
        let high = (u128::from(self.number) << 124) | rest;
        // The number's upper sixty bits lie above the 128 that `high` can hold.
        let above = u128::from(self.number) >> 4;
        bytes[..16].copy_from_slice(&above.to_be_bytes());
        bytes[16..].copy_from_slice(&high.to_be_bytes());
        Element::from_bytes(&bytes).expect("188 bits are below the modulus")
    }
}

/// What a provider gives the patient: everything its commitment commits to, but
/// the blinding of the pseudonym, which only the patient has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationOpening {
    /// The provider; the ledger puts the sender's account beside the commitment.
    pub issuer: Account,
    /// The patient's pseudonym for this attestation alone ([`Pseudonym`]).
    pub pseudonym: Element,
    /// At most eight facts.
    pub facts: Vec<Fact>,
    /// Whether the issuer says that the list is complete.
    pub complete: bool,
    /// The patient's day of birth.
    pub birth: Day,
    /// The day of the attestation.
    pub issued: Day,
    /// The last day on which it can be used.
    pub expiry: Day,
    /// A random element: codes are few, and a hash alone would not hide them.
    pub salt: Element,
}

impl AttestationOpening {
    /// The commitment that the provider anchors.
    pub fn commitment(&self) -> Result<Element, OpeningError> {
        let facts = hash(Domain::FACTS, self.slots()?);
        let issuer = binding::issuer_of(&self.issuer.0);
        let inputs = [self.pseudonym, facts, self.packed_dates(), issuer, self.salt];
        Ok(hash(Domain::ATTESTATION, inputs))
    }

    fn slots(&self) -> Result<[Element; FACTS_MAX], OpeningError> {
        if self.facts.len() > FACTS_MAX {
            return Err(OpeningError::FactCount);
        }
        let mut slots = [Element::ZERO; FACTS_MAX];
        for (slot, fact) in slots.iter_mut().zip(&self.facts) {
            *slot = fact.packed();
        }
        Ok(slots)
    }

    /// `birth | issued | expiry | complete`, the flag lowest.
    fn packed_dates(&self) -> Element {
        let days = [self.birth, self.issued, self.expiry];
        let packed = days.iter().fold(0_u128, |packed, day| (packed << DAY_BITS) | u128::from(day.number()));
        from_u128((packed << 1) | u128::from(self.complete))
    }
}

/// What an insurer gives the member: everything its commitment commits to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentOpening {
    /// The insurer; the ledger puts the sender's scope beside the commitment.
    pub insurer: Account,
    /// The member as this insurer knows them ([`member`]).
    pub member: Element,
    /// The policy, over all its editions.
    pub policy_id: Element,
    /// First day of cover; waiting starts here.
    pub start: Day,
    /// Last day of cover.
    pub end: Day,
    /// A random element.
    pub salt: Element,
}

impl EnrolmentOpening {
    /// The commitment that the insurer anchors.
    pub fn commitment(&self) -> Element {
        let days = (u128::from(self.start.number()) << DAY_BITS) | u128::from(self.end.number());
        let inputs = [self.member, self.policy_id, from_u128(days), self.salt];
        hash(Domain::ENROLMENT, inputs)
    }
}

/// A pseudonym and the blinding that only the patient has. The patient makes a
/// fresh one for every attestation and gives the provider the pseudonym.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pseudonym {
    /// Goes to the provider.
    pub pseudonym: Element,
    /// Stays with the patient.
    pub blinding: Element,
}

impl Pseudonym {
    /// The pseudonym of a wallet under a blinding.
    pub fn new(secret: Element, blinding: Element) -> Self {
        Self { pseudonym: hash(Domain::PSEUDONYM, [secret, blinding]), blinding }
    }
}

/// The member as one insurer knows them: the same for one insurer, unlinkable
/// between two.
pub fn member(secret: Element, scope: Element) -> Element {
    hash(Domain::MEMBER, [secret, scope])
}

/// The commitment to what is payable at most; the holder opens it to the
/// insurer by telling both.
pub fn amount_commitment(amount: u64, blinding: Element) -> Element {
    hash(Domain::AMOUNT, [Element::from(amount), blinding])
}

impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl std::str::FromStr for Account {
    type Err = &'static str;

    /// Reads the address that people see (`care1…`), or what files hold.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "an account is written as care1… or as 40 lower-case hexadecimal digits";
        let bytes = match bech32::decode(text) {
            Ok((prefix, bytes)) if prefix.as_str() == "care" => bytes,
            _ => hex::decode(text).map_err(|_| EXPECTED)?,
        };
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        bytes.try_into().ok().filter(|_| lower).map(Self).ok_or(EXPECTED)
    }
}

/// A fact as files spell it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactFile {
    system: String,
    code: String,
    day: Day,
    amount: u64,
    event: String,
}

impl From<Fact> for FactFile {
    fn from(fact: Fact) -> Self {
        let Fact { system, code, day, amount, event, .. } = fact;
        Self { system, code, day, amount, event: format!("{event:016x}") }
    }
}

impl TryFrom<FactFile> for Fact {
    type Error = OpeningError;

    fn try_from(file: FactFile) -> Result<Self, OpeningError> {
        let event = u64::from_str_radix(&file.event, 16)
            .ok()
            .filter(|event| format!("{event:016x}") == file.event)
            .ok_or(OpeningError::Event)?;
        Self::new(&file.system, &file.code, file.day, file.amount, event)
    }
}

#[cfg(test)]
mod tests {
    use ark_bn254::Fr;
    use ark_ff::Field;

    use super::*;

    const FACT: &str =
        r#"{"system":"http://loinc.org","code":"4548-4","day":"2026-03-02","amount":1,"event":"00000000000000ff"}"#;

    /// BIP-173's checksum of twenty bytes 0x22, as the ledger prints them.
    #[test]
    fn an_account_is_read_as_people_see_it_and_as_files_hold_it() {
        let bytes = [0x22; 20];
        let address = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse_unchecked("care"), &bytes).expect("short");
        for text in [address.clone(), hex::encode(bytes)] {
            assert_eq!(text.parse(), Ok(Account(bytes)), "{text}");
        }
        let other = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse_unchecked("cosmos"), &bytes).expect("short");
        for text in [other, address.to_uppercase(), "22".repeat(19), format!("{address}q")] {
            assert!(text.parse::<Account>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_fact_is_read_only_as_it_is_written() {
        let fact: Fact = serde_json::from_str(FACT).expect("a fact");
        assert_eq!((fact.amount(), fact.event()), (1, 255));
        assert_eq!(serde_json::to_string(&fact).expect("JSON"), FACT);
        let spoiled = [
            ("4548-4", "4548-5"),
            ("http://loinc.org", "http://example.org"),
            ("2026-03-02", "2026-02-30"),
            (":1,", ":1099511627776,"),
            (":1,", ":-1,"),
            (":1,", ":1.5,"),
            ("00000000000000ff", "00000000000000FF"),
            ("00000000000000ff", "ff"),
            ("00000000000000ff", "+0000000000000ff"),
            ("\"code\"", "\"note\":1,\"code\""),
        ];
        for (from, to) in spoiled {
            let text = FACT.replace(from, to);
            assert_ne!(text, FACT);
            assert!(serde_json::from_str::<Fact>(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fact_is_packed_as_documented() {
        let day: Day = "2026-03-02".parse().expect("a day");
        let fact = Fact::new("http://snomed.info/sct", "44054006", day, (1 << AMOUNT_BITS) - 1, u64::MAX);
        let fact = fact.expect("a fact");
        let two = Fr::from(2_u64);
        let expected = Fr::from(fact.code()) * two.pow([124])
            + Fr::from(day.number()) * two.pow([104])
            + Fr::from(fact.amount()) * two.pow([64])
            + Fr::from(fact.event());
        assert_eq!(fact.packed().inner(), expected);
    }

    #[test]
    fn nine_facts_have_no_commitment() {
        let fact: Fact = serde_json::from_str(FACT).expect("a fact");
        let opening = |count| AttestationOpening {
            issuer: Account([1; 20]),
            pseudonym: Element::from(1),
            facts: vec![fact.clone(); count],
            complete: true,
            birth: Day::FIRST,
            issued: Day::FIRST,
            expiry: Day::FIRST,
            salt: Element::from(2),
        };
        assert!(opening(8).commitment().is_ok());
        assert_eq!(opening(9).commitment(), Err(OpeningError::FactCount));
    }
}

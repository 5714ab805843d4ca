//! Clinical codes as 64-bit numbers, so that a plan is a list of intervals.
//!
//! The top four bits name the code system, the other sixty hold the value.
//! ICD-10-CM is left-justified in base 37, so everything under a prefix
//! (a chapter's letter, a category, a subcategory) is one contiguous range.

use std::ops::RangeInclusive;

/// Bits below the system tag.
pub const VALUE_BITS: u32 = 60;
/// Every code of an unused tag 0: where an empty fact slot lies.
pub const RESERVED: RangeInclusive<u64> = 0..=(1 << VALUE_BITS) - 1;
/// Characters of the longest ICD-10-CM code, without its dot.
const ICD_LENGTH: usize = 7;
/// Ten digits, twenty-six letters, and the padding that sorts first.
const ICD_BASE: u64 = 37;

/// A code system that plans and attestations can speak about. The numbers are
/// part of every commitment: never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum System {
    /// SNOMED CT: the concept identifier as an integer.
    Snomed = 1,
    /// ICD-10-CM: left-justified, base 37, without the dot.
    Icd10Cm = 2,
    /// RxNorm: the concept identifier as an integer.
    RxNorm = 3,
    /// LOINC: the number before the hyphen; the check digit must be right.
    Loinc = 4,
    /// CVX vaccine codes as an integer.
    Cvx = 5,
}

/// Why a code has no number. Says nothing of the code itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeError {
    /// The system's URI is not one of ours.
    #[error("the code system is not one that plans can speak about")]
    UnknownSystem,
    /// The code is not written as its system writes codes.
    #[error("the code is not written as its system writes codes")]
    Malformed,
}

impl System {
    /// Every system, in the order of their tags.
    pub const ALL: [Self; 5] = [Self::Snomed, Self::Icd10Cm, Self::RxNorm, Self::Loinc, Self::Cvx];

    /// The canonical URI in FHIR (HL7 Terminology).
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Snomed => "http://snomed.info/sct",
            Self::Icd10Cm => "http://hl7.org/fhir/sid/icd-10-cm",
            Self::RxNorm => "http://www.nlm.nih.gov/research/umls/rxnorm",
            Self::Loinc => "http://loinc.org",
            Self::Cvx => "http://hl7.org/fhir/sid/cvx",
        }
    }

    /// The system with this URI.
    pub fn from_uri(uri: &str) -> Result<Self, CodeError> {
        Self::ALL.into_iter().find(|system| system.uri() == uri).ok_or(CodeError::UnknownSystem)
    }

    /// Every number of this system.
    pub const fn range(self) -> RangeInclusive<u64> {
        let first = (self as u64) << VALUE_BITS;
        first..=first + ((1 << VALUE_BITS) - 1)
    }

    fn number(self, value: u64) -> u64 {
        ((self as u64) << VALUE_BITS) | value
    }
}

/// The number of a code.
pub fn encode(system_uri: &str, code: &str) -> Result<u64, CodeError> {
    let system = System::from_uri(system_uri)?;
    let value = match system {
        System::Snomed => integer(code, 18)?,
        System::RxNorm => integer(code, 8)?,
        System::Cvx => code.parse().ok().filter(|_| is_digits(code, 3)).ok_or(CodeError::Malformed)?,
        System::Loinc => loinc(code)?,
        System::Icd10Cm => *icd(code)?.start(),
    };
    Ok(system.number(value))
}

/// Every number under a prefix: `E11` covers `E11`, `E11.9`, `E11.65`. A prefix
/// of ICD-10-CM is one to seven characters, with or without its dot; in the
/// other systems identifiers have no order, and the range is the one code.
pub fn prefix_range(system_uri: &str, prefix: &str) -> Result<RangeInclusive<u64>, CodeError> {
    let system = System::from_uri(system_uri)?;
    if system == System::Icd10Cm {
        let values = icd(prefix)?;
        return Ok(system.number(*values.start())..=system.number(*values.end()));
    }
    let number = encode(system_uri, prefix)?;
    Ok(number..=number)
}

fn is_digits(text: &str, length_max: usize) -> bool {
    (1..=length_max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An identifier without leading zeros, so that each concept has one spelling.
fn integer(code: &str, length_max: usize) -> Result<u64, CodeError> {
    if !is_digits(code, length_max) || code.starts_with('0') {
        return Err(CodeError::Malformed);
    }
    code.parse().map_err(|_| CodeError::Malformed)
}

/// The number before the hyphen, with the check digit of LOINC's mod-10 rule.
fn loinc(code: &str) -> Result<u64, CodeError> {
    let (number, check) = code.split_once('-').ok_or(CodeError::Malformed)?;
    let value = integer(number, 7)?;
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            if place % 2 == 0 { digit * 2 / 10 + digit * 2 % 10 } else { digit }
        })
        .sum();
    if check != ((10 - sum % 10) % 10).to_string() {
        return Err(CodeError::Malformed);
    }
    Ok(value)
}

/// The values of a code and of everything under it.
fn icd(code: &str) -> Result<RangeInclusive<u64>, CodeError> {
    let characters = match code.split_once('.') {
        Some((category, rest)) if category.len() == 3 && !rest.is_empty() => [category, rest].concat(),
        Some(_) => return Err(CodeError::Malformed),
        None => code.to_owned(),
    };
    let bytes = characters.as_bytes();
    if !(1..=ICD_LENGTH).contains(&bytes.len()) || !bytes[0].is_ascii_uppercase() {
        return Err(CodeError::Malformed);
    }
    let mut lowest = 0;
    for byte in bytes {
        let digit = match byte {
            b'0'..=b'9' => u64::from(byte - b'0') + 1,
            b'A'..=b'Z' => u64::from(byte - b'A') + 11,
            _ => return Err(CodeError::Malformed),
        };
        lowest = lowest * ICD_BASE + digit;
    }
    let below = ICD_BASE.pow((ICD_LENGTH - bytes.len()) as u32);
    Ok(lowest * below..=lowest * below + (below - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SNOMED: &str = "http://snomed.info/sct";
    const ICD: &str = "http://hl7.org/fhir/sid/icd-10-cm";
    const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
    const LOINC: &str = "http://loinc.org";
    const CVX: &str = "http://hl7.org/fhir/sid/cvx";

    #[test]
    fn codes_have_the_documented_numbers() {
        let cases = [
            (SNOMED, "44054006", Ok((1 << 60) | 44_054_006)),
            (SNOMED, "999999999999999999", Ok((1 << 60) | 999_999_999_999_999_999)),
            (SNOMED, "044054006", Err(CodeError::Malformed)),
            (SNOMED, "4405400x", Err(CodeError::Malformed)),
            (SNOMED, "", Err(CodeError::Malformed)),
            (RXNORM, "860975", Ok((3 << 60) | 860_975)),
            (LOINC, "4548-4", Ok((4 << 60) | 4_548)),
            (LOINC, "2339-0", Ok((4 << 60) | 2_339)),
            (LOINC, "4548-5", Err(CodeError::Malformed)),
            (LOINC, "4548", Err(CodeError::Malformed)),
            (CVX, "08", Ok((5 << 60) | 8)),
            (CVX, "140", Ok((5 << 60) | 140)),
            (CVX, "+8", Err(CodeError::Malformed)),
            (ICD, "E11.9", encode(ICD, "E119")),
            (ICD, "E1.19", Err(CodeError::Malformed)),
            (ICD, "E11.", Err(CodeError::Malformed)),
            (ICD, "e11.9", Err(CodeError::Malformed)),
            (ICD, "S72.001A5", Err(CodeError::Malformed)),
            (ICD, "111", Err(CodeError::Malformed)),
            ("http://hl7.org/fhir/sid/icd-9-cm", "250.0", Err(CodeError::UnknownSystem)),
        ];
        for (system, code, expected) in cases {
            assert_eq!(encode(system, code), expected, "{system} {code}");
        }
        let e119 = [15, 2, 2, 10, 0, 0, 0].iter().fold(0_u64, |value, digit| value * 37 + digit);
        assert_eq!(encode(ICD, "E11.9"), Ok((2 << 60) | e119));
    }

    proptest! {
        #[test]
        fn a_prefix_holds_exactly_what_begins_with_it(
            prefix in "[A-Z][0-9A-Z]{0,6}",
            other in "[A-Z][0-9A-Z]{2,6}",
            rest in "[0-9A-Z]{0,6}",
        ) {
            let range = prefix_range(ICD, &prefix).expect("a prefix");
            let number = encode(ICD, &other).expect("a code");
            prop_assert_eq!(range.contains(&number), other.starts_with(&prefix));
            let below: String = prefix.chars().chain(rest.chars()).take(7).collect();
            prop_assert!(range.contains(&encode(ICD, &below).expect("a code")));
        }

        #[test]
        fn no_text_is_a_panic(system in 0..5_usize, code in ".{0,12}") {
            let uri = System::ALL[system].uri();
            if let Ok(number) = encode(uri, &code) {
                prop_assert!(System::ALL[system].range().contains(&number));
            }
        }
    }
}

//! Values of the command line.

use std::{fs, path::PathBuf, str::FromStr};

use careledger_wire::{
    ids::{Commitment, RecordId},
    proto::accounts,
};
use time::{Date, OffsetDateTime, Time, format_description::well_known::Rfc3339, macros::format_description};

/// A time, Unix seconds. Written as such, as RFC 3339, as a date (its first second, UTC), or as
/// `+90d`, `+12h`, `+30m` from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnixTime(pub i64);

impl FromStr for UnixTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is no time: expected 2027-01-31, 2027-01-31T12:00:00Z, +90d or Unix seconds");
        if let Some(span) = text.strip_prefix('+') {
            let (number, unit) = span.split_at_checked(span.len().saturating_sub(1)).ok_or_else(expected)?;
            let unit = match unit {
                "d" => 86_400,
                "h" => 3_600,
                "m" => 60,
                "s" => 1,
                _ => return Err(expected()),
            };
            let span = number.parse::<u32>().map_err(|_| expected())?;
            return Ok(Self(now() + i64::from(span) * unit));
        }
        if let Ok(seconds) = text.parse() {
            return Ok(Self(seconds));
        }
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self(time.unix_timestamp()));
        }
        let date = Date::parse(text, format_description!("[year]-[month]-[day]")).map_err(|_| expected())?;
        Ok(Self(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp()))
    }
}

/// The clock of this machine, Unix seconds.
pub fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

/// A time for people, in UTC.
pub fn show_time(seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|time| time.format(&Rfc3339).ok());
    time.unwrap_or_else(|| seconds.to_string())
}

/// `RECORD:COMMITMENT`, both hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnchorArgument(pub RecordId, pub Commitment);

impl FromStr for AnchorArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (record, commitment) = text.split_once(':').ok_or("expected RECORD:COMMITMENT")?;
        Ok(Self(id(record)?, id(commitment)?))
    }
}

/// `RECORD:VERSION:COMMITMENT`, the version decimal, the others hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SupersessionArgument(pub RecordId, pub u32, pub Commitment);

impl FromStr for SupersessionArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(record), Some(version), Some(commitment), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("expected RECORD:VERSION:COMMITMENT".to_owned());
        };
        let version = version.parse().map_err(|_| format!("`{version}` is no version: expected a number"))?;
        Ok(Self(id(record)?, version, id(commitment)?))
    }
}

/// Bytes, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl FromStr for HexBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        hex::decode(text).map(Self).map_err(|_| "expected hexadecimal digits".to_owned())
    }
}

/// A compressed public key, hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyBytes(pub [u8; 33]);

impl FromStr for KeyBytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let HexBytes(bytes) = text.parse()?;
        bytes.try_into().map(Self).map_err(|_| "expected 33 bytes, a compressed key".to_owned())
    }
}

/// `KIND:KEY:SIGNATURE`: a key's word that it wants its account at an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingArgument(pub accounts::Binding);

impl FromStr for BindingArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let (Some(kind), Some(key), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("expected KIND:KEY:SIGNATURE, as keys bind-to prints it".to_owned());
        };
        let kind = match kind {
            "secp256k1" => accounts::KeyKind::Secp256k1,
            "webauthn-p256" => accounts::KeyKind::WebauthnP256,
            other => return Err(format!("`{other}` is neither secp256k1 nor webauthn-p256")),
        };
        let (KeyBytes(key), HexBytes(signature)) = (key.parse()?, signature.parse()?);
        Ok(Self(accounts::Binding { kind: kind.into(), key: key.to_vec(), signature }))
    }
}

/// Arguments given on the command line or, one a line, in a file.
pub fn with_file<T: FromStr<Err = String> + Clone>(given: &[T], file: Option<&PathBuf>) -> Result<Vec<T>, String> {
    let mut all = given.to_vec();
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let read = line.trim().parse();
            all.push(read.map_err(|error: String| format!("{}, line {}: {error}", path.display(), number + 1))?);
        }
    }
    Ok(all)
}

fn id<T: FromStr<Err: ToString>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| format!("`{text}`: {}", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_documented_form() {
        let cases = [
            ("1800000000", 1_800_000_000),
            ("2027-01-15", 1_799_971_200),
            ("2027-01-15T08:00:00Z", 1_800_000_000),
            ("2027-01-15T09:00:00+01:00", 1_800_000_000),
            ("-5", -5),
        ];
        for (text, seconds) in cases {
            assert_eq!(text.parse(), Ok(UnixTime(seconds)), "{text}");
        }
        let before = now();
        let UnixTime(in_two_days) = "+2d".parse().unwrap();
        assert!((before + 172_800..=now() + 172_800).contains(&in_two_days));
        for text in ["", "+", "+d", "+5", "+5w", "+5é", "tomorrow", "2027-02-30", "2027-13-01"] {
            assert!(text.parse::<UnixTime>().is_err(), "{text}");
        }
    }

    #[test]
    fn pairs_need_both_parts() {
        let hex = "ab".repeat(32);
        assert!(format!("{hex}:{hex}").parse::<AnchorArgument>().is_ok());
        assert!(format!("{hex}:2:{hex}").parse::<SupersessionArgument>().is_ok());
        for text in [hex.clone(), format!("{hex}:ab"), ":".to_owned(), format!("{hex}:{hex}:{hex}")] {
            assert!(text.parse::<AnchorArgument>().is_err() && text.parse::<SupersessionArgument>().is_err(), "{text}");
        }
    }
}

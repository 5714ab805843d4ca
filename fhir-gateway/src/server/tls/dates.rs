//! From when to when an X.509 certificate is valid (RFC 5280, section 4.1.2.5), read from its DER: what
//! checks certificates says only whether they are valid now.

use time::{Date, Month, PrimitiveDateTime, Time};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which is there but in the first.
const VERSION: u8 = 0xa0;

/// First and last second of a certificate, Unix time; none where it is none.
pub fn validity(certificate: &[u8]) -> Option<(i64, i64)> {
    let (body, _) = within(certificate, SEQUENCE)?;
    let (mut fields, _) = within(body, SEQUENCE)?;
    if fields.first() == Some(&VERSION) {
        fields = within(fields, VERSION)?.1;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        fields = within(fields, *fields.first()?)?.1;
    }
    let (period, _) = within(fields, SEQUENCE)?;
    let (from, rest) = moment(period)?;
    let (to, _) = moment(rest)?;
    Some((from, to))
}

/// The content of the value that stands first, and what follows it.
fn within(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // How many bytes the length has.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
            (bytes.iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length)).flatten()
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`, in Unix seconds, and what follows it.
fn moment(der: &[u8]) -> Option<(i64, &[u8])> {
    let (text, rest, year_digits) = match *der.first()? {
        UTC_TIME => within(der, UTC_TIME).map(|(text, rest)| (text, rest, 2))?,
        GENERALIZED_TIME => within(der, GENERALIZED_TIME).map(|(text, rest)| (text, rest, 4))?,
        _ => return None,
    };
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if text.len() != year_digits + 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, others) = text.split_at(year_digits);
    let year: i32 = year.parse().ok()?;
    let year = match year_digits {
        2 if year < 50 => 2000 + year,
        2 => 1900 + year,
        _ => year,
    };
    let part = |at: usize| others.get(at..at + 2)?.parse::<u8>().ok();
    let date = Date::from_calendar_date(year, Month::try_from(part(0)?).ok()?, part(2)?).ok()?;
    let time = Time::from_hms(part(4)?, part(6)?, part(8)?).ok()?;
    Some((PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp(), rest))
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    const PEM: &[u8] = include_bytes!("../testdata/server.pem");

    #[test]
    fn both_forms_of_a_date_are_read_and_nothing_else_is() {
        let certificate = CertificateDer::from_pem_slice(PEM).unwrap();
        // 2020-01-01 as UTCTime, 2120-01-01 as GeneralizedTime.
        assert_eq!(validity(&certificate), Some((1_577_836_800, 4_733_510_400)));
        for length in 0..160 {
            assert_eq!(validity(&certificate[..length]), None, "{length}");
        }
        let moment = |tag: u8, text: &str| {
            let length = u8::try_from(text.len()).unwrap();
            moment(&[&[tag, length], text.as_bytes()].concat()).map(|(moment, _)| moment)
        };
        assert_eq!(moment(UTC_TIME, "700101000000Z"), Some(0));
        assert_eq!(moment(GENERALIZED_TIME, "19700101000001Z"), Some(1));
        for (tag, text) in [
            (UTC_TIME, "7001010000Z"),
            (UTC_TIME, "700101000000"),
            (UTC_TIME, "701301000000Z"),
            (UTC_TIME, "70010100000xZ"),
            (GENERALIZED_TIME, "700101000000Z"),
            (0x0c, "700101000000Z"),
        ] {
            assert_eq!(moment(tag, text), None, "{text}");
        }
    }
}

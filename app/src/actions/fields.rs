//! Fields of messages into types that cannot be wrong. Every refusal names the field.

use careledger_wire::ids::FieldBytes;
use careledger_zk::field::Element;

use crate::reject::Reject;

/// End of the year 9999: no time on this ledger is later.
const TIME_MAX: i64 = 253_402_300_799;

/// An identifier of fixed length.
pub(super) fn id<'a, T: TryFrom<&'a [u8]>>(field: &'static str, bytes: &'a [u8]) -> Result<T, Reject> {
    T::try_from(bytes).map_err(|_| Reject::InvalidField(field))
}

/// A canonical field element.
pub(super) fn element(field: &'static str, bytes: &[u8]) -> Result<Element, Reject> {
    let bytes = FieldBytes::try_from(bytes).map_err(|_| Reject::InvalidField(field))?;
    Element::from_bytes(bytes.as_bytes()).map_err(|_| Reject::InvalidField(field))
}

/// An element as the identifier that state and messages carry.
pub(super) fn field_bytes(element: Element) -> FieldBytes {
    FieldBytes::new(element.to_bytes())
}

/// A known value of an enumeration, not the unspecified one.
pub(super) fn choice<E: TryFrom<i32> + Default + PartialEq>(field: &'static str, value: i32) -> Result<E, Reject> {
    let known = E::try_from(value).ok().filter(|choice| *choice != E::default());
    known.ok_or(Reject::InvalidField(field))
}

/// A time after 1970 and before the year 10000, Unix seconds.
pub(super) fn time(field: &'static str, seconds: i64) -> Result<i64, Reject> {
    if (1..=TIME_MAX).contains(&seconds) { Ok(seconds) } else { Err(Reject::InvalidField(field)) }
}

/// A version, counted from 1.
pub(super) fn version(field: &'static str, version: u32) -> Result<u32, Reject> {
    if version > 0 { Ok(version) } else { Err(Reject::InvalidField(field)) }
}

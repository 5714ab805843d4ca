//! An export as text: what `careledgerd export` prints and a genesis file holds, read pair by pair.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
    ser::SerializeStruct as _,
};

use super::{ContinuedError, Exported, Origin};
use crate::keys::areas;

type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// Either, field by field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Printed {
    chain_id: String,
    height: u64,
    time: i64,
    app_hash: String,
    #[serde(default)]
    pairs: Option<Pairs>,
}

/// Pairs, each checked as it is read.
struct Pairs(State);

/// Pairs as they are printed.
struct Hexadecimal<'a>(&'a State);

/// What an `app_state` of this form says.
pub enum Read {
    /// The export, all of it.
    Inside(Exported),
    /// Only which one it is.
    Beside(Origin),
}

/// Reads an `app_state` of this form; `None` where it is of the other.
pub fn of_app_state(app_state: &[u8]) -> Result<Option<Read>, ContinuedError> {
    #[derive(Deserialize)]
    struct Form {
        continues: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Whole {
        continues: Printed,
    }
    if !serde_json::from_slice::<Form>(app_state).is_ok_and(|form| form.continues.is_some()) {
        return Ok(None);
    }
    let read: Whole = serde_json::from_slice(app_state).map_err(|error| ContinuedError::Json(error.to_string()))?;
    let (origin, pairs) = read.continues.parts();
    Ok(Some(match pairs {
        Some(Pairs(state)) => Read::Inside(Exported { origin, state }),
        None => Read::Beside(origin),
    }))
}

/// Which state an `app_state` continues with, wherever the pairs are; `None` where it is of the other form.
pub fn origin_of(app_state: &[u8]) -> Option<Origin> {
    #[derive(Deserialize)]
    struct Head {
        continues: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        chain_id: String,
        height: u64,
        time: i64,
        app_hash: String,
    }
    let head: Head = serde_json::from_slice(app_state).ok()?;
    let Named { chain_id, height, time, app_hash } = head.continues;
    Some(Origin { chain_id, height, time, app_hash })
}

impl Printed {
    fn parts(self) -> (Origin, Option<Pairs>) {
        let Self { chain_id, height, time, app_hash, pairs } = self;
        (Origin { chain_id, height, time, app_hash }, pairs)
    }
}

impl TryFrom<Printed> for Exported {
    type Error = &'static str;

    fn try_from(printed: Printed) -> Result<Self, Self::Error> {
        let (origin, pairs) = printed.parts();
        let Pairs(state) = pairs.ok_or("missing field `pairs`")?;
        Ok(Self { origin, state })
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneByOne;
        impl<'de> Visitor<'de> for OneByOne {
            type Value = Pairs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("pairs of key and value, hexadecimal")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pairs: A) -> Result<Pairs, A::Error> {
                let mut state = State::new();
                while let Some((key, value)) = pairs.next_element::<(String, String)>()? {
                    let place = state.len();
                    add(&mut state, &key, &value)
                        .map_err(|reason| A::Error::custom(format!("pair {place} ({key}): {reason}")))?;
                }
                Ok(Pairs(state))
            }
        }
        deserializer.deserialize_seq(OneByOne)
    }
}

/// Adds a pair that comes after all that are there.
fn add(state: &mut State, key: &str, value: &str) -> Result<(), String> {
    let path = hex::decode(key).map_err(|_| "the key is not hexadecimal")?;
    let value = hex::decode(value).map_err(|_| "the value is not hexadecimal")?;
    areas::check(&path, &value).map_err(|error| error.to_string())?;
    if state.last_key_value().is_some_and(|(last, _)| *last >= path) {
        return Err("it does not come after the pair before it".to_owned());
    }
    state.insert(path, value);
    Ok(())
}

impl Serialize for Exported {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Origin { chain_id, height, time, app_hash } = &self.origin;
        let mut printed = serializer.serialize_struct("Exported", 5)?;
        printed.serialize_field("chain_id", chain_id)?;
        printed.serialize_field("height", height)?;
        printed.serialize_field("time", time)?;
        printed.serialize_field("app_hash", app_hash)?;
        printed.serialize_field("pairs", &Hexadecimal(&self.state))?;
        printed.end()
    }
}

impl Serialize for Hexadecimal<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(key, value)| (hex::encode(key), hex::encode(value))))
    }
}

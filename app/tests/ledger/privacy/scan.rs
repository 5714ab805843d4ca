//! What looks for values that two views of one person share, and for values of another shape than identifiers.

use std::collections::{BTreeMap, BTreeSet};

use careledger_wire::ids::{Address, SubjectId};

use super::year::View;
use crate::{
    script::{plan_commitment, subject},
    world::{State, address, bytes, element},
};

/// Every 20 consecutive bytes of what is left between values that everybody may know.
fn private_windows<'a>(entries: impl Iterator<Item = &'a Vec<u8>>, public: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
    let mut windows = BTreeSet::new();
    for bytes in entries {
        let mut start = 0;
        let mut place = 0;
        while place <= bytes.len() {
            let rest = &bytes[place..];
            let known = public.iter().find(|value| rest.starts_with(value));
            if known.is_some() || rest.is_empty() {
                windows.extend(bytes[start..place].windows(Address::LENGTH).map(<[u8]>::to_vec));
                start = place + known.map_or(0, Vec::len);
            }
            place += known.map_or(1, Vec::len);
        }
    }
    windows
}

/// The entries of the state that hold an identifier of a view, for each view.
pub fn entries_of_views(state: &State) -> Vec<(View, State)> {
    let mut entries: Vec<(View, State)> = View::all().into_iter().map(|view| (view, State::new())).collect();
    let mut owner: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    for (number, (view, _)) in entries.iter().enumerate() {
        let drawn = |word: &String| [(bytes(word).to_vec(), number), (element(word).to_vec(), number)];
        owner.extend(view.words().iter().flat_map(drawn));
        owner.insert(subject(&view.claimant()).to_vec(), number);
        owner.extend([view.claimant(), view.guardian()].map(|name| (address(&name).to_vec(), number)));
    }
    for (key, value) in state {
        for length in [SubjectId::LENGTH, Address::LENGTH] {
            let held = key.windows(length).chain(value.windows(length)).filter_map(|bytes| owner.get(bytes));
            for number in held {
                entries[*number].1.insert(key.clone(), value.clone());
            }
        }
    }
    entries
}

/// What joins two organizations' views of one person in this state.
pub fn joined(state: &State) -> Vec<String> {
    let names = ["clinic", "lab", "chemist", "payer", "doctor", "r1", "r2", "r3"];
    // A plan is the same for all of its members.
    let plan = plan_commitment("payer", "gold").to_bytes().to_vec();
    let public: Vec<Vec<u8>> = names.map(|name| address(name).to_vec()).into_iter().chain([plan]).collect();
    let views = entries_of_views(state);
    let mut found = Vec::new();
    for (number, (view, own)) in views.iter().enumerate() {
        let windows = private_windows(own.iter().flat_map(|(key, value)| [key, value]), &public);
        for (other, others) in views[number + 1..].iter().filter(|(other, _)| other.person == view.person) {
            let both = format!("{} and {}", view.claimant(), other.claimant());
            let same = own.keys().filter(|key| others.contains_key(*key));
            found.extend(same.map(|key| format!("{both} are both in {}", key.escape_ascii())));
            let theirs = private_windows(others.iter().flat_map(|(key, value)| [key, value]), &public);
            let shared = windows.intersection(&theirs);
            found.extend(shared.map(|value| format!("{both} share {}", value.escape_ascii())));
        }
    }
    found
}

/// Whether every length-delimited field is an identifier of 20, 32 or 33 bytes, or a message of such.
pub fn is_of_fixed_shape(mut value: &[u8]) -> bool {
    use prost::encoding::{WireType, decode_key, decode_varint};
    while !value.is_empty() {
        let Ok((_, wire)) = decode_key(&mut value) else { return false };
        let Ok(number) = decode_varint(&mut value) else { return false };
        match wire {
            WireType::Varint => {}
            WireType::LengthDelimited => {
                let Some((field, rest)) = value.split_at_checked(number as usize) else { return false };
                if ![20, 32, 33].contains(&field.len()) && !is_of_fixed_shape(field) {
                    return false;
                }
                value = rest;
            }
            _ => return false,
        }
    }
    true
}

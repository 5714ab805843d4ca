//! Sets of codes, with union, intersection and difference: of each code system some codes, or all but some.
//!
//! Whatever is combined with a set takes as many steps as it names codes and systems itself, however many the set has; what
//! is told from a long list of small parts is told in time. Texts are shared by all sets that have them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Codes of one code system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codes {
    /// These.
    Only(BTreeSet<Arc<str>>),
    /// Every code of the system that is none of these.
    AllBut(BTreeSet<Arc<str>>),
}

impl Codes {
    fn is_empty(&self) -> bool {
        matches!(self, Self::Only(codes) if codes.is_empty())
    }

    /// The codes that are named, as members or as those that are none.
    pub fn named(&self) -> &BTreeSet<Arc<str>> {
        match self {
            Self::Only(codes) | Self::AllBut(codes) => codes,
        }
    }

    fn others(self) -> Self {
        match self {
            Self::Only(codes) => Self::AllBut(codes),
            Self::AllBut(codes) => Self::Only(codes),
        }
    }

    fn others_of(&self) -> Borrowed<'_> {
        match self {
            Self::Only(codes) => Borrowed::AllBut(codes),
            Self::AllBut(codes) => Borrowed::Only(codes),
        }
    }

    fn borrowed(&self) -> Borrowed<'_> {
        match self {
            Self::Only(codes) => Borrowed::Only(codes),
            Self::AllBut(codes) => Borrowed::AllBut(codes),
        }
    }

    fn union(self, other: Borrowed<'_>) -> Self {
        match (self, other) {
            (Self::Only(mut some), Borrowed::Only(more)) => {
                some.extend(more.iter().cloned());
                Self::Only(some)
            }
            (Self::Only(some), Borrowed::AllBut(without)) => {
                Self::AllBut(without.iter().filter(|code| !some.contains(*code)).cloned().collect())
            }
            (Self::AllBut(mut without), Borrowed::Only(some)) => {
                for code in some {
                    without.remove(code);
                }
                Self::AllBut(without)
            }
            (Self::AllBut(without), Borrowed::AllBut(other)) => {
                Self::AllBut(other.iter().filter(|code| without.contains(*code)).cloned().collect())
            }
        }
    }

    /// What neither lacks: all but what either lacks.
    fn intersection(self, other: &Self) -> Self {
        self.others().union(other.others_of()).others()
    }

    /// What this has and the other has not: all but what this lacks or the other has.
    fn difference(self, other: &Self) -> Self {
        self.others().union(other.borrowed()).others()
    }
}

/// As [`Codes`], of another set.
#[derive(Clone, Copy)]
enum Borrowed<'a> {
    Only(&'a BTreeSet<Arc<str>>),
    AllBut(&'a BTreeSet<Arc<str>>),
}

/// Codes of any systems. A system of which there is none is not named.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    systems: BTreeMap<Arc<str>, Codes>,
    /// How many codes are named.
    named: usize,
}

impl Members {
    /// Every code of a system.
    pub fn whole(system: &str) -> Self {
        Self::of([(system.into(), Codes::AllBut(BTreeSet::new()))])
    }

    /// Adds one code.
    pub fn add(&mut self, system: &str, code: &str) {
        match self.systems.get_mut(system) {
            Some(Codes::Only(codes)) if codes.contains(code) => {}
            Some(Codes::Only(codes)) => {
                codes.insert(code.into());
                self.named += 1;
            }
            Some(Codes::AllBut(codes)) => self.named -= usize::from(codes.remove(code)),
            None => {
                self.systems.insert(system.into(), Codes::Only(BTreeSet::from([code.into()])));
                self.named += 1;
            }
        }
    }

    /// What either has.
    #[must_use]
    pub fn union(mut self, other: &Self) -> Self {
        for (system, codes) in &other.systems {
            let both = match self.systems.remove(system) {
                Some(own) => {
                    self.named -= own.named().len();
                    own.union(codes.borrowed())
                }
                None => codes.clone(),
            };
            self.named += both.named().len();
            self.systems.insert(Arc::clone(system), both);
        }
        self
    }

    /// What both have.
    #[must_use]
    pub fn intersection(mut self, other: &Self) -> Self {
        let both = other.systems.iter().filter_map(|(system, codes)| {
            let own = self.systems.remove(system)?;
            Some((Arc::clone(system), own.intersection(codes)))
        });
        Self::of(both)
    }

    /// What this has and the other has not.
    #[must_use]
    pub fn difference(mut self, other: &Self) -> Self {
        for (system, without) in &other.systems {
            let Some(own) = self.systems.remove(system) else { continue };
            self.named -= own.named().len();
            let left = own.difference(without);
            self.named += left.named().len();
            if !left.is_empty() {
                self.systems.insert(Arc::clone(system), left);
            }
        }
        self
    }

    fn of(systems: impl IntoIterator<Item = (Arc<str>, Codes)>) -> Self {
        let systems: BTreeMap<_, _> = systems.into_iter().filter(|(_, codes)| !codes.is_empty()).collect();
        let named = systems.values().map(|codes| codes.named().len()).sum();
        Self { systems, named }
    }

    /// The codes of each system, in the order of their URLs.
    pub fn systems(&self) -> impl Iterator<Item = (&str, &Codes)> {
        self.systems.iter().map(|(system, codes)| (&**system, codes))
    }

    /// How many systems are named.
    pub fn systems_count(&self) -> usize {
        self.systems.len()
    }

    /// How many codes are named, as members or as those that are none.
    pub fn codes(&self) -> usize {
        self.named
    }

    /// Whether nothing is a member.
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// Whether some system is in it without its codes being named.
    pub fn has_a_whole_system(&self) -> bool {
        self.systems.values().any(|codes| matches!(codes, Codes::AllBut(_)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SYSTEMS: [&str; 3] = ["s", "t", "u"];
    /// The last is named by no set.
    const CODES: [&str; 5] = ["a", "b", "c", "d", "z"];

    fn has(members: &Members, system: &str, code: &str) -> bool {
        match members.systems.get(system) {
            Some(Codes::Only(codes)) => codes.contains(code),
            Some(Codes::AllBut(codes)) => !codes.contains(code),
            None => false,
        }
    }

    fn counted(members: &Members) -> usize {
        members.systems().map(|(_, codes)| codes.named().len()).sum()
    }

    fn any_members() -> impl Strategy<Value = Members> {
        let codes = proptest::sample::subsequence(CODES[..4].to_vec(), 0..=4);
        let of_system = (any::<bool>(), codes).prop_map(|(is_only, codes)| {
            let codes = codes.into_iter().map(Arc::from).collect();
            if is_only { Codes::Only(codes) } else { Codes::AllBut(codes) }
        });
        proptest::collection::btree_map(proptest::sample::select(SYSTEMS.to_vec()), of_system, 0..=3)
            .prop_map(|all| Members::of(all.into_iter().map(|(system, codes)| (system.into(), codes))))
    }

    proptest! {
        #[test]
        fn sets_are_combined_as_the_membership_of_each_code_says(one in any_members(), other in any_members()) {
            let both = (one.clone().union(&other), one.clone().intersection(&other), one.clone().difference(&other));
            for (system, code) in SYSTEMS.iter().flat_map(|system| CODES.map(|code| (*system, code))) {
                let (in_one, in_other) = (has(&one, system, code), has(&other, system, code));
                prop_assert_eq!(has(&both.0, system, code), in_one || in_other);
                prop_assert_eq!(has(&both.1, system, code), in_one && in_other);
                prop_assert_eq!(has(&both.2, system, code), in_one && !in_other);
                let mut more = one.clone();
                more.add(system, code);
                prop_assert!(has(&more, system, code));
                prop_assert_eq!(more.codes(), counted(&more));
            }
            // What has no member of a system does not name it: the index would be asked for nothing.
            for members in [both.0, both.1, both.2] {
                prop_assert!(members.systems.values().all(|codes| !codes.is_empty()));
                prop_assert_eq!(members.codes(), counted(&members));
            }
        }
    }
}

//! What an insurer publishes: which codes are covered, after how long, up to
//! how much, and how often; and the one commitment that stands for all of it.

use serde::{Deserialize, Serialize};

use crate::{
    code,
    date::DAY_BITS,
    field::Element,
    poseidon::{Domain, hash},
    tree::{self, ARITY, Path},
};

/// Levels of the interval tree above its leaves.
pub const INTERVAL_DEPTH: u8 = 4;
/// Intervals a plan can have: 4⁴.
pub const INTERVALS_MAX: usize = 1 << (2 * INTERVAL_DEPTH);
/// Bits of an amount in minor units: up to ten thousand million of the major one.
pub const AMOUNT_BITS: u32 = 40;
/// Fewest code numbers that an interval which says yes or no may span: one
/// ICD-10-CM category with all that is under it. A narrower one would let the
/// insurer read the diagnosis off the plan's name.
pub const BREADTH_MIN: u64 = 37_u64.pow(4);
/// Bits of the number of claims in a period.
pub const CLAIMS_BITS: u32 = 16;

/// The code plays no part in the decision.
pub const CLASS_NEUTRAL: u32 = 0;
/// A claim for the code is covered.
pub const CLASS_COVERED: u32 = 1;
/// A member who has the code on a complete list is not eligible.
pub const CLASS_EXCLUDED: u32 = 2;

/// A range of code numbers that the plan treats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// First code number.
    pub lo: u64,
    /// Last code number, included.
    pub hi: u64,
    /// One of [`CLASS_NEUTRAL`], [`CLASS_COVERED`], [`CLASS_EXCLUDED`].
    pub class: u32,
    /// Days from the start of an enrolment before an event is covered.
    pub wait_days: u32,
    /// Most that is payable for one claim, in minor units; below 2⁴⁰.
    pub cap: u64,
}

/// Terms that hold for every claim under a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Claims that a member can make in one period; at least one.
    pub claims_per_period: u16,
    /// Length of a period in days; at least one, below 2²⁰. Periods are counted
    /// from 1900-01-01 for everyone, so a new enrolment starts no new period.
    pub period_days: u32,
    /// Most days between an event and its claim; below 2²⁰.
    pub claim_within_days: u32,
    /// Youngest age at the event that is covered, in days; below 2²⁰.
    pub age_days_min: u32,
    /// Oldest age at the event that is covered, in days; below 2²⁰.
    pub age_days_max: u32,
}

impl Terms {
    /// Two claims a year, of whatever age: terms of the plans that simulations and tests publish.
    pub const TWO_A_YEAR: Self =
        Self { claims_per_period: 2, period_days: 365, claim_within_days: 90, age_days_min: 0, age_days_max: 40_000 };
}

/// A plan as its insurer publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Identifies the policy over all its editions ([`crate::binding::policy_id_of`]).
    pub policy_id: Element,
    /// The insurer's scope ([`crate::binding::scope_of`]); the ledger derives it
    /// and refuses another.
    pub scope: Element,
    /// A partition of all code numbers, in order.
    pub intervals: Vec<Interval>,
    /// What holds for every claim.
    pub terms: Terms,
}

/// Why a plan cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No interval, or more than [`INTERVALS_MAX`].
    #[error("a plan has between 1 and 256 intervals")]
    IntervalCount,
    /// The intervals leave a gap, overlap, are out of order, or do not reach both ends.
    #[error("the intervals do not partition the code numbers from 0 to 2^64 - 1")]
    NotAPartition,
    /// An interval's class is not one of the three.
    #[error("an interval's class is not known")]
    UnknownClass,
    /// An interval that covers or excludes is narrower than [`BREADTH_MIN`].
    #[error("an interval that covers or excludes spans fewer than 37^4 code numbers")]
    TooNarrow,
    /// Code numbers of the unused system tag 0 must be neutral: empty slots lie there.
    #[error("the code numbers below 2^60 must be neutral")]
    ReservedNotNeutral,
    /// A covered interval needs a cap above zero; the others have neither wait nor cap.
    #[error("a wait or a cap does not fit its class or its bits")]
    WaitOrCap,
    /// A term is zero where it must not be, or too large.
    #[error("a term of the plan is out of range")]
    Terms,
}

impl Interval {
    /// The interval as a leaf of the interval tree.
    pub fn leaf(&self) -> Element {
        let class = Element::from(u64::from(self.class));
        hash(Domain::INTERVAL, [Element::from(self.lo), Element::from(self.hi), class, self.packed()])
    }

    /// `wait_days` above `cap`, as the leaf holds them.
    pub fn packed(&self) -> Element {
        let packed = (u128::from(self.wait_days) << AMOUNT_BITS) | u128::from(self.cap);
        from_u128(packed)
    }

    fn check(&self) -> Result<(), PlanError> {
        let plain = self.wait_days == 0 && self.cap == 0;
        let in_range = self.wait_days < 1 << DAY_BITS && self.cap < 1 << AMOUNT_BITS;
        match self.class {
            CLASS_NEUTRAL if plain => Ok(()),
            CLASS_COVERED | CLASS_EXCLUDED if self.hi - self.lo < BREADTH_MIN - 1 => Err(PlanError::TooNarrow),
            CLASS_EXCLUDED if plain => Ok(()),
            CLASS_COVERED if in_range && self.cap > 0 => Ok(()),
            CLASS_NEUTRAL | CLASS_COVERED | CLASS_EXCLUDED => Err(PlanError::WaitOrCap),
            _ => Err(PlanError::UnknownClass),
        }
    }
}

impl Terms {
    fn check(&self) -> Result<(), PlanError> {
        let days = [self.period_days, self.claim_within_days, self.age_days_min, self.age_days_max];
        let in_range = days.iter().all(|days| *days < 1 << DAY_BITS);
        let useful = self.claims_per_period > 0 && self.period_days > 0 && self.age_days_min <= self.age_days_max;
        if in_range && useful { Ok(()) } else { Err(PlanError::Terms) }
    }
}

impl Plan {
    /// Whether the plan may be published: the intervals partition the whole
    /// code space in order, none that decides is too narrow, and every number
    /// is in its range. One lookup then serves inclusion and exclusion.
    pub fn check_partition(&self) -> Result<(), PlanError> {
        if !(1..=INTERVALS_MAX).contains(&self.intervals.len()) {
            return Err(PlanError::IntervalCount);
        }
        let mut next = Some(0);
        for interval in &self.intervals {
            if next != Some(interval.lo) || interval.hi < interval.lo {
                return Err(PlanError::NotAPartition);
            }
            interval.check()?;
            if interval.lo <= *code::RESERVED.end() && interval.class != CLASS_NEUTRAL {
                return Err(PlanError::ReservedNotNeutral);
            }
            next = interval.hi.checked_add(1);
        }
        if next.is_some() {
            return Err(PlanError::NotAPartition);
        }
        self.terms.check()
    }

    /// Whether any interval excludes, so that attestations must be complete lists.
    pub fn needs_complete_list(&self) -> bool {
        self.intervals.iter().any(|interval| interval.class == CLASS_EXCLUDED)
    }

    /// The root of the interval tree.
    ///
    /// # Panics
    /// Where there are more than [`INTERVALS_MAX`] intervals.
    pub fn interval_root(&self) -> Element {
        self.interval_path(0).root(self.intervals.first().map_or(Element::ZERO, Interval::leaf))
    }

    /// The path of interval `index` in the interval tree.
    ///
    /// # Panics
    /// Where there are more than [`INTERVALS_MAX`] intervals, or `index` is none of them.
    pub fn interval_path(&self, index: usize) -> Path {
        assert!(index < INTERVALS_MAX && self.intervals.len() <= INTERVALS_MAX);
        let mut nodes: Vec<Element> = self.intervals.iter().map(Interval::leaf).collect();
        nodes.resize(INTERVALS_MAX, Element::ZERO);
        let mut place = index;
        let mut siblings = Vec::with_capacity(usize::from(INTERVAL_DEPTH));
        for level in 0..INTERVAL_DEPTH {
            let position = place % ARITY;
            let group = &nodes[place - position..][..ARITY];
            let mut others = (0..ARITY).filter(|other| *other != position);
            siblings.push(std::array::from_fn(|_| group[others.next().expect("three of four children are siblings")]));
            nodes = nodes.chunks_exact(ARITY).map(|group| parent(level, group)).collect();
            place /= ARITY;
        }
        Path { index: index as u64, siblings }
    }

    /// The interval that holds a code number, and its index.
    pub fn find(&self, code: u64) -> Option<(usize, &Interval)> {
        let mut intervals = self.intervals.iter().enumerate();
        intervals.find(|(_, interval)| (interval.lo..=interval.hi).contains(&code))
    }

    /// The terms in one element: from the lowest bits, claims (16), period,
    /// claim-within, youngest and oldest age (20 each), complete list (1).
    pub fn packed_terms(&self) -> Element {
        let terms = &self.terms;
        let fields = [
            (u128::from(terms.claims_per_period), CLAIMS_BITS),
            (u128::from(terms.period_days), DAY_BITS),
            (u128::from(terms.claim_within_days), DAY_BITS),
            (u128::from(terms.age_days_min), DAY_BITS),
            (u128::from(terms.age_days_max), DAY_BITS),
            (u128::from(self.needs_complete_list()), 1),
        ];
        let mut packed = 0;
        let mut shift = 0;
        for (value, bits) in fields {
            packed |= value << shift;
            shift += bits;
        }
        from_u128(packed)
    }

    /// The commitment P that a proof names.
    ///
    /// # Panics
    /// Where there are more than [`INTERVALS_MAX`] intervals; [`Self::check_partition`] first.
    pub fn commitment(&self) -> Element {
        let root = self.interval_root();
        hash(Domain::POLICY, [self.policy_id, self.scope, root, self.packed_terms()])
    }
}

/// The node above four nodes of `level`. Most of a small plan's tree is empty, and what is
/// empty is known.
fn parent(level: u8, group: &[Element]) -> Element {
    if group.iter().all(|node| *node == tree::empty_node(level)) {
        return tree::empty_node(level + 1);
    }
    hash(Domain::NODE, [group[0], group[1], group[2], group[3]])
}

/// A partition from the intervals that decide: sorted, with neutral intervals
/// in the gaps. Overlaps stay, for [`Plan::check_partition`] to refuse.
pub fn partition(mut deciding: Vec<Interval>) -> Vec<Interval> {
    deciding.sort_by_key(|interval| interval.lo);
    let neutral = |lo, hi| Interval { lo, hi, class: CLASS_NEUTRAL, wait_days: 0, cap: 0 };
    let mut intervals = Vec::with_capacity(2 * deciding.len() + 1);
    let mut next = Some(0);
    for interval in deciding {
        if let Some(first) = next
            && first < interval.lo
        {
            intervals.push(neutral(first, interval.lo - 1));
        }
        intervals.push(interval);
        next = interval.hi.checked_add(1);
    }
    if let Some(first) = next {
        intervals.push(neutral(first, u64::MAX));
    }
    intervals
}

/// An element from a 128-bit number, which is always below the modulus.
pub(crate) fn from_u128(value: u128) -> Element {
    Element::from(ark_bn254::Fr::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEUTRAL: u32 = CLASS_NEUTRAL;

    /// `lo`, `hi`, `class`, `wait_days`, `cap`.
    type Row = (u64, u64, u32, u32, u64);

    fn plan(rows: &[Row]) -> Plan {
        Plan {
            policy_id: Element::from(1),
            scope: Element::from(2),
            intervals: rows
                .iter()
                .map(|&(lo, hi, class, wait_days, cap)| Interval { lo, hi, class, wait_days, cap })
                .collect(),
            terms: Terms::TWO_A_YEAR,
        }
    }

    #[test]
    fn a_plan_is_published_only_as_a_partition() {
        const A: u64 = 1 << 60;
        const B: u64 = A + BREADTH_MIN;
        const END: u64 = u64::MAX;
        let cases: [(&[Row], Result<(), PlanError>); 15] = [
            (&[(0, END, NEUTRAL, 0, 0)], Ok(())),
            (&[(0, A - 1, 0, 0, 0), (A, B - 1, 1, 30, 500), (B, END, 2, 0, 0)], Ok(())),
            (&[], Err(PlanError::IntervalCount)),
            (&[(0, END - 1, 0, 0, 0)], Err(PlanError::NotAPartition)),
            (&[(1, END, 0, 0, 0)], Err(PlanError::NotAPartition)),
            (&[(0, A, 0, 0, 0), (A, END, 0, 0, 0)], Err(PlanError::NotAPartition)),
            (&[(0, A, 0, 0, 0), (A + 2, END, 0, 0, 0)], Err(PlanError::NotAPartition)),
            (&[(0, END, 0, 0, 0), (0, END, 0, 0, 0)], Err(PlanError::NotAPartition)),
            (&[(0, A - 1, 0, 0, 0), (A, B - 2, 1, 0, 9), (B - 1, END, 0, 0, 0)], Err(PlanError::TooNarrow)),
            (&[(0, A - 1, 0, 0, 0), (A, END, 3, 0, 0)], Err(PlanError::UnknownClass)),
            (&[(0, A - 2, 0, 0, 0), (A - 1, END, 1, 0, 9)], Err(PlanError::ReservedNotNeutral)),
            (&[(0, A - 1, 0, 0, 0), (A, END, 1, 0, 0)], Err(PlanError::WaitOrCap)),
            (&[(0, A - 1, 0, 0, 0), (A, END, 1, 1 << 20, 9)], Err(PlanError::WaitOrCap)),
            (&[(0, A - 1, 0, 0, 0), (A, END, 1, 0, 1 << 40)], Err(PlanError::WaitOrCap)),
            (&[(0, END, NEUTRAL, 0, 9)], Err(PlanError::WaitOrCap)),
        ];
        for (rows, expected) in cases {
            assert_eq!(plan(rows).check_partition(), expected, "{rows:?}");
        }
    }

    #[test]
    fn gaps_are_filled_to_a_partition() {
        const A: u64 = 1 << 60;
        let decides = |lo, hi| Interval { lo, hi, class: CLASS_COVERED, wait_days: 0, cap: 9 };
        let cases = [
            (vec![], 1, Ok(())),
            (vec![decides(A, u64::MAX)], 2, Ok(())),
            (vec![decides(3 * A, 4 * A), decides(A, 2 * A)], 5, Ok(())),
            (vec![decides(A, 2 * A), decides(2 * A + 1, 3 * A)], 4, Ok(())),
            (vec![decides(A, 2 * A), decides(2 * A, 3 * A)], 4, Err(PlanError::NotAPartition)),
        ];
        for (deciding, count, expected) in cases {
            let mut plan = plan(&[]);
            plan.intervals = partition(deciding);
            assert_eq!(plan.intervals.len(), count);
            assert_eq!(plan.check_partition(), expected);
        }
    }

    #[test]
    fn terms_out_of_range_are_refused() {
        let good = plan(&[(0, u64::MAX, NEUTRAL, 0, 0)]);
        let cases: [fn(&mut Terms); 5] = [
            |terms| terms.claims_per_period = 0,
            |terms| terms.period_days = 0,
            |terms| terms.period_days = 1 << 20,
            |terms| terms.age_days_min = terms.age_days_max + 1,
            |terms| terms.claim_within_days = 1 << 20,
        ];
        for change in cases {
            let mut bad = good.clone();
            change(&mut bad.terms);
            assert_eq!(bad.check_partition(), Err(PlanError::Terms));
        }
    }

    #[test]
    fn every_interval_leads_to_the_root() {
        let step = u64::MAX / 100;
        let rows: Vec<_> =
            (0..100).map(|i| (i * step, if i == 99 { u64::MAX } else { (i + 1) * step - 1 }, 0, 0, 0)).collect();
        let plan = plan(&rows);
        assert_eq!(plan.check_partition(), Ok(()));
        for (index, interval) in plan.intervals.iter().enumerate() {
            assert_eq!(plan.interval_path(index).root(interval.leaf()), plan.interval_root());
            assert_eq!(plan.find(interval.hi), Some((index, interval)));
        }
    }

    #[test]
    fn every_part_of_a_plan_changes_its_commitment() {
        const A: u64 = 1 << 60;
        let base = plan(&[(0, A - 1, 0, 0, 0), (A, u64::MAX, 1, 30, 500)]);
        let changes: [fn(&mut Plan); 11] = [
            |plan| plan.policy_id = Element::from(9),
            |plan| plan.scope = Element::from(9),
            |plan| plan.intervals[1].class = CLASS_EXCLUDED,
            |plan| plan.intervals[1].wait_days += 1,
            |plan| plan.intervals[1].cap += 1,
            |plan| plan.intervals[1].lo += 1,
            |plan| plan.terms.claims_per_period += 1,
            |plan| plan.terms.period_days += 1,
            |plan| plan.terms.claim_within_days += 1,
            |plan| plan.terms.age_days_min += 1,
            |plan| plan.terms.age_days_max += 1,
        ];
        for change in changes {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(other.commitment(), base.commitment());
        }
    }
}

//! Which of the waiting transactions a proposal takes when there are too many: everyone's turn comes.
//!
//! A flood from one account delays others by little: its transactions wait in a queue of their own,
//! and the queue that has taken least of the block goes next. What is taken keeps the order in which
//! it arrived, so that nothing changes while there is room for all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use careledger_wire::ids::Address;

use super::{proto_size, reading::Read, work::Work};

/// What one queue, or the block, has taken.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    bytes: usize,
    work: Work,
}

impl Taken {
    fn and(self, read: &Read) -> Self {
        Self { bytes: self.bytes + proto_size(read.bytes()), work: self.work.and(read.work()) }
    }

    fn fits(&self, room: usize) -> bool {
        self.bytes <= room && self.work.check_block().is_ok()
    }

    /// The largest of its parts of a block, in millionths: who asks for little of everything comes
    /// before who asks for all of one thing.
    fn share(&self, room: usize) -> usize {
        self.work.share().max(self.bytes.saturating_mul(1_000_000) / room.max(1))
    }
}

/// The places of `reads` in the order in which a proposal of `room` bytes tries them: first those
/// that it has room for, by turns, in order of arrival; then the rest, in order of arrival.
pub(super) fn order(reads: &[Arc<Read>], room: usize) -> Vec<usize> {
    let all = reads.iter().fold(Taken::default(), |taken, read| taken.and(read));
    if all.fits(room) {
        return (0..reads.len()).collect();
    }
    let mut queues: BTreeMap<Address, VecDeque<usize>> = BTreeMap::new();
    let mut queue_of: BTreeMap<Address, Address> = BTreeMap::new();
    for (place, read) in reads.iter().enumerate() {
        let Some((sender, payer)) = read.parties() else { continue };
        // A sender's transactions stay in one queue, or a sequence would overtake another.
        let queue = *queue_of.entry(sender).or_insert(payer);
        queues.entry(queue).or_default().push_back(place);
    }
    let mut taken: BTreeMap<Address, Taken> = BTreeMap::new();
    let mut turns: BTreeSet<(usize, usize, Address)> =
        queues.iter().map(|(queue, places)| (0, places[0], *queue)).collect();
    let mut block = Taken::default();
    let mut chosen = BTreeSet::new();
    while let Some((_, _, queue)) = turns.pop_first() {
        let Some(places) = queues.get_mut(&queue) else { continue };
        let Some(place) = places.pop_front() else { continue };
        let own = taken.entry(queue).or_default();
        if block.and(&reads[place]).fits(room) {
            block = block.and(&reads[place]);
            *own = own.and(&reads[place]);
            chosen.insert(place);
        }
        if let Some(next) = places.front() {
            turns.insert((own.share(room), *next, queue));
        }
    }
    let rest = (0..reads.len()).filter(|place| !chosen.contains(place));
    chosen.iter().copied().chain(rest).collect()
}

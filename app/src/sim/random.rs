//! Numbers from a seed: SplitMix64, which is a dozen lines and never changes.

/// A generator.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small.
    pub(super) fn below(&mut self, bound: u8) -> u8 {
        u8::try_from(self.next() % u64::from(bound)).expect("a remainder of a byte is one")
    }

    /// Whether something that happens `in_hundred` times of a hundred happens.
    pub(super) fn happens(&mut self, in_hundred: u8) -> bool {
        self.below(100) < in_hundred
    }

    /// A number of seconds below `bound`.
    pub(super) fn seconds(&mut self, bound: u64) -> i64 {
        (self.next() % bound).cast_signed()
    }

    /// Another order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.next() % (last as u64 + 1);
            items.swap(last, usize::try_from(other).expect("it is at most an index"));
        }
    }
}

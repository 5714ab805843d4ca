//! Where a page begins, as links carry it.

use std::fmt;

/// Where a page begins: the state that the search began on, the last resource that was shown and
/// the total. Numbers of this index only; nothing of a resource. Of a search whose order is kept, the
/// number of that order and how many of it were shown. Clients get them sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Sequence of the last change that the search sees the order of.
    pub snapshot: i64,
    /// Number of the last resource of the page before.
    pub after: i64,
    /// Matches when the search began.
    pub total: Option<u64>,
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.snapshot, self.after)?;
        self.total.map_or(Ok(()), |total| write!(formatter, "-{total}"))
    }
}

impl std::str::FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut numbers = text
            .split('-')
            .map(|number| number.parse::<u64>().ok().and_then(|number| i64::try_from(number).ok()).ok_or(()));
        let mut next = || numbers.next().transpose();
        let (snapshot, after, total) = (next()?.ok_or(())?, next()?.ok_or(())?, next()?);
        match next()? {
            None => Ok(Self { snapshot, after, total: total.map(i64::unsigned_abs) }),
            Some(_) => Err(()),
        }
    }
}

//! What an index has to do, for whoever tells it.

use std::sync::Arc;

use super::{Listed, Stored};
use crate::outcome::Refusal;

/// What the write pipeline tells the search index. The index is derived: nothing is true because
/// it says so, and all of it comes from here.
pub trait Feed: Send + Sync {
    /// Sequence of the last change that is in the index; 0 when it is empty.
    fn applied(&self) -> Result<u64, Refusal>;

    /// Puts or replaces the rows of these versions, in this order, remembers those `listed` as
    /// [`Self::list`] does, and `through` as applied, in one transaction. May get a version that it
    /// already has.
    fn apply(&self, through: u64, listed: &[Listed], versions: &[Arc<Stored>]) -> Result<(), Refusal>;

    /// As [`Self::apply`] where `before` is what was applied last; otherwise changes nothing, and gives `false`. May
    /// return before it is done where nobody who asks the index can see that.
    fn apply_after(
        &self,
        before: u64,
        through: u64,
        listed: &[Listed],
        versions: &[Arc<Stored>],
    ) -> Result<bool, Refusal> {
        let is_next = self.applied()? == before;
        if is_next {
            self.apply(through, listed, versions)?;
        }
        Ok(is_next)
    }

    /// Remembers that these versions became visible, in this order. May get what it already has.
    fn list(&self, versions: &[Listed]) -> Result<(), Refusal>;

    /// Forgets everything.
    fn clear(&self) -> Result<(), Refusal>;

    /// How far a rebuild came that was interrupted; `None` where none was, or where changes were applied
    /// since.
    fn rebuilt(&self) -> Result<Option<Rebuilt>, Refusal>;

    /// Puts the rows of these versions during a rebuild, and remembers how far it is, in one transaction.
    fn rebuild(&self, rebuilt: &Rebuilt, versions: &[Arc<Stored>]) -> Result<(), Refusal>;
}

/// How far a rebuild of the index is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// The last record that was looked at, as the vault names it.
    pub after: Vec<u8>,
    /// Records so far whose body is missing or altered.
    pub damaged: u64,
}

//! What one request may spend on value sets, however often and however deeply they include one another.
//!
//! Counted, not timed: the same request is refused or answered on every machine. Who has spent all of one kind gets nothing
//! of it any more: what could not be paid for may have cost as much.

/// Most names of ValueSets that are looked up for one request, by all entries of a Bundle together.
pub const LOOKUPS_MAX: usize = 1_000;
/// Most bytes of ValueSets that one request reads.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most times that one request follows an `include.valueSet` or `exclude.valueSet`.
pub const IMPORTS_MAX: usize = 1_000;
/// Most codes that one request looks at: those that are listed, and those of a set wherever it is included; long ones
/// count more ([`weight`]).
pub const LOOKS_MAX: usize = 1_000_000;
/// Most codes that are remembered until the request is answered, of all its value sets together.
pub const KEPT_MAX: usize = 200_000;

/// How many bytes of a code and its system count as one code more.
pub const WEIGHED_BYTES: usize = 64;

/// As how many codes one counts that is so many bytes long, with the texts that it is compared with.
pub fn weight(bytes: usize) -> usize {
    1 + bytes / WEIGHED_BYTES
}

/// What there is to spend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Names that are looked up.
    Lookups,
    /// Bytes that are read.
    Bytes,
    /// Includes of other value sets that are followed.
    Imports,
    /// Codes, and parts of definitions, that are looked at.
    Looks,
    /// Codes that are remembered.
    Kept,
}

/// What is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    lookups: usize,
    bytes: usize,
    imports: usize,
    looks: usize,
    kept: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { lookups: LOOKUPS_MAX, bytes: BYTES_MAX, imports: IMPORTS_MAX, looks: LOOKS_MAX, kept: KEPT_MAX }
    }
}

/// There is too little left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

impl Budget {
    /// Pays.
    ///
    /// # Errors
    /// [`Spent`], and whoever asks for more of that kind gets it, too.
    pub fn take(&mut self, kind: Kind, amount: usize) -> Result<(), Spent> {
        let left = match kind {
            Kind::Lookups => &mut self.lookups,
            Kind::Bytes => &mut self.bytes,
            Kind::Imports => &mut self.imports,
            Kind::Looks => &mut self.looks,
            Kind::Kept => &mut self.kept,
        };
        let paid = left.checked_sub(amount);
        *left = paid.unwrap_or_default();
        paid.map(drop).ok_or(Spent)
    }

    /// Whether nothing is left of a kind.
    pub fn has_spent(&self, kind: Kind) -> bool {
        match kind {
            Kind::Lookups => self.lookups == 0,
            Kind::Bytes => self.bytes == 0,
            Kind::Imports => self.imports == 0,
            Kind::Looks => self.looks == 0,
            Kind::Kept => self.kept == 0,
        }
    }

    /// How much was spent of a kind.
    pub fn spent(&self, kind: Kind) -> usize {
        match kind {
            Kind::Lookups => LOOKUPS_MAX - self.lookups,
            Kind::Bytes => BYTES_MAX - self.bytes,
            Kind::Imports => IMPORTS_MAX - self.imports,
            Kind::Looks => LOOKS_MAX - self.looks,
            Kind::Kept => KEPT_MAX - self.kept,
        }
    }
}

impl Spent {
    /// What there is to be said of it, and to do.
    pub fn problem(self) -> String {
        format!(
            "the value sets of this request are more work than one request may be: {LOOKUPS_MAX} names to look up, \
             {BYTES_MAX} bytes to read, {IMPORTS_MAX} includes of others to follow, {LOOKS_MAX} codes to look at and \
             {KEPT_MAX} to remember; search for fewer at once, or write a ValueSet with the expansion"
        )
    }
}

//! Whole lists, page by page, from a node that may lie.

use super::{Client, ClientError};
use crate::{query::SUBSPACE, state::Pairs};

/// Most bytes of keys and values of a list of which nothing says how long it is: a million grants or proposals.
pub const LISTED_BYTES_MAX: usize = 256 * 1024 * 1024;

impl Client {
    /// The pairs whose keys start with `prefix`, in key order: all, or the `first`. On the node's word, but for
    /// this: every page goes on where the one before ended, and pages are asked for up to `bytes_max` of keys and
    /// values, so that a list has an end.
    ///
    /// # Errors
    /// [`ClientError::Answer`] for keys that are not below the prefix, or come again;
    /// [`ClientError::TooLong`] for a list of more bytes.
    pub async fn list(&self, prefix: &[u8], first: Option<usize>, bytes_max: usize) -> Result<Pairs, ClientError> {
        let most = first.unwrap_or(usize::MAX);
        let (mut listed, mut bytes) = (Pairs::new(), 0);
        let mut after: Option<Vec<u8>> = None;
        while listed.len() < most {
            let (page, next) = self.pairs(prefix, after.as_deref()).await?;
            let before = listed.len();
            append(prefix, &mut listed, page, next.as_deref())?;
            listed.truncate(most);
            bytes += listed[before..].iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            if bytes > bytes_max {
                return Err(ClientError::TooLong { url: self.url.clone(), bytes_max });
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(listed)
    }
}

/// Appends a page that goes on where `listed` ends; the next one goes on after its last key.
fn append(prefix: &[u8], listed: &mut Pairs, page: Pairs, next: Option<&[u8]>) -> Result<(), ClientError> {
    let before = listed.len();
    for pair in page {
        if !pair.0.starts_with(prefix) || listed.last().is_some_and(|last| last.0 >= pair.0) {
            return Err(ClientError::Answer(SUBSPACE));
        }
        listed.push(pair);
    }
    let is_last = |next: &[u8]| listed.len() > before && listed.last().is_some_and(|last| last.0 == next);
    if next.is_none_or(is_last) { Ok(()) } else { Err(ClientError::Answer(SUBSPACE)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was listed, the next page, where it says to go on, and whether that is a list.
    type Case = (&'static [&'static str], &'static [&'static str], Option<&'static str>, bool);

    fn pairs(keys: &[&str]) -> Pairs {
        keys.iter().map(|key| (key.as_bytes().to_vec(), b"value".to_vec())).collect()
    }

    /// A node that showed the same page again and again filled the memory of who audited it.
    #[test]
    fn a_list_had_no_end_when_a_node_repeated_its_pages() {
        let cases: [Case; 11] = [
            (&[], &[], None, true),
            (&[], &["a/1", "a/2"], None, true),
            (&[], &["a/1", "a/2"], Some("a/2"), true),
            (&["a/1"], &["a/2"], Some("a/2"), true),
            // The same page, an empty one, another place to go on.
            (&["a/1"], &["a/1"], Some("a/1"), false),
            (&["a/1"], &[], Some("a/1"), false),
            (&[], &[], Some("a/1"), false),
            (&[], &["a/1", "a/2"], Some("a/1"), false),
            // Out of order, twice, of another list.
            (&[], &["a/2", "a/1"], None, false),
            (&[], &["a/1", "a/1"], None, false),
            (&[], &["b/1"], None, false),
        ];
        for (listed, page, next, is_right) in cases {
            let mut listed = pairs(listed);
            let appended = append(b"a/", &mut listed, pairs(page), next.map(str::as_bytes));
            assert_eq!(appended.is_ok(), is_right, "{page:?} and then {next:?}");
        }
    }
}

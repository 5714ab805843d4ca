//! Places in a document under change.

use super::path::Problem;
use crate::json::{DEPTH_MAX, Tree};

/// A step down in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Down {
    /// To a member.
    Key(&'static str),
    /// To an item.
    Item(usize),
}

/// Refuses a value that would nest too deeply there.
///
/// # Errors
/// Where it would.
pub fn within_depth(at: &[Down], value: &Tree<'_>) -> Result<(), Problem> {
    // Beside the place: the list and the object that may be made for it.
    if at.len() + 2 + value.depth() > DEPTH_MAX { Err("nests values too deeply") } else { Ok(()) }
}

/// What stands there.
pub fn find<'a>(tree: &Tree<'a>, at: &[Down]) -> Option<Tree<'a>> {
    let Some((step, rest)) = at.split_first() else { return Some(tree.clone()) };
    // Only what is found is copied: a list may be long, and is asked for each of its items.
    match (step, tree) {
        (Down::Key(name), Tree::Object(members)) => {
            find(members.iter().find(|(key, _)| &**key == *name).map(|(_, child)| child)?, rest)
        }
        (Down::Item(at), Tree::Array(items)) => find(items.get(*at)?, rest),
        (Down::Key(name), tree) => find(&tree.get(name)?, rest),
        (Down::Item(at), Tree::Kept(document, node)) => find(&Tree::Kept(document, node.items().get(*at)?), rest),
        (Down::Item(_), _) => None,
    }
}

/// What stands there, to change it.
pub fn find_mut<'t, 'a>(tree: &'t mut Tree<'a>, at: &[Down]) -> Option<&'t mut Tree<'a>> {
    let mut found = tree;
    for step in at {
        found = match step {
            Down::Key(name) => found.get_mut(name)?,
            Down::Item(at) => found.items_mut()?.get_mut(*at)?,
        };
    }
    Some(found)
}

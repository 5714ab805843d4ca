//! JSON Merge Patch (RFC 7386), as fhirpy's `patch` sends it.

use std::collections::HashMap;

use crate::json::{Document, Node, Tree, Value};

/// `target` with what `patch` says otherwise: `null` takes away, objects are merged, and all else,
/// lists too, is put in place of what stood there.
pub fn apply<'a>(target: &'a Document, patch: &'a Document) -> Tree<'a> {
    merged(Some(Tree::of(target)), patch, patch.root())
}

/// Both are at most as deep as the parser allows, and so is this recursion.
fn merged<'a>(target: Option<Tree<'a>>, patch: &'a Document, node: &'a Node) -> Tree<'a> {
    let Value::Object(members) = &node.value else { return Tree::Kept(patch, node) };
    let mut target = target.filter(Tree::is_object).unwrap_or_else(|| Tree::Object(Vec::new()));
    let before = target.members_mut().map(std::mem::take).unwrap_or_default();
    // Looked up by name: a patch may have as many members as fit a body.
    let places: HashMap<Box<str>, usize> = before.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect();
    let mut after: Vec<(Box<str>, Option<Tree<'a>>)> =
        before.into_iter().map(|(key, tree)| (key, Some(tree))).collect();
    for (key, value) in members {
        let is_removed = value.value == Value::Null;
        match places.get(key) {
            Some(at) if is_removed => after[*at].1 = None,
            Some(at) => after[*at].1 = Some(merged(after[*at].1.take(), patch, value)),
            None if is_removed => {}
            None => after.push((key.clone(), Some(merged(None, patch, value)))),
        }
    }
    Tree::Object(after.into_iter().filter_map(|(key, tree)| Some((key, tree?))).collect())
}

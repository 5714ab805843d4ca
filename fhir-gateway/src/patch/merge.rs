//! JSON Merge Patch (RFC 7386), as fhirpy's `patch` sends it.

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
    for (key, value) in members {
        if value.value == Value::Null {
            target.remove(key);
        } else {
            let before = target.get(key);
            target.set(key, merged(before, patch, value));
        }
    }
    target
}

//! JSON Patch (RFC 6902) with JSON pointers (RFC 6901).

use super::{COPIED_BYTES_MAX, OPERATIONS_MAX};
use crate::{
    json::{DEPTH_MAX, Document, Node, Tree, Value},
    outcome::Refusal,
};

/// Why one operation cannot be done.
type Problem = &'static str;

const NO_PLACE: Problem = "names a place that is not there";

/// `target` after every operation of `patch`, in order.
///
/// # Errors
/// [`Refusal::Invalid`] with the first operation that cannot be done.
pub fn apply<'a>(target: &'a Document, patch: &'a Document) -> Result<Tree<'a>, Refusal> {
    let Value::Array(operations) = &patch.root().value else {
        return Err(Refusal::invalid("patch", "must be a JSON array of operations"));
    };
    if operations.len() > OPERATIONS_MAX {
        return Err(Refusal::invalid("patch", format!("has more than {OPERATIONS_MAX} operations")));
    }
    let mut copied = 0;
    let mut tree = Tree::of(target);
    for (at, operation) in operations.iter().enumerate() {
        one(&mut tree, patch, operation, &mut copied)
            .map_err(|problem| Refusal::invalid(format!("patch[{at}]"), problem))?;
    }
    Ok(tree)
}

fn one<'a>(tree: &mut Tree<'a>, patch: &'a Document, operation: &'a Node, copied: &mut usize) -> Result<(), Problem> {
    let name = operation.text("op").ok_or("has no op")?;
    let path = pointer(operation.text("path").ok_or("has no path")?)?;
    let value = || operation.get("value").map(|node| Tree::Kept(patch, node)).ok_or("has no value");
    let from = || pointer(operation.text("from").ok_or("has no from")?);
    match name {
        "add" => add(tree, &path, value()?),
        "remove" => remove(tree, &path).map(|_| ()),
        "replace" => {
            let place = find_mut(tree, &path).ok_or(NO_PLACE)?;
            *place = within_depth(&path, value()?)?;
            Ok(())
        }
        "move" => {
            let from = from()?;
            if path.len() > from.len() && path.starts_with(&from) {
                return Err("moves a value into itself");
            }
            let moved = remove(tree, &from)?;
            add(tree, &path, moved)
        }
        "copy" => {
            let found = find_mut(tree, &from()?).ok_or(NO_PLACE)?.clone();
            *copied = copied.saturating_add(found.bytes());
            if *copied > COPIED_BYTES_MAX {
                return Err("copies more than a patch may");
            }
            add(tree, &path, found)
        }
        "test" => {
            let found = find_mut(tree, &path).ok_or(NO_PLACE)?;
            if found.is_same(&value()?) { Ok(()) } else { Err("is a test that does not hold") }
        }
        _ => Err("has an op that is not one of add, remove, replace, move, copy, test"),
    }
}

/// The steps of a JSON pointer.
fn pointer(text: &str) -> Result<Vec<String>, Problem> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let steps = text.strip_prefix('/').ok_or("has a pointer that does not start with a slash")?;
    Ok(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// The place in an array of `length` that a step names.
fn place(step: &str, length: usize) -> Option<usize> {
    let is_number = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    let at: usize = step.parse().ok().filter(|_| is_number)?;
    (at < length).then_some(at)
}

/// The value at `path`. What is on the way is taken apart only as far as the path leads.
fn find_mut<'t, 'a>(tree: &'t mut Tree<'a>, path: &[String]) -> Option<&'t mut Tree<'a>> {
    let mut found = tree;
    for step in path {
        found = match found.open() {
            Tree::Array(items) => {
                let at = place(step, items.len())?;
                &mut items[at]
            }
            Tree::Object(members) => members.iter_mut().find(|(key, _)| **key == **step).map(|(_, child)| child)?,
            _ => return None,
        };
    }
    Some(found)
}

fn add<'a>(tree: &mut Tree<'a>, path: &[String], value: Tree<'a>) -> Result<(), Problem> {
    let value = within_depth(path, value)?;
    let Some((last, parents)) = path.split_last() else {
        *tree = value;
        return Ok(());
    };
    let parent = find_mut(tree, parents).ok_or(NO_PLACE)?;
    match parent.open() {
        Tree::Array(items) => {
            let at = if last == "-" { items.len() } else { place(last, items.len() + 1).ok_or(NO_PLACE)? };
            items.insert(at, value);
        }
        Tree::Object(_) => parent.set(last, value),
        _ => return Err(NO_PLACE),
    }
    Ok(())
}

fn remove<'a>(tree: &mut Tree<'a>, path: &[String]) -> Result<Tree<'a>, Problem> {
    let (last, parents) = path.split_last().ok_or("takes the whole resource away")?;
    let parent = find_mut(tree, parents).ok_or(NO_PLACE)?;
    match parent.open() {
        Tree::Array(items) => {
            let at = place(last, items.len()).ok_or(NO_PLACE)?;
            Ok(items.remove(at))
        }
        Tree::Object(_) => parent.remove(last).ok_or(NO_PLACE),
        _ => Err(NO_PLACE),
    }
}

/// Refuses what would nest deeper than any accepted document, before anything recurses into it.
fn within_depth<'a>(path: &[String], value: Tree<'a>) -> Result<Tree<'a>, Problem> {
    if path.len() + value.depth() > DEPTH_MAX { Err("nests values too deeply") } else { Ok(value) }
}

//! FHIRPath Patch (FHIR R4, FHIRPath Patch): a Parameters resource of operations on elements. The
//! official definitions say which elements are lists, choices and primitives.

use super::{
    OPERATIONS_MAX,
    path::{self, Path, Problem, Step},
    place::{Down, find, find_mut, within_depth},
};
use crate::{
    json::{Document, Node, Tree},
    outcome::Refusal,
    resources::elements::{Definition, Element, Kind, definition},
};

/// Steps and conditions of one path.
const STEPS_MAX: usize = 32;

const NOT_ONE: Problem = "has a path that does not lead to exactly one element";
const NO_SUCH_ELEMENT: Problem = "names an element that FHIR R4 does not have there, or not with such a value";
const NO_LIST: Problem = "has a path that does not lead to a list";
const NO_PLACE: Problem = "names a place that is not in the list";

/// An element of the resource.
#[derive(Debug, Clone)]
struct Place {
    /// From the root.
    at: Vec<Down>,
    /// What stands there.
    kind: Kind,
}

/// A list of the resource: where the object stands that has it, and as what.
struct List {
    at: Vec<Down>,
    element: &'static Element,
}

/// The value of an operation.
struct Given<'a> {
    document: &'a Document,
    part: &'a Node,
}

/// `target` after every operation of `parameters`, in order.
///
/// # Errors
/// [`Refusal::Invalid`] with the first operation that cannot be done.
pub fn apply<'a>(target: &'a Document, parameters: &'a Document) -> Result<Tree<'a>, Refusal> {
    let operations = parameters.root().get("parameter").map_or(&[][..], Node::items);
    if operations.len() > OPERATIONS_MAX {
        return Err(Refusal::invalid("Parameters", format!("has more than {OPERATIONS_MAX} operations")));
    }
    let mut tree = Tree::of(target);
    for (at, operation) in operations.iter().enumerate() {
        one(&mut tree, parameters, operation)
            .map_err(|problem| Refusal::invalid(format!("Parameters.parameter[{at}]"), problem))?;
    }
    Ok(tree)
}

fn one<'a>(tree: &mut Tree<'a>, document: &'a Document, operation: &'a Node) -> Result<(), Problem> {
    if operation.text("name") != Some("operation") {
        return Err("is not named operation");
    }
    let parts = operation.get("part").map_or(&[][..], Node::items);
    let part = |name: &str| parts.iter().find(|part| part.text("name") == Some(name));
    let text = |name: &str| part(name).and_then(|part| part.text("valueString").or_else(|| part.text("valueCode")));
    let number = |name: &str, problem: Problem| {
        let number = part(name).and_then(|part| part.get("valueInteger")?.as_primitive()?.parse::<usize>().ok());
        number.ok_or(problem)
    };
    let given = || part("value").map(|part| Given { document, part }).ok_or("has no value");
    let path = path::parse(text("path").ok_or("has no path")?)?;
    let conditions = path.steps.iter().map(|step| if let Step::Where(all) = step { all.len() } else { 1 });
    if conditions.sum::<usize>() > STEPS_MAX {
        return Err("has a path of more than 32 steps and conditions");
    }
    match text("type").ok_or("has no type")? {
        "add" => add(tree, &path, text("name").ok_or("has no name")?, &given()?),
        "insert" => insert(tree, &path, number("index", "has no index")?, &given()?),
        "delete" => delete(tree, &path),
        "replace" => replace(tree, &path, &given()?),
        "move" => {
            let (from, to) = (number("source", "has no source")?, number("destination", "has no destination")?);
            shift(tree, &path, from, to)
        }
        _ => Err("has a type that is not one of add, insert, delete, replace, move"),
    }
}

fn add<'a>(tree: &mut Tree<'a>, path: &Path, name: &str, given: &Given<'a>) -> Result<(), Problem> {
    let place = only(evaluate(tree, path)?)?;
    let found = definition_at(tree, &place).ok_or(NO_SUCH_ELEMENT)?;
    let (element, value) = given.of(found, name)?;
    within_depth(&place.at, &value)?;
    let object = find_mut(tree, &place.at).ok_or(NOT_ONE)?;
    if element.repeats {
        return append(object, element, value);
    }
    let is_there = |other: &Element| object.get(other.name).is_some();
    let is_taken = match element.choice {
        Some(_) => found.elements.iter().any(|other| other.choice == element.choice && is_there(other)),
        None => is_there(element),
    };
    if is_taken {
        return Err("adds an element that is there already; replace it");
    }
    object.set(element.name, value);
    Ok(())
}

fn insert<'a>(tree: &mut Tree<'a>, path: &Path, index: usize, given: &Given<'a>) -> Result<(), Problem> {
    let (list, found) = list(tree, path)?;
    let (_, value) = given.of(found, list.element.name)?;
    within_depth(&list.at, &value)?;
    insert_into(find_mut(tree, &list.at).ok_or(NOT_ONE)?, list.element, index, value)
}

fn delete(tree: &mut Tree<'_>, path: &Path) -> Result<(), Problem> {
    match evaluate(tree, path)?.as_slice() {
        // Nothing to delete is no error.
        [] => Ok(()),
        [place] => {
            let (last, parents) = place.at.split_last().ok_or("deletes the whole resource")?;
            match (*last, parents) {
                (Down::Key(name), parents) => {
                    let object = find_mut(tree, parents).ok_or(NOT_ONE)?;
                    object.remove(name);
                    object.remove(&format!("_{name}"));
                    Ok(())
                }
                (Down::Item(at), [parents @ .., Down::Key(name)]) => {
                    take_from(find_mut(tree, parents).ok_or(NOT_ONE)?, name, at).map(|_| ())
                }
                (Down::Item(_), _) => Err(NOT_ONE),
            }
        }
        _ => Err(NOT_ONE),
    }
}

fn replace<'a>(tree: &mut Tree<'a>, path: &Path, given: &Given<'a>) -> Result<(), Problem> {
    let place = only(evaluate(tree, path)?)?;
    let (item, name, parents) = match place.at.as_slice() {
        [parents @ .., Down::Key(name), Down::Item(at)] => (Some(*at), *name, parents),
        [parents @ .., Down::Key(name)] => (None, *name, parents),
        _ => return Err("replaces the whole resource; put it instead"),
    };
    let parent = evaluate_parent(tree, parents, path)?;
    let found = definition_at(tree, &parent).ok_or(NO_SUCH_ELEMENT)?;
    let before = found.element(name).ok_or(NO_SUCH_ELEMENT)?;
    let (element, value) = given.of(found, before.choice.unwrap_or(before.name))?;
    within_depth(&place.at, &value)?;
    let object = find_mut(tree, parents).ok_or(NOT_ONE)?;
    // An element is its value and what `_name` says beside it.
    let shadow = format!("_{name}");
    match item {
        Some(at) => {
            let items = object.get_mut(name).and_then(Tree::items_mut).ok_or(NOT_ONE)?;
            *items.get_mut(at).ok_or(NOT_ONE)? = value;
            if let Some(beside) = object.get_mut(&shadow).and_then(Tree::items_mut).and_then(|list| list.get_mut(at)) {
                *beside = null();
            }
        }
        None => {
            let members = object.members_mut().ok_or(NOT_ONE)?;
            let member = members.iter_mut().find(|(key, _)| &**key == name).ok_or(NOT_ONE)?;
            *member = (element.name.into(), value);
            object.remove(&shadow);
        }
    }
    Ok(())
}

fn shift(tree: &mut Tree<'_>, path: &Path, from: usize, to: usize) -> Result<(), Problem> {
    let (list, _) = list(tree, path)?;
    let object = find_mut(tree, &list.at).ok_or(NOT_ONE)?;
    let (value, beside) = take_from(object, list.element.name, from)?;
    insert_into(object, list.element, to, value)?;
    let shadow = object.get_mut(&format!("_{}", list.element.name)).and_then(Tree::items_mut);
    if let (Some(place), Some(beside)) = (shadow.and_then(|items| items.get_mut(to)), beside) {
        *place = beside;
    }
    Ok(())
}

fn null<'a>() -> Tree<'a> {
    Tree::Made("null".to_owned())
}

fn only(places: Vec<Place>) -> Result<Place, Problem> {
    let [place] = <[Place; 1]>::try_from(places).map_err(|_| NOT_ONE)?;
    Ok(place)
}

/// Puts an item at the end of a list.
fn append<'a>(object: &mut Tree<'a>, element: &Element, value: Tree<'a>) -> Result<(), Problem> {
    let length = object.get(element.name).and_then(|list| list.items()).map_or(0, |items| items.len());
    insert_into(object, element, length, value)
}

/// Puts an item into a list, and a place for it into the list of ids and extensions beside it.
fn insert_into<'a>(object: &mut Tree<'a>, element: &Element, index: usize, value: Tree<'a>) -> Result<(), Problem> {
    if object.get(element.name).is_none() {
        object.set(element.name, Tree::Array(Vec::new()));
    }
    let items = object.get_mut(element.name).and_then(Tree::items_mut).ok_or(NO_LIST)?;
    if index > items.len() {
        return Err(NO_PLACE);
    }
    items.insert(index, value);
    let shadow = object.get_mut(&format!("_{}", element.name)).and_then(Tree::items_mut);
    if let Some(shadow) = shadow.filter(|shadow| index <= shadow.len()) {
        shadow.insert(index, null());
    }
    Ok(())
}

/// Takes an item out of a list, and what stands for it in the list of ids and extensions.
fn take_from<'a>(object: &mut Tree<'a>, name: &str, at: usize) -> Result<(Tree<'a>, Option<Tree<'a>>), Problem> {
    let items = object.get_mut(name).and_then(Tree::items_mut).ok_or(NO_LIST)?;
    if at >= items.len() {
        return Err(NO_PLACE);
    }
    let value = items.remove(at);
    let shadow = object.get_mut(&format!("_{name}")).and_then(Tree::items_mut);
    let beside = shadow.filter(|shadow| at < shadow.len()).map(|shadow| shadow.remove(at));
    Ok((value, beside))
}

/// What is known of the elements in the object at a place.
fn definition_at(tree: &Tree<'_>, place: &Place) -> Option<&'static Definition> {
    match place.kind {
        Kind::Complex(name) => definition(name),
        Kind::Resource => {
            let resource_type = find(tree, &place.at)?.get("resourceType")?;
            definition(resource_type.as_primitive()?)
        }
        Kind::Primitive(_) => None,
    }
}

/// The elements that a path leads to.
fn evaluate(tree: &Tree<'_>, path: &Path) -> Result<Vec<Place>, Problem> {
    let resource_type = tree.get("resourceType");
    if resource_type.as_ref().and_then(Tree::as_primitive) != Some(&path.head) {
        return Err("has a path that does not start with the type of the resource");
    }
    let mut places = vec![Place { at: Vec::new(), kind: Kind::Resource }];
    for step in &path.steps {
        places = match step {
            Step::Child(name) => children(tree, &places, name)?,
            Step::Index(at) => places.into_iter().nth(*at).into_iter().collect(),
            Step::First => places.into_iter().take(1).collect(),
            Step::Last => places.into_iter().next_back().into_iter().collect(),
            Step::Single if places.len() > 1 => return Err(NOT_ONE),
            Step::Single => places,
            Step::Where(equalities) => {
                let meets = |place: &Place| equalities.iter().all(|(path, text)| says(tree, place, path, text));
                places.into_iter().filter(meets).collect()
            }
        };
    }
    Ok(places)
}

/// The object that stands at `parents`, which lie on `path`.
fn evaluate_parent(tree: &Tree<'_>, parents: &[Down], path: &Path) -> Result<Place, Problem> {
    let mut length = path.steps.len();
    while length > 0 {
        length -= 1;
        let before = Path { head: path.head.clone(), steps: path.steps[..length].to_vec() };
        if let Some(place) = evaluate(tree, &before)?.into_iter().find(|place| place.at == parents) {
            return Ok(place);
        }
    }
    Err(NOT_ONE)
}

fn children(tree: &Tree<'_>, places: &[Place], name: &str) -> Result<Vec<Place>, Problem> {
    let mut found = Vec::new();
    for place in places {
        let known = definition_at(tree, place).ok_or(NO_SUCH_ELEMENT)?;
        let object = find(tree, &place.at).ok_or(NOT_ONE)?;
        let mut is_known = false;
        for element in known.elements.iter().filter(|element| element.choice.unwrap_or(element.name) == name) {
            is_known = true;
            let Some(value) = object.get(element.name) else { continue };
            let mut at = place.at.clone();
            at.push(Down::Key(element.name));
            match value.items() {
                Some(items) => {
                    found.extend((0..items.len()).map(|item| {
                        let at = at.iter().copied().chain([Down::Item(item)]).collect();
                        Place { at, kind: element.kind }
                    }));
                }
                None => found.push(Place { at, kind: element.kind }),
            }
        }
        if !is_known {
            return Err(NO_SUCH_ELEMENT);
        }
    }
    Ok(found)
}

/// Whether an element below `place` says `text`.
fn says(tree: &Tree<'_>, place: &Place, path: &[String], text: &str) -> bool {
    let mut places = vec![place.clone()];
    for name in path {
        places = children(tree, &places, name).unwrap_or_default();
    }
    places.iter().any(|place| find(tree, &place.at).as_ref().and_then(Tree::as_primitive) == Some(text))
}

/// The list that a path leads to, whether or not there is one yet.
fn list(tree: &Tree<'_>, path: &Path) -> Result<(List, &'static Definition), Problem> {
    let Some((Step::Child(name), parents)) = path.steps.split_last() else { return Err(NO_LIST) };
    let parents = Path { head: path.head.clone(), steps: parents.to_vec() };
    let place = only(evaluate(tree, &parents)?)?;
    let found = definition_at(tree, &place).ok_or(NO_SUCH_ELEMENT)?;
    let element = found.element(name).ok_or(NO_SUCH_ELEMENT)?;
    if element.repeats { Ok((List { at: place.at, element }, found)) } else { Err(NO_LIST) }
}

impl<'a> Given<'a> {
    /// The element `name` of `found` that takes the value, and the value.
    fn of(&self, found: &'static Definition, name: &str) -> Result<(&'static Element, Tree<'a>), Problem> {
        of_part(self.document, self.part, found, name)
    }
}

/// A part as the element `name` of `found`: its `value[x]`, its resource, or its parts as the
/// members of an object (FHIR R4, FHIRPath Patch, "anonymous types").
fn of_part<'a>(
    document: &'a Document,
    part: &'a Node,
    found: &'static Definition,
    name: &str,
) -> Result<(&'static Element, Tree<'a>), Problem> {
    let members = || part.members().iter();
    if members().any(|(key, _)| key.starts_with("_value")) {
        return Err("has a value with an id or an extension, which is not supported");
    }
    let value = members().find_map(|(key, node)| key.strip_prefix("value").map(|suffix| (suffix, node)));
    let suffix = value.map(|(suffix, _)| suffix).unwrap_or_default();
    let is_it = |element: &&Element| match element.choice {
        Some(choice) => choice == name && element.name.strip_prefix(choice) == Some(suffix),
        None => element.name == name,
    };
    let element = found.elements.iter().find(is_it).ok_or(NO_SUCH_ELEMENT)?;
    if let Some((_, node)) = value {
        return Ok((element, Tree::Kept(document, node)));
    }
    if let Some(resource) = part.get("resource") {
        return Ok((element, Tree::Kept(document, resource)));
    }
    let Kind::Complex(inner) = element.kind else { return Err("has no value") };
    let inner = definition(inner).ok_or(NO_SUCH_ELEMENT)?;
    let parts = part.get("part").map(Node::items).ok_or("has no value")?;
    let mut object = Tree::Object(Vec::new());
    for part in parts {
        let (element, value) = of_part(document, part, inner, part.text("name").ok_or("has a part without a name")?)?;
        if element.repeats {
            append(&mut object, element, value)?;
        } else {
            object.set(element.name, value);
        }
    }
    Ok((element, object))
}

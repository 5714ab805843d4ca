//! A document under change: what is not touched stays the bytes that it was, and is printed as them.

use super::{Document, Node, Value, quoted};

/// A value of a document under change.
#[derive(Debug, Clone)]
pub enum Tree<'a> {
    /// Bytes of a document that nobody touched.
    Kept(&'a Document, &'a Node),
    /// JSON text that was made here.
    Made(String),
    /// An array of which an item may have changed.
    Array(Vec<Self>),
    /// An object of which a member may have changed.
    Object(Vec<(Box<str>, Self)>),
}

impl<'a> Tree<'a> {
    /// The whole of a document.
    pub fn of(document: &'a Document) -> Self {
        Self::Kept(document, document.root())
    }

    /// The same with its outermost array or object taken apart, so that it can be changed.
    pub fn open(&mut self) -> &mut Self {
        if let Self::Kept(document, node) = *self {
            match &node.value {
                Value::Array(items) => {
                    *self = Self::Array(items.iter().map(|item| Self::Kept(document, item)).collect());
                }
                Value::Object(members) => {
                    let member = |(key, node): &'a (Box<str>, Node)| (key.clone(), Self::Kept(document, node));
                    *self = Self::Object(members.iter().map(member).collect());
                }
                _ => {}
            }
        }
        self
    }

    /// The members of an object, to change them; none of anything else.
    pub fn members_mut(&mut self) -> Option<&mut Vec<(Box<str>, Self)>> {
        match self.open() {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The items of an array, to change them; none of anything else.
    pub fn items_mut(&mut self) -> Option<&mut Vec<Self>> {
        match self.open() {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The member `key` of an object.
    pub fn get(&self, key: &str) -> Option<Self> {
        match self {
            Self::Kept(document, node) => node.get(key).map(|child| Self::Kept(document, child)),
            Self::Object(members) => members.iter().find(|(name, _)| &**name == key).map(|(_, child)| child.clone()),
            _ => None,
        }
    }

    /// The member `key` of an object, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        self.members_mut()?.iter_mut().find(|(name, _)| &**name == key).map(|(_, child)| child)
    }

    /// Puts a member of an object in its place, or at the end.
    pub fn set(&mut self, key: &str, value: Self) {
        let Some(members) = self.members_mut() else { return };
        match members.iter_mut().find(|(name, _)| &**name == key) {
            Some((_, place)) => *place = value,
            None => members.push((key.into(), value)),
        }
    }

    /// Takes a member away from an object.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        let members = self.members_mut()?;
        let at = members.iter().position(|(name, _)| &**name == key)?;
        Some(members.remove(at).1)
    }

    /// The items of an array; none of anything else.
    pub fn items(&self) -> Option<Vec<Self>> {
        match self {
            Self::Kept(document, Node { value: Value::Array(items), .. }) => {
                Some(items.iter().map(|item| Self::Kept(document, item)).collect())
            }
            Self::Array(items) => Some(items.clone()),
            _ => None,
        }
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Kept(_, Node { value: Value::Object(_), .. }) | Self::Object(_))
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        match self {
            Self::Kept(_, node) => node.value == Value::Null,
            Self::Made(text) => text == "null",
            _ => false,
        }
    }

    /// A primitive as FHIR writes it.
    pub fn as_primitive(&self) -> Option<&str> {
        match self {
            Self::Kept(_, node) => node.as_primitive(),
            _ => None,
        }
    }

    /// How many arrays and objects stand in one another.
    pub fn depth(&self) -> usize {
        fn of(node: &Node) -> usize {
            match &node.value {
                Value::Array(items) => 1 + items.iter().map(of).max().unwrap_or_default(),
                Value::Object(members) => 1 + members.iter().map(|(_, node)| of(node)).max().unwrap_or_default(),
                _ => 0,
            }
        }
        match self {
            Self::Kept(_, node) => of(node),
            Self::Made(_) => 0,
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or_default(),
            Self::Object(members) => 1 + members.iter().map(|(_, tree)| tree.depth()).max().unwrap_or_default(),
        }
    }

    /// About how many bytes it is printed as.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Kept(_, node) => node.end - node.start,
            Self::Made(text) => text.len(),
            Self::Array(items) => 2 + items.iter().map(|item| 1 + item.bytes()).sum::<usize>(),
            Self::Object(members) => 2 + members.iter().map(|(key, tree)| key.len() + 4 + tree.bytes()).sum::<usize>(),
        }
    }

    /// Whether both are the same JSON value: numbers by what they are worth, objects in any order.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.to_value(), other.to_value()) {
            (Some(left), Some(right)) => is_same(&left, &right),
            _ => false,
        }
    }

    fn to_value(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.print()).ok()
    }

    /// The same without arrays and objects that became empty; none where nothing is left. In a
    /// list of ids and extensions (`_name`) the place of one stays.
    pub fn pruned(self) -> Option<Self> {
        match self {
            Self::Array(items) => {
                let items: Vec<Self> = items.into_iter().filter_map(Self::pruned).collect();
                (!items.is_empty()).then_some(Self::Array(items))
            }
            Self::Object(members) => {
                let member = |(key, tree): (Box<str>, Self)| match tree {
                    Self::Array(items) if key.starts_with('_') => {
                        let place = |item: Self| item.pruned().unwrap_or_else(|| Self::Made("null".to_owned()));
                        let items: Vec<Self> = items.into_iter().map(place).collect();
                        (!items.iter().all(Self::is_null)).then_some((key, Self::Array(items)))
                    }
                    other => other.pruned().map(|tree| (key, tree)),
                };
                let members: Vec<_> = members.into_iter().filter_map(member).collect();
                (!members.is_empty()).then_some(Self::Object(members))
            }
            other => Some(other),
        }
    }

    /// Its JSON.
    pub fn print(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes());
        self.print_to(&mut bytes);
        bytes
    }

    fn print_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Kept(document, node) => bytes.extend_from_slice(&document.bytes()[node.range()]),
            Self::Made(text) => bytes.extend_from_slice(text.as_bytes()),
            Self::Array(items) => {
                bytes.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    bytes.extend_from_slice(if at == 0 { b"" } else { b"," });
                    item.print_to(bytes);
                }
                bytes.push(b']');
            }
            Self::Object(members) => {
                bytes.push(b'{');
                for (at, (key, tree)) in members.iter().enumerate() {
                    bytes.extend_from_slice(if at == 0 { b"" } else { b"," });
                    bytes.extend_from_slice(quoted(key).as_bytes());
                    bytes.push(b':');
                    tree.print_to(bytes);
                }
                bytes.push(b'}');
            }
        }
    }
}

fn is_same(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => worth(&left.to_string()) == worth(&right.to_string()),
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| is_same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            let is_in_right =
                |(key, value): (&String, &Json)| right.get(key).is_some_and(|other| is_same(value, other));
            left.len() == right.len() && left.iter().all(is_in_right)
        }
        _ => left == right,
    }
}

/// A number as sign, digits without zeros at either end, and the power of ten of its last digit:
/// exact where a float is not. None of zero, however it is written.
fn worth(number: &str) -> Option<(bool, String, i64)> {
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped = i64::try_from(digits.len() - significant.len()).unwrap_or(i64::MAX);
    let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    // An exponent that is beyond any number is as good as another.
    let exponent = exponent.trim_start_matches('+').parse::<i64>().unwrap_or(i64::MAX / 4).clamp(-(1 << 40), 1 << 40);
    let significant = significant.trim_start_matches('0').to_owned();
    (!significant.is_empty()).then(|| (is_negative, significant, exponent - places + dropped))
}

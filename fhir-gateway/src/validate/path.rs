//! Element paths as FHIRPath writes them: `Patient.contact[1].name`.

use std::fmt;

/// One step of a path.
#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Choice(&'a str),
    Item(usize),
}

/// Where a walk stands. Written out only where something is said about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Path<'a>(Vec<Step<'a>>);

impl<'a> Path<'a> {
    /// Whether nothing was entered yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Into an element.
    pub(crate) fn enter(&mut self, name: &'a str) {
        self.0.push(Step::Name(name));
    }

    /// To a choice, as `value[x]`.
    pub(crate) fn enter_choice(&mut self, stem: &'a str) {
        self.0.push(Step::Choice(stem));
    }

    /// Into an item of an array, from 0.
    pub(crate) fn enter_item(&mut self, at: usize) {
        self.0.push(Step::Item(at));
    }

    /// One step back.
    pub(crate) fn leave(&mut self) {
        self.0.pop();
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            let dot = if at == 0 { "" } else { "." };
            match step {
                Step::Name(name) => write!(out, "{dot}{}", printable(name))?,
                Step::Choice(stem) => write!(out, "{dot}{stem}[x]")?,
                Step::Item(at) => write!(out, "[{at}]")?,
            }
        }
        Ok(())
    }
}

/// A key for an error message. Keys are no data unless somebody makes them so.
pub(crate) fn printable(key: &str) -> &str {
    const NAME_MAX: usize = 64;
    let is_name = key.len() <= NAME_MAX && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name { key } else { "(a key that is no name)" }
}

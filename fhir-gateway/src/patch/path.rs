//! The paths of FHIRPath Patch: FHIRPath's simple subset (FHIR R4, FHIRPath, "Simple Path") and
//! `where` with equalities.
//!
//! `Type.element.element[1].where(use = 'official' and period.start = '2020').first()`, also
//! `last()`, `single()` and `extension('url')`.

/// Why a path is not read.
pub type Problem = &'static str;

const UNKNOWN: Problem = "has a path that is not of the subset that is read here (see docs/api/patch.md)";

/// What leads from some elements to others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The children of that name.
    Child(String),
    /// The one at that place, from 0.
    Index(usize),
    /// The first.
    First,
    /// The last.
    Last,
    /// The only one; several are refused.
    Single,
    /// Those in which each of these paths leads to an element that says this.
    Where(Vec<(Vec<String>, String)>),
}

/// A path from a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// The resource type that it starts with.
    pub head: String,
    /// What follows.
    pub steps: Vec<Step>,
}

/// Reads a path.
///
/// # Errors
/// One sentence, for whatever is not of the subset.
pub fn parse(text: &str) -> Result<Path, Problem> {
    let mut reader = Reader { rest: text };
    let head = reader.name()?;
    let mut steps = Vec::new();
    loop {
        reader.skip_spaces();
        if reader.rest.is_empty() {
            return Ok(Path { head, steps });
        }
        if reader.take('[') {
            steps.push(Step::Index(reader.number()?));
            reader.expect(']')?;
            continue;
        }
        reader.expect('.')?;
        let name = reader.name()?;
        if !reader.take('(') {
            steps.push(Step::Child(name));
            continue;
        }
        match name.as_str() {
            "first" => steps.push(Step::First),
            "last" => steps.push(Step::Last),
            "single" => steps.push(Step::Single),
            "where" => steps.push(Step::Where(reader.equalities()?)),
            "extension" => {
                reader.skip_spaces();
                let url = reader.literal()?;
                steps.push(Step::Child("extension".to_owned()));
                steps.push(Step::Where(vec![(vec!["url".to_owned()], url)]));
            }
            _ => return Err(UNKNOWN),
        }
        reader.skip_spaces();
        reader.expect(')')?;
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, letter: char) -> bool {
        let after = self.rest.strip_prefix(letter);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn expect(&mut self, letter: char) -> Result<(), Problem> {
        if self.take(letter) { Ok(()) } else { Err(UNKNOWN) }
    }

    fn word(&mut self, is_part: impl Fn(char) -> bool) -> Result<String, Problem> {
        let end = self.rest.find(|letter| !is_part(letter)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if word.is_empty() { Err(UNKNOWN) } else { Ok(word.to_owned()) }
    }

    /// A name, plain or between backticks.
    fn name(&mut self) -> Result<String, Problem> {
        self.skip_spaces();
        if self.take('`') {
            let name = self.word(|letter| letter != '`')?;
            self.expect('`')?;
            return Ok(name);
        }
        let name = self.word(|letter| letter.is_ascii_alphanumeric() || letter == '_')?;
        if name.starts_with(|first: char| first.is_ascii_digit()) { Err(UNKNOWN) } else { Ok(name) }
    }

    fn number(&mut self) -> Result<usize, Problem> {
        self.skip_spaces();
        let number = self.word(|letter| letter.is_ascii_digit())?.parse().map_err(|_| UNKNOWN)?;
        self.skip_spaces();
        Ok(number)
    }

    /// `a.b = 'c' and d = true`
    fn equalities(&mut self) -> Result<Vec<(Vec<String>, String)>, Problem> {
        let mut all = Vec::new();
        loop {
            let mut path = vec![self.name()?];
            while self.take('.') {
                path.push(self.name()?);
            }
            self.skip_spaces();
            self.expect('=')?;
            self.skip_spaces();
            all.push((path, self.literal()?));
            self.skip_spaces();
            match self.rest.strip_prefix("and").filter(|rest| rest.starts_with(char::is_whitespace)) {
                Some(rest) => self.rest = rest,
                None => return Ok(all),
            }
        }
    }

    /// A string between single quotes, a number, `true`, `false`, or a date after an at sign: as
    /// JSON's primitives say it.
    fn literal(&mut self) -> Result<String, Problem> {
        if self.take('\'') {
            return self.quoted();
        }
        self.take('@');
        self.word(|letter| letter.is_ascii_alphanumeric() || "-+.:".contains(letter))
    }

    fn quoted(&mut self) -> Result<String, Problem> {
        let mut text = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\'' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match letters.next() {
                    Some((_, escaped @ ('\'' | '"' | '`' | '\\' | '/'))) => text.push(escaped),
                    _ => return Err(UNKNOWN),
                },
                other => text.push(other),
            }
        }
        Err(UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_subset_are_read() {
        let child = |name: &str| Step::Child(name.to_owned());
        let equal = |path: &[&str], text: &str| (path.iter().map(|step| (*step).to_owned()).collect(), text.to_owned());
        for (text, steps) in [
            ("Patient", vec![]),
            ("Patient.name[1].given", vec![child("name"), Step::Index(1), child("given")]),
            (" Patient . `name` . last()", vec![child("name"), Step::Last]),
            (
                "Patient.name.where(use = 'of\\'l' and period.start=@2020-01-02).single()",
                vec![
                    child("name"),
                    Step::Where(vec![equal(&["use"], "of'l"), equal(&["period", "start"], "2020-01-02")]),
                    Step::Single,
                ],
            ),
            (
                "Patient.extension('http://x').first()",
                vec![child("extension"), Step::Where(vec![equal(&["url"], "http://x")]), Step::First],
            ),
        ] {
            assert_eq!(parse(text).map(|path| path.steps), Ok(steps), "{text}");
        }
    }

    #[test]
    fn what_is_not_of_the_subset_is_refused() {
        for text in [
            "",
            "Patient.",
            "Patient..name",
            "Patient.name[",
            "Patient.name[-1]",
            "Patient.name[99999999999999999999]",
            "Patient.name.where(use = 'a",
            "Patient.name.where(use != 'a')",
            "Patient.name.where(use = 'a' or use = 'b')",
            "Patient.name.all()",
            "Patient.name | Patient.contact",
            "Patient.1",
            "%resource.name",
        ] {
            assert_eq!(parse(text), Err(UNKNOWN), "{text}");
        }
    }
}

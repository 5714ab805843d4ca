//! Lines and columns of what was sent, for people who read errors.

use std::{fmt, sync::Arc};

use actix_web::web::Bytes;

/// A place in a text, both numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line; a line feed ends one.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl Position {
    /// The place of byte `offset` of `text`.
    pub fn of(text: &[u8], offset: usize) -> Self {
        let before = &text[..offset.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let from = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // Every byte of UTF-8 but those that continue a character.
        let column = before[from..].iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        let counted = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        Self { line: counted(line), column: counted(column) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "line {}, column {}", self.line, self.column)
    }
}

/// What a document was read from.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    /// JSON, in which the document begins at byte `from`.
    Json { whole: Bytes, from: usize },
    /// XML, from which JSON was made, in which the document begins at byte `from`. Offsets in that JSON and
    /// in the XML, in the order of the former.
    Xml { whole: Bytes, places: Arc<[(usize, usize)]>, from: usize },
}

impl Origin {
    /// Where in the origin stands what stands at `offset` of the document.
    pub(super) fn position(&self, offset: usize) -> Position {
        match self {
            Self::Json { whole, from } => Position::of(whole, from + offset),
            Self::Xml { whole, places, from } => {
                let after = places.partition_point(|(json, _)| *json <= from + offset);
                Position::of(whole, after.checked_sub(1).map_or(0, |at| places[at].1))
            }
        }
    }

    /// The origin of a part that begins at `offset`.
    pub(super) fn within(&self, offset: usize) -> Self {
        match self.clone() {
            Self::Json { whole, from } => Self::Json { whole, from: from + offset },
            Self::Xml { whole, places, from } => Self::Xml { whole, places, from: from + offset },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_counted_from_one_in_lines_and_characters() {
        let text = "ab\ncé d\r\n\n".as_bytes();
        for (offset, line, column) in [(0, 1, 1), (2, 1, 3), (3, 2, 1), (6, 2, 3), (10, 3, 1), (11, 4, 1), (99, 4, 1)] {
            assert_eq!(Position::of(text, offset), Position { line, column }, "{offset}");
        }
    }

    #[test]
    fn what_was_made_of_xml_is_placed_in_the_xml() {
        let origin = Origin::Xml {
            whole: Bytes::from_static(b"<Patient>\n <active/>"),
            places: vec![(1, 0), (30, 11)].into(),
            from: 0,
        };
        assert_eq!(origin.position(0), Position { line: 1, column: 1 });
        assert_eq!(origin.position(31), Position { line: 2, column: 2 });
        assert_eq!(origin.within(30).position(0), Position { line: 2, column: 2 });
    }
}

//! Which of several ValueSets of one canonical URL is the newest.

use std::cmp::Ordering;

/// What decides between ValueSets of one URL, where a version is not named: one in use before any other, then the
/// later version, then the later date, then what was written last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Whether its status is `active`.
    pub is_active: bool,
    /// `ValueSet.version`.
    pub version: Option<String>,
    /// The first moment of `ValueSet.date`, in milliseconds; the least number where there is none.
    pub dated: i64,
    /// Its place in the order of what was written.
    pub sequence: i64,
}

impl Edition {
    /// Whether this one is to be used, or the other.
    pub fn order(&self, other: &Self) -> Ordering {
        let by_version = match (&self.version, &other.version) {
            (Some(own), Some(others)) => by_version(own, others),
            (own, others) => own.is_some().cmp(&others.is_some()),
        };
        let by_status = self.is_active.cmp(&other.is_active);
        by_status.then(by_version).then(self.dated.cmp(&other.dated)).then(self.sequence.cmp(&other.sequence))
    }
}

/// A piece of a version, in the order of what stands in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece<'a> {
    /// What makes it a draft of what stands before: `-ballot`.
    Draft(&'a str),
    /// There is nothing more.
    End,
    /// What parts numbers, or stands before them.
    Text(&'a str),
    /// Digits without zeros at the left: the longer is greater, of equally long ones the later in order.
    Number(usize, &'a str),
}

/// Versions as people count them: `1.10` after `1.9`, `2020-04` after `2020-03`, and `2.0.0-ballot` before `2.0.0`, of
/// which it was a draft.
fn by_version(one: &str, other: &str) -> Ordering {
    pieces(one).cmp(&pieces(other))
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let is_draft = |text: &str| text.strip_prefix('-').is_some_and(|rest| rest.starts_with(char::is_alphabetic));
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        let digits = piece.trim_start_matches('0');
        pieces.push(match is_number {
            true => Piece::Number(digits.len(), digits),
            false if is_draft(piece) => Piece::Draft(piece),
            false => Piece::Text(piece),
        });
        rest = after;
    }
    pieces.push(Piece::End);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_in_which_people_count_them() {
        for (earlier, later) in [
            ("1", "2"),
            ("1.9", "1.10"),
            ("1.9.9", "1.10"),
            ("1.0", "1.0.1"),
            ("4.0.1", "5.0.0"),
            ("2.0.0-ballot", "2.0.0"),
            ("2.0.0-ballot", "2.0.0-ballot2"),
            ("1.9.0", "2.0.0-ballot"),
            ("2020-03-01", "2020-04-01"),
            ("2020", "2020-03"),
            ("20200301", "20200401"),
            ("99999999999999999999998", "99999999999999999999999"),
            ("a", "b"),
        ] {
            assert_eq!(by_version(earlier, later), Ordering::Less, "{earlier} {later}");
            assert_eq!(by_version(later, earlier), Ordering::Greater, "{earlier} {later}");
        }
        assert_eq!(by_version("1.02", "1.2"), Ordering::Equal);
    }

    #[test]
    fn what_is_in_use_comes_first_then_the_version_then_the_date_then_what_was_written_last() {
        let edition = |is_active, version: &str, dated, sequence| Edition {
            is_active,
            version: (!version.is_empty()).then(|| version.to_owned()),
            dated,
            sequence,
        };
        let in_order = [
            edition(false, "9", 9, 9),
            edition(true, "", 9, 9),
            edition(true, "1", 1, 8),
            edition(true, "1", 2, 1),
            edition(true, "1", 2, 2),
            edition(true, "2", 0, 0),
        ];
        for (at, one) in in_order.iter().enumerate() {
            for (other_at, other) in in_order.iter().enumerate() {
                assert_eq!(one.order(other), at.cmp(&other_at), "{one:?} {other:?}");
            }
        }
    }
}

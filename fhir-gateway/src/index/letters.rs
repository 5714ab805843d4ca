//! How letters are compared where marks, case and spelling do not count.

use unicode_normalization::{UnicodeNormalization as _, char::canonical_combining_class};

/// Text as string searches compare it: lower case, in compatible letters (Unicode NFKD), without the marks that
/// accents are, however they were written.
pub fn folded(text: &str) -> String {
    let (mut folded, plain) = (String::with_capacity(text.len()), text.nfkd().filter(|letter| !is_accent(*letter)));
    // What is left is composed again: a syllable of Hangul begins with no other one.
    for letter in plain.nfc().flat_map(char::to_lowercase) {
        match of_its_own(letter) {
            Some(letters) => folded.push_str(letters),
            None => folded.push(letter),
        }
    }
    folded
}

/// Whether a mark is an accent of a letter, or a point of Hebrew or Arabic. The marks of other scripts are what
/// vowels and consonants are told apart by there.
fn is_accent(letter: char) -> bool {
    matches!(canonical_combining_class(letter), 1 | 10..=36 | 200..=255)
}

/// What letters are compared as that are no letter with a mark to Unicode.
fn of_its_own(letter: char) -> Option<&'static str> {
    Some(match letter {
        'æ' => "ae",
        'đ' => "d",
        'ħ' => "h",
        'ı' => "i",
        'ł' => "l",
        'ø' => "o",
        'œ' => "oe",
        'ß' => "ss",
        'ŧ' => "t",
        _ => return None,
    })
}

/// How a word sounds, as American Soundex has it: its first letter and three digits; none of what has
/// no Latin letter.
pub fn sound(word: &str) -> Option<String> {
    let digit = |letter: char| match letter {
        'b' | 'f' | 'p' | 'v' => '1',
        'c' | 'g' | 'j' | 'k' | 'q' | 's' | 'x' | 'z' => '2',
        'd' | 't' => '3',
        'l' => '4',
        'm' | 'n' => '5',
        'r' => '6',
        // Letters that part equal digits, and those that do not.
        'h' | 'w' => '-',
        _ => '0',
    };
    let folded = folded(word);
    let mut letters = folded.chars().filter(char::is_ascii_lowercase);
    let first = letters.next()?;
    let (mut code, mut before) = (String::from(first), digit(first));
    for found in letters.map(digit).filter(|found| *found != '-') {
        if found != '0' && found != before && code.len() < 4 {
            code.push(found);
        }
        before = found;
    }
    Some(format!("{code:0<4}"))
}

//! Standard output, whose reader may leave before the end: `status | head`.

use std::fmt::Arguments;
use std::io::{self, Write};

/// `println!`, but a reader that left is no failure: what was asked for is done all the same.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(std::format_args!($($text)*))
    };
}

/// Writes a line to standard output; [`say`] is how.
pub fn line(text: Arguments<'_>) {
    write(&mut io::stdout().lock(), text);
}

fn write(out: &mut impl Write, text: Arguments<'_>) {
    match writeln!(out, "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => eprintln!("writing to standard output: {error}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        write(&mut writer, format_args!("nobody reads this"));
    }
}

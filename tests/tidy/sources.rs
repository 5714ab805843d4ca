//! Rules of the source files themselves.

use std::{
    fs,
    path::{Path, PathBuf},
};

use careledger_tests::{root, tracked_files};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;

fn sources() -> Vec<(PathBuf, String)> {
    let rust = tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let own = rust.filter(|file| !file.components().any(|part| part.as_os_str() == "generated"));
    own.map(|file| (file.clone(), fs::read_to_string(root().join(file)).expect("sources are UTF-8"))).collect()
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "benches" | "fuzz")))
        || file.file_stem().is_some_and(|stem| stem == "tests")
}

fn without_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

#[test]
fn files_are_short_enough_to_hold_one_thing() {
    for (file, text) in sources().iter().filter(|(file, _)| !is_test(file)) {
        let lines = without_tests(text).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines without its tests", file.display());
    }
}

#[test]
fn functions_are_short_enough_to_read_at_once() {
    for (file, text) in sources().iter().filter(|(file, _)| !is_test(file)) {
        for (name, lines) in functions(without_tests(text)) {
            assert!(lines <= FUNCTION_LINES_MAX, "{}: {name} has {lines} lines", file.display());
        }
    }
}

/// Each function's first line and length: from `fn` to the brace that closes at its indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if !is_function(code) || code.ends_with(';') || code.ends_with('}') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - code.len()]);
        if let Some(length) = lines[start..].iter().position(|line| *line == end) {
            found.push((code.to_owned(), length + 1));
        }
    }
    found
}

/// Whether a line of code starts a function, whatever its visibility and qualifiers.
fn is_function(code: &str) -> bool {
    let code = match code.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ").map_or(rest, |(_, rest)| rest),
        Some(rest) => rest.trim_start(),
        None => code,
    };
    let mut words = code.split(' ').skip_while(|word| ["const", "async", "unsafe"].contains(word));
    words.next() == Some("fn")
}

#[test]
fn functions_are_found_whatever_stands_before_them() {
    let found = [
        "fn a() {",
        "pub fn a() {",
        "pub(crate) fn a() {",
        "pub(super) fn a() {",
        "pub(in crate::b) fn a() {",
        "const fn a() {",
        "pub const fn a() {",
        "pub(super) async fn a() {",
        "pub const unsafe fn a() {",
    ];
    for line in found {
        assert!(is_function(line), "{line}");
    }
    for line in ["const A: u8 = 1;", "pub struct A {", "let a = fn_of(b);", "impl Fn() {", "publish(fn a)"] {
        assert!(!is_function(line), "{line}");
    }
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    // Spelled in two parts, so that this file does not find itself.
    let words =
        [("todo", "!("), ("unimplemented", "!("), ("#[ign", "ore"), ("TO", "DO"), ("FIX", "ME"), ("#[all", "ow(")];
    for (file, text) in sources() {
        for (first, second) in words {
            let word = format!("{first}{second}");
            assert!(!text.contains(&word), "{} contains {word}", file.display());
        }
    }
}

#[test]
fn tests_wait_for_conditions_and_never_for_time() {
    for (file, text) in sources().iter().filter(|(file, _)| is_test(file)) {
        for line in text.lines().filter(|line| line.contains(concat!("sle", "ep("))) {
            let polls = line.contains("POLL");
            assert!(polls, "{}: {} (poll a condition with a deadline, every POLL)", file.display(), line.trim());
        }
    }
}

#[test]
fn each_layer_keeps_to_its_own_words() {
    // (what only some may name, who may)
    let rules: [(&str, &[&str]); 3] = [
        ("tendermint_abci::", &["app/src/abci", "app/tests", "app/benches"]),
        ("jmt::", &["app/src/store", "app/tests", "app/benches"]),
        ("actix_web::", &["fhir-gateway"]),
    ];
    for (file, text) in sources().iter().filter(|(file, _)| !file.starts_with("tests")) {
        for (name, homes) in rules {
            let home = homes.iter().any(|home| file.to_string_lossy().starts_with(home));
            assert!(home || !text.contains(name), "{} must not name {name}", file.display());
        }
    }
}

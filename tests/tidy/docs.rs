//! Docs and code carry the same names, and links lead somewhere.

use std::{collections::BTreeSet, fs, path::Path};

use careledger_tests::{root, tracked_files};
use careledger_wire::message::Message;

fn pages(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.expect("the entry is readable").file_name().into_string().expect("UTF-8"));
    names.filter_map(|name| name.strip_suffix(".md").map(str::to_owned)).filter(|name| name != "README").collect()
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(letter.to_ascii_lowercase());
    }
    kebab
}

#[test]
fn every_transaction_has_its_page_and_every_page_its_transaction() {
    let messages = Message::TYPE_URLS.iter().map(|url| {
        let name = url.rsplit_once(".Msg").expect("type URLs end in .Msg…").1;
        kebab(name)
    });
    assert_eq!(messages.collect::<BTreeSet<_>>(), pages("docs/transactions"));
}

#[test]
fn decisions_are_numbered_once_and_name_their_costs() {
    let mut numbers = BTreeSet::new();
    for page in pages("docs/adr") {
        let number: u32 = page[..4].parse().unwrap_or_else(|_| panic!("{page} should start with four digits"));
        assert!(numbers.insert(number), "two decisions have the number {number}");
        let text = fs::read_to_string(root().join("docs/adr").join(format!("{page}.md"))).expect("readable");
        assert!(text.contains("## Consequences"), "{page} should say what it costs");
    }
}

#[test]
fn every_crate_file_and_page_that_a_document_links_to_exists() {
    for file in tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(root().join(&file)).expect("documents are UTF-8");
        for target in links(&text) {
            let target = target.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = file.parent().unwrap_or(Path::new(""));
            assert!(root().join(folder).join(target).exists(), "{}: {target} does not exist", file.display());
        }
    }
}

fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).collect()
}

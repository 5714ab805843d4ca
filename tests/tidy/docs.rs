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

fn text_of(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The texts between backticks, those of code blocks left out.
fn quoted(text: &str) -> Vec<String> {
    let prose: Vec<&str> = text.split("```").step_by(2).collect();
    prose.iter().flat_map(|part| part.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_interaction_names_its_page() {
    let folder = "fhir-gateway/src/interactions";
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(root().join(folder)).expect("the folder is readable") {
        let name = entry.expect("the entry is readable").file_name().into_string().expect("UTF-8");
        let Some(stem) = name.strip_suffix(".rs") else { continue };
        let text = text_of(&format!("{folder}/{name}"));
        let header = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
        let page = header.split("docs/api/").nth(1).and_then(|rest| rest.split(".md").next());
        let page = page.unwrap_or_else(|| panic!("{name} should say at its top which page of docs/api it implements"));
        assert!(pages("docs/api").contains(page), "{name}: docs/api/{page}.md does not exist");
        seen.insert(stem.to_owned());
    }
    let table = text_of("docs/api/README.md");
    let interactions = table.split("| resource |").next().expect("the first table is that of the interactions");
    for page in links(interactions).iter().filter_map(|link| link.strip_suffix(".md")) {
        let stem = if page == "operations" { "operation" } else { page };
        let is_about_all = ["http", "auth"].contains(&page);
        assert!(is_about_all || seen.contains(stem), "docs/api/{page}.md has no {folder}/{stem}.rs");
    }
}

#[test]
fn the_overviews_list_every_page() {
    for folder in ["docs/api", "docs/transactions"] {
        let overview = text_of(&format!("{folder}/README.md"));
        let listed: BTreeSet<&str> = links(&overview).into_iter().filter_map(|link| link.strip_suffix(".md")).collect();
        for page in pages(folder) {
            assert!(listed.contains(page.as_str()), "{folder}/README.md does not list {page}.md");
        }
    }
}

#[test]
fn every_path_that_a_document_names_exists() {
    let tops = ["app/", "fhir-gateway/", "zk/", "localnet/", "tests/", "docs/"];
    for file in tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "md")) {
        let text = fs::read_to_string(root().join(&file)).expect("documents are UTF-8");
        for path in quoted(&text).iter().filter(|path| tops.iter().any(|top| path.starts_with(top))) {
            let path = path.split([' ', '{', '*', '…']).next().unwrap_or_default();
            assert!(root().join(path).exists(), "{}: {path} does not exist", file.display());
        }
    }
}

#[test]
fn every_test_that_the_threats_name_exists() {
    let sources =
        tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs"));
    let code: String = sources.map(|file| fs::read_to_string(root().join(file)).expect("sources are UTF-8")).collect();
    let threats = text_of("docs/THREATS.md");
    let mut count = 0;
    for row in threats.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| tries")) {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        let names = quoted(shown);
        assert!(!names.is_empty() || shown.contains("none"), "no test, and not said so: {row}");
        for name in names {
            assert!(
                code.contains(&format!("fn {name}(")),
                "docs/THREATS.md names the test {name}, which does not exist"
            );
            count += 1;
        }
    }
    assert!(count > 30, "the tables are read");
}

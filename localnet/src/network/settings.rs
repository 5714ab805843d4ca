//! Editing configurations in place, so that its comments stay for the operator.

use crate::failure::Failure;

/// Settings that follow from the network itself and so cannot stand in a manifest.
const FILLED_IN: [&str; 5] = ["proxy_app", "rpc.laddr", "p2p.laddr", "p2p.persistent_peers", "tx_index.indexer"];

/// Whether a setting is filled in by this program.
pub fn is_filled_in(key: &str) -> bool {
    FILLED_IN.contains(&key)
}

/// Sets `section.key` (or a top-level `key`) of a configuration to a value.
///
/// # Errors
/// When the configuration has no such key: CometBFT would silently ignore it.
pub fn set(configuration: &str, key: &str, value: &toml::Value) -> Result<String, Failure> {
    let (wanted_section, wanted_key) = key.split_once('.').unwrap_or(("", key));
    let mut section = "";
    let mut replaced = false;
    let mut edited = String::with_capacity(configuration.len() + 64);
    for line in configuration.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        }
        let is_wanted =
            section == wanted_section && line.split_once('=').is_some_and(|(found, _)| found.trim_end() == wanted_key);
        if is_wanted {
            edited.push_str(&format!("{wanted_key} = {value}"));
            replaced = true;
        } else {
            edited.push_str(line);
        }
        edited.push('\n');
    }
    if replaced {
        return Ok(edited);
    }
    Err(Failure::Needs(format!("the configuration has no setting {key}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIGURATION: &str = "# A comment.\nproxy_app = \"tcp://127.0.0.1:26658\"\n\n[rpc]\nladdr = \"a\"\n\n[p2p]\nladdr = \"b\"\npex = true\n";

    #[test]
    fn a_setting_changes_in_its_own_section_and_nothing_else_does() {
        for (key, value, from, to) in [
            (
                "proxy_app",
                toml::Value::from("kvstore"),
                "proxy_app = \"tcp://127.0.0.1:26658\"",
                "proxy_app = \"kvstore\"",
            ),
            ("rpc.laddr", toml::Value::from("c"), "laddr = \"a\"", "laddr = \"c\""),
            ("p2p.laddr", toml::Value::from("c"), "laddr = \"b\"", "laddr = \"c\""),
            ("p2p.pex", toml::Value::from(false), "pex = true", "pex = false"),
        ] {
            assert_eq!(set(CONFIGURATION, key, &value).unwrap(), CONFIGURATION.replace(from, to), "{key}");
        }
    }

    #[test]
    fn a_setting_that_cometbft_does_not_have_is_refused() {
        for key in ["p2p.pecks", "rpc.pex", "laddr", "mempool.size"] {
            assert!(set(CONFIGURATION, key, &toml::Value::from(1)).is_err(), "{key}");
        }
    }
}

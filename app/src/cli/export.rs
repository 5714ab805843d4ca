//! `export`: the committed state as JSON.

use std::io::{self, Write as _};

use careledger_app::{
    state::StateRead as _,
    store::{Store as _, disk::DiskStore},
};
use clap::Args;
use serde_json::json;

use super::{Failure, Home, Result, node::STATE_FOLDER};

/// Pairs that are read at once.
const PAGE: usize = 1_000;

/// Print the committed state as JSON.
///
/// Height, root and every pair of key and value, hexadecimal, in key order: what this node's
/// disk holds, also while it runs. Two nodes at the same height print the same.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:\n  careledgerd export --home /var/lib/careledger > state.json")]
pub struct Export {
    #[command(flatten)]
    home: Home,
}

impl Export {
    pub fn run(self) -> Result<()> {
        let folder = self.home.path().join(STATE_FOLDER);
        let store = DiskStore::open_read_only(&folder).map_err(Failure::new)?;
        let chain = store.chain().ok_or_else(|| Failure::new("the ledger has not started yet"))?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut write = || -> io::Result<()> {
            let app_hash = hex::encode(store.app_hash());
            let head = json!({ "chain_id": chain.chain_id, "height": store.height(), "time": store.time(), "app_hash": app_hash });
            let head = head.to_string();
            write!(out, "{},\"pairs\":[", head.trim_end_matches('}'))?;
            let mut after: Option<Vec<u8>> = None;
            let mut separator = "";
            loop {
                let page = store.scan(b"", after.as_deref(), PAGE);
                for (key, value) in &page {
                    write!(out, "{separator}\n[\"{}\",\"{}\"]", hex::encode(key), hex::encode(value))?;
                    separator = ",";
                }
                match page.into_iter().last() {
                    Some((key, _)) => after = Some(key),
                    None => break,
                }
            }
            writeln!(out, "\n]}}")?;
            out.flush()
        };
        write().map_err(|error| Failure::new(format!("writing the state: {error}")))
    }
}

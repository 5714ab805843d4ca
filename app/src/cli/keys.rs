//! `keys`: the wallets in the home folder.

use std::{fs, io::IsTerminal as _, path::PathBuf};

use careledger_app::wallet::{Role, Signer, Wallet, keystore::Keystore};
use careledger_wire::ids::Address;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{Failure, Format, Home, Result};

/// Make, list and show the keys in the home folder.
///
/// A key is a mnemonic of 24 words in a file sealed with a passphrase (Argon2id, AES-256-GCM).
/// An organization's account is the key's own. A patient has one key, and from it one account for
/// each organization, so that no two organizations see the same: --derive names the organization.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  careledgerd keys add alice
  careledgerd keys show alice --derive care1hospital…   (what alice tells the hospital)
  careledgerd keys list")]
pub struct Keys {
    #[command(flatten)]
    home: Home,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    passphrase: Passphrase,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, or restore one from its mnemonic.
    Add {
        /// Name of the key on this machine.
        name: String,
        /// Restore from a mnemonic that is read from standard input.
        #[arg(long)]
        recover: bool,
        /// Show the mnemonic once, to be written down.
        #[arg(long)]
        show_mnemonic: bool,
    },
    /// Names and accounts of all keys.
    List,
    /// Account and public keys of one key.
    Show {
        /// Name of the key.
        name: String,
        /// Show the patient's keys at this organization instead.
        #[arg(long, value_name = "ORGANIZATION")]
        derive: Option<Address>,
        /// Print the account's address only.
        #[arg(long)]
        address: bool,
    },
    /// Say that this key wants to be one of an account's: what `tx add-key` takes.
    ProvePossession {
        /// Name of the key.
        name: String,
        /// The account that shall have it.
        #[arg(long, value_name = "ADDRESS")]
        account: Address,
        /// Id of the chain.
        #[arg(long)]
        chain_id: String,
    },
    /// Say that this key wants its account at an organization: what `tx open-subject --binding` takes.
    BindTo {
        /// Name of the key.
        name: String,
        /// The organization; the key is the one that is derived for it.
        #[arg(long, value_name = "ORGANIZATION", conflicts_with = "organization")]
        derive: Option<Address>,
        /// The organization; the key is the wallet's own, as a practitioner's.
        #[arg(long, value_name = "ORGANIZATION", required_unless_present = "derive")]
        organization: Option<Address>,
        /// Id of the chain.
        #[arg(long)]
        chain_id: String,
    },
    /// Print the 24 words. Whoever reads them owns the key.
    ExportMnemonic {
        /// Name of the key.
        name: String,
    },
    /// Print the private X25519 key that opens what was sealed to the patient at one organization.
    ExportEncryptionKey {
        /// Name of the key.
        name: String,
        /// The organization.
        #[arg(long, value_name = "ORGANIZATION")]
        derive: Address,
    },
}

/// Where the passphrase comes from.
#[derive(Debug, Clone, Args)]
pub struct Passphrase {
    /// File whose first line is the passphrase [default: asked for; or CARELEDGER_PASSPHRASE].
    #[arg(long, global = true, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

impl Passphrase {
    /// The passphrase of an existing key.
    pub fn read(&self) -> Result<Zeroizing<String>> {
        self.given()?.map_or_else(|| prompt("Passphrase: "), Ok)
    }

    /// The passphrase for a new key, asked for twice.
    fn choose(&self) -> Result<Zeroizing<String>> {
        if let Some(given) = self.given()? {
            return Ok(given);
        }
        let first = prompt("Passphrase for the new key: ")?;
        if *prompt("Again: ")? != *first {
            return Err(Failure::new("the two passphrases differ"));
        }
        Ok(first)
    }

    fn given(&self) -> Result<Option<Zeroizing<String>>> {
        if let Some(path) = &self.passphrase_file {
            let text = fs::read_to_string(path).map(Zeroizing::new);
            let text = text.map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
            return Ok(Some(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())));
        }
        Ok(std::env::var("CARELEDGER_PASSPHRASE").ok().map(Zeroizing::new))
    }
}

fn prompt(text: &str) -> Result<Zeroizing<String>> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new("a passphrase is needed, and there is no terminal to ask on")
            .next("pass --passphrase-file, or set CARELEDGER_PASSPHRASE"));
    }
    rpassword::prompt_password(text).map(Zeroizing::new).map_err(|error| Failure::new(format!("reading: {error}")))
}

/// The keys in a home folder.
pub fn keystore(home: &Home) -> Keystore {
    Keystore::new(home.path().join("keys"))
}

impl Keys {
    pub fn run(self) -> Result<()> {
        let keystore = keystore(&self.home);
        match &self.command {
            Command::Add { name, recover, show_mnemonic } => {
                let wallet = if *recover { recovered()? } else { Wallet::random() };
                let passphrase = self.passphrase.choose()?;
                let info = keystore.add(name, &wallet, &passphrase)?;
                let mut shown = described(&info.name, &wallet.signer(Role::Account));
                if *show_mnemonic {
                    shown["mnemonic"] = json!(wallet.mnemonic());
                }
                self.format.print(&shown);
            }
            Command::List => {
                for info in keystore.list()? {
                    self.format.print(&json!({ "name": info.name, "address": info.address }));
                }
            }
            Command::Show { name, derive: None, address: true } => println!("{}", keystore.info(name)?.address),
            Command::Show { name, derive, address } => {
                let wallet = keystore.open(name, &self.passphrase.read()?)?;
                let signer = wallet.signer(derive.map_or(Role::Account, Role::ClaimantAt));
                if *address {
                    println!("{}", signer.address());
                    return Ok(());
                }
                let mut shown = described(name, &signer);
                if let Some(organization) = derive {
                    shown["organization"] = json!(organization);
                    shown["subject"] = json!(careledger_wire::commitment::subject_id(organization, &signer.address()));
                    shown["encryption_key"] = json!(wallet.encryption_pair(organization).public);
                }
                self.format.print(&shown);
            }
            Command::ProvePossession { name, account, chain_id } => {
                let signer = keystore.open(name, &self.passphrase.read()?)?.signer(Role::Account);
                self.format.print(&json!({
                    "kind": "secp256k1",
                    "key": hex::encode(signer.public_key()),
                    "possession": hex::encode(signer.prove_possession(chain_id, account)),
                }));
            }
            Command::BindTo { name, derive, organization, chain_id } => {
                let wallet = keystore.open(name, &self.passphrase.read()?)?;
                let signer = wallet.signer(derive.map_or(Role::Account, Role::ClaimantAt));
                let organization = derive.or(*organization).expect("clap asks for one of them");
                let signature = hex::encode(signer.bind_to(chain_id, &organization));
                let key = hex::encode(signer.public_key());
                self.format.print(&json!({
                    "address": signer.address(),
                    "binding": format!("secp256k1:{key}:{signature}"),
                }));
            }
            Command::ExportMnemonic { name } => {
                let wallet = keystore.open(name, &self.passphrase.read()?)?;
                println!("{}", wallet.mnemonic());
            }
            Command::ExportEncryptionKey { name, derive } => {
                let wallet = keystore.open(name, &self.passphrase.read()?)?;
                println!("{}", hex::encode(*wallet.encryption_pair(derive).secret));
            }
        }
        Ok(())
    }
}

fn described(name: &str, signer: &Signer) -> Value {
    json!({ "name": name, "address": signer.address(), "public_key": hex::encode(signer.public_key()) })
}

fn recovered() -> Result<Wallet> {
    let words = if std::io::stdin().is_terminal() {
        prompt("The 24 words: ")?
    } else {
        let mut line = Zeroizing::new(String::new());
        std::io::stdin().read_line(&mut line).map_err(|error| Failure::new(format!("reading: {error}")))?;
        line
    };
    Wallet::from_mnemonic(&words).map_err(Failure::new)
}

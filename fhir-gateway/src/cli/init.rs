//! `init`: a folder from which a gateway starts.

use std::{
    fs::{self},
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use careledger_app::{
    genesis::{Genesis, GenesisKind, GenesisOrganization},
    wallet::{Wallet, keystore::Keystore},
};
use careledger_wire::ids::{Address, Digest};
use jsonwebtoken::{
    Algorithm, EncodingKey,
    jwk::{Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash},
};
use serde_json::json;

use super::Failure;
use crate::{
    auth::clock,
    config::{self, Config, LedgerKind, VaultKind},
    keys::{
        OrganizationKeys,
        keystore::{self, write_new},
        random,
    },
};

/// Accreditation of organizations in a new embedded ledger, in seconds: one year.
const ACCREDITATION_SECONDS: i64 = 365 * 86_400;
/// Id of the client that every new organization gets.
const CLIENT: &str = "ehr";
/// Name of the registrar's key, where one is made.
const REGISTRAR: &str = "registrar";
/// File with the passphrase of that key.
const REGISTRAR_PASSPHRASE: &str = "registrar.passphrase";

/// Writes everything that a gateway needs. Existing files are never replaced.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// Folder to write into; made if it is not there.
    #[arg(long, value_name = "FOLDER")]
    folder: PathBuf,
    /// An organization: its name in URLs, and provider, insurer, laboratory or pharmacy. Repeat it
    /// to serve several.
    #[arg(long = "organization", value_name = "NAME=KIND", required = true)]
    organizations: Vec<NewOrganization>,
    /// Address to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// How clients reach the gateway; http:// and the address to listen on if not given.
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Says that a proxy speaks TLS in front of the gateway, which then may listen on any address.
    #[arg(long)]
    proxy_terminates_tls: bool,
    /// RPC of a CometBFT node, or of another gateway's embedded ledger. Without it the gateway
    /// makes a ledger of its own.
    #[arg(long, value_name = "URL", conflicts_with_all = ["rpc_listen", "chain_id", "registrars", "verifying_keys"])]
    comet: Option<String>,
    /// Where an embedded ledger's RPC listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:26657")]
    rpc_listen: SocketAddr,
    /// Chain id of an embedded ledger.
    #[arg(long, value_name = "ID", default_value = "careledger-dev-1")]
    chain_id: String,
    /// Account that may register further organizations on an embedded ledger. Repeat it for
    /// several; without any, one is made: a key of `careledgerd --home FOLDER`, named `registrar`.
    #[arg(long = "registrar", value_name = "ADDRESS")]
    registrars: Vec<Address>,
    /// Database for the search indexes, without a password: postgresql://USER@HOST:PORT/DATABASE. Without it,
    /// each index is a file.
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    /// File with the password of the database.
    #[arg(long, value_name = "FILE", requires = "postgres")]
    postgres_password_file: Option<PathBuf>,
    /// Where sealed bodies are: in the organization's folder, or beside the index, where several processes
    /// of the organization share them.
    #[arg(long, value_enum, default_value = "local", requires = "postgres")]
    vault: VaultKind,
    /// File with a verifying key of the eligibility circuit, for an embedded ledger's genesis.
    #[arg(long = "verifying-key", value_name = "FILE")]
    verifying_keys: Vec<PathBuf>,
}

#[derive(Debug, Clone)]
struct NewOrganization {
    name: String,
    kind: GenesisKind,
}

impl FromStr for NewOrganization {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = text.split_once('=').unwrap_or((text, "provider"));
        let kind = match kind {
            "provider" => GenesisKind::Provider,
            "insurer" => GenesisKind::Insurer,
            "laboratory" => GenesisKind::Laboratory,
            "pharmacy" => GenesisKind::Pharmacy,
            _ => return Err("a kind is provider, insurer, laboratory or pharmacy".to_owned()),
        };
        Ok(Self { name: name.to_owned(), kind })
    }
}

impl Init {
    pub fn run(self) -> Result<(), Failure> {
        fs::create_dir_all(&self.folder)?;
        let config_path = self.folder.join("gateway.toml");
        if config_path.exists() {
            return Err(format!("{} is there already; nothing was changed", config_path.display()).into());
        }
        let config = self.config()?;
        config.check()?;
        let made: Vec<_> = self
            .organizations
            .iter()
            .map(|organization| Ok((organization.kind, make_organization(&self.folder, &organization.name)?)))
            .collect::<Result<_, Failure>>()?;
        if self.comet.is_none() {
            self.write_genesis(&made)?;
        }
        write_new(&config_path, config.to_toml().as_bytes())?;
        // Read as `start` will, so that what was written is known to be usable.
        let config = Config::read(&config_path)?;
        println!("Wrote {}.", config_path.display());
        for (settings, (_, keys)) in config.organizations.iter().zip(&made) {
            let (name, address) = (&settings.name, keys.signer.address());
            println!("  {name}: address {address}, encryption key {}", keys.encryption.public());
            println!("  {name}: client {CLIENT}, key {}", settings.data.with_file_name("ehr.pem").display());
        }
        if self.comet.is_some() {
            println!("Have the organizations registered with these addresses and keys, then:");
        }
        println!("  careledger-gateway start --config {}", config_path.display());
        Ok(())
    }

    fn config(&self) -> Result<Config, Failure> {
        // As the shell meant it: the configuration is read from another folder.
        let password_file = self.postgres_password_file.as_ref().map(std::path::absolute).transpose()?;
        let organization = |new: &NewOrganization| {
            let folder = Path::new(&new.name);
            let client = config::Client {
                id: CLIENT.to_owned(),
                jwks: folder.join("ehr.jwks.json"),
                scopes: "system/*.cruds".to_owned(),
                patient: None,
            };
            config::Organization {
                name: new.name.clone(),
                keystore: folder.join("keystore.json"),
                passphrase_file: folder.join("passphrase"),
                data: folder.join("data"),
                postgres: self.postgres.clone().map(|url| config::Postgres {
                    sslmode: config::SslMode::Disable,
                    root_certificate: None,
                    url,
                    password_file: password_file.clone(),
                    vault: self.vault,
                    allow_unencrypted: false,
                }),
                clients: vec![client],
                issuers: Vec::new(),
            }
        };
        let embedded = config::Embedded {
            path: PathBuf::from("ledger"),
            rpc_listen: self.rpc_listen,
            chain_id: self.chain_id.clone(),
            genesis: PathBuf::from("genesis.json"),
        };
        Ok(Config {
            ledger: if self.comet.is_some() { LedgerKind::Comet } else { LedgerKind::Embedded },
            trusted_authorities: None,
            server: config::Server {
                listen: self.listen,
                base_url: self.base_url.clone().unwrap_or_else(|| format!("http://{}", self.listen)),
                body_bytes_max: config::BODY_BYTES_MAX,
                workers: config::WORKERS,
                operations_listen: None,
                proxy_terminates_tls: self.proxy_terminates_tls,
                allowed_origins: Vec::new(),
                tls: None,
            },
            auth: config::Auth::default(),
            audit: config::Audit::default(),
            subscriptions: config::Subscriptions::default(),
            memory: config::Memory::default(),
            embedded: self.comet.is_none().then_some(embedded),
            comet: self.comet.clone().map(|rpc| config::Comet { rpc }),
            organizations: self.organizations.iter().map(organization).collect(),
            peers: Vec::new(),
        })
    }

    fn write_genesis(&self, made: &[(GenesisKind, OrganizationKeys)]) -> Result<(), Failure> {
        let mut registrars = self.registrars.clone();
        if registrars.is_empty() {
            registrars.push(make_registrar(&self.folder)?);
        }
        let expires_at = clock() + ACCREDITATION_SECONDS;
        let organization = |(kind, keys): &(GenesisKind, OrganizationKeys)| GenesisOrganization {
            address: keys.signer.address(),
            kind: *kind,
            encryption_key: keys.encryption.public(),
            // There is no evidence behind a ledger of one's own.
            evidence: Digest::new([0; 32]),
            expires_at,
        };
        let read_key = |path: &PathBuf| {
            let key = fs::read(path).map_err(|error| format!("verifying key {}: {error}", path.display()))?;
            Ok::<_, String>(hex::encode(key))
        };
        let genesis = Genesis {
            registrars,
            registrar_threshold: 1,
            verifying_keys: self.verifying_keys.iter().map(read_key).collect::<Result<_, _>>()?,
            organizations: made.iter().map(organization).collect(),
            ..Genesis::default()
        };
        write_new(&self.folder.join("genesis.json"), &serde_json::to_vec_pretty(&genesis)?)?;
        Ok(())
    }
}

/// A wallet where `careledgerd --home FOLDER` finds it, and its passphrase. Gives the account.
fn make_registrar(folder: &Path) -> Result<Address, Failure> {
    let passphrase = hex::encode(random::<24>());
    let file = folder.join(REGISTRAR_PASSPHRASE);
    write_new(&file, passphrase.as_bytes())?;
    let registrar = Keystore::new(folder.join("keys")).add(REGISTRAR, &Wallet::random(), &passphrase)?;
    println!("Registrar {}. To register an organization:", registrar.address);
    println!(
        "  careledgerd tx register-organization --home {} --from {REGISTRAR} --passphrase-file {} …",
        folder.display(),
        file.display(),
    );
    Ok(registrar.address)
}

/// Keystore, passphrase and client key of one organization.
fn make_organization(folder: &Path, name: &str) -> Result<OrganizationKeys, Failure> {
    let folder = folder.join(name);
    fs::create_dir_all(&folder)?;
    let keys = OrganizationKeys::random();
    let passphrase = hex::encode(random::<24>());
    write_new(&folder.join("passphrase"), passphrase.as_bytes())?;
    keystore::create(&folder.join("keystore.json"), passphrase.as_bytes(), &keys)?;
    let (pem, jwks) = client_key()?;
    write_new(&folder.join("ehr.pem"), pem.as_bytes())?;
    write_new(&folder.join("ehr.jwks.json"), jwks.as_bytes())?;
    Ok(keys)
}

/// A P-384 private key in PEM and its public half as a key set.
fn client_key() -> Result<(String, String), Failure> {
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| "a client key could not be made")?;
    let text = STANDARD.encode(document.as_ref());
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    let key = EncodingKey::from_ec_pem(pem.as_bytes())?;
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES384)?;
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256)?);
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    jwk.common.key_algorithm = Some(KeyAlgorithm::ES384);
    Ok((pem, serde_json::to_string_pretty(&json!({"keys": [jwk]}))?))
}

#[cfg(test)]
mod tests {
    use careledger_app::wallet::Role;
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        init: Init,
    }

    #[test]
    fn careledgerd_opens_the_registrar_that_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let arguments = ["init", "--organization", "riverside=provider", "--folder", path.to_str().unwrap()];
        Arguments::parse_from(arguments).init.run().unwrap();
        let passphrase = fs::read_to_string(path.join(REGISTRAR_PASSPHRASE)).unwrap();
        let wallet = Keystore::new(path.join("keys")).open(REGISTRAR, &passphrase).unwrap();
        let genesis: Genesis = serde_json::from_slice(&fs::read(path.join("genesis.json")).unwrap()).unwrap();
        assert_eq!(genesis.registrars, [wallet.signer(Role::Account).address()]);
    }

    #[test]
    fn a_database_is_written_down_and_one_that_would_be_refused_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway");
        let run = |url: &str| {
            let arguments = ["init", "--organization", "riverside=provider", "--folder", path.to_str().unwrap()];
            let database = ["--postgres", url, "--postgres-password-file", "word", "--vault", "postgres"];
            Arguments::parse_from(arguments.into_iter().chain(database)).init.run()
        };
        let refused = run("postgresql://care:canary@127.0.0.1/care").unwrap_err().to_string();
        assert!(refused.contains("password_file") && !refused.contains("canary"), "{refused}");
        assert!(!path.join("gateway.toml").exists() && !path.join("riverside").exists());
        run("postgresql://care@127.0.0.1:5432/care").unwrap();
        let config = Config::read(&path.join("gateway.toml")).unwrap();
        let postgres = config.organizations[0].postgres.as_ref().unwrap();
        assert_eq!(
            (postgres.vault, postgres.url.as_str()),
            (VaultKind::Postgres, "postgresql://care@127.0.0.1:5432/care")
        );
        assert_eq!(postgres.password_file.as_deref(), Some(std::path::absolute("word").unwrap().as_path()));
    }
}

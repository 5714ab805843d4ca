//! Where an organization's database is, from its configuration.

use std::{fmt, fs};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use super::{is_here, tls::Tls};
use crate::config;

/// Where the database is and how to get in.
#[derive(Clone)]
pub struct Settings {
    /// The connection, with the password.
    pub(super) config: Config,
    /// Everything of the organization is in this schema.
    pub(super) schema: String,
    /// Whom to trust; not encrypted if none.
    pub(super) tls: Option<Tls>,
}

/// Without the password.
impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.address(), self.schema)
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is none, or not one that is connected to.
    #[error("[organization.postgres] of {organization}: {problem}")]
    Address {
        /// Name of the organization.
        organization: String,
        /// What to write instead.
        problem: String,
    },
    /// The certificates by which the server is trusted cannot be read.
    #[error("[organization.postgres] of {organization}: {problem}")]
    Certificate {
        /// Name of the organization.
        organization: String,
        /// What is wrong with them.
        problem: String,
    },
    /// The password cannot be read.
    #[error("PostgreSQL password of {organization}: {path}: {source} (set {variable}, or write it to the file)")]
    Password {
        /// Name of the organization.
        organization: String,
        /// The file.
        path: String,
        /// The environment variable that may hold it.
        variable: String,
        /// What the file system said.
        source: std::io::Error,
    },
}

/// Variable that holds the password of an organization's database.
pub fn password_variable(organization: &str) -> String {
    format!("CARELEDGER_POSTGRES_PASSWORD_{}", organization.to_ascii_uppercase().replace('-', "_"))
}

/// Reads an address, and refuses one that this gateway does not connect to.
///
/// # Errors
/// The problem, for the configuration's reader.
pub fn address(settings: &config::Postgres) -> Result<Config, String> {
    let form = "write it as postgresql://USER@127.0.0.1:5432/DATABASE";
    let mut config: Config = settings.url.parse().map_err(|_| format!("url is no PostgreSQL address; {form}"))?;
    if config.get_password().is_some() {
        return Err("the password does not belong into the configuration; name a password_file".to_owned());
    }
    if config.get_user().is_none() || config.get_dbname().is_none() || config.get_hosts().is_empty() {
        return Err(format!("url needs a user, a host and a database; {form}"));
    }
    if config.get_ssl_mode() != SslMode::Prefer {
        return Err("sslmode belongs beside url, not into it: sslmode = \"verify-full\"".to_owned());
    }
    let is_encrypted = settings.sslmode == config::SslMode::VerifyFull;
    if is_encrypted != settings.root_certificate.is_some() {
        return Err("sslmode = \"verify-full\" and root_certificate go together: set both, or none".to_owned());
    }
    if is_encrypted && settings.allow_unencrypted {
        return Err("allow_unencrypted and sslmode = \"verify-full\" contradict each other: leave one out".to_owned());
    }
    if is_encrypted && config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_))) {
        return Err("url names a socket of this machine, over which PostgreSQL speaks no TLS".to_owned());
    }
    if !is_encrypted && !settings.allow_unencrypted && !is_all_here(&config) {
        return Err("url names another machine, and what is indexed would cross the network in clear text. Set \
                    sslmode = \"verify-full\" with a root_certificate, connect through a tunnel that ends on this \
                    machine, or set allow_unencrypted = true where the network itself is encrypted"
            .to_owned());
    }
    config.ssl_mode(if is_encrypted { SslMode::Require } else { SslMode::Disable });
    Ok(config)
}

/// Whether every host and every address that stands for one is on this machine.
fn is_all_here(config: &Config) -> bool {
    config.get_hosts().iter().all(is_here) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

impl Settings {
    /// The settings of one organization. The password is in the variable or the file; with neither, the
    /// server has to let in without.
    pub fn of(organization: &str, settings: &config::Postgres) -> Result<Self, SettingsError> {
        let owner = organization.to_owned();
        let mut config =
            address(settings).map_err(|problem| SettingsError::Address { organization: owner.clone(), problem })?;
        let variable = password_variable(organization);
        if let Ok(password) = std::env::var(&variable) {
            config.password(password);
        } else if let Some(path) = &settings.password_file {
            let text = fs::read_to_string(path).map_err(|source| {
                let path = path.display().to_string();
                SettingsError::Password { organization: owner, path, variable, source }
            })?;
            // Editors end a file with a line break, which is not part of the password.
            config.password(text.trim_end_matches(['\r', '\n']));
        }
        let tls = settings.root_certificate.as_deref().map(Tls::read).transpose();
        let tls =
            tls.map_err(|problem| SettingsError::Certificate { organization: organization.to_owned(), problem })?;
        Ok(Self { config, schema: format!("careledger_{}", organization.replace('-', "_")), tls })
    }

    /// Where it is, without a secret.
    pub fn address(&self) -> String {
        let hosts = self.config.get_hosts().iter().zip(self.config.get_ports().iter().chain(std::iter::repeat(&5432)));
        let hosts: Vec<String> = hosts
            .map(|(host, port)| match host {
                Host::Tcp(name) => format!("{name}:{port}"),
                Host::Unix(path) => format!("{}:{port}", path.display()),
            })
            .collect();
        format!("{}/{}", hosts.join(","), self.config.get_dbname().unwrap_or_default())
    }
}

/// Variable that names the server for tests: an address of a role that may make databases.
#[cfg(test)]
const TEST_SERVER: &str = "CARELEDGER_TEST_POSTGRES";

#[cfg(test)]
impl Settings {
    /// A schema of its own on the server for tests; none where no server is named.
    pub fn for_test() -> Option<Self> {
        let url = std::env::var(TEST_SERVER).ok()?;
        let config = url.parse().expect("the server for tests has an address");
        let schema = format!("careledger_test_{}", hex::encode(crate::keys::random::<8>()));
        Some(Self { config, schema, tls: None })
    }

    /// The same server by another name, and encrypted where somebody is trusted.
    pub fn encrypted(mut self, host: Option<&str>, tls: Option<Tls>) -> Self {
        if let Some(host) = host {
            let mut config = Config::new();
            config.host(host).hostaddr([127, 0, 0, 1].into()).port(self.config.get_ports()[0]);
            config.user(self.config.get_user().unwrap_or_default());
            config.password(self.config.get_password().unwrap_or_default());
            config.dbname(self.config.get_dbname().unwrap_or_default());
            self.config = config;
        }
        self.config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Self { tls, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str, allow_unencrypted: bool) -> config::Postgres {
        let vault = config::VaultKind::Local;
        let (sslmode, root_certificate) = (config::SslMode::Disable, None);
        config::Postgres {
            url: url.to_owned(),
            password_file: None,
            vault,
            sslmode,
            root_certificate,
            allow_unencrypted,
        }
    }

    #[test]
    fn only_this_machine_is_connected_to_unless_the_configuration_says_so() {
        for url in [
            "postgresql://care@127.0.0.1:5432/care",
            "postgres://care@localhost/care",
            "postgresql://care@[::1]/care",
            "host=/run/postgresql user=care dbname=care",
        ] {
            assert!(address(&settings(url, false)).is_ok(), "{url}");
        }
        let cases = [
            ("postgresql://care@db.example.org/care", "clear text"),
            ("postgresql://care@127.0.0.1,10.0.0.7/care", "clear text"),
            ("postgresql://care:secret@127.0.0.1/care", "password_file"),
            ("postgresql://care@127.0.0.1/care?sslmode=require", "beside url"),
            ("postgresql://care@127.0.0.1/care?sslmode=disable", "beside url"),
            ("postgresql://127.0.0.1/care", "needs a user"),
            ("postgresql://care@127.0.0.1", "needs a user"),
            ("mysql://care@127.0.0.1/care", "no PostgreSQL address"),
        ];
        for (url, expected) in cases {
            let problem = address(&settings(url, false)).err().unwrap_or_default();
            assert!(problem.contains(expected), "{url}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        assert!(address(&settings("postgresql://care@db.example.org/care", true)).is_ok());
    }

    #[test]
    fn another_machine_is_connected_to_where_it_proves_itself() {
        let verified = |url: &str| config::Postgres {
            sslmode: config::SslMode::VerifyFull,
            root_certificate: Some("ca.pem".into()),
            ..settings(url, false)
        };
        let mode = |settings: &config::Postgres| address(settings).map(|config| config.get_ssl_mode());
        let there = "postgresql://care@db.example.org/care";
        assert_eq!(mode(&verified(there)), Ok(SslMode::Require), "never only if the server likes");
        assert_eq!(mode(&settings("postgresql://care@127.0.0.1/care", false)), Ok(SslMode::Disable));
        for (wrong, expected) in [
            (config::Postgres { root_certificate: None, ..verified(there) }, "go together"),
            (config::Postgres { sslmode: config::SslMode::Disable, ..verified(there) }, "go together"),
            (config::Postgres { allow_unencrypted: true, ..verified(there) }, "contradict"),
            (verified("host=/run/postgresql user=care dbname=care"), "socket"),
        ] {
            let problem = mode(&wrong).err().unwrap_or_default();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn settings_show_no_password() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        fs::write(&file, "canary\n").expect("written");
        let settings =
            config::Postgres { password_file: Some(file), ..settings("postgresql://care@127.0.0.1:5433/care", false) };
        let read = Settings::of("north-clinic", &settings).expect("usable");
        assert_eq!(read.config.get_password(), Some(&b"canary"[..]));
        assert_eq!(format!("{read:?}"), "127.0.0.1:5433/care careledger_north_clinic");
        assert_eq!(password_variable("north-clinic"), "CARELEDGER_POSTGRES_PASSWORD_NORTH_CLINIC");
    }
}

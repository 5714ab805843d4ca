//! Telling a registry that could not be reached from one that answered, by what the program that asked says.
//!
//! npm, pip, Maven, cargo, Go and git end with the same code for both. What is not plainly the network's is taken for an
//! answer: a check that wrongly fails is looked into, one that is wrongly left out is not.

/// How the network fails, in the words of the system, of libraries and of gateways, in lower case.
const UNREACHABLE: &[&str] = &[
    "connection refused",
    "connection reset",
    "connection broken by",
    "connection timed out",
    "connect timed out",
    "read timed out",
    "i/o timeout",
    "timeout was reached",
    "operation timed out",
    "network is unreachable",
    "no route to host",
    "no such host",
    "unknown host",
    "name or service not known",
    "name resolution",
    "could not resolve",
    "couldn't resolve",
    "couldn't connect",
    "failed to connect to",
    "failed to lookup address",
    "code enotfound",
    "code eai_again",
    "code econnrefused",
    "code econnreset",
    "code etimedout",
    "code enetunreach",
    "code ehostunreach",
    "code err_socket_timeout",
    "too many requests",
    "bad gateway",
    "service unavailable",
    "gateway timeout",
    "gateway time-out",
];

/// What only an answer leads to, whatever was tried in vain before: other bytes than those that are pinned.
const ANSWERED: &[&str] =
    &["code eintegrity", "do not match the hashes", "checksum validation failed", "checksum mismatch"];

/// Most of a line that is repeated.
const SAID_CHARACTERS_MAX: usize = 400;

/// The line that says that a registry was not reached; none where it was, or where nothing says that it was not.
pub(super) fn unreachable(words: &str) -> Option<String> {
    let has = |line: &str, signs: &[&str]| {
        let line = line.to_lowercase();
        signs.iter().any(|sign| line.contains(sign))
    };
    if has(words, ANSWERED) {
        return None;
    }
    let line = words.lines().find(|line| has(line, UNREACHABLE))?;
    let plain = line.trim_matches(|letter: char| letter.is_control() || letter.is_whitespace());
    Some(plain.chars().take(SAID_CHARACTERS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use crate::{failure::Failure, program::Program};

    /// What the programs said on a machine without a network, and with a wrong name server.
    const NOT_REACHED: &[&str] = &[
        "npm error code ECONNREFUSED\nnpm error syscall connect",
        "npm error code ENOTFOUND\nnpm error network request to https://packages.invalid/a failed",
        "WARNING: Retrying (Retry(total=0, connect=None)) after connection broken by 'NewConnectionError(...)': /simple/fhirpy/\n\
         ERROR: No matching distribution found for fhirpy==2.3.1",
        "[ERROR] Plugin org.apache.maven.plugins:maven-dependency-plugin:3.8.1 or one of its dependencies could not be \
         resolved: Could not transfer artifact a from/to central: Connect to 127.0.0.1:9 failed: Connection refused",
        "[ERROR] Could not transfer artifact a from/to central: Unknown host nowhere.invalid: Name or service not known",
        "fatal: unable to access 'https://github.com/RustSec/advisory-db/': Failed to connect to 127.0.0.1 port 9",
        "go: example.org/a@v1.0.0: Get \"https://modules.invalid/a\": dial tcp: lookup modules.invalid: no such host",
    ];

    /// What they said of an answer, and of the code.
    const ANSWERED: &[&str] = &[
        "npm error code ETARGET\nnpm error notarget No matching version found for @medplum/core@4.0.399.",
        "npm error code EINTEGRITY\nnpm error Integrity checksum failed when using sha512",
        "npm error code E404\nnpm error 404 Not Found",
        "ERROR: Could not find a version that satisfies the requirement fhirpy==99.3.1 (from versions: 2.3.0, 2.3.1)",
        "WARNING: Retrying after connection broken by 'ReadTimeoutError'\n\
         ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "[ERROR] COMPILATION ERROR :\n[ERROR] ClientCheck.java:[10,5] cannot find symbol",
        "[ERROR] Could not find artifact ca.uhn.hapi.fhir:hapi-fhir-client:jar:88.0.0 in central",
        "[ERROR] Non-parseable POM pom.xml: unexpected character in markup",
        "[ERROR] failed to deserialize config from 'deny.toml'",
        "",
    ];

    fn failing(words: &str) -> Result<String, Failure> {
        Program::new("sh").args(["-c", r#"printf '%s' "$1" >&2; exit 1"#, "sh", words]).fetch("a registry")
    }

    #[test]
    fn a_registry_that_cannot_be_reached_is_told_from_one_that_answered() {
        for words in NOT_REACHED {
            let failure = failing(words).unwrap_err();
            assert!(matches!(failure, Failure::Unreachable { .. }), "{words}: {failure}");
        }
        for words in ANSWERED {
            let failure = failing(words).unwrap_err();
            assert!(matches!(failure, Failure::Program { .. }), "{words}: {failure}");
        }
    }

    #[test]
    fn what_is_told_is_the_line_that_says_why() {
        let failure = failing("npm error code E0\n  npm error code ECONNREFUSED  \nmore").unwrap_err();
        assert_eq!(failure.to_string(), "a registry cannot be reached: npm error code ECONNREFUSED");
    }

    #[test]
    fn words_of_a_failed_network_in_what_succeeded_are_no_failure() {
        let said = Program::new("sh").args(["-c", "echo connection refused"]).fetch("a registry").unwrap();
        assert_eq!(said, "connection refused\n");
    }

    #[test]
    fn a_program_that_is_missing_is_no_registry_that_cannot_be_reached() {
        let failure = Program::new("/nowhere/cargo-deny").args(["fetch", "db"]).fetch("the advisory database");
        assert!(matches!(failure, Err(Failure::System { .. })), "{failure:?}");
    }
}

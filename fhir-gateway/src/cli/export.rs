//! `export`: an organization's resources into a folder, by a bulk export like any client's (docs/api/export.md).
//!
//! How far it is stands in the folder beside the files, each of which is there whole or not at all: an export that
//! was stopped goes on where it was, and one that the gateway has forgotten begins anew.

use std::{
    collections::BTreeSet,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Method, Response, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Failure,
    session::{PAUSE, Session, TRIES, diagnostics},
    token::Token,
};

/// What the folder remembers.
const NOTE: &str = "export.json";
/// Longest time between two looks at how far an export is, whatever the gateway says.
const POLL_MAX: Duration = Duration::from_secs(30);
/// How often an export that the gateway has forgotten is begun anew by one call.
const BEGINNINGS_MAX: u32 = 3;

/// Puts an organization's resources into a folder, as NDJSON files of one type each.
///
/// The gateway makes a bulk export in the background; this command waits for it, shows how far it is, and
/// fetches its files. They are in the clear: the folder is for its owner only, and should be on a disk that is
/// encrypted. How far the export is stands in FOLDER/export.json: the same command goes on after a stop. What was
/// exported is what the client's scopes open; what was deleted since --since is in deleted-*.ndjson, and what could
/// not be had from other custodians in error-*.ndjson, for which it exits with 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  careledger-gateway export --client ehr --key riverside-gateway/riverside/ehr.pem \\
          --url http://127.0.0.1:8080/riverside backup
  careledger-gateway export --client ehr --key riverside-gateway/riverside/ehr.pem \\
          --url http://127.0.0.1:8080/riverside --of patients --types Patient,Observation \\
          --since 2026-01-01T00:00:00Z changes")]
pub struct Export {
    #[command(flatten)]
    access: Token,
    /// Whose resources: `system` (everything), `patients` (what is about Patients, also what consent opens at
    /// other custodians), or `Group/ID` (what is about the members of a Group).
    #[arg(long, value_name = "WHOSE", default_value = "system", value_parser = of)]
    of: String,
    /// These types only, with commas between.
    #[arg(long, value_name = "TYPES")]
    types: Option<String>,
    /// Only what was written then or later: an instant, such as `transactionTime` in an earlier export.json.
    #[arg(long, value_name = "INSTANT")]
    since: Option<String>,
    /// The folder; it is made where it is not there.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// The operation's path of what `--of` names.
fn of(text: &str) -> Result<String, String> {
    let is_id = |id: &str| {
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
    };
    match text.strip_prefix("Group/") {
        _ if text == "system" => Ok("$export".to_owned()),
        _ if text == "patients" => Ok("Patient/$export".to_owned()),
        Some(id) if is_id(id) => Ok(format!("Group/{id}/$export")),
        _ => Err("must be system, patients or Group/ID".to_owned()),
    }
}

/// What stands in the note.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    /// What was asked for, below the FHIR endpoint.
    request: String,
    /// Where the export's status is, below the FHIR endpoint.
    #[serde(default)]
    status: Option<String>,
    /// The time up to which everything is in the files.
    #[serde(default, rename = "transactionTime")]
    transaction_time: Option<String>,
    /// The files that are there.
    #[serde(default)]
    files: BTreeSet<String>,
    /// Whether all are.
    #[serde(default)]
    complete: bool,
}

/// What one look at an export gave.
enum Seen {
    /// Its manifest.
    Manifest(Value),
    /// The gateway does not know of it any more.
    Forgotten,
    /// The gateway could not finish it.
    Failed,
}

impl Export {
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.export())
    }

    async fn export(&self) -> Result<(), Failure> {
        let shown = self.folder.display();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|error| format!("{shown}: {error}"))?;
        let request = self.request();
        let mut note = read(&self.folder)?.unwrap_or_else(|| Note { request: request.clone(), ..Note::default() });
        if note.request != request {
            let other = note.request;
            return Err(format!("{shown} holds another export ({other}); choose another folder").into());
        }
        let session = Session::new(&self.access)?;
        for _ in 0..BEGINNINGS_MAX {
            if note.complete {
                println!("{shown}: complete, {} files", note.files.len());
                return self.verdict(&note);
            }
            match note.status.clone() {
                Some(_) => println!("{shown}: going on, {} files are there", note.files.len()),
                None => {
                    note.status = Some(begin(&session, &request).await?);
                    write(&self.folder, &note)?;
                }
            }
            let status = note.status.clone().unwrap_or_default();
            let seen = wait(&session, &status).await?;
            if matches!(seen, Seen::Failed) {
                self.forget(&mut note)?;
                return Err("the gateway could not finish the export; the same command begins a new one".into());
            }
            if let Seen::Manifest(manifest) = seen
                && self.fetch(&session, &manifest, &mut note).await?
            {
                note.complete = true;
                write(&self.folder, &note)?;
                // One that stays expires by itself.
                let removed = send(&session, Method::DELETE, &status).await;
                removed.map_or_else(|error| println!("the gateway keeps the export until it expires: {error}"), drop);
            } else {
                println!("{shown}: the gateway has forgotten the export; beginning anew");
                self.forget(&mut note)?;
            }
        }
        if note.complete {
            self.verdict(&note)
        } else {
            Err("the gateway forgets exports faster than they are fetched".into())
        }
    }

    /// Has the next export be a new one, which may have fewer files than this one had.
    fn forget(&self, note: &mut Note) -> Result<(), Failure> {
        for name in &note.files {
            fs::remove_file(self.folder.join(name)).or_else(unless_absent)?;
        }
        *note = Note { request: std::mem::take(&mut note.request), ..Note::default() };
        write(&self.folder, note)
    }

    fn request(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        pairs.extend_pairs(self.types.iter().map(|types| ("_type", types)));
        pairs.extend_pairs(self.since.iter().map(|since| ("_since", since)));
        let pairs = pairs.finish();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{}{mark}{pairs}", self.of)
    }

    /// Fetches what is not there yet; false where the gateway has forgotten the export meanwhile.
    async fn fetch(&self, session: &Session<'_>, manifest: &Value, note: &mut Note) -> Result<bool, Failure> {
        note.transaction_time = manifest["transactionTime"].as_str().map(str::to_owned);
        let files = files(manifest)?;
        let total = files.len();
        for (at, (name, path)) in files.into_iter().enumerate() {
            if note.files.contains(&name) {
                continue;
            }
            match download(session, &path, &self.folder, &name).await? {
                Some(lines) => println!("{name}: {lines} lines ({} of {total} files)", at + 1),
                None => return Ok(false),
            }
            note.files.insert(name);
            write(&self.folder, note)?;
        }
        Ok(true)
    }

    /// Whether nothing is missing.
    fn verdict(&self, note: &Note) -> Result<(), Failure> {
        let errors = note.files.iter().filter(|name| name.starts_with("error-")).count();
        if errors == 0 {
            return Ok(());
        }
        Err(format!("something may be missing: error-*.ndjson in {} name it", self.folder.display()).into())
    }
}

/// Name here and path below the FHIR endpoint of each file of a manifest.
fn files(manifest: &Value) -> Result<Vec<(String, String)>, Failure> {
    let mut found = Vec::new();
    for list in ["output", "deleted", "error"] {
        for (at, file) in manifest[list].as_array().map(Vec::as_slice).unwrap_or_default().iter().enumerate() {
            let kind = file["type"].as_str().filter(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic()));
            let url = file["url"].as_str();
            let (Some(kind), Some(url)) = (kind, url) else {
                return Err("the manifest names a file in no way known here".into());
            };
            let stem = if list == "output" { kind } else { list };
            found.push((format!("{stem}-{at:05}.ndjson"), below(url)?));
        }
    }
    Ok(found)
}

/// The path of an address below the FHIR endpoint: the token goes to the address that was typed, and to no other.
fn below(url: &str) -> Result<String, Failure> {
    let path = url.split_once("/fhir/").map(|(_, path)| path.to_owned());
    path.ok_or_else(|| "the gateway names an address that is not one of its own".into())
}

async fn begin(session: &Session<'_>, request: &str) -> Result<String, Failure> {
    let answer = send(session, Method::GET, request).await?;
    let location = answer.headers().get(header::CONTENT_LOCATION).and_then(|value| value.to_str().ok());
    let location = location.map(below).transpose()?;
    match (answer.status(), location) {
        (StatusCode::ACCEPTED, Some(location)) => Ok(location),
        (status, _) => Err(format!("{request}: {status}: {}", diagnostics(&answer.text().await?)).into()),
    }
}

/// Waits until an export is finished.
async fn wait(session: &Session<'_>, status: &str) -> Result<Seen, Failure> {
    let mut said = String::new();
    loop {
        let answer = send(session, Method::GET, status).await?;
        match answer.status() {
            StatusCode::OK => return Ok(Seen::Manifest(answer.json().await?)),
            StatusCode::NOT_FOUND => return Ok(Seen::Forgotten),
            StatusCode::INTERNAL_SERVER_ERROR => return Ok(Seen::Failed),
            StatusCode::ACCEPTED => {}
            other => return Err(format!("the export: {other}: {}", diagnostics(&answer.text().await?)).into()),
        }
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let progress = text("x-progress").unwrap_or("under way").to_owned();
        if progress != said {
            println!("the gateway exports: {progress}");
            said = progress;
        }
        let pause = text("retry-after").and_then(|seconds| seconds.parse().ok()).map_or(PAUSE, Duration::from_secs);
        tokio::time::sleep(pause.min(POLL_MAX)).await;
    }
}

/// Fetches a file; how many lines it has. None where there is no such file any more.
async fn download(session: &Session<'_>, path: &str, folder: &Path, name: &str) -> Result<Option<u64>, Failure> {
    let (part, whole) = (folder.join(format!("{name}.part")), folder.join(name));
    let mut pause = PAUSE;
    for _ in 0..TRIES {
        // The gateway breaks a file off where its token ends.
        session.renew().await;
        let answer = send(session, Method::GET, path).await?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(format!("{name}: {other}: {}", diagnostics(&answer.text().await?)).into()),
        }
        if save(answer, &part).await? {
            fs::rename(&part, &whole)?;
            File::open(folder)?.sync_all()?;
            return Ok(Some(BufReader::new(File::open(&whole)?).split(b'\n').count() as u64));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(format!("{name}: it broke off {TRIES} times; the same command goes on").into())
}

/// Writes a body to a file of its owner; false where the body broke off.
async fn save(mut answer: Response, path: &Path) -> Result<bool, Failure> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    loop {
        match answer.chunk().await {
            Ok(Some(bytes)) => file.write_all(&bytes)?,
            Ok(None) => {
                file.sync_all()?;
                return Ok(true);
            }
            Err(_) => return Ok(false),
        }
    }
}

/// Sends a request until it is answered for good, or with a fault of the gateway each time.
async fn send(session: &Session<'_>, method: Method, path: &str) -> Result<Response, Failure> {
    let url = format!("{}/{path}", session.fhir_url());
    let (mut pause, mut last) = (PAUSE, String::new());
    for left in (0..TRIES).rev() {
        let request = session.http.request(method.clone(), &url).bearer_auth(session.token().await?);
        match request.header("Prefer", "respond-async").send().await {
            Ok(answer) if left == 0 && answer.status() == StatusCode::INTERNAL_SERVER_ERROR => return Ok(answer),
            Ok(answer) if !session.is_passing(answer.status()).await => return Ok(answer),
            Ok(answer) => {
                let status = answer.status();
                last = format!("{status}: {}", diagnostics(&answer.text().await.unwrap_or_default()));
            }
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(format!("no answer for good after {TRIES} tries ({last}); the same command goes on").into())
}

fn read(folder: &Path) -> Result<Option<Note>, Failure> {
    let path = folder.join(NOTE);
    let fault = |problem: String| format!("{}: {problem}", path.display());
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| fault(error.to_string()))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault(error.to_string()).into()),
    }
}

fn unless_absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Writes the note, whole or not at all.
fn write(folder: &Path, note: &Note) -> Result<(), Failure> {
    let (path, new) = (folder.join(NOTE), folder.join(format!("{NOTE}.new")));
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(serde_json::to_string_pretty(note)?.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whose_resources_is_one_of_three() {
        for (text, expected) in [
            ("system", Some("$export")),
            ("patients", Some("Patient/$export")),
            ("Group/a-1", Some("Group/a-1/$export")),
            ("Group/", None),
            ("Group/a/b", None),
            ("Patient/a", None),
        ] {
            assert_eq!(of(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_manifests_files_have_names_of_their_own_and_the_token_goes_to_no_other_server() {
        let file = |kind: &str, url: &str| json!({"type": kind, "url": url});
        let manifest = json!({
            "output": [file("Patient", "https://elsewhere/a/fhir/bulk/1/0.ndjson"), file("Patient", "http://here/a/fhir/bulk/1/1.ndjson")],
            "deleted": [file("Bundle", "http://here/a/fhir/bulk/1/2.ndjson")],
        });
        let expected = [
            ("Patient-00000.ndjson", "bulk/1/0.ndjson"),
            ("Patient-00001.ndjson", "bulk/1/1.ndjson"),
            ("deleted-00000.ndjson", "bulk/1/2.ndjson"),
        ];
        assert_eq!(files(&manifest).unwrap(), expected.map(|(name, path)| (name.to_owned(), path.to_owned())));
        for (kind, url) in [("../Patient", "http://here/a/fhir/bulk/1/0.ndjson"), ("Patient", "http://here/other")] {
            assert!(files(&json!({"output": [file(kind, url)]})).is_err(), "{kind} {url}");
        }
    }
}

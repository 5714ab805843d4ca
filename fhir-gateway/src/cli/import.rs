//! `import`: resources from files into a running gateway, over FHIR like any client.
//!
//! A file is read piece by piece, however large it is. What was answered is noted beside it, and what creates is
//! sent under an `Idempotency-Key`; of what keeps its id and may have been sent before a stop is looked first
//! whether it is there. So an import that was stopped goes on where it was, and nothing is stored twice.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    pin::pin,
    thread,
    time::Instant,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use tokio::sync::mpsc;

mod reading;

use super::{
    Failure,
    session::{PAUSE, Session, TRIES, diagnostics},
    token::Token,
};
use crate::format::FHIR_JSON;
use reading::{Found, Piece, Place};

/// Requests between two lines of progress, and between two notes of how far a file is that outlast a power cut.
const PROGRESS_STEP: usize = 100;
/// Requests that may be under way at once.
const CONNECTIONS_MAX: u16 = 64;
/// Requests after the noted ones that an import which was stopped may have sent.
const UNCERTAIN_MAX: usize = PROGRESS_STEP + CONNECTIONS_MAX as usize;

/// Sends FHIR resources from files to a running gateway.
///
/// A file is NDJSON (`.ndjson`: one resource on each line) or JSON (one resource, or a Bundle of type
/// transaction or batch), plain or `.gz`; it is read through before anything is sent. A resource with an id
/// keeps it (PUT); one without gets one (POST). A transaction is sent as a whole, a batch entry by entry. How far a file is stands in FILE.imported: a second call goes on from there. What the gateway
/// refuses is named with its line or entry, written to FILE.refused.ndjson, and the import goes on; it exits
/// with 1 then.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Example:
  careledger-gateway import --client ehr --key riverside-gateway/riverside/ehr.pem \\
          --url http://127.0.0.1:8080/riverside patients.ndjson.gz")]
pub struct Import {
    #[command(flatten)]
    access: Token,
    /// Requests that are under way at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=i64::from(CONNECTIONS_MAX)))]
    connections: u16,
    /// Reads the files and says what would be sent, and sends nothing.
    #[arg(long)]
    dry_run: bool,
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// What became of one.
enum Sent {
    Stored,
    Refused { place: Place, body: String, why: String },
}

impl Import {
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut refused = 0;
        for file in &self.files {
            let found = reading::look(file)?;
            if self.dry_run {
                println!("{}: {} requests, {} of them keep an id", file.display(), found.total, found.kept);
                continue;
            }
            refused += runtime.block_on(self.send(file, found))?;
        }
        if refused == 0 { Ok(()) } else { Err(format!("{refused} were refused, named above").into()) }
    }

    /// Sends a file from where an earlier call stopped; how many pieces were refused.
    async fn send(&self, file: &Path, found: Found) -> Result<usize, Failure> {
        let (shown, total) = (file.display(), found.total);
        let (progress, began_before) = Progress::open(file)?;
        let mut done = began_before.unwrap_or(0);
        if done > total {
            return Err(
                format!("{shown}: {done} are noted as sent and the file has {total}; it is another file").into()
            );
        }
        if done > 0 {
            println!("{shown}: going on after {done} of {total}");
        }
        // What was noted last before a stop is not what was sent last.
        let certain_from = began_before.map_or(0, |noted| noted + UNCERTAIN_MAX);
        let session = Session::new(&self.access)?;
        let (mut refused, began, before) = (0, Instant::now(), done);
        let deliver = |(number, piece): (usize, Result<Piece, String>)| {
            let session = &session;
            async move { session.deliver(piece?, number < certain_from).await }
        };
        let pieces = pieces_of(file, found, usize::from(self.connections)).enumerate().skip(done);
        let mut sent = pin!(pieces.map(deliver).buffered(usize::from(self.connections)));
        // In the order of the file, so that one number says what was answered for.
        while let Some(answer) = sent.try_next().await? {
            if let Sent::Refused { place, body, why } = answer {
                refused += 1;
                println!("{shown} {place}: {why}");
                append(&beside(file, "refused.ndjson"), &body)?;
            }
            done += 1;
            progress.note(done)?;
            if done % PROGRESS_STEP == 0 || done == total {
                progress.keep()?;
                let rate = (done - before) as f64 / began.elapsed().as_secs_f64();
                println!("{shown}: {done} of {total}, {rate:.0}/s, {refused} refused");
            }
        }
        Ok(refused)
    }
}

/// The pieces of a file, read by a thread of its own as fast as they are sent.
fn pieces_of(file: &Path, found: Found, ahead: usize) -> impl futures::Stream<Item = Result<Piece, String>> {
    let (sender, receiver) = mpsc::channel(ahead);
    let file = file.to_owned();
    thread::spawn(move || {
        let read = reading::each(&file, found.form, |piece| {
            sender.blocking_send(Ok(piece)).map_err(|_| "nobody sends any more".into())
        });
        if let Err(failure) = read {
            // Whoever sends no more has its own reason.
            let _ = sender.blocking_send(Err(failure.to_string()));
        }
    });
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|piece| (piece, receiver)) })
}

impl Session<'_> {
    /// Sends a piece until it is answered for good. One that may have been sent already is not sent if it is there.
    async fn deliver(&self, piece: Piece, may_be_there: bool) -> Result<Sent, Failure> {
        if may_be_there && self.has(&piece).await? {
            return Ok(Sent::Stored);
        }
        let mut pause = PAUSE;
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.attempt(&piece).await? {
                Ok((status, _)) if status.is_success() => return Ok(Sent::Stored),
                Ok((status, body)) if !self.is_passing(status).await => {
                    let why = format!("{status}: {}", diagnostics(&body));
                    return Ok(Sent::Refused { place: piece.place, body: piece.body, why });
                }
                Ok((status, body)) => last = format!("{status}: {}", diagnostics(&body)),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let place = piece.place;
        Err(format!("{place}: no answer for good after {TRIES} tries ({last}); the same command goes on").into())
    }

    /// Whether the server has what a piece would store, under the piece's id.
    async fn has(&self, piece: &Piece) -> Result<bool, Failure> {
        let Some(id) = &piece.put else { return Ok(false) };
        let request = self.http.get(format!("{}/{}/{id}", self.fhir_url(), piece.path));
        let request = request.bearer_auth(self.token().await?).header("Accept", FHIR_JSON);
        let Ok(answer) = request.send().await else { return Ok(false) };
        if !answer.status().is_success() {
            return Ok(false);
        }
        let Ok(text) = answer.text().await else { return Ok(false) };
        Ok(is_the_same(&text, &piece.body))
    }

    async fn attempt(&self, piece: &Piece) -> Result<reqwest::Result<(StatusCode, String)>, Failure> {
        let url = format!("{}/{}", self.fhir_url(), piece.path);
        let request = match &piece.put {
            Some(id) => self.http.put(format!("{url}/{id}")),
            None => self.http.post(url).header("Idempotency-Key", key(piece)),
        };
        let request = request.bearer_auth(self.token().await?).header("Content-Type", FHIR_JSON);
        let answer = match request.header("Prefer", "return=minimal").body(piece.body.clone()).send().await {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error)),
        };
        let status = answer.status();
        Ok(answer.text().await.map(|body| match (piece.place, of_entry(&body)) {
            (Place::Entry(_), Some(entry)) if status.is_success() => entry,
            _ => (status, body),
        }))
    }
}

/// The same line of the same text has the same key, whatever the file is called.
fn key(piece: &Piece) -> String {
    let place = piece.place.number().to_be_bytes();
    hex::encode(Sha256::new().chain_update(place).chain_update(&piece.body).finalize())
}

/// Status and OperationOutcome of the one entry of a batch's answer.
fn of_entry(body: &str) -> Option<(StatusCode, String)> {
    let answer: Value = serde_json::from_str(body).ok()?;
    let response = answer["entry"].get(0)?.get("response")?;
    let status = response["status"].as_str()?.split(' ').next()?.parse().ok()?;
    Some((status, response["outcome"].to_string()))
}

/// Whether a resource is what was sent, but for what a server says of each version.
fn is_the_same(served: &str, sent: &str) -> bool {
    let read = |text: &str| {
        let mut resource: Value = serde_json::from_str(text).ok()?;
        if let Some(meta) = resource.get_mut("meta").and_then(Value::as_object_mut) {
            meta.shift_remove("versionId");
            meta.shift_remove("lastUpdated");
            if meta.is_empty() {
                resource.as_object_mut()?.shift_remove("meta");
            }
        }
        Some(resource)
    };
    read(served).zip(read(sent)).is_some_and(|(served, sent)| served == sent)
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// How many of a file's requests were answered for, in a file beside it.
struct Progress(File);

impl Progress {
    /// Opens it, and gives what an earlier call noted, if there was one.
    fn open(file: &Path) -> Result<(Self, Option<usize>), Failure> {
        let path = beside(file, "imported");
        let fault = |error: io::Error| format!("{}: {error}", path.display());
        let noted = match fs::read_to_string(&path) {
            // A stop before the first answer leaves it empty.
            Ok(text) if text.trim().is_empty() => Some(0),
            Ok(text) => Some(text.trim().parse().map_err(|_| format!("{}: is no number", path.display()))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fault(error).into()),
        };
        let opened = File::options().create(true).truncate(false).write(true).open(&path).map_err(fault)?;
        let progress = Self(opened);
        progress.note(noted.unwrap_or(0))?;
        progress.keep()?;
        Ok((progress, noted))
    }

    /// Notes it, so that it outlasts the end of this process. Always as long, so that nothing of an older note is left.
    fn note(&self, done: usize) -> Result<(), Failure> {
        Ok(self.0.write_all_at(format!("{done:020}\n").as_bytes(), 0)?)
    }

    /// Has what is noted outlast a power cut.
    fn keep(&self) -> Result<(), Failure> {
        Ok(self.0.sync_data()?)
    }
}

fn append(file: &Path, body: &str) -> Result<(), Failure> {
    let mut opened = fs::OpenOptions::new().create(true).append(true).open(file)?;
    let line: Value = serde_json::from_str(body)?;
    writeln!(opened, "{line}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_line_has_the_same_key_and_another_line_another() {
        let key = |line, body: &str| {
            key(&Piece { place: Place::Line(line), put: None, path: "Patient".to_owned(), body: body.to_owned() })
        };
        let patient = "{\"resourceType\":\"Patient\"}";
        assert_eq!(key(1, patient), key(1, patient));
        assert_ne!(key(1, patient), key(2, patient));
        assert_ne!(key(1, patient), key(1, "{\"resourceType\":\"Group\"}"));
    }

    #[test]
    fn what_was_noted_is_there_again_and_shorter_numbers_leave_nothing_of_longer_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("patients.ndjson");
        let opened = || Progress::open(&file).unwrap();
        assert_eq!(opened().1, None);
        assert_eq!(opened().1, Some(0), "it was begun");
        for done in [1_000_000, 7] {
            opened().0.note(done).unwrap();
            assert_eq!(opened().1, Some(done));
        }
        // As earlier versions wrote it, and as a hand may.
        fs::write(beside(&file, "imported"), "12\n").unwrap();
        assert_eq!(opened().1, Some(12));
        assert_eq!(opened().1, Some(12));
        fs::write(beside(&file, "imported"), "many").unwrap();
        assert!(Progress::open(&file).is_err());
    }

    #[test]
    fn a_resource_is_the_same_whatever_a_server_adds_and_another_where_a_digit_differs() {
        let sent = r#"{"resourceType":"Observation","id":"o","valueQuantity":{"value":1.00}}"#;
        let served = r#"{"resourceType":"Observation","id":"o","meta":{"versionId":"3","lastUpdated":"2026-01-01T00:00:00Z"},"valueQuantity":{"value":1.00}}"#;
        assert!(is_the_same(served, sent));
        assert!(!is_the_same(&served.replace("1.00", "1.0"), sent));
        let profile = r#""profile":["p"]"#;
        let with = sent.replacen("\"id\"", &format!(r#""meta":{{{profile}}},"id""#), 1);
        assert!(!is_the_same(served, &with));
        assert!(is_the_same(&served.replace("\"versionId\":\"3\"", profile), &with));
    }

    #[test]
    fn an_entry_of_a_batch_is_refused_although_the_batch_was_answered() {
        let answer = r#"{"resourceType":"Bundle","entry":[{"response":{"status":"422 Unprocessable Entity",
            "outcome":{"issue":[{"diagnostics":"no"}]}}}]}"#;
        let (status, outcome) = of_entry(answer).unwrap();
        assert_eq!((status, diagnostics(&outcome).as_str()), (StatusCode::UNPROCESSABLE_ENTITY, "no"));
    }
}

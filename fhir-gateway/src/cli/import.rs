//! `import`: resources from files into a running gateway, over FHIR like any client.
//!
//! What was sent is remembered beside each file, and everything is sent under an `Idempotency-Key`: an
//! import that was stopped goes on where it was, and nothing is stored twice.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write as _},
    path::{Path, PathBuf},
    time::Instant,
};

use flate2::read::MultiGzDecoder;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{
    Failure,
    session::{PAUSE, Session, TRIES, diagnostics},
    token::Token,
};
use crate::format::FHIR_JSON;

/// Requests between two lines of progress, and between two notes of how far a file is.
const PROGRESS_STEP: usize = 100;

/// Sends FHIR resources from files to a running gateway.
///
/// A file is NDJSON (`.ndjson`: one resource on each line) or JSON (one resource, or a Bundle of type
/// transaction or batch), plain or `.gz`. A resource with an id keeps it (PUT); one without gets one
/// (POST). How far a file is stands in FILE.imported: a second call goes on from there. What the gateway
/// refuses is named with its line, written to FILE.refused.ndjson, and the import goes on; it exits
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
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Reads the files and says what would be sent, and sends nothing.
    #[arg(long)]
    dry_run: bool,
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// One request of a file.
struct Piece {
    /// Line in the file, from 1.
    line: usize,
    put: Option<String>,
    /// Path below the FHIR endpoint.
    path: String,
    body: String,
}

/// What became of one.
enum Sent {
    Stored,
    Refused { line: usize, body: String, why: String },
}

impl Import {
    pub fn run(self) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut refused = 0;
        for file in &self.files {
            let pieces = read(file)?;
            if self.dry_run {
                let kept = pieces.iter().filter(|piece| piece.put.is_some()).count();
                println!("{}: {} requests, {kept} of them keep an id", file.display(), pieces.len());
                continue;
            }
            refused += runtime.block_on(self.send(file, pieces))?;
        }
        if refused == 0 { Ok(()) } else { Err(format!("{refused} were refused, named above").into()) }
    }

    /// Sends a file from where an earlier call stopped; how many pieces were refused.
    async fn send(&self, file: &Path, pieces: Vec<Piece>) -> Result<usize, Failure> {
        let shown = file.display();
        let (total, mut done) = (pieces.len(), imported(file)?);
        if done > total {
            return Err(
                format!("{shown}: {done} are noted as sent and the file has {total}; it is another file").into()
            );
        }
        if done > 0 {
            println!("{shown}: going on after {done} of {total}");
        }
        let session = Session::new(&self.access)?;
        let (mut refused, began, before) = (0, Instant::now(), done);
        let waiting = pieces.into_iter().skip(done).map(|piece| session.deliver(piece));
        let mut sent = stream::iter(waiting).buffered(usize::from(self.connections));
        // In the order of the file, so that one number says what was answered for.
        while let Some(answer) = sent.try_next().await.inspect_err(|_| drop(note(file, done)))? {
            if let Sent::Refused { line, body, why } = answer {
                refused += 1;
                println!("{shown} line {line}: {why}");
                append(&beside(file, "refused.ndjson"), &body)?;
            }
            done += 1;
            if done % PROGRESS_STEP == 0 || done == total {
                note(file, done)?;
                let rate = (done - before) as f64 / began.elapsed().as_secs_f64();
                println!("{shown}: {done} of {total}, {rate:.0}/s, {refused} refused");
            }
        }
        Ok(refused)
    }
}

impl Session<'_> {
    /// Sends a piece until it is answered for good.
    async fn deliver(&self, piece: Piece) -> Result<Sent, Failure> {
        let mut pause = PAUSE;
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.attempt(&piece).await? {
                Ok((status, _)) if status.is_success() => return Ok(Sent::Stored),
                Ok((status, body)) if !self.is_passing(status).await => {
                    let why = format!("{status}: {}", diagnostics(&body));
                    return Ok(Sent::Refused { line: piece.line, body: piece.body, why });
                }
                Ok((status, body)) => last = format!("{status}: {}", diagnostics(&body)),
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(format!("line {}: no answer for good after {TRIES} tries ({last}); the same command goes on", piece.line)
            .into())
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
        Ok(answer.text().await.map(|body| (status, body)))
    }
}

/// The same line of the same text has the same key, whatever the file is called.
fn key(piece: &Piece) -> String {
    let line = u64::try_from(piece.line).expect("a file's lines are counted").to_be_bytes();
    hex::encode(Sha256::new().chain_update(line).chain_update(&piece.body).finalize())
}

/// The requests of a file.
fn read(file: &Path) -> Result<Vec<Piece>, Failure> {
    let shown = file.display();
    let opened = File::open(file).map_err(|error| format!("{shown}: {error}"))?;
    let name = file.to_string_lossy();
    let (name, content): (&str, Box<dyn Read>) = match name.strip_suffix(".gz") {
        Some(name) => (name, Box::new(MultiGzDecoder::new(opened))),
        None => (&name, Box::new(opened)),
    };
    let fault = |line: usize, problem: &str| -> Failure { format!("{shown} line {line}: {problem}").into() };
    let mut texts = Vec::new();
    let mut content = BufReader::new(content);
    if name.ends_with(".ndjson") {
        for (index, line) in content.lines().enumerate() {
            texts.push((index + 1, line.map_err(|error| fault(index + 1, &error.to_string()))?));
        }
    } else {
        let mut text = String::new();
        content.read_to_string(&mut text).map_err(|error| fault(1, &error.to_string()))?;
        texts.push((1, text));
    }
    texts.retain(|(_, text)| !text.trim().is_empty());
    texts.into_iter().map(|(line, body)| piece(line, body).map_err(|problem| fault(line, &problem))).collect()
}

fn piece(line: usize, body: String) -> Result<Piece, String> {
    let resource: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
    let text = |name: &str| resource[name].as_str().map(str::to_owned);
    let resource_type = text("resourceType").ok_or("there is no resourceType: not a FHIR resource")?;
    match (resource_type.as_str(), text("type").as_deref()) {
        ("Bundle", Some("transaction" | "batch")) => Ok(Piece { line, put: None, path: String::new(), body }),
        ("Bundle", kind) => {
            let kind = kind.unwrap_or("none");
            Err(format!("a Bundle of type {kind} says not what to do with its entries: make it a transaction"))
        }
        _ => Ok(Piece { line, put: text("id"), path: resource_type, body }),
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// How many of a file's requests were answered for.
fn imported(file: &Path) -> Result<usize, Failure> {
    let note = beside(file, "imported");
    match fs::read_to_string(&note) {
        Ok(text) => Ok(text.trim().parse().map_err(|_| format!("{}: is no number", note.display()))?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(format!("{}: {error}", note.display()).into()),
    }
}

/// Notes it, whole or not at all.
fn note(file: &Path, done: usize) -> Result<(), Failure> {
    let (note, new) = (beside(file, "imported"), beside(file, "imported.new"));
    fs::write(&new, format!("{done}\n")).and_then(|()| fs::rename(&new, &note))?;
    Ok(())
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
    fn a_file_is_read_line_by_line_and_a_fault_names_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let pieces = read(&file(
            "a.ndjson",
            "{\"resourceType\":\"Patient\",\"id\":\"p\"}\n\n{\"resourceType\":\"Observation\"}\n",
        ));
        let pieces: Vec<_> = pieces.unwrap().into_iter().map(|piece| (piece.line, piece.path, piece.put)).collect();
        assert_eq!(pieces, [(1, "Patient".to_owned(), Some("p".to_owned())), (3, "Observation".to_owned(), None)]);
        for (text, expected) in [
            ("{\"resourceType\":\"Patient\"}\n{\"resource", "b.ndjson line 2"),
            ("{}\n", "no resourceType"),
            ("{\"resourceType\":\"Bundle\",\"type\":\"collection\"}\n", "Bundle of type collection"),
        ] {
            let message = read(&file("b.ndjson", text)).err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_same_line_has_the_same_key_and_another_line_another() {
        let piece = |line, body: &str| key(&piece(line, body.to_owned()).unwrap());
        let patient = "{\"resourceType\":\"Patient\"}";
        assert_eq!(piece(1, patient), piece(1, patient));
        assert_ne!(piece(1, patient), piece(2, patient));
        assert_ne!(piece(1, patient), piece(1, "{\"resourceType\":\"Group\"}"));
    }
}

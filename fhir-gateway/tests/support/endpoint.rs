//! A real HTTP endpoint on a port of its own, which remembers what it was sent and behaves as a test wants it to.

use std::{
    collections::VecDeque,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Between two looks at a condition.
pub const POLL: Duration = Duration::from_millis(5);
/// Longest that a condition may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Behaviour {
    /// With this status.
    Status(u16),
    /// With a redirect to there.
    Redirects(String),
    /// Not at all; the connection stays open.
    Silent,
    /// It hangs up.
    HangsUp,
    /// With success, and a body without an end.
    Endless,
}

/// What it was sent.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and path.
    pub line: String,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The endpoint. It ends with the process of the tests.
pub struct Endpoint {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    behaviour: Behaviour,
    /// How it behaves to the next ones, one by one.
    before: VecDeque<Behaviour>,
    received: Vec<Received>,
}

impl Endpoint {
    /// One that answers with success.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { behaviour: Behaviour::Status(200), before: VecDeque::new(), received: Vec::new() };
        let shared = Arc::new(Mutex::new(shared));
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let own = Arc::clone(&own);
                thread::spawn(move || serve(connection, &own));
            }
        });
        Self { address, shared }
    }

    /// As the configuration names it.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its address, with a path.
    pub fn url(&self) -> String {
        format!("{}/hook", self.origin())
    }

    /// From now on it behaves so.
    pub fn behave(&self, behaviour: Behaviour) {
        self.shared.lock().unwrap().behaviour = behaviour;
    }

    /// To the next ones it behaves so, one by one, and then as before.
    pub fn behave_at_first(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.shared.lock().unwrap().before.extend(behaviours);
    }

    /// All that it was sent.
    pub fn received(&self) -> Vec<Received> {
        self.shared.lock().unwrap().received.clone()
    }

    /// Method and path of each.
    pub fn lines(&self) -> Vec<String> {
        self.received().into_iter().map(|received| received.line).collect()
    }

    /// Waits until so many arrived; gives all.
    pub async fn until(&self, count: usize) -> Vec<Received> {
        until(|| self.received().len() >= count).await;
        self.received()
    }

    /// Forgets what it was sent.
    pub fn forget(&self) {
        self.shared.lock().unwrap().received.clear();
    }
}

/// Waits for a condition.
pub async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come to it in time");
        actix_web::rt::time::sleep(POLL).await;
    }
}

fn serve(connection: TcpStream, shared: &Mutex<Shared>) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut connection = connection;
    while let Some(received) = read(&mut reader) {
        let behaviour = {
            let mut shared = shared.lock().unwrap();
            shared.received.push(received);
            shared.before.pop_front().unwrap_or_else(|| shared.behaviour.clone())
        };
        let answered = match behaviour {
            Behaviour::Status(status) => {
                write!(connection, "HTTP/1.1 {status} Whatever\r\ncontent-length: 6\r\n\r\nnobody")
            }
            Behaviour::Redirects(to) => {
                write!(connection, "HTTP/1.1 307 There\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
            }
            // Until the other side hangs up.
            Behaviour::Silent => reader.read(&mut [0]).map(|_| ()),
            Behaviour::HangsUp => return,
            Behaviour::Endless => endless(&mut connection),
        };
        if answered.is_err() {
            return;
        }
    }
}

fn endless(connection: &mut TcpStream) -> std::io::Result<()> {
    write!(connection, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")?;
    loop {
        connection.write_all(&[b'x'; 65_536])?;
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut parts = line.split(' ');
    let line = format!("{} {}", parts.next()?, parts.next()?);
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut received = Received { line, headers, body: Vec::new() };
    let length = received.header("content-length").map_or(0, |length| length.parse().unwrap());
    received.body = vec![0; length];
    reader.read_exact(&mut received.body).ok()?;
    Some(received)
}

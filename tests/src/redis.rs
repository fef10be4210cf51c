//! [`RedisServer`]: a Redis server of the test's own, and [`RawConnection`], its words unread.
//!
//! Not clamator's way to Redis: a raw connection writes and reads RESP by itself, so that a test
//! can say and see anything. The server's binary is `$CLAMATOR_REDIS_SERVER`, or
//! `$CLAMATOR_TLS_REDIS_SERVER` for one that speaks TLS; `tests/run.sh` sets both, and a test
//! without them fails and says so.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use clamator_engine::Version;

use crate::certificates::Folder;
use crate::process::{Process, now};

/// Names the program that tests start.
const PROGRAM: &str = "CLAMATOR_REDIS_SERVER";
/// How long a server may take to answer after its start.
const START_MAX: Duration = Duration::from_secs(10);

/// A Redis server on a loopback port of its own, without persistence.
#[derive(Debug)]
pub struct RedisServer {
    process: Process,
    program: PathBuf,
    port: u16,
    options: Vec<String>,
}

impl RedisServer {
    /// Starts a server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further options, such as `["--requirepass", "x"]`.
    pub fn start_with(options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::start_named(PROGRAM, options)
    }

    /// Starts this program, whatever the environment says.
    pub fn start_program(program: PathBuf, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        Self::start_as(program, options)
    }

    /// Starts a server that also speaks TLS, on a further port, with the files `cert.pem`,
    /// `key.pem` and `ca.pem` of this folder. Gives that port back too.
    pub fn start_with_tls(folder: &Folder, options: &[&str]) -> (Self, u16) {
        let port = free_port();
        let mut all = vec!["--tls-port".to_owned(), port.to_string()];
        for (option, file) in [("cert", "cert.pem"), ("key", "key.pem"), ("ca-cert", "ca.pem")] {
            all.push(format!("--tls-{option}-file"));
            all.push(folder.path(file).display().to_string());
        }
        all.extend(options.iter().map(|option| (*option).to_owned()));
        (Self::start_named("CLAMATOR_TLS_REDIS_SERVER", all), port)
    }

    /// The version of the servers that [`Self::start`] starts.
    pub fn version() -> Version {
        static VERSION: OnceLock<Version> = OnceLock::new();
        *VERSION.get_or_init(|| {
            let program = program_named(PROGRAM);
            let told = Command::new(&program).arg("--version").stdin(Stdio::null()).output();
            let told = told.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            let told = String::from_utf8_lossy(&told.stdout);
            let version = told.split(' ').find_map(|word| word.strip_prefix("v="));
            version.and_then(Version::parse).unwrap_or_else(|| panic!("no version: {told}"))
        })
    }

    /// Starts the program that an environment variable names.
    fn start_named(variable: &str, options: Vec<String>) -> Self {
        Self::start_as(program_named(variable), options)
    }

    fn start_as(program: PathBuf, options: Vec<String>) -> Self {
        // Somebody else may take a free port before the server does.
        let start = || {
            let port = free_port();
            try_spawn(&program, port, &options).map(|process| (port, process))
        };
        let started = start().or_else(|_| start()).or_else(|_| start());
        let (port, process) = started.unwrap_or_else(|error| panic!("{error}"));
        Self { process, program, port, options }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Sends the server's process a signal: `STOP` freezes it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Kills the server.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Kills the server and starts an empty one on the same port.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = spawn(&self.program, self.port, &self.options);
    }

    /// Kills the server and starts it again, with what its options let it find, and does not wait
    /// until it answers.
    pub fn begin_restart(&mut self) {
        self.process.kill();
        self.process = begin(&self.program, self.port, &self.options);
    }

    /// Whether the server takes connections and has not read all its data yet.
    pub fn is_loading(&self) -> bool {
        let Ok(mut connection) = RawConnection::open(self.port) else { return false };
        let asked = connection.send(&[b"DBSIZE"]).and_then(|()| connection.receive());
        matches!(asked, Ok(RawReply::Error(text)) if text.starts_with("LOADING"))
    }

    /// Connects.
    pub fn connect(&self) -> RawConnection {
        RawConnection::open(self.port).expect("a started server takes connections")
    }

    /// Sends one command, its words separated by spaces, and gives its answer back.
    pub fn command(&self, words: &str) -> RawReply {
        self.connect().command(&words.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }
}

fn program_named(variable: &str) -> PathBuf {
    let program = std::env::var_os(variable).unwrap_or_else(|| {
        panic!("{variable} names no redis-server: run the tests with tests/run.sh, or set it")
    });
    program.into()
}

fn spawn(program: &Path, port: u16, options: &[String]) -> Process {
    try_spawn(program, port, options).unwrap_or_else(|error| panic!("{error}"))
}

fn begin(program: &Path, port: u16, options: &[String]) -> Process {
    let mut command = Command::new(program);
    command
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"])
        .args(options)
        .stdin(Stdio::null());
    Process::spawn_silent(&mut command)
}

fn try_spawn(program: &Path, port: u16, options: &[String]) -> Result<Process, String> {
    let mut process = begin(program, port, options);
    let end = now() + START_MAX;
    while !RawConnection::open(port).is_ok_and(|mut connection| connection.pings()) {
        assert!(now() < end, "the server on port {port} does not answer");
        if let Ok(Some(status)) = process.child().try_wait() {
            return Err(format!("the server on port {port} ended: {status}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(process)
}

/// A port that nobody listens on, different for every caller in this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Ports below the range that outgoing connections are given, spread by process.
    for _ in 0..10_000 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(97);
        let port = 10_000 + u16::try_from(number % 22_000).expect("fits");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free")
}

/// A connection that speaks RESP2 as the test tells it to.
#[derive(Debug)]
pub struct RawConnection {
    reader: BufReader<TcpStream>,
}

/// An answer, as RESP2 has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawReply {
    Array(Vec<Self>),
    Bulk(Vec<u8>),
    Error(String),
    Integer(i64),
    Nil,
    Simple(String),
}

impl RawConnection {
    fn open(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { reader: BufReader::new(stream) })
    }

    fn pings(&mut self) -> bool {
        let asked = self.send(&[b"PING"]);
        // A server that wants a password answers as well.
        asked.is_ok()
            && self.receive().is_ok_and(
                |reply| !matches!(&reply, RawReply::Error(text) if text.starts_with("LOADING")),
            )
    }

    /// Sends one command and gives its answer back.
    pub fn command(&mut self, words: &[&[u8]]) -> RawReply {
        self.send(words).expect("the server reads");
        self.receive().expect("the server answers")
    }

    fn send(&mut self, words: &[&[u8]]) -> std::io::Result<()> {
        let mut text = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            text.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            text.extend_from_slice(word);
            text.extend_from_slice(b"\r\n");
        }
        self.reader.get_mut().write_all(&text)
    }

    fn receive(&mut self) -> std::io::Result<RawReply> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        let line = line.trim_end();
        let rest = line.get(1..).unwrap_or_default().to_owned();
        let number = || rest.parse::<i64>().unwrap_or(-1);
        Ok(match line.bytes().next() {
            Some(b'+') => RawReply::Simple(rest),
            Some(b'-') => RawReply::Error(rest),
            Some(b':') => RawReply::Integer(number()),
            Some(b'$' | b'*') if number() < 0 => RawReply::Nil,
            Some(b'$') => {
                let mut bytes = vec![0; usize::try_from(number()).expect("a size") + 2];
                self.reader.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                RawReply::Bulk(bytes)
            }
            Some(b'*') => {
                let items = (0..number()).map(|_| self.receive());
                RawReply::Array(items.collect::<std::io::Result<_>>()?)
            }
            _ => return Err(std::io::ErrorKind::UnexpectedEof.into()),
        })
    }
}

impl RawReply {
    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(integer) => *integer,
            other => panic!("no integer: {other:?}"),
        }
    }

    pub fn array(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            other => panic!("no array: {other:?}"),
        }
    }

    pub fn text(&self) -> String {
        match self {
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Simple(text) => text.clone(),
            other => panic!("no text: {other:?}"),
        }
    }
}

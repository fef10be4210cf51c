//! [`Fake`]: a server made up, that says what a test tells it to and counts who came.
//!
//! Not a Redis. It runs on threads of its own, apart from every runtime, and ends with its owner:
//! nothing it does takes longer than a few of its ticks.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clamator_driver::Target;

/// How often a thread looks whether it should end.
const TICK: Duration = Duration::from_millis(5);
/// Most bytes of one read.
const READ_MAX: usize = 4096;

/// A server on a loopback port of its own.
pub(crate) struct Fake {
    address: SocketAddr,
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

/// What a fake has seen so far.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    /// Connections that have ended, on either side.
    ended: AtomicUsize,
    /// What the first connection wrote.
    heard: Mutex<Vec<u8>>,
    /// Whether the owner is gone.
    is_over: AtomicBool,
}

/// What each connection is told.
#[derive(Clone)]
struct Script {
    /// One for each read.
    answers: Vec<&'static [u8]>,
    /// Whether it is closed after the last answer; else it is read on, in silence.
    hangs_up: bool,
}

impl Fake {
    /// Serves every connection with one of these answers for each read, then hangs up.
    pub(crate) fn that_hangs_up(answers: &[&'static [u8]]) -> Self {
        Self::start(Script { answers: answers.to_vec(), hangs_up: true })
    }

    /// Serves every connection with this answer to what it writes first, then listens in silence.
    pub(crate) fn that_says(answer: &'static [u8]) -> Self {
        Self::start(Script { answers: vec![answer], hangs_up: false })
    }

    /// Takes connections and says nothing.
    pub(crate) fn that_is_silent() -> Self {
        Self::start(Script { answers: Vec::new(), hangs_up: false })
    }

    fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.set_nonblocking(true).expect("a listener need not block");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = thread::spawn(move || serve(&listener, &script, &shared));
        Self { address, seen, thread: Some(thread) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn target(&self) -> Target {
        Target::url(&format!("redis://{}", self.address)).expect("a valid URL")
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    /// How many connections have ended.
    pub(crate) fn ended(&self) -> usize {
        self.seen.ended.load(Ordering::SeqCst)
    }

    /// What the first connection wrote so far.
    pub(crate) fn heard(&self) -> Vec<u8> {
        self.seen.heard.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.seen.is_over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it is dropped once");
        // One that panicked has said so.
        let _ = thread.join();
    }
}

fn serve(listener: &TcpListener, script: &Script, seen: &Seen) {
    thread::scope(|connections| {
        while !seen.is_over.load(Ordering::SeqCst) {
            // What fails otherwise, such as a connection that is gone already, is nobody's.
            let Ok((stream, _)) = listener.accept() else {
                thread::sleep(TICK);
                continue;
            };
            let is_first = seen.accepted.fetch_add(1, Ordering::SeqCst) == 0;
            connections.spawn(move || {
                talk(stream, script, seen, is_first);
                seen.ended.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
}

/// Serves one connection, until either side closes it or the fake is over.
fn talk(mut stream: TcpStream, script: &Script, seen: &Seen, is_first: bool) {
    // Accepted sockets inherit this from the listener on some systems.
    stream.set_nonblocking(false).expect("a stream may block");
    stream.set_read_timeout(Some(TICK)).expect("a tick is a time");
    let mut answers = script.answers.iter();
    let mut buffer = [0; READ_MAX];
    while !seen.is_over.load(Ordering::SeqCst) {
        if script.hangs_up && answers.len() == 0 {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => {
                if is_first {
                    seen.heard.lock().unwrap().extend_from_slice(&buffer[..count]);
                }
                if let Some(answer) = answers.next() {
                    // Whoever does not wait for the answer does not want it.
                    let _ = stream.write_all(answer);
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
}

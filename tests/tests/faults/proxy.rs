//! [`Proxy`]: passes bytes on between a server and Redis, until it cuts the server off.
//!
//! Not on the runtime of the scenario: its threads block on sockets of the standard library. All
//! of them end with the proxy.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Passes bytes on between a server and Redis.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    /// Where Redis listens.
    redis: AtomicU16,
    rate: Option<usize>,
    pipes: Mutex<Vec<Pipe>>,
    ended: AtomicBool,
}

/// One connection of the server's, and the one towards Redis that belongs to it.
#[derive(Debug)]
struct Pipe {
    near: TcpStream,
    far: TcpStream,
    cut: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start(redis: u16) -> Self {
        Self::start_slow(redis, None)
    }

    /// Starts one that passes on no more than about this many bytes a second, each way.
    pub(crate) fn start_slow(redis: u16, rate: Option<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let ended = AtomicBool::new(false);
        let redis = AtomicU16::new(redis);
        let shared = Shared { redis, rate, pipes: Mutex::default(), ended };
        let shared = Arc::new(shared);
        let accepting = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accepting.accept_all(&listener));
        Self { port, shared, acceptor: Some(acceptor) }
    }

    /// Leads new connections to another Redis. Those that are there stay where they are.
    pub(crate) fn lead_to(&self, redis: u16) {
        self.shared.redis.store(redis, Ordering::SeqCst);
    }

    /// Ends every connection towards the server, and none towards Redis.
    pub(crate) fn cut(&self) {
        for pipe in &*self.shared.pipes() {
            pipe.cut.store(true, Ordering::SeqCst);
            // Fails when the server has ended it already.
            let _ = pipe.near.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // One more connection, so that the acceptor looks up.
        let woken = TcpStream::connect(("127.0.0.1", self.port));
        if let (Ok(_), Some(acceptor)) = (woken, self.acceptor.take()) {
            // A thread that panicked has ended too.
            let _ = acceptor.join();
        }
        for pipe in self.shared.pipes().drain(..) {
            let _ = pipe.near.shutdown(Shutdown::Both);
            let _ = pipe.far.shutdown(Shutdown::Both);
            for thread in pipe.threads {
                let _ = thread.join();
            }
        }
    }
}

impl Shared {
    fn accept_all(&self, listener: &TcpListener) {
        for near in listener.incoming().map_while(Result::ok) {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            // Without Redis the server sees its connection end.
            let redis = self.redis.load(Ordering::SeqCst);
            if let Ok(pipe) = Pipe::open(near, redis, self.rate) {
                self.pipes().push(pipe);
            }
        }
    }

    fn pipes(&self) -> MutexGuard<'_, Vec<Pipe>> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn open(near: TcpStream, redis: u16, rate: Option<usize>) -> io::Result<Self> {
        let far = TcpStream::connect(("127.0.0.1", redis))?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let cut = Arc::new(AtomicBool::new(false));
        let threads = vec![
            pass(near.try_clone()?, far.try_clone()?, Arc::clone(&cut), rate),
            pass(far.try_clone()?, near.try_clone()?, Arc::clone(&cut), rate),
        ];
        Ok(Self { near, far, cut, threads })
    }
}

/// Passes on what comes from one side, and that it ended, until the pipe is cut.
fn pass(
    mut from: TcpStream,
    mut to: TcpStream,
    cut: Arc<AtomicBool>,
    rate: Option<usize>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let _ = match rate {
            None => io::copy(&mut from, &mut to).map(drop),
            Some(rate) => copy_slowly(&mut from, &mut to, rate),
        };
        if !cut.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Write);
        }
    })
}

/// Copies at most `rate` bytes a second, in pieces, twenty a second when there is enough.
fn copy_slowly(from: &mut TcpStream, to: &mut TcpStream, rate: usize) -> io::Result<()> {
    let mut piece = vec![0; rate / 20];
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read])?;
        // Small pieces pass at once.
        if read == piece.len() {
            thread::sleep(Duration::from_millis(50));
        }
    }
}

//! Child processes: started with pipes, signalled and ended by pid.
//!
//! Not what they say: callers read their output. Dropping a child kills it.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A child process that ends with its owner.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a program with its standard output piped.
    pub fn spawn(command: &mut Command) -> Self {
        Self::start(command.stdout(Stdio::piped()))
    }

    /// Starts a program whose output nobody reads.
    pub fn spawn_silent(command: &mut Command) -> Self {
        Self::start(command.stdout(Stdio::null()))
    }

    fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self { child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits until the program prints this line, at most this long.
    pub fn await_line(&mut self, line: &str, at_most: Duration) {
        let stdout = self.child.stdout.take().expect("output is piped and not yet taken");
        let (found, finding) = mpsc::channel();
        let wanted = line.to_owned();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stdout).lines();
            let seen = lines.by_ref().map_while(Result::ok).any(|line| line.trim() == wanted);
            let _ = found.send(seen);
            // Read on, so that the program never waits for a full pipe.
            let _ = io::copy(&mut Lines(lines), &mut io::sink());
        });
        let seen = finding.recv_timeout(at_most);
        assert_eq!(seen, Ok(true), "{line:?} was not printed within {at_most:?}");
    }

    /// Sends a signal by name, such as `TERM`, `KILL`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name} {}", self.pid());
    }

    /// Waits for the end of the program, at most this long; tells whether it succeeded.
    pub fn wait(&mut self, at_most: Duration) -> bool {
        let end = now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status.success();
            }
            assert!(now() < end, "process {} did not end within {at_most:?}", self.pid());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the program and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The time.
pub fn now() -> Instant {
    Instant::now()
}

/// What is left of the lines, as a reader that yields nothing but takes everything.
struct Lines<L>(L);

impl<L: Iterator<Item = io::Result<String>>> Read for Lines<L> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.by_ref().map_while(Result::ok).for_each(drop);
        Ok(0)
    }
}

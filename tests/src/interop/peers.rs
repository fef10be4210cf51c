//! [`Deployment`]: a Redis of the test's own, with servers and clients of either language on it.
//!
//! Not what they are asked to do. Every program runs in a process of its own, is bounded in time
//! and ends with its owner. The Python is `$CLAMATOR_PYTHON`, which `tests/run.sh` sets; a test
//! that needs it fails without it and says so.

use std::fmt::Display;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::arith::Stats;
use super::calls::Outcome;
use super::runtime::RuntimeName;
use crate::process::{Process, now};
use crate::redis::RedisServer;

/// The key prefix of every deployment.
pub const PREFIX: &str = "interop";
/// How long a server may take until it serves: a Python start on a busy machine.
const READY_MAX: Duration = Duration::from_secs(30);
/// How long a call may take whose timeout is not what is tested.
const TIMEOUT_MS: u64 = 20_000;
/// How long a server may take to stop, and a client to make its calls.
const END_MAX: Duration = Duration::from_secs(60);

/// Whose program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    Python,
    Rust,
}

impl Peer {
    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Python => Self::Rust,
            Self::Rust => Self::Python,
        }
    }
}

/// Where the Rust programs are, which only a test knows: see [`programs!`](crate::programs).
#[derive(Clone, Copy, Debug)]
pub struct Programs {
    pub server: &'static str,
    pub client: &'static str,
}

/// The Rust programs of the interop tests.
#[macro_export]
macro_rules! programs {
    () => {
        $crate::interop::peers::Programs {
            server: env!("CARGO_BIN_EXE_interop-server"),
            client: env!("CARGO_BIN_EXE_interop-client"),
        }
    };
}

/// Runs each scenario, a function of a [`Deployment`], with Rust on one side and Python on the
/// other, in both directions, so that a failure names the direction.
///
/// `both_directions!(one, two)` does so once, on tokio; `both_directions!(on every runtime: one)`
/// with the Rust program on each runtime in turn.
#[macro_export]
macro_rules! both_directions {
    (on every runtime: $($scenario:ident),* $(,)?) => {
        mod python_server_rust_client {
            use $crate::interop::peers::{Deployment, Peer};
            $($crate::on_every_runtime!($scenario: |runtime| super::super::$scenario(
                &Deployment::on(runtime, $crate::programs!(), Peer::Python, Peer::Rust)
            ));)*
        }

        mod rust_server_python_client {
            use $crate::interop::peers::{Deployment, Peer};
            $($crate::on_every_runtime!($scenario: |runtime| super::super::$scenario(
                &Deployment::on(runtime, $crate::programs!(), Peer::Rust, Peer::Python)
            ));)*
        }
    };
    ($($scenario:ident),* $(,)?) => {
        mod python_server_rust_client {
            use $crate::interop::peers::{Deployment, Peer};
            $(#[test] fn $scenario() {
                super::$scenario(&Deployment::new($crate::programs!(), Peer::Python, Peer::Rust));
            })*
        }

        mod rust_server_python_client {
            use $crate::interop::peers::{Deployment, Peer};
            $(#[test] fn $scenario() {
                super::$scenario(&Deployment::new($crate::programs!(), Peer::Rust, Peer::Python));
            })*
        }
    };
}

/// Makes a module of tests, one for each runtime, of a function of a [`RuntimeName`].
#[macro_export]
macro_rules! on_every_runtime {
    ($scenario:ident) => {
        $crate::on_every_runtime!($scenario: |runtime| super::$scenario(runtime));
    };
    ($scenario:ident: |$runtime:ident| $run:expr) => {
        mod $scenario {
            use super::*;
            use $crate::interop::runtime::RuntimeName;

            fn run($runtime: RuntimeName) {
                $run;
            }

            #[test]
            fn tokio() {
                run(RuntimeName::Tokio);
            }

            #[test]
            fn async_std() {
                run(RuntimeName::AsyncStd);
            }

            #[test]
            fn smol() {
                run(RuntimeName::Smol);
            }
        }
    };
}

/// A Redis, and which language is on which side of it.
#[derive(Debug)]
pub struct Deployment {
    pub redis: RedisServer,
    pub server: Peer,
    pub client: Peer,
    programs: Programs,
    /// What the Rust programs run on.
    runtime: RuntimeName,
}

impl Deployment {
    /// Starts a Redis for programs whose Rust ones run on tokio.
    pub fn new(programs: Programs, server: Peer, client: Peer) -> Self {
        Self::on(RuntimeName::Tokio, programs, server, client)
    }

    /// Starts a Redis for programs whose Rust ones run on this runtime.
    pub fn on(runtime: RuntimeName, programs: Programs, server: Peer, client: Peer) -> Self {
        Self { redis: RedisServer::start(), server, client, programs, runtime }
    }

    /// Starts a server of this deployment's server language and waits until it serves.
    pub fn serve(&self, instance: &str) -> Worker {
        self.serve_as(self.server, instance, &[])
    }

    /// Starts a server of this language, with further flags, and waits until it serves.
    pub fn serve_as(&self, peer: Peer, instance: &str, flags: &[&str]) -> Worker {
        let mut command = self.program(peer, self.programs.server, "arith_server.py");
        self.add_flags(&mut command, instance, flags);
        Worker::start(&mut command)
    }

    /// Starts a server of this language that is configured on its input.
    pub fn serve_by_input(&self, peer: Peer, input: impl Display) -> Worker {
        let mut command = self.program(peer, self.programs.server, "arith_server.py");
        let (process, log) = spawn_with_input(&mut command, &input.to_string());
        Worker::ready(process, log)
    }

    /// Makes a list of calls with a client of this deployment's client language.
    pub fn call(&self, calls: impl Display) -> Vec<Outcome> {
        self.call_as(self.client, calls, &[])
    }

    /// Asks what the server's handlers have done so far.
    pub fn stats(&self) -> Stats {
        self.call(r#"[{"method": "stats"}]"#)[0].value()
    }

    /// Makes a list of calls with a client of this language, with further flags.
    pub fn call_as(&self, peer: Peer, calls: impl Display, flags: &[&str]) -> Vec<Outcome> {
        self.calling(peer, calls, flags).outcomes()
    }

    /// Starts to make a list of calls.
    pub fn calling(&self, peer: Peer, calls: impl Display, flags: &[&str]) -> Calling {
        let mut command = self.program(peer, self.programs.client, "arith_client.py");
        let timeout = TIMEOUT_MS.to_string();
        self.add_flags(&mut command, "client", &["--timeout-ms", &timeout]);
        command.args(flags);
        Calling::start(&mut command, &calls.to_string())
    }

    /// Makes calls with a client of this language that is configured on its input.
    pub fn call_by_input(&self, peer: Peer, input: impl Display) -> String {
        let mut command = self.program(peer, self.programs.client, "arith_client.py");
        Calling::start(&mut command, &input.to_string()).output().0
    }

    fn program(&self, peer: Peer, rust: &str, python: &str) -> Command {
        if peer == Peer::Rust {
            let mut command = Command::new(rust);
            command.env(RuntimeName::VARIABLE, self.runtime.as_str());
            return command;
        }
        let interpreter = std::env::var_os("CLAMATOR_PYTHON").expect(
            "CLAMATOR_PYTHON names no Python with the published peer: run the tests with \
             tests/run.sh, or run tests/setup.sh and set it to tests/.env/python/bin/python",
        );
        let mut command = Command::new(interpreter);
        command.arg(format!("{}/python/{python}", env!("CARGO_MANIFEST_DIR")));
        command
    }

    fn add_flags(&self, command: &mut Command, instance: &str, flags: &[&str]) {
        command
            .args(["--redis-url", &self.redis.url(), "--key-prefix", PREFIX])
            .args(["--instance-id", instance])
            .args(flags);
    }
}

/// A server at work.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    log: Drain,
}

impl Worker {
    fn start(command: &mut Command) -> Self {
        let mut process = Process::spawn(command.stdin(Stdio::null()).stderr(Stdio::piped()));
        let log = Drain::new(process.child().stderr.take().expect("piped"));
        Self::ready(process, log)
    }

    fn ready(mut process: Process, log: Drain) -> Self {
        process.await_line("READY", READY_MAX);
        Self { process, log }
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Waits until a handler that pauses has begun.
    pub fn begun(&self) {
        eventually("a handler began", || {
            self.log().lines().any(|line| line == "BEGUN").then_some(())
        });
    }

    /// Kills the server where it stands.
    pub fn kill(mut self) {
        self.process.kill();
    }

    /// Stops the server as an operator would. Gives back how many handlers it began, and its log.
    pub fn stop(mut self) -> (u64, String) {
        self.process.signal("TERM");
        let stopped = self.process.wait(END_MAX);
        let log = self.log.finish();
        assert!(stopped, "a server did not stop well: {log}");
        let handled = log.lines().find_map(|line| line.strip_prefix("HANDLED:")?.parse().ok());
        (handled.unwrap_or_else(|| panic!("no HANDLED: {log}")), log)
    }
}

/// A client at work.
#[derive(Debug)]
pub struct Calling {
    process: Process,
    output: Drain,
    log: Drain,
}

impl Calling {
    fn start(command: &mut Command, input: &str) -> Self {
        let (mut process, log) = spawn_with_input(command, input);
        let output = Drain::new(process.child().stdout.take().expect("piped"));
        Self { process, output, log }
    }

    /// Waits for the end of all calls.
    pub fn outcomes(self) -> Vec<Outcome> {
        self.outcomes_and_log().0
    }

    /// Waits for the end of all calls; gives back the client's log too.
    pub fn outcomes_and_log(self) -> (Vec<Outcome>, String) {
        let (output, log) = self.output();
        let outcomes = serde_json::from_str(&output);
        (outcomes.unwrap_or_else(|error| panic!("{error}: {output}{log}")), log)
    }

    fn output(mut self) -> (String, String) {
        let succeeded = self.process.wait(END_MAX);
        let (output, log) = (self.output.finish(), self.log.finish());
        assert!(succeeded, "a client failed: {output}{log}");
        (output, log)
    }
}

fn spawn_with_input(command: &mut Command, input: &str) -> (Process, Drain) {
    let mut process = Process::spawn(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    let log = Drain::new(process.child().stderr.take().expect("piped"));
    let mut stdin = process.child().stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("a program reads its input");
    (process, log)
}

/// What a program writes, read as it comes so that the program never waits.
#[derive(Debug)]
struct Drain {
    text: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Drain {
    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self { text, reader }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// Waits for the end of what is written: for the end of the program.
    fn finish(self) -> String {
        self.reader.join().expect("reading does not panic");
        self.text.lock().unwrap().clone()
    }
}

/// Asks again and again until there is an answer, for at most half a minute.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = now() + Duration::from_secs(30);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

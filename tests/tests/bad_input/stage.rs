//! [`Stage`]: a Redis, a server that echoes, its client, and an ear for warnings.
//!
//! Not the garbage. Whatever makes client or server panic or hang fails the next proper call. The
//! two have names of their own on every stage, by which their warnings are heard among those of
//! the tests beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use clamator_driver::{Client, Context, Json, Runtime, Server, Service, Target};
use clamator_tests::capture::{Capture, unique};
use clamator_tests::redis::{RawConnection, RawReply, RedisServer};
use clamator_tests::world::Async;
use tracing::Level;

/// The key prefix of every stage.
pub(crate) const PREFIX: &str = "bad";
/// The command stream of the service.
pub(crate) const COMMANDS: &str = "bad:cmds:echo";
/// A reply stream that nobody reads.
pub(crate) const UNREAD: &str = "bad:replies:unread";
/// Most entries that may stay behind in the command stream.
const LEFT_MAX: i64 = 100;
/// How long reads block. An answer may be a second late, and then the connection is given up with a
/// warning: with the default of one second, that happens to an entry of a hundred megabytes on a
/// machine that has other things to do.
const READ_BLOCK: Duration = Duration::from_secs(5);

/// Names and values of an entry.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry is expected to be warned about; `None` is nothing.
pub(crate) type Warning = Option<&'static str>;

pub(crate) struct Stage<R> {
    pub(crate) runtime: R,
    pub(crate) capture: Capture,
    pub(crate) raw: RawConnection,
    /// The client's name.
    pub(crate) caller: String,
    /// The client's reply stream.
    pub(crate) replies: String,
    pub(crate) client: Client<R>,
    pub(crate) server: Option<Server<R>>,
    /// The name that a server has or would have.
    worker: String,
    /// What was added and not looked after yet: what it should be warned about, and what it is.
    added: BTreeMap<String, (Warning, String)>,
    calls: u64,
    /// Ended last.
    pub(crate) redis: RedisServer,
}

impl<R: Runtime> Stage<R> {
    pub(crate) async fn start(runtime: R) -> Self {
        let mut stage = Self::without_server(runtime).await;
        let echo = Service::new("echo").request("echo", async |value: Json, _: Context| Ok(value));
        // Whatever is not settled on sight is given out again while the test looks on.
        let builder = Server::builder(PREFIX).claim_idle(Duration::from_secs(1)).service(echo);
        let builder = builder.instance(&stage.worker).read_block(READ_BLOCK);
        let server = builder.start_on(stage.runtime.clone(), target(&stage.redis)).await;
        stage.server = Some(server.expect("the server starts"));
        stage
    }

    pub(crate) async fn without_server(runtime: R) -> Self {
        let (caller, worker) = (unique("caller"), unique("worker"));
        let capture = Capture::of(&[&caller, &worker]);
        let redis = RedisServer::start();
        let client = Client::builder(PREFIX).instance(&caller).read_block(READ_BLOCK);
        let client = client.connect_on(runtime.clone(), target(&redis)).await;
        Self {
            runtime,
            capture,
            raw: redis.connect(),
            replies: format!("{PREFIX}:replies:{caller}"),
            caller,
            client: client.expect("the client connects"),
            server: None,
            worker,
            added: BTreeMap::new(),
            calls: 0,
            redis,
        }
    }

    /// Adds an entry to the command stream, which [`Stage::assert_warned`] expects to be warned
    /// about once, or not at all.
    pub(crate) fn add_request(&mut self, fields: &Fields, warning: Warning) {
        self.add(COMMANDS, fields, warning);
    }

    /// As [`Stage::add_request`], to the client's reply stream.
    pub(crate) fn add_reply(&mut self, fields: &Fields, warning: Warning) {
        self.add(&self.replies.clone(), fields, warning);
    }

    fn add(&mut self, stream: &str, fields: &Fields, warning: Warning) {
        let mut words = vec![&b"XADD"[..], stream.as_bytes(), b"*"];
        words.extend(fields.iter().flat_map(|(name, value)| [&name[..], &value[..]]));
        let id = self.raw.command(&words).text();
        self.added.insert(id, (warning, shown(fields)));
    }

    /// Asserts that the next proper call is served, and its own reply comes back.
    pub(crate) async fn assert_served(&mut self) {
        self.calls += 1;
        let call = self.client.call::<u64>("echo.echo", self.calls);
        let reply = self.runtime.timeout(Duration::from_secs(10), call).await;
        assert_eq!(reply, Ok(Ok(self.calls)), "the next call was not served");
    }

    /// Asserts that everything on the command stream was settled, and that it is as good as empty.
    pub(crate) async fn assert_settled(&self) {
        let mut seen = (0, 0);
        for _ in 0..100 {
            let pending = self.redis.command("XPENDING bad:cmds:echo echo");
            let left = self.redis.command("XLEN bad:cmds:echo").integer();
            seen = (pending.array()[0].integer(), left);
            if seen.0 == 0 && seen.1 <= LEFT_MAX {
                return;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        panic!("after 5 s {} entries are pending and {} in the stream", seen.0, seen.1);
    }

    /// Asserts that everything added was warned about as it should, and nothing else was logged.
    pub(crate) async fn assert_warned(&mut self) {
        let added = std::mem::take(&mut self.added);
        let expected = added.values().filter(|(warning, _)| warning.is_some()).count();
        let mut lines = Vec::new();
        // A reply that is read late is warned about late.
        for _ in 0..100 {
            lines.append(&mut self.capture.take(""));
            if lines.len() >= expected {
                break;
            }
            self.runtime.sleep(Duration::from_millis(50)).await;
        }
        let mut warnings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &lines {
            let entry = line.field("entry");
            assert!(added.contains_key(entry), "about none of the entries: {line:?}");
            assert_eq!(line.level, Level::WARN, "more than a warning: {line:?}");
            warnings.entry(entry).or_default().push(&line.message);
        }
        for (entry, (warning, fields)) in &added {
            let said = warnings.remove(entry.as_str()).unwrap_or_default();
            let expected: Vec<&str> = warning.iter().copied().collect();
            assert_eq!(said, expected, "entry {entry}: {fields}");
        }
    }

    /// How many entries a stream has.
    pub(crate) fn length(&self, stream: &str) -> i64 {
        self.redis.command(&format!("XLEN {stream}")).integer()
    }

    /// The envelopes of a stream, oldest first.
    pub(crate) fn envelopes(&self, stream: &str) -> Vec<String> {
        let entries = self.redis.command(&format!("XRANGE {stream} - +"));
        entries.array().iter().map(|entry| envelope(&entry.array()[1])).collect()
    }
}

pub(crate) fn target(redis: &RedisServer) -> Target {
    Target::url(&redis.url()).expect("a valid URL")
}

/// The envelope among an entry's names and values.
fn envelope(fields: &RawReply) -> String {
    let mut pairs = fields.array().chunks(2);
    let envelope = pairs.find(|pair| pair[0].text() == "envelope");
    envelope.expect("an entry has an envelope")[1].text()
}

/// Makes an entry of texts.
pub(crate) fn texts(fields: &[(&str, &str)]) -> Fields {
    fields.iter().map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into())).collect()
}

/// An entry as a test that failed shows it.
fn shown(fields: &Fields) -> String {
    let short = |bytes: &[u8]| bytes[..bytes.len().min(300)].escape_ascii().to_string();
    let shown: Vec<String> =
        fields.iter().take(8).map(|(name, value)| short(name) + "=" + &short(value)).collect();
    shown.join(" ")
}

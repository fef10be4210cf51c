//! [`Stage`]: a Redis, a server that echoes, its client, and an ear for warnings.
//!
//! Not the garbage. Client and server run on the thread of the test, where their warnings are
//! heard, so whatever makes them panic or hang fails the next proper call.

use std::collections::BTreeMap;
use std::time::Duration;

use clamator_tests::redis::{RawConnection, RawReply, RedisServer};
use clamator_tokio::{Client, Context, Json, Server, Service, Target};
use tokio::time::{sleep, timeout};

use crate::capture::Capture;

/// The command stream of the service.
pub(crate) const COMMANDS: &str = "bad:cmds:echo";
/// The client's reply stream.
pub(crate) const REPLIES: &str = "bad:replies:caller";
/// A reply stream that nobody reads.
pub(crate) const UNREAD: &str = "bad:replies:unread";
/// Most entries that may stay behind in the command stream.
const LEFT_MAX: i64 = 100;

/// Names and values of an entry.
pub(crate) type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// What an entry is expected to be warned about; `None` is nothing.
pub(crate) type Warning = Option<&'static str>;

pub(crate) struct Stage {
    pub(crate) capture: Capture,
    pub(crate) raw: RawConnection,
    pub(crate) client: Client,
    pub(crate) server: Option<Server>,
    /// What was added and not looked after yet: what it should be warned about, and what it is.
    added: BTreeMap<String, (Warning, String)>,
    calls: u64,
    /// Ended last.
    pub(crate) redis: RedisServer,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let mut stage = Self::without_server().await;
        let echo = Service::new("echo").request("echo", async |value: Json, _: Context| Ok(value));
        // Whatever is not settled on sight is given out again while the test looks on.
        let builder = Server::builder("bad").claim_idle(Duration::from_secs(1)).service(echo);
        let server = builder.start(target(&stage.redis)).await;
        stage.server = Some(server.expect("the server starts"));
        stage
    }

    pub(crate) async fn without_server() -> Self {
        let capture = Capture::start();
        let redis = RedisServer::start();
        let client = Client::builder("bad").instance("caller").connect(target(&redis)).await;
        Self {
            capture,
            raw: redis.connect(),
            client: client.expect("the client connects"),
            server: None,
            added: BTreeMap::new(),
            calls: 0,
            redis,
        }
    }

    /// Adds an entry, which [`Stage::assert_warned`] expects to be warned about once, or not at
    /// all.
    pub(crate) fn add(&mut self, stream: &str, fields: &Fields, warning: Warning) {
        let mut words = vec![&b"XADD"[..], stream.as_bytes(), b"*"];
        words.extend(fields.iter().flat_map(|(name, value)| [&name[..], &value[..]]));
        let id = self.raw.command(&words).text();
        self.added.insert(id, (warning, shown(fields)));
    }

    /// Asserts that the next proper call is served, and its own reply comes back.
    pub(crate) async fn assert_served(&mut self) {
        self.calls += 1;
        let call = self.client.call::<u64>("echo.echo", self.calls);
        let reply = timeout(Duration::from_secs(10), call).await;
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
            sleep(Duration::from_millis(50)).await;
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
            sleep(Duration::from_millis(50)).await;
        }
        let mut warnings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in &lines {
            let entry = line.entry.as_deref().filter(|entry| added.contains_key(*entry));
            let entry = entry.unwrap_or_else(|| panic!("about none of the entries: {line:?}"));
            assert!(line.warning, "more than a warning: {line:?}");
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

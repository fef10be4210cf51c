//! Opening one connection to a Redis server: connect, authenticate, introduce ourselves, look
//! whom we met.
//!
//! Not the time allowed for it: the engine closes a lane that takes too long, which drops the
//! future made here. The handshake goes out in one write, with each reply told by itself, so that
//! the first error a server says (`DENIED`, too many clients) is seen as such.
//!
//! <https://redis.io/docs/latest/commands/hello/>

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use clamator_engine::{Hello, Loss, RefusalKind, Value, Version};
use futures_channel::oneshot;
use futures_util::future::{AbortHandle, Abortable, FutureExt, join_all};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, cmd};

use super::last_words::LastWords;
use super::notes::Notes;
use super::stream::Stream;
use super::value;
use crate::panics;
use crate::runtime::{BoxedStream, Runtime};
use crate::target::{Credentials, Endpoint, Protocol, Route};

/// Room for batches on their way to the socket: more than the engine has commands under way.
const BATCHES_MAX: usize = 8192;

/// An open connection. Dropping it closes the socket, whatever is under way.
pub(super) struct Connection {
    multiplexed: MultiplexedConnection,
    /// The task that reads and writes the socket.
    task: AbortHandle,
    /// Cancelled when that task has ended.
    ended: oneshot::Receiver<()>,
    notes: Arc<Notes>,
    /// What an error calls the other side.
    address: String,
}

impl Connection {
    /// Makes another handle for one batch.
    pub(super) fn share(&self) -> MultiplexedConnection {
        self.multiplexed.clone()
    }

    /// Takes how many bytes moved since the last time.
    pub(super) fn take_moved(&self) -> usize {
        self.notes.take_moved()
    }

    /// Sorts an error of the connection. Nothing can be sent on it any more.
    pub(super) fn loss(&self, error: &RedisError) -> Loss {
        self.notes.fault().map_or_else(
            || loss(error),
            |fault| Loss::Tls { address: self.address.clone(), detail: fault.into() },
        )
    }

    /// Waits for the end of the connection, also while nothing is under way on it.
    pub(super) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.ended).poll(cx).map(|_| ())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Connects, and tells what was found.
pub(super) async fn open<R: Runtime>(
    runtime: R,
    route: Route,
    name: String,
) -> Result<(Connection, Hello), Loss> {
    let notes = Arc::default();
    let stream = Stream::new(connect(&runtime, &route, &notes).await?, Arc::clone(&notes));
    // Credentials and database are left out: the handshake below sends them and hears the answers
    // word for word.
    let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
    // With room for every batch under way no batch ever waits to be taken, so none overtakes another.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_pipeline_buffer_size(BATCHES_MAX);
    let opened = MultiplexedConnection::new_with_config(&settings, stream, config).await;
    let (multiplexed, driver) = opened.map_err(|error| loss(&error))?;
    let (task, registration) = AbortHandle::new_pair();
    let (alive, ended) = oneshot::channel();
    runtime.spawn(async move {
        // Dropped with the task, however that ends.
        let _alive: oneshot::Sender<()> = alive;
        // Aborted or ended: either way the socket is dropped here.
        let _ = Abortable::new(driver, registration).await;
    });
    let address = route.endpoint.to_string();
    let connection = Connection { multiplexed, task, ended, notes, address };
    let hello = introduce(&connection, &route.credentials, &name).await.map_err(hung_up)?;
    Ok((connection, hello))
}

async fn connect<R: Runtime>(
    runtime: &R,
    route: &Route,
    notes: &Arc<Notes>,
) -> Result<BoxedStream, Loss> {
    let connected = match &route.endpoint {
        Endpoint::Connector(connector) => {
            // The closure itself is called inside, too.
            let connecting = AssertUnwindSafe(async { connector.connect().await }).catch_unwind();
            connecting.await.unwrap_or_else(|payload| {
                let detail = format!("the connector panicked: {}", panics::text(&*payload));
                panics::drop_payload(payload);
                Err(io::Error::other(detail))
            })
        }
        Endpoint::Tcp { host, port } => runtime.connect_tcp(host, *port).await,
        #[cfg(feature = "tls")]
        Endpoint::Tls { host, port, .. } => runtime.connect_tcp(host, *port).await,
        Endpoint::Unix(path) => runtime.connect_unix(path).await,
    };
    let stream = connected.map_err(|error| Loss::Unreachable {
        address: route.endpoint.to_string(),
        detail: error.to_string(),
    })?;
    let stream: BoxedStream = Box::new(LastWords::new(stream, Arc::clone(notes)));
    #[cfg(feature = "tls")]
    if let Endpoint::Tls { host, tls, .. } = &route.endpoint {
        return tls.secure(host, &route.endpoint.to_string(), stream).await;
    }
    Ok(stream)
}

/// Logs in and looks whom we met, in one round trip.
async fn introduce(
    connection: &Connection,
    credentials: &Credentials,
    name: &str,
) -> Result<Hello, Loss> {
    let auth = auth(credentials);
    let select = (credentials.database != 0).then(|| {
        let mut select = cmd("SELECT");
        select.arg(credentials.database);
        select
    });
    let tail = [cmd("TIME"), words(&["CLIENT", "SETNAME", &client_name(name)])];
    let (has_auth, has_select) = (auth.is_some(), select.is_some());
    let commands = auth.into_iter().chain([cmd("HELLO")]).chain(select).chain(tail);
    let mut replies = ask(connection, commands).await.into_iter();
    let mut next = || replies.next().unwrap_or_else(|| Ok(Value::Nil));
    if has_auth {
        accepted(connection, next()?).await?;
    }
    let mut hello = Hello::decode(accepted(connection, next()?).await?)?;
    if hello.version < Version::OLDEST {
        return Err(Loss::TooOld { version: hello.version });
    }
    if has_select && let Value::Error(refusal) = next()? {
        return Err(Loss::Credentials { detail: refusal.to_string() });
    }
    hello.time = Hello::decode_time(&next()?);
    // The name is for people: a server may refuse it.
    next()?;
    Ok(hello)
}

/// The command that logs in and chooses the protocol; none when there is nothing to say.
fn auth(credentials: &Credentials) -> Option<Cmd> {
    let password = credentials.password.as_deref();
    if credentials.protocol == Protocol::Resp3 {
        let mut hello = words(&["HELLO", "3"]);
        if let Some(password) = password {
            let username = credentials.username.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(username).arg(password);
        }
        return Some(hello);
    }
    let mut auth = cmd("AUTH");
    if let Some(username) = &credentials.username {
        auth.arg(username);
    }
    auth.arg(password?);
    Some(auth)
}

/// Sends commands in one write and waits for all replies, each told by itself.
async fn ask(
    connection: &Connection,
    commands: impl IntoIterator<Item = Cmd>,
) -> Vec<Result<Value, Loss>> {
    join_all(commands.into_iter().map(|command| {
        let mut shared = connection.share();
        async move {
            let reply = shared.send_packed_command(&command).await;
            reply.map(value::convert).map_err(|error| connection.loss(&error))
        }
    }))
    .await
}

/// Passes an answer on unless it is a refusal, for which it finds the reason.
async fn accepted(connection: &Connection, reply: Value) -> Result<Value, Loss> {
    if !matches!(reply, Value::Error(_)) {
        return Ok(reply);
    }
    let refusal = match Hello::decode(reply) {
        Err(Loss::Unfit(refusal)) => refusal,
        Err(loss) => return Err(loss),
        Ok(_) => unreachable!("a refusal is no hello"),
    };
    if refusal.kind() != RefusalKind::Final {
        return Err(Loss::Unfit(refusal));
    }
    // Redis before 6.2 knows no HELLO without arguments, or none at all, but knows INFO.
    let info = ask(connection, [words(&["INFO", "server"])]).await.pop();
    Err(match info {
        Some(Ok(Value::Bytes(info))) => match read_info(&info) {
            Some(version) if version < Version::OLDEST => Loss::TooOld { version },
            Some(_) => Loss::Credentials { detail: refusal.to_string() },
            None => Loss::Garbled { detail: refusal.to_string() },
        },
        Some(Ok(_)) => Loss::Garbled { detail: refusal.to_string() },
        // It said why and hung up: too many clients, protected mode.
        Some(Err(_)) | None => Loss::Unfit(refusal),
    })
}

/// Says what the end of a handshake may mean: a server that takes no more clients says so and hangs
/// up, and what it said can be lost with the connection; one that speaks TLS says nothing at all.
fn hung_up(loss: Loss) -> Loss {
    let Loss::Closed { detail } = loss else { return loss };
    let detail = format!(
        "{detail}, before it said hello; has it its maximum number of clients, or does it speak TLS only?"
    );
    Loss::Closed { detail }
}

/// Sorts an error that is not known to be one of TLS.
fn loss(error: &RedisError) -> Loss {
    // Some of its texts have several lines, and a record of a log has one.
    let detail = error.to_string().replace('\n', " ");
    if error.kind() == ErrorKind::Parse {
        Loss::Garbled { detail }
    } else {
        Loss::Closed { detail }
    }
}

fn words(words: &[&str]) -> Cmd {
    let mut words = words.iter();
    let mut command = cmd(words.next().copied().unwrap_or_default());
    for word in words {
        command.arg(*word);
    }
    command
}

/// Redis takes visible ASCII characters only.
fn client_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_graphic() { letter } else { '-' }).collect()
}

fn read_info(info: &[u8]) -> Option<Version> {
    let mut lines = info.split(|byte| *byte == b'\n');
    let version = lines.find_map(|line| line.strip_prefix(b"redis_version:"))?;
    Version::parse(std::str::from_utf8(version).ok()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_is_recognised_by_its_info() {
        let info = b"# Server\r\nredis_version:6.0.16\r\nredis_mode:standalone\r\n";
        assert_eq!(read_info(info), Some(Version::new(6, 0, 16)));
        assert_eq!(read_info(b"# Server\r\n"), None);
    }

    #[test]
    fn a_client_name_has_visible_ascii_letters_only() {
        assert_eq!(client_name("clamator:server:a b\n\u{e9}"), "clamator:server:a-b--");
    }

    #[test]
    fn a_password_without_a_user_logs_in_the_old_way_and_resp3_as_default() {
        let packed = |protocol| {
            let credentials = Credentials::new().password("pw").protocol(protocol);
            String::from_utf8(auth(&credentials).unwrap().get_packed_command()).unwrap()
        };
        assert_eq!(packed(Protocol::Resp2), "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n");
        assert!(packed(Protocol::Resp3).contains("AUTH\r\n$7\r\ndefault\r\n$2\r\npw"));
        assert!(auth(&Credentials::new()).is_none());
    }
}

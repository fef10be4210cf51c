//! [`Target`]: where the streams live: a Redis server, by URL or through a user's own connector,
//! or this process's memory.
//!
//! Not the connecting: that is a link's. A target is checked when it is made, is cheap to clone
//! and may be shared by any number of clients and servers, each of which makes connections of its
//! own. No password appears in what a target, or an error about one, prints.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::memory_bus::MemoryBus;
use crate::runtime::{BoxedStream, ByteStream};
#[cfg(feature = "sim")]
use crate::sim::Process;
#[cfg(feature = "tls")]
use crate::tls::Tls;

mod parse;

pub use parse::InvalidTarget;

/// Where [`Target::from_env`] looks when `$REDIS_URL` is not set.
const URL_DEFAULT: &str = "redis://localhost:6379";

/// Where the streams live. Cheap to clone.
#[derive(Clone)]
pub struct Target(pub(crate) Place);

#[derive(Clone)]
pub(crate) enum Place {
    Memory(MemoryBus),
    Redis(Route),
    #[cfg(feature = "sim")]
    Simulated(Process),
}

/// How to get to a Redis server.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) credentials: Credentials,
    pub(crate) endpoint: Endpoint,
}

#[derive(Clone)]
pub(crate) enum Endpoint {
    Connector(Arc<dyn Connector>),
    Tcp {
        host: Arc<str>,
        port: u16,
    },
    #[cfg(feature = "tls")]
    Tls {
        host: Arc<str>,
        port: u16,
        tls: Tls,
    },
    Unix(Arc<PathBuf>),
}

/// A user's own way to connect.
pub(crate) trait Connector: Send + Sync {
    fn connect(&self) -> BoxFuture<'static, io::Result<BoxedStream>>;
}

impl Target {
    /// Reads a URL.
    ///
    /// - `redis://[[user]:password@]host[:port][/database]`; `valkey://` is the same. Port 6379
    ///   and database 0 when not given.
    /// - `rediss://…` or `valkeys://…`: the same through TLS, with the feature `tls`. The host must
    ///   be in the server's certificate, and that be vouched for by an authority of the operating
    ///   system, unless `Target::tls` names others.
    /// - `unix:///path/to/socket`, with `db`, `user` and `pass` as query keys.
    ///
    /// All take `?protocol=resp2` (the default) or `resp3`. User, password and path are
    /// percent-decoded.
    ///
    /// # Errors
    /// [`InvalidTarget`] says what is wrong with the URL, unknown query keys included. Nothing is
    /// connected here.
    pub fn url(url: &str) -> Result<Self, InvalidTarget> {
        parse::url(url).map(|route| Self(Place::Redis(route)))
    }

    /// Reads the URL in the environment variable `REDIS_URL`; `redis://localhost:6379` when it is
    /// not set or empty.
    ///
    /// # Errors
    /// As [`Target::url`]; also when the variable is not Unicode.
    pub fn from_env() -> Result<Self, InvalidTarget> {
        match std::env::var("REDIS_URL") {
            Ok(url) if !url.is_empty() => Self::url(&url),
            Ok(_) | Err(std::env::VarError::NotPresent) => Self::url(URL_DEFAULT),
            Err(std::env::VarError::NotUnicode(_)) => Err(InvalidTarget::NotUnicode),
        }
    }

    /// Uses these certificates instead of [`Tls::new`]'s.
    ///
    /// # Errors
    /// [`InvalidTarget::NoTls`] when the target does not use TLS: only a URL with `rediss://` or
    /// `valkeys://` does.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Result<Self, InvalidTarget> {
        let Place::Redis(Route { endpoint: Endpoint::Tls { tls: of, .. }, .. }) = &mut self.0
        else {
            return Err(InvalidTarget::NoTls);
        };
        *of = tls;
        Ok(self)
    }

    /// Connects through `connect`, which is called for every connection that is needed, and logs
    /// in with `credentials`. A panic of its is an error like any other: it is tried again.
    ///
    /// The stream is one of `futures-io`; streams of tokio become one through
    /// `tokio_util::compat`.
    pub fn connector<C, F, S>(credentials: Credentials, connect: C) -> Self
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: ByteStream,
    {
        let endpoint = Endpoint::Connector(Arc::new(Factory(connect)));
        Self(Place::Redis(Route { credentials, endpoint }))
    }

    /// Uses streams in this process's memory, shared by everything that has a clone of `bus`.
    #[must_use]
    pub fn memory(bus: &MemoryBus) -> Self {
        Self(Place::Memory(bus.clone()))
    }

    /// The process of a simulation that this is; what connects runs in it, whatever its runtime.
    #[cfg(feature = "sim")]
    pub(crate) fn simulated(&self) -> Option<Process> {
        match &self.0 {
            Place::Memory(_) | Place::Redis(_) => None,
            Place::Simulated(process) => Some(process.clone()),
        }
    }
}

impl Place {
    /// Whether it is known that streams here are those there: a server that is named in two ways
    /// is taken for two.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory(here), Self::Memory(there)) => here.is_same(there),
            (Self::Redis(here), Self::Redis(there)) => {
                here.credentials.database == there.credentials.database
                    && here.endpoint.is_same(&there.endpoint)
            }
            #[cfg(feature = "sim")]
            (Self::Simulated(here), Self::Simulated(there)) => here.is_with(there),
            _ => false,
        }
    }
}

impl Endpoint {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connector(here), Self::Connector(there)) => Arc::ptr_eq(here, there),
            (Self::Tcp { host, port }, Self::Tcp { host: there, port: of }) => {
                (host, port) == (there, of)
            }
            #[cfg(feature = "tls")]
            (Self::Tls { host, port, .. }, Self::Tls { host: there, port: of, .. }) => {
                (host, port) == (there, of)
            }
            (Self::Unix(here), Self::Unix(there)) => here == there,
            _ => false,
        }
    }
}

impl From<&MemoryBus> for Target {
    fn from(bus: &MemoryBus) -> Self {
        Self::memory(bus)
    }
}

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

impl FromStr for Target {
    type Err = InvalidTarget;

    fn from_str(url: &str) -> Result<Self, InvalidTarget> {
        Self::url(url)
    }
}

/// Writes the target as a URL without its password.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory(_) => f.write_str("memory"),
            Place::Redis(route) => route.fmt(f),
            #[cfg(feature = "sim")]
            Place::Simulated(process) => write!(f, "simulation of {}", process.name()),
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Credentials { username, database, .. } = &self.credentials;
        f.write_str(match self.endpoint {
            Endpoint::Connector(_) => "",
            Endpoint::Tcp { .. } => "redis://",
            #[cfg(feature = "tls")]
            Endpoint::Tls { .. } => "rediss://",
            Endpoint::Unix(_) => "unix://",
        })?;
        if let Some(username) = username {
            write!(f, "{username}@")?;
        }
        write!(f, "{}", self.endpoint)?;
        match (&self.endpoint, database) {
            (_, 0) => Ok(()),
            (Endpoint::Connector(_) | Endpoint::Unix(_), database) => write!(f, "?db={database}"),
            (_, database) => write!(f, "/{database}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connector(_) => f.write_str("connector"),
            Self::Tcp { host, port } => write_address(f, host, *port),
            #[cfg(feature = "tls")]
            Self::Tls { host, port, .. } => write_address(f, host, *port),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// An IPv6 address stands in brackets.
fn write_address(f: &mut fmt::Formatter<'_>, host: &str, port: u16) -> fmt::Result {
    if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
}

/// Who connects, and to what. The default is nobody, database 0, RESP2.
#[derive(Clone, Default)]
pub struct Credentials {
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: u32,
    pub(crate) protocol: Protocol,
}

impl Credentials {
    /// Makes the default credentials.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the ACL user. Used with a password only; without a name Redis takes `default`.
    #[must_use]
    pub fn username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Gives the password. Without one, nobody logs in.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Chooses the database. Default 0.
    #[must_use]
    pub const fn database(mut self, database: u32) -> Self {
        self.database = database;
        self
    }

    /// Chooses the protocol. Default RESP2.
    #[must_use]
    pub const fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "hidden"))
            .field("database", &self.database)
            .field("protocol", &self.protocol)
            .finish()
    }
}

/// How replies are written on the wire. Nothing else depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// RESP2, which every server speaks.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

struct Factory<C>(C);

impl<C, F, S> Connector for Factory<C>
where
    C: Fn() -> F + Send + Sync,
    F: Future<Output = io::Result<S>> + Send + 'static,
    S: ByteStream,
{
    fn connect(&self) -> BoxFuture<'static, io::Result<BoxedStream>> {
        let connecting = (self.0)();
        async move { connecting.await.map(|stream| Box::new(stream) as BoxedStream) }.boxed()
    }
}

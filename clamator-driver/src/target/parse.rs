//! Reading a URL into a route, and what can be wrong with one.
//!
//! Not `redis`'s own reader, which drops what it does not know: a misspelt option would silently
//! do nothing. An [`InvalidTarget`] says what was wrong and what to write instead; it carries no
//! part of a URL that could hold the password.

use std::path::PathBuf;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Credentials, Endpoint, Protocol, Route};
#[cfg(feature = "tls")]
use crate::tls::{self, Tls};

/// A URL that names no Redis server that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// The database is not a number.
    #[error("\"{text}\" is no database: write a number from 0")]
    Database {
        /// What stands where the database should.
        text: String,
    },
    /// User, password or path is not UTF-8 when percent-decoded.
    #[error("the {part} is not UTF-8 when percent-decoded")]
    Encoding {
        /// Which part.
        part: &'static str,
    },
    /// There is a `#` and something behind it.
    #[error("a fragment (#…) means nothing here: write a # in a password as %23")]
    Fragment,
    /// A Redis URL has no host.
    #[error("the host is missing: write redis://host:port, or unix:///path for a Unix socket")]
    Host,
    /// The host can be in no certificate. Only with TLS.
    #[error("\"{host}\" is neither a host name nor an address, which TLS needs")]
    HostName {
        /// The host.
        host: String,
    },
    /// Certificates were given to a target that does not use TLS.
    #[error("certificates are for rediss:// and valkeys:// URLs only")]
    NoTls,
    /// The environment variable `REDIS_URL` is not Unicode.
    #[error("the environment variable REDIS_URL is not Unicode")]
    NotUnicode,
    /// There is a user and no password, or a password without a colon before it.
    #[error(
        "a user without a password: write redis://user:password@host or redis://:password@host"
    )]
    Password,
    /// A Unix URL has no path, or a host.
    #[error("the path of the socket is missing: write unix:///path with three slashes")]
    Path,
    /// The port is not one.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// The protocol is neither RESP2 nor RESP3.
    #[error("\"{text}\" is no protocol: write resp2 or resp3")]
    Protocol {
        /// What was given.
        text: String,
    },
    /// The text is no URL of a Redis server.
    #[error("\"{scheme}\" is no scheme of a Redis URL: write redis://host:port")]
    Scheme {
        /// What stands before the first colon.
        scheme: String,
    },
    /// The text is no URL.
    #[error("not a URL ({detail}): write redis://host:port")]
    Syntax {
        /// What the reader said.
        detail: String,
    },
    /// The URL asks for TLS, and the program was built without the feature `tls`.
    #[error("{scheme}:// needs TLS: build with the feature \"tls\", or use Target::connector")]
    Tls {
        /// The scheme.
        scheme: String,
    },
    /// The URL has an option that does not exist.
    #[error("unknown option \"{key}\": there is {known}")]
    UnknownKey {
        /// The option.
        key: String,
        /// Those that exist, for people.
        known: &'static str,
    },
}

/// Reads a URL.
pub(super) fn url(text: &str) -> Result<Route, InvalidTarget> {
    read(text).map_err(|fault| if may_tell(text) { fault } else { fault.without_text() })
}

fn read(text: &str) -> Result<Route, InvalidTarget> {
    let url = Url::parse(text).map_err(invalid)?;
    if url.fragment().is_some() {
        return Err(InvalidTarget::Fragment);
    }
    match url.scheme() {
        "redis" | "valkey" => tcp(&url),
        "unix" => unix(&url),
        "rediss" | "valkeys" => secure(tcp(&url)?, url.scheme()),
        scheme => Err(InvalidTarget::Scheme { scheme: scheme.into() }),
    }
}

fn invalid(error: url::ParseError) -> InvalidTarget {
    if error == url::ParseError::EmptyHost {
        InvalidTarget::Host
    } else if error == url::ParseError::InvalidPort {
        InvalidTarget::Port
    } else {
        InvalidTarget::Syntax { detail: error.to_string() }
    }
}

fn tcp(url: &Url) -> Result<Route, InvalidTarget> {
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(InvalidTarget::Host)?;
    // An IPv6 address stands in brackets in a URL and nowhere else.
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host: Arc<str> = decode("host", host)?.into();
    let port = url.port().unwrap_or(6379);
    if port == 0 {
        return Err(InvalidTarget::Port);
    }
    let mut credentials = user_info(url)?;
    let path = url.path().strip_prefix('/').unwrap_or_default();
    if !path.is_empty() {
        credentials.database = database(path)?;
    }
    for (key, value) in options(url)? {
        match &*key {
            "protocol" => credentials.protocol = protocol(&value)?,
            _ => return Err(unknown(&key, "only \"protocol\"; the database is the URL's path")),
        }
    }
    Ok(Route { credentials: complete(credentials)?, endpoint: Endpoint::Tcp { host, port } })
}

/// Makes a route lead through TLS.
#[cfg(feature = "tls")]
fn secure(mut route: Route, _scheme: &str) -> Result<Route, InvalidTarget> {
    if let Endpoint::Tcp { host, port } = route.endpoint {
        if tls::server_name(&host).is_none() {
            return Err(InvalidTarget::HostName { host: host.as_ref().into() });
        }
        route.endpoint = Endpoint::Tls { host, port, tls: Tls::new() };
    }
    Ok(route)
}

#[cfg(not(feature = "tls"))]
fn secure(_route: Route, scheme: &str) -> Result<Route, InvalidTarget> {
    Err(InvalidTarget::Tls { scheme: scheme.into() })
}

fn unix(url: &Url) -> Result<Route, InvalidTarget> {
    if url.host_str().is_some_and(|host| !host.is_empty()) || url.path().len() < 2 {
        return Err(InvalidTarget::Path);
    }
    let path = PathBuf::from(decode("path", url.path())?);
    let mut credentials = user_info(url)?;
    for (key, value) in options(url)? {
        match &*key {
            "db" => credentials.database = database(&value)?,
            "pass" => credentials.password = Some(value),
            "protocol" => credentials.protocol = protocol(&value)?,
            "user" => credentials.username = Some(value),
            _ => return Err(unknown(&key, "\"db\", \"pass\", \"protocol\" and \"user\"")),
        }
    }
    Ok(Route { credentials: complete(credentials)?, endpoint: Endpoint::Unix(Arc::new(path)) })
}

fn user_info(url: &Url) -> Result<Credentials, InvalidTarget> {
    let mut credentials = Credentials::new();
    if !url.username().is_empty() {
        credentials.username = Some(decode("user", url.username())?);
    }
    if let Some(password) = url.password() {
        credentials.password = Some(decode("password", password)?);
    }
    Ok(credentials)
}

/// Keys and values of the query. Percent-decoded only: a `+` in a password is a `+`.
fn options(url: &Url) -> Result<Vec<(String, String)>, InvalidTarget> {
    let parts = url.query().unwrap_or_default().split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            Ok((decode("query", key)?, decode("query", value)?))
        })
        .collect()
}

/// A user without a password would not log in at all.
fn complete(credentials: Credentials) -> Result<Credentials, InvalidTarget> {
    match (&credentials.username, &credentials.password) {
        (Some(_), None) => Err(InvalidTarget::Password),
        _ => Ok(credentials),
    }
}

fn database(text: &str) -> Result<u32, InvalidTarget> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| InvalidTarget::Database { text: text.into() })
}

fn protocol(text: &str) -> Result<Protocol, InvalidTarget> {
    match text {
        "resp2" | "2" => Ok(Protocol::Resp2),
        "resp3" | "3" => Ok(Protocol::Resp3),
        _ => Err(InvalidTarget::Protocol { text: text.into() }),
    }
}

fn decode(part: &'static str, text: &str) -> Result<String, InvalidTarget> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| InvalidTarget::Encoding { part })
}

fn unknown(key: &str, known: &'static str) -> InvalidTarget {
    InvalidTarget::UnknownKey { key: key.into(), known }
}

/// Whether parts of a URL may be printed. Not when a password may have ended up in one of them: a
/// `/`, `?`, `#` or `&` in it that is not percent-encoded ends it early.
fn may_tell(text: &str) -> bool {
    let behind = text.split_once("://").map_or(text, |(_, behind)| behind);
    let rest = behind.find(['/', '?', '#']).map_or("", |end| &behind[end..]);
    let password = behind.starts_with('/') && rest.contains("pass=");
    !rest.contains('@') && !password
}

impl InvalidTarget {
    /// The same without what stood in the URL.
    fn without_text(mut self) -> Self {
        match &mut self {
            Self::Database { text: part }
            | Self::HostName { host: part }
            | Self::Protocol { text: part }
            | Self::Scheme { scheme: part }
            | Self::Tls { scheme: part }
            | Self::UnknownKey { key: part, .. } => *part = "…".into(),
            Self::Encoding { .. }
            | Self::Fragment
            | Self::Host
            | Self::NoTls
            | Self::NotUnicode
            | Self::Password
            | Self::Path
            | Self::Port
            | Self::Syntax { .. } => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Target;

    fn route(text: &str) -> Route {
        url(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn what_is_not_given_has_redis_own_defaults() {
        let Route { credentials, endpoint } = route("redis://example");
        assert_eq!(endpoint.to_string(), "example:6379");
        assert_eq!((credentials.username, credentials.password), (None, None));
        assert_eq!((credentials.database, credentials.protocol), (0, Protocol::Resp2));
    }

    #[test]
    fn every_part_of_a_redis_url_counts() {
        let route = route("valkey://al%40ce:p%40ss%2Fw@[::1]:7000/3?protocol=resp3");
        assert_eq!(route.endpoint.to_string(), "[::1]:7000");
        let credentials = route.credentials;
        assert_eq!(credentials.username.as_deref(), Some("al@ce"));
        assert_eq!(credentials.password.as_deref(), Some("p@ss/w"));
        assert_eq!((credentials.database, credentials.protocol), (3, Protocol::Resp3));
        let only_password = self::route("redis://:pw@h/").credentials;
        assert_eq!(only_password.username, None);
        assert_eq!(only_password.password.as_deref(), Some("pw"));
    }

    #[test]
    fn every_part_of_a_unix_url_counts() {
        let route = route("unix:///run/my%20redis.sock?db=2&user=alice&pass=p%40s+s&protocol=3");
        assert_eq!(route.endpoint.to_string(), "/run/my redis.sock");
        let credentials = route.credentials;
        assert_eq!(credentials.username.as_deref(), Some("alice"));
        assert_eq!(credentials.password.as_deref(), Some("p@s+s"));
        assert_eq!((credentials.database, credentials.protocol), (2, Protocol::Resp3));
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_is_wrong_with_it() {
        let text = |text: &str| text.to_string();
        let cases = [
            ("redis://h/x", InvalidTarget::Database { text: text("x") }),
            ("redis://h/1/2", InvalidTarget::Database { text: text("1/2") }),
            ("redis://h/-1", InvalidTarget::Database { text: text("-1") }),
            ("redis://h/+1", InvalidTarget::Database { text: text("+1") }),
            ("unix:///s?db=", InvalidTarget::Database { text: text("") }),
            ("redis://:%ff@h", InvalidTarget::Encoding { part: "password" }),
            ("redis://h#insecure", InvalidTarget::Fragment),
            ("redis://", InvalidTarget::Host),
            ("redis:///3", InvalidTarget::Host),
            ("redis://:6379", InvalidTarget::Host),
            ("redis:h", InvalidTarget::Host),
            ("redis://alice@h", InvalidTarget::Password),
            ("unix:///s?user=alice", InvalidTarget::Password),
            ("unix://run/redis.sock", InvalidTarget::Path),
            ("unix:///", InvalidTarget::Path),
            ("redis://h:99999", InvalidTarget::Port),
            ("redis://h:x", InvalidTarget::Port),
            ("redis://h:0", InvalidTarget::Port),
            ("redis://h?protocol=4", InvalidTarget::Protocol { text: text("4") }),
            ("http://h", InvalidTarget::Scheme { scheme: text("http") }),
            ("localhost:6379", InvalidTarget::Scheme { scheme: text("localhost") }),
        ];
        for (text, fault) in cases {
            assert_eq!(url(text).err(), Some(fault), "{text}");
        }
        for text in ["", "127.0.0.1:6379", "/run/redis.sock"] {
            assert!(matches!(url(text), Err(InvalidTarget::Syntax { .. })), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "tls")]
    fn a_url_with_one_s_more_leads_through_tls() {
        for (text, shown) in [
            ("rediss://alice:secret@h/2", "rediss://alice@h:6379/2"),
            ("valkeys://[::1]:7000", "rediss://[::1]:7000"),
        ] {
            let target = Target::url(text).unwrap();
            assert_eq!(target.to_string(), shown);
            assert!(target.tls(Tls::new()).is_ok());
        }
        let fault = url("rediss://a%20b").err();
        assert_eq!(fault, Some(InvalidTarget::HostName { host: "a b".into() }));
        let plain = Target::url("redis://h").unwrap();
        assert_eq!(plain.tls(Tls::new()).err(), Some(InvalidTarget::NoTls));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn a_url_with_one_s_more_needs_the_feature_tls() {
        for scheme in ["rediss", "valkeys"] {
            let fault = url(&format!("{scheme}://h")).err();
            assert_eq!(fault, Some(InvalidTarget::Tls { scheme: scheme.into() }));
        }
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        for (text, key) in [
            ("redis://h?db=4", "db"),
            ("redis://h?clientName=x", "clientName"),
            ("unix:///s?timeout=1", "timeout"),
        ] {
            let fault = url(text).err().unwrap();
            assert!(matches!(&fault, InvalidTarget::UnknownKey { key: named, .. } if named == key));
            assert!(fault.to_string().contains(key), "{fault}");
        }
    }

    #[test]
    fn nothing_that_is_printed_has_the_password_in_it() {
        let target = Target::url("redis://alice:secret@h/2").unwrap();
        assert_eq!(target.to_string(), "redis://alice@h:6379/2");
        assert!(!format!("{target:?}").contains("secret"));
        let credentials = Credentials::new().password("secret");
        assert!(!format!("{credentials:?}").contains("secret"));
        for text in [
            "redis://alice:secret@h/x",
            "redis://alice:12/secret@h",
            "redis://alice:12?secret@h",
            "redis://alice:12#secret@h",
            "redis://alice:secret@h:0",
            "redis://alice:secret@h:x",
            "redis://alice:secret@h?x=1",
            "redis://alice:secret@",
            "http://alice:secret@h",
            "rediss://alice:secret@h/x",
            "unix:///s?pass=secret&user=alice&x=1",
            "unix:///s?user=alice&pass=hunter&secret",
            "unix:///s?user=alice&pass=hunter&secret=1&protocol=secret",
            "redis://alice:12?secret&ret@h",
            "redis://alice:12?x=1&secret@h",
            "redis://alice:12/secret?ret@h",
            "redis://alice:12?protocol=secret@h",
            "redis://secret@h",
        ] {
            let fault = url(text).err().unwrap();
            assert!(!format!("{fault} {fault:?}").contains("secret"), "{text}");
        }
    }
}

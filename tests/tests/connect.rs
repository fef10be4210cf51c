//! Connecting to nothing, to the wrong thing, or as the wrong person: what people get to read.
//!
//! Not the sorting of errors into types, which the adapter's own tests check against servers made
//! up for it. Here are a real Redis with its own words, and for each mistake the words that must
//! stand in the text: what was wrong, and what can be done. Nothing takes longer than five seconds.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    missing_docs,
    reason = "tests hope, and say so by failing"
)]

use std::time::{Duration, Instant};

use clamator_tests::redis::{RawReply, RedisServer, free_port};
use clamator_tokio::{
    CallError, Client, ConnectError, Context, Credentials, Server, Service, StartError, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::compat::TokioAsyncReadCompatExt;

const PREFIX: &str = "connect";
/// What any of this may take.
const SOON: Duration = Duration::from_secs(5);
/// As which users of a Redis with access lists come; each lacks something.
const USERS: [&str; 4] = [
    "admin on >pw ~* +@all",
    "mute on >pw ~* +@all -xadd",
    "alone on >pw ~* +@all -xgroup",
    "elsewhere on >pw ~elsewhere:* +@all",
];

fn target(url: &str) -> Target {
    Target::url(url).unwrap_or_else(|fault| panic!("{url}: {fault}"))
}

fn echo() -> Service {
    Service::new("echo").request("echo", async |value: u64, _: Context| Ok(value))
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it ends within five seconds")
}

/// Asserts that neither a client nor a server gets anywhere, and that both say these words.
async fn assert_refused(target: &Target, words: &[&str]) {
    let client = soon(Client::connect(PREFIX, target)).await;
    let client = client.expect_err("a client connected").to_string();
    let server = soon(Server::builder(PREFIX).service(echo()).start(target)).await;
    let server = server.expect_err("a server started").to_string();
    for text in [client, server] {
        let place = target.to_string();
        for word in words.iter().copied().chain(["cannot connect", &place]) {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}

/// A server made up: gives these bytes back for the first ones it reads, then listens.
async fn fake(answer: &'static [u8]) -> Target {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut read = [0; 4096];
                if matches!(stream.read(&mut read).await, Ok(1..)) {
                    let _ = stream.write_all(answer).await;
                }
                while matches!(stream.read(&mut read).await, Ok(1..)) {}
            });
        }
    });
    target(&format!("redis://{address}"))
}

#[tokio::test]
async fn nobody_listens() {
    let port = free_port();
    let words = [&format!("cannot reach Redis at 127.0.0.1:{port}")[..], "refused"];
    assert_refused(&target(&format!("redis://127.0.0.1:{port}")), &words).await;
    let nowhere = target("redis://no-such-host.invalid");
    assert_refused(&nowhere, &["cannot reach Redis at no-such-host.invalid:6379"]).await;
    let socket = target("unix:///no/such/redis.sock?db=1");
    assert_refused(&socket, &["cannot reach Redis at /no/such/redis.sock", "No such file"]).await;
}

#[tokio::test]
async fn what_listens_is_no_redis() {
    let web = fake(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
    assert_refused(&web, &["did not answer as Redis does"]).await;
    let mail = fake(b"220 mail.example ESMTP\r\n").await;
    assert_refused(&mail, &["did not answer as Redis does"]).await;
    let noise = fake(b"\x16\x03\x01\x00\xff\xfe\0\0").await;
    assert_refused(&noise, &["did not answer as Redis does"]).await;
}

#[tokio::test]
async fn what_listens_says_nothing() {
    let silent = fake(b"").await;
    let tried = Instant::now();
    assert_refused(&silent, &["no answer", "2s"]).await;
    // The client's two seconds, then the server's.
    assert!(tried.elapsed() < SOON, "{:?}", tried.elapsed());
    let client = Client::builder(PREFIX).connect_timeout(Duration::from_millis(200));
    let error = soon(client.connect(&silent)).await.expect_err("connected").to_string();
    assert!(error.contains("200ms"), "{error}");
}

#[tokio::test]
async fn the_redis_is_older_than_6_2() {
    let hello = b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n\
                  *2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    assert_refused(&fake(hello).await, &["version 6.0.16", "needs 6.2.0 or newer"]).await;
}

#[tokio::test]
async fn the_password_is_missing_or_wrong() {
    let redis = RedisServer::start_with(&["--requirepass", "right"]);
    let port = redis.port();
    assert_refused(&target(&redis.url()), &["credentials", "NOAUTH"]).await;
    for protocol in ["resp2", "resp3"] {
        let wrong = format!("redis://:secret@127.0.0.1:{port}?protocol={protocol}");
        assert_refused(&target(&wrong), &["credentials", "WRONGPASS", "password"]).await;
        let stranger = format!("redis://bob:secret@127.0.0.1:{port}?protocol={protocol}");
        let words = ["credentials", "WRONGPASS", "username-password", "bob@"];
        assert_refused(&target(&stranger), &words).await;
        let right = format!("redis://:right@127.0.0.1:{port}?protocol={protocol}");
        soon(Client::connect(PREFIX, target(&right))).await.expect("the right password");
    }
    // A Redis without a password takes none.
    let open = RedisServer::start();
    let needless = target(&format!("redis://:secret@127.0.0.1:{}", open.port()));
    assert_refused(&needless, &["credentials", "without any password configured"]).await;
}

#[tokio::test]
async fn the_database_does_not_exist() {
    let redis = RedisServer::start_with(&["--databases", "4"]);
    let url = redis.url();
    let words = ["DB index is out of range", "/4"];
    assert_refused(&target(&format!("{url}/4")), &words).await;
    soon(Client::connect(PREFIX, target(&format!("{url}/3")))).await.expect("there is a 3");
}

#[tokio::test]
async fn redis_takes_no_more_connections() {
    let redis = RedisServer::start();
    let held = redis.connect();
    redis.command("CONFIG SET maxclients 1");
    sleep(Duration::from_millis(100)).await;
    assert_refused(&target(&redis.url()), &["number of clients"]).await;
    drop(held);
}

#[tokio::test]
async fn the_user_may_not_do_what_it_takes() {
    let redis = RedisServer::start();
    for user in USERS {
        redis.command(&format!("ACL SETUSER {user}"));
    }
    let user = |name: &str| target(&format!("redis://{name}:pw@127.0.0.1:{}", redis.port()));
    let server = Server::builder(PREFIX).service(echo()).start(user("admin"));
    let server = soon(server).await.expect("who may do all may serve");

    for (name, what) in [("alone", "xgroup"), ("elsewhere", "keys")] {
        let start = soon(Server::builder(PREFIX).service(echo()).start(user(name))).await;
        let error = start.expect_err("it serves without the right to");
        assert!(matches!(error, StartError::Group { .. }), "{error:?}");
        let text = error.to_string();
        for word in ["group", "\"echo\"", "NOPERM", what] {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }

    let mute = soon(Client::connect(PREFIX, user("mute"))).await.expect("it may connect");
    let error = soon(mute.call::<u64>("echo.echo", 1)).await.expect_err("it called");
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.code == "NOPERM"), "{error:?}");
    assert!(error.to_string().contains("xadd"), "{error}");
    soon(server.shutdown()).await;
}

#[test]
fn a_url_with_a_mistake_is_told_what_to_write() {
    let cases = [
        ("", "write redis://host:port"),
        ("localhost:6379", "write redis://host:port"),
        ("http://localhost", "\"http\" is no scheme"),
        ("rediss://localhost", "TLS"),
        ("redis://", "the host is missing"),
        ("redis://localhost:99999", "1 to 65535"),
        ("redis://localhost:port", "1 to 65535"),
        ("redis://localhost/first", "\"first\" is no database"),
        ("redis://localhost/-1", "write a number"),
        ("redis://localhost?db=4", "unknown option \"db\""),
        ("redis://localhost?db=4", "the database is the URL's path"),
        ("redis://localhost?clientName=x", "unknown option \"clientName\""),
        ("redis://localhost?protocol=resp4", "write resp2 or resp3"),
        ("redis://localhost#1", "%23"),
        ("redis://bob@localhost", "redis://bob:password@host"),
        ("redis://:%ff@localhost", "UTF-8"),
        ("unix://run/redis.sock", "three slashes"),
        ("unix:///run/redis.sock?database=1", "unknown option \"database\""),
    ];
    for (url, words) in cases {
        let fault = Target::url(url).expect_err(url).to_string();
        assert!(fault.contains(words), "{url}: {words:?} is not in {fault:?}");
    }
}

/// A URL and a connector at once cannot be said: a target is made from one or the other.
#[tokio::test]
async fn a_connector_leads_to_redis_as_a_url_does() {
    let redis = RedisServer::start_with(&["--requirepass", "right"]);
    let port = redis.port();
    let connect =
        move || async move { Ok(TcpStream::connect(("127.0.0.1", port)).await?.compat()) };
    let right = Target::connector(Credentials::new().password("right"), connect);
    let server = soon(Server::builder(PREFIX).service(echo()).start(&right)).await.expect("serves");
    let client = soon(Client::connect(PREFIX, &right)).await.expect("connects");
    assert_eq!(soon(client.call::<u64>("echo.echo", 7)).await, Ok(7));
    let wrong = Target::connector(Credentials::new().password("secret"), connect);
    assert_refused(&wrong, &["credentials", "WRONGPASS", "connector"]).await;
    soon(server.shutdown()).await;
}

#[tokio::test]
async fn a_client_made_while_redis_was_down_calls_once_it_is_up() {
    let mut redis = RedisServer::start();
    let url = redis.url();
    redis.kill();
    let client = Client::connect_lazy(PREFIX, target(&url));
    let refused = soon(client.call::<u64>("echo.echo", 1)).await;
    assert_eq!(refused, Err(CallError::NotSent));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("not sent") && text.contains("out of reach"), "{text}");
    let start = soon(Server::builder(PREFIX).service(echo()).start(target(&url))).await;
    assert!(matches!(start, Err(StartError::Connect(ConnectError::Lost { .. }))), "{start:?}");
    sleep(Duration::from_secs(1)).await;
    redis.restart();
    let up = Instant::now();
    let server = soon(Server::builder(PREFIX).service(echo()).start(target(&url))).await;
    let server = server.expect("the server starts");
    while soon(client.call::<u64>("echo.echo", 2)).await != Ok(2) {
        assert!(up.elapsed() < Duration::from_secs(2), "not connected {:?} later", up.elapsed());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(redis.command("PING"), RawReply::Simple("PONG".into()));
    soon(server.shutdown()).await;
}

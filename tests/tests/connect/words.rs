//! What people get to read when they connect to nothing, to the wrong thing, or as the wrong
//! person.
//!
//! Not the sorting of errors into types, which `kinds` has. Here are a real Redis with its own
//! words, and for each mistake the words that must stand in the text: what was wrong, and what can
//! be done. Nothing takes longer than five seconds.

use std::time::Duration;

use clamator_driver::{
    CallError, Client, ConnectError, Context, Credentials, Runtime, Server, Service, StartError,
    Target,
};
use clamator_tests::process::now;
use clamator_tests::redis::{RawReply, RedisServer, free_port};
use clamator_tests::scenarios;
use clamator_tests::world::Async;

use crate::fake::Fake;

scenarios!(
    nobody_listens,
    what_listens_is_no_redis,
    what_listens_says_nothing,
    the_redis_is_older_than_6_2,
    the_password_is_missing_or_wrong,
    the_database_does_not_exist,
    redis_takes_no_more_connections,
    the_user_may_not_do_what_it_takes,
    a_connector_leads_to_redis_as_a_url_does,
    a_client_made_while_redis_was_down_calls_once_it_is_up,
);

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

/// Waits for this, which must not take long.
async fn soon<R: Runtime, F: Future>(runtime: &R, future: F) -> F::Output {
    runtime.within(SOON, "what must not take long", future).await
}

async fn connect<R: Runtime>(
    runtime: &R,
    target: impl Into<Target>,
) -> Result<Client<R>, ConnectError> {
    soon(runtime, Client::builder(PREFIX).connect_on(runtime.clone(), target)).await
}

async fn start<R: Runtime>(
    runtime: &R,
    target: impl Into<Target>,
) -> Result<Server<R>, StartError> {
    let server = Server::builder(PREFIX).service(echo());
    soon(runtime, server.start_on(runtime.clone(), target)).await
}

/// Asserts that neither a client nor a server gets anywhere, and that both say these words.
async fn assert_refused<R: Runtime>(runtime: &R, target: &Target, words: &[&str]) {
    let client = connect(runtime, target).await;
    let client = client.expect_err("a client connected").to_string();
    let server = start(runtime, target).await;
    let server = server.expect_err("a server started").to_string();
    for text in [client, server] {
        let place = target.to_string();
        for word in words.iter().copied().chain(["cannot connect", &place]) {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
}

async fn nobody_listens<R: Runtime>(runtime: R) {
    let port = free_port();
    let words = [&format!("cannot reach Redis at 127.0.0.1:{port}")[..], "refused"];
    assert_refused(&runtime, &target(&format!("redis://127.0.0.1:{port}")), &words).await;
    let nowhere = target("redis://no-such-host.invalid");
    assert_refused(&runtime, &nowhere, &["cannot reach Redis at no-such-host.invalid:6379"]).await;
    let socket = target("unix:///no/such/redis.sock?db=1");
    let words = ["cannot reach Redis at /no/such/redis.sock", "No such file"];
    assert_refused(&runtime, &socket, &words).await;
}

async fn what_listens_is_no_redis<R: Runtime>(runtime: R) {
    let web = Fake::that_says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
    assert_refused(&runtime, &web.target(), &["did not answer as Redis does"]).await;
    let mail = Fake::that_says(b"220 mail.example ESMTP\r\n");
    assert_refused(&runtime, &mail.target(), &["did not answer as Redis does"]).await;
    let noise = Fake::that_says(b"\x16\x03\x01\x00\xff\xfe\0\0");
    assert_refused(&runtime, &noise.target(), &["did not answer as Redis does"]).await;
}

async fn what_listens_says_nothing<R: Runtime>(runtime: R) {
    let silent = Fake::that_is_silent();
    let tried = now();
    assert_refused(&runtime, &silent.target(), &["no answer", "2s"]).await;
    // The client's two seconds, then the server's.
    assert!(tried.elapsed() < SOON, "{:?}", tried.elapsed());
    let client = Client::builder(PREFIX).connect_timeout(Duration::from_millis(200));
    let connecting = client.connect_on(runtime.clone(), silent.target());
    let error = soon(&runtime, connecting).await.expect_err("connected").to_string();
    assert!(error.contains("200ms"), "{error}");
}

async fn the_redis_is_older_than_6_2<R: Runtime>(runtime: R) {
    let hello = b"*4\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n6.0.16\r\n\
                  *2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    let old = Fake::that_says(hello);
    assert_refused(&runtime, &old.target(), &["version 6.0.16", "needs 6.2.0 or newer"]).await;
}

async fn the_password_is_missing_or_wrong<R: Runtime>(runtime: R) {
    let redis = RedisServer::start_with(&["--requirepass", "right"]);
    let port = redis.port();
    assert_refused(&runtime, &target(&redis.url()), &["credentials", "NOAUTH"]).await;
    for protocol in ["resp2", "resp3"] {
        let wrong = format!("redis://:secret@127.0.0.1:{port}?protocol={protocol}");
        assert_refused(&runtime, &target(&wrong), &["credentials", "WRONGPASS", "password"]).await;
        let stranger = format!("redis://bob:secret@127.0.0.1:{port}?protocol={protocol}");
        let words = ["credentials", "WRONGPASS", "username-password", "bob@"];
        assert_refused(&runtime, &target(&stranger), &words).await;
        let right = format!("redis://:right@127.0.0.1:{port}?protocol={protocol}");
        connect(&runtime, target(&right)).await.expect("the right password");
    }
    // A Redis without a password takes none.
    let open = RedisServer::start();
    let needless = target(&format!("redis://:secret@127.0.0.1:{}", open.port()));
    assert_refused(&runtime, &needless, &["credentials", "without any password configured"]).await;
}

async fn the_database_does_not_exist<R: Runtime>(runtime: R) {
    let redis = RedisServer::start_with(&["--databases", "4"]);
    let url = redis.url();
    let words = ["DB index is out of range", "/4"];
    assert_refused(&runtime, &target(&format!("{url}/4")), &words).await;
    connect(&runtime, target(&format!("{url}/3"))).await.expect("there is a 3");
}

async fn redis_takes_no_more_connections<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    let held = redis.connect();
    redis.command("CONFIG SET maxclients 1");
    runtime.sleep(Duration::from_millis(100)).await;
    assert_refused(&runtime, &target(&redis.url()), &["number of clients"]).await;
    drop(held);
}

async fn the_user_may_not_do_what_it_takes<R: Runtime>(runtime: R) {
    let redis = RedisServer::start();
    for user in USERS {
        redis.command(&format!("ACL SETUSER {user}"));
    }
    let user = |name: &str| target(&format!("redis://{name}:pw@127.0.0.1:{}", redis.port()));
    let server = start(&runtime, user("admin")).await.expect("who may do all may serve");

    for (name, what) in [("alone", "xgroup"), ("elsewhere", "key")] {
        let started = start(&runtime, user(name)).await;
        let error = started.expect_err("it serves without the right to");
        assert!(matches!(error, StartError::Group { .. }), "{error:?}");
        let text = error.to_string();
        for word in ["group", "\"echo\"", "NOPERM", what] {
            assert!(text.contains(word), "{word:?} is not in {text:?}");
        }
    }

    let mute = connect(&runtime, user("mute")).await.expect("it may connect");
    let error = soon(&runtime, mute.call::<u64>("echo.echo", 1)).await.expect_err("it called");
    assert!(matches!(&error, CallError::Refused(refusal) if refusal.code == "NOPERM"), "{error:?}");
    assert!(error.to_string().contains("xadd"), "{error}");
    soon(&runtime, server.shutdown()).await;
}

/// A URL and a connector at once cannot be said: a target is made from one or the other.
async fn a_connector_leads_to_redis_as_a_url_does<R: Runtime>(runtime: R) {
    let redis = RedisServer::start_with(&["--requirepass", "right"]);
    let port = redis.port();
    let through = |password: &str| {
        let runtime = runtime.clone();
        let connector = move || runtime.connect_tcp("127.0.0.1", port);
        Target::connector(Credentials::new().password(password), connector)
    };
    let right = through("right");
    let server = start(&runtime, &right).await.expect("serves");
    let client = connect(&runtime, &right).await.expect("connects");
    assert_eq!(soon(&runtime, client.call::<u64>("echo.echo", 7)).await, Ok(7));
    let wrong = through("secret");
    assert_refused(&runtime, &wrong, &["credentials", "WRONGPASS", "connector"]).await;
    soon(&runtime, server.shutdown()).await;
}

async fn a_client_made_while_redis_was_down_calls_once_it_is_up<R: Runtime>(runtime: R) {
    let mut redis = RedisServer::start();
    let url = redis.url();
    redis.kill();
    let client = Client::builder(PREFIX).connect_lazy_on(runtime.clone(), target(&url));
    let refused = soon(&runtime, client.call::<u64>("echo.echo", 1)).await;
    assert_eq!(refused, Err(CallError::NotSent));
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("not sent") && text.contains("out of reach"), "{text}");
    let started = start(&runtime, target(&url)).await;
    assert!(matches!(started, Err(StartError::Connect(ConnectError::Lost { .. }))), "{started:?}");
    runtime.sleep(Duration::from_secs(1)).await;
    redis.restart();
    let up = now();
    let server = start(&runtime, target(&url)).await.expect("the server starts");
    while soon(&runtime, client.call::<u64>("echo.echo", 2)).await != Ok(2) {
        assert!(up.elapsed() < Duration::from_secs(2), "not connected {:?} later", up.elapsed());
        runtime.sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(redis.command("PING"), RawReply::Simple("PONG".into()));
    soon(&runtime, server.shutdown()).await;
}

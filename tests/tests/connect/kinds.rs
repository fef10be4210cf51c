//! What is no Redis, or not a good one, is a typed error that names what was wrong, within the time
//! allowed; and nothing is left of the try.
//!
//! Not the texts, which `words` has. The servers are made up, so that each does exactly one thing
//! wrong.

use std::future::Ready;
use std::io;
use std::time::Duration;

use clamator_driver::runtime::BoxedStream;
use clamator_driver::{
    Client, ConnectError, Credentials, Loss, Runtime, Server, Service, StartError, Target,
};
use clamator_tests::scenarios;
use clamator_tests::world::Async;

use crate::fake::Fake;

scenarios!(
    a_closed_port_is_unreachable_and_named,
    a_missing_socket_is_unreachable_and_named,
    a_server_that_says_nothing_is_overdue,
    a_server_that_hangs_up_is_closed,
    a_web_server_is_garbled,
    a_server_that_knows_nothing_is_garbled,
    an_old_redis_is_too_old_whether_it_knows_hello_or_not,
    a_server_that_says_why_it_hangs_up_is_heard,
    refused_credentials_are_told_in_redis_own_words,
    a_users_own_connector_is_called_and_its_error_is_told,
    a_client_that_could_not_connect_leaves_nothing_behind,
    a_start_that_nobody_waits_for_any_more_leaves_nothing_behind,
);

const PREFIX: &str = "connect";

async fn loss<R: Runtime>(runtime: &R, target: Target) -> Loss {
    let client = Client::builder(PREFIX).connect_timeout(Duration::from_millis(300));
    let connecting = client.connect_on(runtime.clone(), target);
    match runtime.within(Duration::from_secs(3), "an error", connecting).await {
        Err(ConnectError::Lost { loss, .. }) => loss,
        other => panic!("connected: {other:?}"),
    }
}

fn service() -> Service {
    Service::new("a").request("b", async |(): (), _| Ok(()))
}

async fn a_closed_port_is_unreachable_and_named<R: Runtime>(runtime: R) {
    let target = Target::url("redis://127.0.0.1:1").unwrap();
    let loss = loss(&runtime, target.clone()).await;
    assert!(matches!(&loss, Loss::Unreachable { address, .. } if address == "127.0.0.1:1"));
    let server = Server::builder(PREFIX).service(service());
    let error = server.start_on(runtime, target).await.unwrap_err();
    assert!(matches!(error, StartError::Connect(ConnectError::Lost { .. })), "{error}");
}

async fn a_missing_socket_is_unreachable_and_named<R: Runtime>(runtime: R) {
    let loss = loss(&runtime, Target::url("unix:///no/such/socket").unwrap()).await;
    assert!(matches!(&loss, Loss::Unreachable { address, .. } if address == "/no/such/socket"));
}

async fn a_server_that_says_nothing_is_overdue<R: Runtime>(runtime: R) {
    let silent = Fake::that_is_silent();
    let loss = loss(&runtime, silent.target()).await;
    assert!(matches!(loss, Loss::Overdue { .. }), "{loss:?}");
}

async fn a_server_that_hangs_up_is_closed<R: Runtime>(runtime: R) {
    let fake = Fake::that_hangs_up(&[]);
    let loss = loss(&runtime, fake.target()).await;
    assert!(matches!(loss, Loss::Closed { .. }), "{loss:?}");
}

async fn a_web_server_is_garbled<R: Runtime>(runtime: R) {
    let fake = Fake::that_hangs_up(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
    let loss = loss(&runtime, fake.target()).await;
    assert!(matches!(loss, Loss::Garbled { .. }), "{loss:?}");
}

async fn a_server_that_knows_nothing_is_garbled<R: Runtime>(runtime: R) {
    let error = b"-ERR unknown command\r\n-ERR unknown command\r\n-ERR unknown command\r\n";
    let fake = Fake::that_hangs_up(&[error, b"-ERR unknown command\r\n"]);
    let loss = loss(&runtime, fake.target()).await;
    assert!(matches!(loss, Loss::Garbled { .. }), "{loss:?}");
}

async fn an_old_redis_is_too_old_whether_it_knows_hello_or_not<R: Runtime>(runtime: R) {
    let error = b"-ERR unknown command `HELLO`\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    let info = b"$34\r\n# Server\r\nredis_version:5.0.7\r\nx:y\r\n\r\n";
    let without = Fake::that_hangs_up(&[error, info]);
    let loss = loss(&runtime, without.target()).await;
    assert_eq!(loss.to_string(), "the server is version 5.0.7, and clamator needs 6.2.0 or newer");
    let hello = b"*2\r\n$7\r\nversion\r\n$5\r\n6.0.9\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    let with = Fake::that_hangs_up(&[hello]);
    let loss = self::loss(&runtime, with.target()).await;
    assert!(matches!(loss, Loss::TooOld { .. }), "{loss:?}");
}

async fn a_server_that_says_why_it_hangs_up_is_heard<R: Runtime>(runtime: R) {
    let full = Fake::that_hangs_up(&[b"-ERR max number of clients reached\r\n"]);
    let loss = loss(&runtime, full.target()).await;
    assert!(loss.to_string().contains("max number of clients"), "{loss}");
    let loading = Fake::that_hangs_up(&[b"-LOADING Redis is loading\r\n"]);
    let loss = self::loss(&runtime, loading.target()).await;
    assert!(matches!(&loss, Loss::Unfit(refusal) if refusal.code == "LOADING"), "{loss:?}");
}

async fn refused_credentials_are_told_in_redis_own_words<R: Runtime>(runtime: R) {
    let refused =
        b"-WRONGPASS invalid username-password pair\r\n-NOAUTH x\r\n-NOAUTH x\r\n-NOAUTH x\r\n";
    let fake = Fake::that_hangs_up(&[refused]);
    let url = format!("redis://alice:secret@{}", fake.address());
    let client = Client::builder(PREFIX).connect_on(runtime, Target::url(&url).unwrap());
    let error = client.await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("WRONGPASS") && text.contains("alice@127.0.0.1"), "{text}");
    assert!(!format!("{text} {error:?}").contains("secret"));
}

async fn a_users_own_connector_is_called_and_its_error_is_told<R: Runtime>(runtime: R) {
    let target = Target::connector(Credentials::new(), || async {
        Err::<BoxedStream, _>(io::Error::other("tunnel".to_owned()))
    });
    let loss = loss(&runtime, target).await;
    assert!(matches!(&loss, Loss::Unreachable { detail, .. } if detail == "tunnel"), "{loss:?}");

    let called = || -> Ready<io::Result<BoxedStream>> { panic!("no secret") };
    let polled = || async { panic!("no secret") as io::Result<BoxedStream> };
    let credentials = Credentials::new;
    for target in
        [Target::connector(credentials(), called), Target::connector(credentials(), polled)]
    {
        let loss = self::loss(&runtime, target).await;
        let Loss::Unreachable { detail, .. } = loss else { panic!("{loss:?}") };
        assert_eq!(detail, "the connector panicked: no secret");
    }

    let fake = Fake::that_is_silent();
    let (port, connecting) = (fake.address().port(), runtime.clone());
    let target = Target::connector(Credentials::new().password("pw"), move || {
        connecting.connect_tcp("127.0.0.1", port)
    });
    let _client = Client::builder(PREFIX).connect_lazy_on(runtime.clone(), target);
    let login = b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n";
    runtime.until("somebody logs in", || fake.heard().len() >= login.len()).await;
    assert!(fake.heard().starts_with(login), "{}", fake.heard().escape_ascii());
}

async fn a_client_that_could_not_connect_leaves_nothing_behind<R: Runtime>(runtime: R) {
    let silent = Fake::that_is_silent();
    let client = Client::builder(PREFIX).connect_timeout(Duration::from_millis(100));
    assert!(client.connect_on(runtime.clone(), silent.target()).await.is_err());
    assert_nothing_is_left(&runtime, &silent).await;
}

async fn a_start_that_nobody_waits_for_any_more_leaves_nothing_behind<R: Runtime>(runtime: R) {
    let silent = Fake::that_is_silent();
    let server = Server::builder(PREFIX).service(service());
    let start = server.start_on(runtime.clone(), silent.target());
    assert!(runtime.timeout(Duration::from_millis(50), start).await.is_err());
    assert_nothing_is_left(&runtime, &silent).await;
}

/// Asserts that both connections are closed, within a second, and no third one is made.
async fn assert_nothing_is_left<R: Runtime>(runtime: &R, silent: &Fake) {
    let closed = runtime.until("both connections are closed", || silent.ended() == 2);
    runtime.within(Duration::from_secs(1), "the end of both connections", closed).await;
    runtime.sleep(Duration::from_millis(500)).await;
    assert_eq!((silent.accepted(), silent.ended()), (2, 2));
}

//! Connecting to what is no Redis, or not a good one: each is a typed error that names what was
//! wrong, within the time allowed, and never a hang.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use clamator_tokio::{
    Client, ConnectError, Credentials, InvalidTarget, Loss, Server, Service, StartError, Target,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// Serves every connection with these bytes for every read, or hangs up when there are none left.
async fn fake(answers: &[&'static [u8]]) -> Target {
    let answers = answers.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 1024];
                for answer in answers {
                    if !matches!(stream.read(&mut buffer).await, Ok(1..)) {
                        return;
                    }
                    let _ = stream.write_all(answer).await;
                }
            });
        }
    });
    Target::url(&format!("redis://127.0.0.1:{port}")).unwrap()
}

async fn loss(target: Target) -> Loss {
    let client = Client::builder("connect").connect_timeout(Duration::from_millis(300));
    match timeout(Duration::from_secs(3), client.connect(target)).await.unwrap() {
        Err(ConnectError::Lost { loss, .. }) => loss,
        other => panic!("connected: {other:?}"),
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable_and_named() {
    let loss = loss(Target::url("redis://127.0.0.1:1").unwrap()).await;
    assert!(matches!(&loss, Loss::Unreachable { address, .. } if address == "127.0.0.1:1"));
    let service = Service::new("a").request("b", async |(): (), _| Ok(()));
    let server = Server::builder("connect").service(service);
    let error = server.start(Target::url("redis://127.0.0.1:1").unwrap()).await.unwrap_err();
    assert!(matches!(error, StartError::Connect(ConnectError::Lost { .. })), "{error}");
}

#[tokio::test]
async fn a_missing_socket_is_unreachable_and_named() {
    let loss = loss(Target::url("unix:///no/such/socket").unwrap()).await;
    assert!(matches!(&loss, Loss::Unreachable { address, .. } if address == "/no/such/socket"));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_overdue() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let loss = loss(Target::url(&url).unwrap()).await;
    assert!(matches!(loss, Loss::Overdue { .. }), "{loss:?}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_closed() {
    let loss = loss(fake(&[]).await).await;
    assert!(matches!(loss, Loss::Closed { .. }), "{loss:?}");
}

#[tokio::test]
async fn a_web_server_is_garbled() {
    let loss = loss(fake(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await).await;
    assert!(matches!(loss, Loss::Garbled { .. }), "{loss:?}");
}

#[tokio::test]
async fn a_server_that_knows_nothing_is_garbled() {
    let error = b"-ERR unknown command\r\n-ERR unknown command\r\n-ERR unknown command\r\n";
    let loss = loss(fake(&[error, b"-ERR unknown command\r\n"]).await).await;
    assert!(matches!(loss, Loss::Garbled { .. }), "{loss:?}");
}

#[tokio::test]
async fn an_old_redis_is_too_old_whether_it_knows_hello_or_not() {
    let error = b"-ERR unknown command `HELLO`\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    let info = b"$34\r\n# Server\r\nredis_version:5.0.7\r\nx:y\r\n\r\n";
    let loss = loss(fake(&[error, info]).await).await;
    assert_eq!(loss.to_string(), "the server is version 5.0.7, and clamator needs 6.2.0 or newer");
    let hello = b"*2\r\n$7\r\nversion\r\n$5\r\n6.0.9\r\n*2\r\n$1\r\n1\r\n$1\r\n2\r\n+OK\r\n";
    let loss = self::loss(fake(&[hello]).await).await;
    assert!(matches!(loss, Loss::TooOld { .. }), "{loss:?}");
}

#[tokio::test]
async fn a_server_that_says_why_it_hangs_up_is_heard() {
    let loss = loss(fake(&[b"-ERR max number of clients reached\r\n"]).await).await;
    assert!(loss.to_string().contains("max number of clients"), "{loss}");
    let loss = self::loss(fake(&[b"-LOADING Redis is loading\r\n"]).await).await;
    assert!(matches!(&loss, Loss::Unfit(refusal) if refusal.code == "LOADING"), "{loss:?}");
}

#[tokio::test]
async fn refused_credentials_are_told_in_redis_own_words() {
    let refused =
        b"-WRONGPASS invalid username-password pair\r\n-NOAUTH x\r\n-NOAUTH x\r\n-NOAUTH x\r\n";
    let target = fake(&[refused]).await;
    let url = target.to_string().replace("redis://", "redis://alice:secret@");
    let error = Client::connect("connect", Target::url(&url).unwrap()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("WRONGPASS") && text.contains("alice@127.0.0.1"), "{text}");
    assert!(!format!("{text} {error:?}").contains("secret"));
}

#[tokio::test]
async fn a_users_own_connector_is_called_and_its_error_is_told() {
    let down = || async { Err::<tokio_util::compat::Compat<TcpStream>, _>("tunnel".to_owned()) };
    let target = Target::connector(Credentials::new(), move || {
        let connecting = down();
        async move { connecting.await.map_err(std::io::Error::other) }
    });
    let loss = loss(target).await;
    assert!(matches!(&loss, Loss::Unreachable { detail, .. } if detail == "tunnel"), "{loss:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let target = Target::connector(Credentials::new().password("pw"), move || async move {
        Ok(TcpStream::connect(address).await?.compat())
    });
    let _client = Client::connect_lazy("connect", target);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await.unwrap();
    assert!(buffer[..read].starts_with(b"*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n"));
}

#[tokio::test]
async fn a_client_that_could_not_connect_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let client = Client::builder("connect").connect_timeout(Duration::from_millis(100));
    assert!(client.connect(Target::url(&url).unwrap()).await.is_err());
    // Both connections were closed, and no third one is made.
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(1), stream.read_to_end(&mut rest)).await;
        closed.expect("the connection is still open").unwrap();
    }
    assert!(timeout(Duration::from_millis(500), listener.accept()).await.is_err());
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let service = Service::new("a").request("b", async |(): (), _| Ok(()));
    let start = Server::builder("connect").service(service).start(Target::url(&url).unwrap());
    assert!(timeout(Duration::from_millis(50), start).await.is_err());
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let closed = timeout(Duration::from_secs(1), stream.read_to_end(&mut Vec::new())).await;
        closed.expect("the connection is still open").unwrap();
    }
    assert!(timeout(Duration::from_millis(500), listener.accept()).await.is_err());
}

#[test]
fn a_wrong_url_is_refused_before_anything_is_connected() {
    let fault = Target::url("redis://localhost?clientName=x").unwrap_err();
    assert!(matches!(&fault, InvalidTarget::UnknownKey { key, .. } if key == "clientName"));
    assert!(matches!(Target::url("rediss://localhost"), Err(InvalidTarget::Tls { .. })));
    assert!(matches!("localhost:6379".parse::<Target>(), Err(InvalidTarget::Scheme { .. })));
}

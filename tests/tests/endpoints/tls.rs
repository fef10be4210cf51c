//! Connections through TLS, with certificates that the tests make.
//!
//! Whoever cannot be trusted gets no request and no password; who may not come in learns why.

use std::time::Duration;

use clamator_driver::{Client, InvalidTls, Loss, Runtime, Target, Tls};
use clamator_tests::certificates::{Authority, Folder, Identity};
use clamator_tests::redis::RedisServer;

use crate::stage::{Pair, loss};

clamator_tests::scenarios!(
    a_call_crosses_tls,
    a_certificate_and_a_password_are_asked_for_and_given,
    a_client_that_shows_no_certificate_learns_that_one_is_wanted,
    a_server_of_an_unknown_authority_is_not_trusted,
    a_server_with_another_name_is_not_trusted,
    a_server_whose_certificate_has_expired_is_not_trusted,
    a_server_that_is_no_longer_trusted_is_left_until_it_is_again,
    a_server_that_does_not_speak_tls_gets_nobody_connected,
);

/// The names of a server on loopback.
const LOCAL: [&str; 2] = ["localhost", "127.0.0.1"];

/// A Redis that speaks TLS, and whoever vouches for it.
struct Scene {
    authority: Authority,
    folder: Folder,
    redis: RedisServer,
    port: u16,
}

impl Scene {
    fn start(options: &[&str]) -> Self {
        Self::start_as(|authority| authority.vouch(&LOCAL), options)
    }

    /// Starts a Redis that shows this certificate.
    fn start_as(identity: impl FnOnce(&Authority) -> Identity, options: &[&str]) -> Self {
        let (authority, folder) = (Authority::new("clamator's tests"), Folder::new());
        folder.write(&identity(&authority), &authority);
        let (redis, port) = RedisServer::start_with_tls(&folder, options);
        Self { authority, folder, redis, port }
    }

    fn tls(&self) -> Tls {
        Tls::trusting(self.authority.pem.as_bytes()).unwrap()
    }

    /// Where it is, for whoever trusts its authority.
    fn target(&self) -> Target {
        self.target_at("localhost")
    }

    fn target_at(&self, host: &str) -> Target {
        Target::url(&format!("rediss://{host}:{}", self.port)).unwrap().tls(self.tls()).unwrap()
    }
}

fn assert_tls(loss: &Loss, words: &str) {
    assert!(matches!(loss, Loss::Tls { .. }), "{loss:?}");
    assert!(loss.to_string().contains(words), "{words:?} is not in {loss}");
}

async fn a_call_crosses_tls<R: Runtime>(runtime: R) {
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let scene = Scene::start(&["--tls-auth-clients", "no", "--tls-protocols", versions]);
        for host in LOCAL {
            Pair::start(&runtime, &scene.target_at(host)).await.stop().await;
        }
    }
}

async fn a_certificate_and_a_password_are_asked_for_and_given<R: Runtime>(runtime: R) {
    let scene = Scene::start(&["--tls-auth-clients", "yes"]);
    scene.redis.command("ACL SETUSER alice on >pw ~* +@all");
    let own = scene.authority.vouch(&["alice"]);
    let tls = scene.tls().identity(own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
    let url = format!("rediss://alice:pw@localhost:{}/3?protocol=resp3", scene.port);
    let target = Target::url(&url).unwrap().tls(tls).unwrap();
    let pair = Pair::start(&runtime, &target).await;
    let mut raw = scene.redis.connect();
    raw.command(&[b"SELECT", b"3"]);
    let keys = raw.command(&[b"KEYS", b"endpoints:cmds:*"]);
    assert_eq!(keys.array().len(), 1, "{keys:?}");
    let clients = raw.command(&[b"CLIENT", b"LIST"]).text();
    assert!(clients.contains("user=alice"), "{clients}");
    pair.stop().await;
}

async fn a_client_that_shows_no_certificate_learns_that_one_is_wanted<R: Runtime>(runtime: R) {
    for versions in ["TLSv1.2", "TLSv1.3"] {
        let scene = Scene::start(&["--tls-auth-clients", "yes", "--tls-protocols", versions]);
        let words = if versions == "TLSv1.2" { "HandshakeFailure" } else { "CertificateRequired" };
        let told = loss(&runtime, &scene.target()).await;
        assert_tls(&told, words);
        assert_tls(&told, "see Tls::identity");
        // One of somebody whom the server does not know.
        let stranger = Authority::new("a stranger").vouch(&["alice"]);
        let (chain, key) = (stranger.certificate.as_bytes(), stranger.key.as_bytes());
        let tls = scene.tls().identity(chain, key).unwrap();
        let target = scene.target().tls(tls).unwrap();
        assert_tls(&loss(&runtime, &target).await, "UnknownCA");
    }
}

async fn a_server_of_an_unknown_authority_is_not_trusted<R: Runtime>(runtime: R) {
    let scene = Scene::start(&["--tls-auth-clients", "no"]);
    let stranger = Authority::new("a stranger");
    let tls = Tls::trusting(stranger.pem.as_bytes()).unwrap();
    let told = loss(&runtime, &scene.target().tls(tls).unwrap()).await;
    assert_tls(&told, "UnknownIssuer");
    assert_tls(&told, "Tls::trusting names others");
    // Nor is it when nobody was named: the system's authorities have not heard of it.
    let loss = loss(&runtime, &scene.target().tls(Tls::new()).unwrap()).await;
    let said = loss.to_string();
    let none = said.contains("no certificate authorities");
    assert!(
        matches!(&loss, Loss::Tls { .. }) && (none || said.contains("UnknownIssuer")),
        "{said}"
    );
}

async fn a_server_with_another_name_is_not_trusted<R: Runtime>(runtime: R) {
    let scene = Scene::start_as(|ca| ca.vouch(&["redis.test"]), &["--tls-auth-clients", "no"]);
    for host in LOCAL {
        let loss = loss(&runtime, &scene.target_at(host)).await;
        assert_tls(&loss, "not valid for name");
        assert_tls(&loss, &format!("{host}:{}", scene.port));
    }
}

async fn a_server_whose_certificate_has_expired_is_not_trusted<R: Runtime>(runtime: R) {
    let scene = Scene::start_as(|ca| ca.vouched(&LOCAL), &["--tls-auth-clients", "no"]);
    assert_tls(&loss(&runtime, &scene.target()).await, "expired");
}

async fn a_server_that_is_no_longer_trusted_is_left_until_it_is_again<R: Runtime>(runtime: R) {
    let mut scene = Scene::start(&["--tls-auth-clients", "no"]);
    let pair = Pair::start(&runtime, &scene.target()).await;
    let stranger = Authority::new("a stranger");
    scene.folder.write(&stranger.vouch(&LOCAL), &stranger);
    scene.redis.restart();
    let warnings = pair.await_warnings(2).await;
    assert!(warnings[0].contains("ended"), "{warnings:?}");
    assert!(warnings[1].contains("UnknownIssuer"), "{warnings:?}");
    scene.folder.write(&scene.authority.vouch(&LOCAL), &scene.authority);
    scene.redis.restart();
    pair.await_service(Duration::from_secs(3)).await;
    pair.assert_reconnected();
    pair.stop().await;
}

async fn a_server_that_does_not_speak_tls_gets_nobody_connected<R: Runtime>(runtime: R) {
    let mut scene = Scene::start(&["--tls-auth-clients", "no"]);
    // TLS to a port without it, and the other way round.
    let plain = Target::url(&format!("rediss://localhost:{}", scene.redis.port())).unwrap();
    let plain = plain.tls(scene.tls()).unwrap();
    // Redis waits for the end of a line that seldom comes.
    let silent = loss(&runtime, &plain).await;
    assert!(matches!(&silent, Loss::Overdue { .. } | Loss::Tls { .. }), "{silent:?}");
    let url = format!("redis://localhost:{}", scene.port);
    let deaf = loss(&runtime, &Target::url(&url).unwrap()).await;
    assert!(matches!(&deaf, Loss::Closed { .. } | Loss::Garbled { .. }), "{deaf:?}");
    scene.redis.kill();
    let loss = loss(&runtime, &scene.target()).await;
    assert!(matches!(&loss, Loss::Unreachable { .. }), "{loss:?}");
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused_before_anything_is_connected() {
    let authority = Authority::new("clamator's tests");
    let (one, other) = (authority.vouch(&LOCAL), authority.vouch(&LOCAL));
    let tls = || Tls::trusting(authority.pem.as_bytes()).unwrap();
    let (chain, key) = (one.certificate.as_bytes(), one.key.as_bytes());
    assert!(tls().identity(chain, key).is_ok());
    for (chain, key) in [(chain, other.key.as_bytes()), (key, key), (chain, chain), (b"", key)] {
        let fault = tls().identity(chain, key).unwrap_err();
        assert!(matches!(fault, InvalidTls::Identity { .. }), "{fault:?}");
    }
}

#[test]
fn an_authority_that_cannot_be_read_is_not_passed_over() {
    let [one, two] = ["one", "two"].map(|name| Authority::new(name).pem);
    assert!(Tls::trusting(format!("{one}{two}").as_bytes()).is_ok());
    let glued = format!("{}{two}", one.trim_end());
    let trusted = one.replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let glued = Tls::trusting(glued.as_bytes()).unwrap_err();
    assert!(matches!(glued, InvalidTls::Authorities { .. }), "{glued:?}");
    let fault = Tls::trusting(format!("{trusted}{two}").as_bytes()).unwrap_err();
    assert!(fault.to_string().contains("only 1 of 2 certificates"), "{fault}");
}

#[test]
fn a_key_that_has_a_password_is_refused_with_what_to_do() {
    let own = Authority::new("clamator's tests").vouch(&LOCAL);
    for key in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let fault = Tls::new().identity(own.certificate.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(fault.to_string().contains("decrypt it first"), "{fault}");
    }
}

#[test]
fn nothing_that_is_printed_has_the_key_in_it() {
    let authority = Authority::new("clamator's tests");
    let own = authority.vouch(&LOCAL);
    let tls = Tls::trusting(authority.pem.as_bytes()).unwrap();
    let tls = tls.identity(own.certificate.as_bytes(), own.key.as_bytes()).unwrap();
    assert_eq!(format!("{tls:?}"), "Tls { authorities: Some(1), identity: true }");
    let target = Target::url("rediss://alice:secret@localhost").unwrap().tls(tls).unwrap();
    assert_eq!(format!("{target:?}"), "Target(rediss://alice@localhost:6379)");
    let builder = Client::<clamator_tokio::Tokio>::builder("p");
    assert!(!format!("{builder:?}").contains("secret"));
}

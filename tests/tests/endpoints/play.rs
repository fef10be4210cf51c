//! [`Play`]: a Redis whose users lack some right, and who plays on it as these users.
//!
//! Not what should become of it.

use std::time::Duration;

use clamator_driver::{
    CallError, Client, ClientBuilder, Context, Operator, OperatorError, Runtime, Server,
    ServerBuilder, Service, ServiceName, StartError, StreamId, Target,
};
use clamator_engine::access::{Grant, Role, Scope};
use clamator_tests::capture::{Capture, unique};
use clamator_tests::redis::RawReply;
use clamator_tests::rights::{RestrictedRedis, user};
use clamator_tests::world::Async;

pub(crate) const PREFIX: &str = "rights";
/// The one service that the users may call, serve and look after.
pub(crate) const SERVICE: &str = "work";
pub(crate) const COMMANDS: &str = "rights:cmds:work";
pub(crate) const DEAD: &str = "rights:dead:work";
/// The stream of replies to those who are not the client.
pub(crate) const RAW: &str = "rights:replies:raw";
/// What any step may take.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// What something takes that comes at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);

/// A Redis, and a runtime to play on.
#[derive(Debug)]
pub(crate) struct Play<R> {
    pub(crate) runtime: R,
    pub(crate) redis: RestrictedRedis,
    /// Name of the one client whose replies a client may read.
    pub(crate) caller: String,
}

impl<R: Runtime> Play<R> {
    /// Starts a Redis whose users lack these rights.
    pub(crate) fn without(runtime: &R, lacks: impl Fn(&Grant) -> bool) -> Self {
        let mut scope = Scope::new(PREFIX);
        scope.services = vec![service()];
        let caller = unique("caller");
        scope.instance = Some(caller.clone());
        let redis = RestrictedRedis::start_without(&scope, &[], lacks);
        Self { runtime: runtime.clone(), redis, caller }
    }

    /// Describes a server whose handler works as many milliseconds as it is told to.
    pub(crate) fn builder(&self) -> ServerBuilder<R> {
        let runtime = self.runtime.clone();
        let run = move |ms: u64, _: Context| {
            let runtime = runtime.clone();
            async move {
                runtime.sleep(Duration::from_millis(ms)).await;
                Ok(ms)
            }
        };
        Server::builder(PREFIX).service(Service::new(SERVICE).request("run", run))
    }

    pub(crate) async fn serve(
        &self,
        configure: impl FnOnce(ServerBuilder<R>) -> ServerBuilder<R>,
    ) -> Server<R> {
        let target = self.redis.target(Role::Server);
        let start = configure(self.builder()).start_on(self.runtime.clone(), target);
        self.runtime.within(SOON, "a start", start).await.expect("the server starts")
    }

    fn caller(&self) -> ClientBuilder<R> {
        Client::builder(PREFIX).instance(&*self.caller)
    }

    pub(crate) async fn client(&self) -> Client<R> {
        let target = self.redis.target(Role::Client);
        let connecting = self.caller().connect_on(self.runtime.clone(), target);
        self.runtime.within(SOON, "a client", connecting).await.expect("the client connects")
    }

    pub(crate) async fn operator(&self) -> Operator<R> {
        let target = self.redis.target(Role::Operator);
        let connecting = Operator::connect_on(self.runtime.clone(), PREFIX, target);
        self.runtime.within(SOON, "an operator", connecting).await.expect("it connects")
    }

    /// Connects somebody of this role, and stops again: whether it could, and who was connected.
    pub(crate) async fn connects(&self, role: Role, database: u8) -> Option<String> {
        let url = format!("redis://{}:any@127.0.0.1:{}/{database}", user(role), self.redis.port());
        let (runtime, target) = (self.runtime.clone(), Target::url(&url).expect("a valid URL"));
        let list = || self.redis.command("CLIENT LIST").text();
        match role {
            Role::Client => {
                let client = self.caller().connect_on(runtime, target).await.ok()?;
                let list = list();
                client.stop().await;
                Some(list)
            }
            Role::Operator => {
                let operator = Operator::connect_on(runtime, PREFIX, target).await.ok()?;
                let list = list();
                operator.stop().await;
                Some(list)
            }
            _ => {
                let server = self.builder().start_on(runtime, target).await.ok()?;
                let list = list();
                server.shutdown().await;
                Some(list)
            }
        }
    }

    /// Asserts that calls are answered by a server that starts, and that it and a client and an
    /// operator stop.
    pub(crate) async fn assert_serves(&self) {
        let server = self.serve(|builder| builder).await;
        let client = self.client().await;
        let calls = async {
            for _ in 0..3 {
                assert_eq!(client.call::<u64>("work.run", 1).await, Ok(1));
            }
        };
        self.runtime.within(SOON, "replies", calls).await;
        self.runtime.within(SOON, "the client's end", client.stop()).await;
        let stopped = self.runtime.within(SOON, "the server's end", server.shutdown()).await;
        assert_eq!(stopped.left, 0);
        let operator = self.operator().await;
        assert!(operator.list(&service(), StreamId::ZERO, 1).await.is_ok());
        operator.stop().await;
    }

    /// What this role says while it is at work beside the others: what its work ends with, and what
    /// it logs.
    pub(crate) async fn tell(&self, role: Role) -> Vec<String> {
        let server = unique("server");
        let capture = Capture::of(&[if role == Role::Server { &server } else { &self.caller }]);
        let target = self.redis.target(Role::Server);
        let server = self.builder().instance(server).start_on(self.runtime.clone(), target).await;
        let client = self.client().await;
        let call = client.call::<u64>("work.run", 1).timeout(Duration::from_secs(2)).await;
        let list = self.operator().await.list(&service(), StreamId::ZERO, 1).await;
        let mut told: Vec<String> =
            capture.take("").iter().map(|line| line.field("error").to_owned()).collect();
        told.extend(match (role, server, call, list) {
            (Role::Server, Err(StartError::Group { refusal, .. }), _, _) => {
                Some(refusal.to_string())
            }
            (Role::Client, _, Err(CallError::Refused(refusal)), _)
            | (Role::Operator, _, _, Err(OperatorError::Refused(refusal))) => {
                Some(refusal.to_string())
            }
            _ => None,
        });
        told
    }

    /// Whether something becomes so, and soon.
    pub(crate) async fn becomes(&self, mut is_so: impl FnMut() -> bool) -> bool {
        let becoming = async {
            while !is_so() {
                self.runtime.sleep(Duration::from_millis(20)).await;
            }
        };
        self.runtime.timeout(PATIENCE, becoming).await.is_ok()
    }

    /// Sends Redis a command as its default user.
    pub(crate) fn ask(&self, words: &str) -> RawReply {
        self.redis.command(words)
    }

    pub(crate) fn length(&self, key: &str) -> i64 {
        self.ask(&format!("XLEN {key}")).integer()
    }

    /// How many entries the service's group has pending.
    pub(crate) fn pending(&self) -> i64 {
        self.ask(&format!("XPENDING {COMMANDS} {SERVICE}")).array()[0].integer()
    }

    /// Adds a request of somebody else, whose handler works for so many milliseconds; with this id.
    pub(crate) fn add(&self, id: &str, ms: u64) -> String {
        let envelope = format!(
            r#"{{"jsonrpc":"2.0","method":"work.run","params":{ms},"id":"{}"}}"#,
            unique("call")
        );
        let fields = format!("type rpc envelope {envelope} reply-to {RAW}");
        self.ask(&format!("XADD {COMMANDS} {id} {fields}")).text()
    }

    /// Makes the group, and gives this consumer what is in the stream.
    pub(crate) fn give_to(&self, consumer: &str) {
        self.ask(&format!("XGROUP CREATE {COMMANDS} {SERVICE} 0 MKSTREAM"));
        self.ask(&format!("XREADGROUP GROUP {SERVICE} {consumer} STREAMS {COMMANDS} >"));
    }
}

pub(crate) fn service() -> ServiceName {
    ServiceName::new(SERVICE).expect("a good name")
}

//! Porting to your own event loop: the contract of [`Engine`] in ten lines, and what it is for.
//!
//! Not a program: a whole one, over real sockets and without any runtime, is
//! `clamator-engine/examples/event_loop.rs` in the repository, which cites these lines where it
//! keeps them. Whoever keeps all ten owes the engine nothing else; whoever breaks one breaks the
//! promises that the engine makes to its callers. Redis facts link to Redis's documentation.
//!
//! Names, methods and JSON are those of `clamator-proto`, which a port needs beside this crate.
//!
//! # The contract
//!
//! 1. Make an engine with a random nonce and seed and a name of its own: it has no die to roll.
//! 2. Give one `now` per turn, from one clock of yours that never goes back.
//! 3. Turn: hand in verbs, then what lanes brought, then `Tick` if due; drain; write.
//! 4. Drain: call `poll_output` until `Idle`, and do each thing in the order in which it comes.
//! 5. `Open`: connect for this lane alone, say hello, then hand in one `LaneOpen` or `LaneLost`.
//! 6. `Command`: queue it and its token on its lane; write each lane's queue once per turn.
//! 7. Reply: decode it for its lane's oldest token; hand it in with that, once, in lane order.
//! 8. Loss: hand in what was read, then one `LaneLost`; drop the tokens, send nothing again.
//! 9. `Close`: drop connection, tokens and what is not handed in yet; no `LaneLost` follows.
//! 10. Sleep until an input or `Idle`'s deadline, no longer; end at the `Idle` behind `Stopped`.
//!
//! # Line by line
//!
//! **1. Dice.** [`ClientConfig`] takes a nonce, which makes request ids unique to this start of
//! this client: with a nonce used before, a client would take its predecessor's replies. The seed
//! spreads timers, so that a fleet does not act in step. A server's instance name is its consumer
//! name in every [group](https://redis.io/docs/latest/develop/data-types/streams/#consumer-groups);
//! two servers of one name would share what is pending. Fix all three, and a run repeats exactly.
//!
//! **2. Time.** An [`Instant`] is a duration since any start; only differences matter, and nobody
//! else's clock is compared with it. Read the clock once per turn. Work that takes time within a
//! turn, such as a handler, is the exception: its outcome is handed in with the `now` of its end,
//! because the pace of handlers decides how much a server reads ahead.
//!
//! **3. Turns.** Verbs are the application's: `call`, `notify`, `cancel` and `stop` of [`Client`];
//! `answer`, `abandoned` and `drain` of [`Server`]. Replies before [`Input::Tick`], so that what
//! has arrived is not timed out. Bound what one lane hands in per turn (the driver takes 256
//! replies): the rest belongs to the next turn, which then follows without a sleep. A turn without
//! a due deadline has no tick, and a turn without anything to hand in is harmless.
//!
//! **4. Drain.** An [`Output::Event`] is for the application, which may use verbs at once: they are
//! drained in the same turn. It must not make a new call for each that failed, though: a call that
//! cannot be sent fails in the drain in which it is made, so the drain would never end. Each
//! [`ServerEvent::Start`] is ended once: by `answer`, or by `abandoned` when its handler was
//! dropped, which [`ServerEvent::Abandon`] asks for. Outputs that a port does not know, it skips.
//!
//! **5. Lanes.** A blocking read ([XREADGROUP](https://redis.io/docs/latest/commands/xreadgroup/),
//! [XREAD](https://redis.io/docs/latest/commands/xread/) with BLOCK) holds up every command behind
//! it on its connection, so each lane is a connection: a client has two, a server one and one for
//! each service. The handshake is AUTH if need be,
//! [HELLO](https://redis.io/docs/latest/commands/hello/), SELECT if need be,
//! [TIME](https://redis.io/docs/latest/commands/time/) and, for people,
//! [CLIENT SETNAME](https://redis.io/docs/latest/commands/client-setname/), in one write.
//! [`Hello::decode`] and [`Hello::decode_time`] read the answers: without the version the lane
//! cannot open, without the id of the connection a stop waits for its reads to run out, and the
//! time may be unknown. A refused AUTH or SELECT ends the lane, with [`Loss::Credentials`]: only TIME
//! and CLIENT SETNAME may be refused. Which rights that takes, and every command, says
//! [`access`](crate::access). Connecting needs no timer of yours: the engine closes a lane that takes
//! too long.
//!
//! **6. Commands.** [`Command::args`] spells a command as Redis wants it: write the number of its
//! arguments and then each of them as a
//! [bulk string](https://redis.io/docs/latest/develop/reference/protocol-spec/#bulk-strings).
//! [`Command::reply_shape`] is what to keep beside the token. What the socket does not take now is
//! kept and written when it does. A command's own deadline needs no timer of yours either.
//!
//! **7. Replies.** Redis answers the commands of one connection
//! [in order](https://redis.io/docs/latest/develop/using-commands/pipelining/), so the oldest token
//! of the lane is the right one; between lanes there is no order to keep. A [`Token`] is moved into
//! [`Input::Reply`] and cannot be used twice. Turn RESP into [`Value`], whichever version of it you
//! speak, and let [`ReplyShape::decode`] read that. What cannot be read, and a reply to nothing,
//! end the lane with [`Loss::Garbled`]: what comes next could be matched to the wrong command.
//!
//! **8. Losses.** A command without a reply may have been carried out or not. The engine knows what
//! each was for, and repeats what may be repeated; so a port never resends, and never reconnects
//! by itself: [`Output::Open`] comes after a pause that grows. [`Loss`] says what an operator may
//! do: [`Loss::Credentials`] makes the pause long, because servers lock out who asks too often.
//!
//! **9. Close.** The engine has given the lane up: its tokens answer nothing any more. It will say
//! `Open` for the same lane later; bytes of the old connection must never reach the new one's
//! tokens, so drop what was read of them, half a reply included, together with the socket.
//!
//! **10. Deadlines.** [`Output::Idle`] carries the one deadline of the whole engine and what it is
//! for. Waking early is harmless, late is late. A port that can tell that large values are on
//! their way hands in [`Input::Progress`] before the tick, and values that take longer than a deadline
//! allows are not given up half way. To end, use `stop` or `drain` and take turns as
//! before until [`ClientEvent::Stopped`] or [`ServerEvent::Stopped`]; both end within bounds, also
//! without Redis. The lanes are closed by the outputs behind that event.
//!
//! # The skeleton
//!
//! The same loop without sockets: [`memory`](crate::memory) stands in for Redis, and time passes by
//! jumping to the next deadline. A `Port` is all that an engine needs of its surroundings.
//!
//! ```
//! use std::collections::{BTreeMap, VecDeque};
//!
//! use clamator_engine::memory::{ConnectionId, Options, Progress, Streams};
//! use clamator_engine::{
//!     Answer, Client, ClientConfig, ClientEvent, Engine, Hello, Input, Instant, Lane, Output,
//!     Refusal, Reply, Server, ServerConfig, ServerEvent, ServiceConfig, Token, Version,
//! };
//! use clamator_proto::{Contract, Json, Method, MethodName, ServiceName};
//!
//! struct Port<E> {
//!     engine: E,
//!     /// Each lane's connection, and the tokens of its commands, oldest first.
//!     lanes: BTreeMap<Lane, (ConnectionId, VecDeque<Token>)>,
//!     /// What happened since the last turn.
//!     happened: VecDeque<Input>,
//!     due: Option<Instant>,
//! }
//!
//! impl<E: Engine> Port<E> {
//!     fn new(engine: E) -> Self {
//!         Self { engine, lanes: BTreeMap::new(), happened: VecDeque::new(), due: None }
//!     }
//!
//!     fn turn(
//!         &mut self,
//!         now: Instant,
//!         redis: &mut Streams,
//!         mut tell: impl FnMut(&mut E, E::Event),
//!     ) {
//!         for input in self.happened.drain(..) { // 3
//!             self.engine.handle_input(now, input);
//!         }
//!         if self.due.is_some_and(|due| due <= now) {
//!             self.engine.handle_input(now, Input::Tick);
//!         }
//!         loop {
//!             match self.engine.poll_output() { // 4
//!                 Output::Open(lane) => {
//!                     let connection = redis.connect(); // 5
//!                     self.lanes.insert(lane, (connection, VecDeque::new()));
//!                     let mut hello = Hello::new(Version::new(7, 0, 0));
//!                     hello.client_id = Some(connection.number());
//!                     hello.time = Some(redis.time(now));
//!                     self.happened.push_back(Input::LaneOpen(lane, hello));
//!                 }
//!                 Output::Close(lane) => {
//!                     if let Some((connection, _)) = self.lanes.remove(&lane) {
//!                         redis.disconnect(now, connection); // 9: what it said is dropped too
//!                         self.happened.retain(|input| {
//!                             !matches!(input, Input::LaneOpen(opened, _) if *opened == lane)
//!                         });
//!                     }
//!                 }
//!                 Output::Command { lane, token, command, .. } => {
//!                     if let Some((connection, tokens)) = self.lanes.get_mut(&lane) {
//!                         redis.handle(now, *connection, token.number(), command); // 6
//!                         tokens.push_back(token);
//!                     }
//!                 }
//!                 Output::Event(event) => tell(&mut self.engine, event),
//!                 Output::Idle(deadline) => break self.due = deadline.map(|deadline| deadline.at),
//!                 _ => {}
//!             }
//!         }
//!     }
//!
//!     /// A reply of one of this engine's connections, if it is one.
//!     fn take(&mut self, from: ConnectionId, reply: &Result<Reply, Refusal>) {
//!         for (connection, tokens) in self.lanes.values_mut() {
//!             if *connection == from && let Some(token) = tokens.pop_front() {
//!                 self.happened.push_back(Input::Reply(token, reply.clone())); // 7
//!             }
//!         }
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut now, mut redis) = (Instant::ZERO, Streams::new(Options::default()));
//! let client = ClientConfig::new("porting", [7; 16], 7); // 1: fixed, so that the run repeats
//! let echo = Contract::new(ServiceName::new("echo")?).request(MethodName::new("say")?)?;
//! let services = vec![ServiceConfig::new(echo)];
//! let mut client = Port::new(Client::new(now, client));
//! let mut server = Port::new(Server::new(now, ServerConfig::new("porting", "one", 7), services));
//!
//! let said = Json::encode("hello")?;
//! client.engine.call(now, &Method::parse("echo.say")?, &said, None, None);
//! let (mut heard, mut stopped) = (None, 0);
//! while stopped < 2 {
//!     client.turn(now, &mut redis, |client, event| match event {
//!         ClientEvent::Finished(_, result) => {
//!             heard = Some(result);
//!             client.stop(now);
//!         }
//!         ClientEvent::Stopped => stopped += 1,
//!         _ => {}
//!     });
//!     if heard.is_some() {
//!         server.engine.drain(now, std::time::Duration::from_secs(5));
//!     }
//!     server.turn(now, &mut redis, |server, event| match event {
//!         ServerEvent::Start(job) => {
//!             server.answer(now, job.id, Answer::Result(job.params.unwrap_or_else(Json::null)));
//!         }
//!         ServerEvent::Stopped { .. } => stopped += 1,
//!         _ => {}
//!     });
//!     // A port over sockets waits in its poller; this one asks its Redis, or lets time pass.
//!     let redis_due = loop {
//!         match redis.poll(now) {
//!             Progress::Replied { connection, reply, .. } => {
//!                 client.take(connection, &reply);
//!                 server.take(connection, &reply);
//!             }
//!             Progress::Idle(due) => break due,
//!             _ => {}
//!         }
//!     };
//!     if client.happened.is_empty() && server.happened.is_empty() {
//!         let due = [client.due, server.due, redis_due].into_iter().flatten().min(); // 10
//!         now = due.unwrap_or(now).max(now);
//!     }
//! }
//! assert_eq!(heard, Some(Ok(said)));
//! # Ok(())
//! # }
//! ```
//!
//! # What a port may choose
//!
//! Everything that the ten lines do not name: threads or none, any poller, RESP2 or RESP3, its own
//! parser or a library's, one write call or several for what one turn sends, how a handler runs
//! (in the drain, later, or on other threads, as long as its outcome is handed in by whoever turns
//! the engine), and how many engines share a loop, a clock and a Redis. Engines know nothing of
//! each other: each takes its own turns.
//!
//! # How to test a port
//!
//! Run it against a real Redis and break what it stands on; each of these has one right outcome.
//!
//! - Every call is answered, while every byte arrives in a read of its own: lines 6 and 7.
//! - Kill all connections (`CLIENT KILL TYPE normal`) under load: each call is answered or ends as
//!   [`CallError::OutcomeUnknown`], and calls go on: lines 5, 8 and 9.
//! - Freeze Redis (SIGSTOP) for ten seconds: commands are overdue, lanes are closed by the engine,
//!   and after SIGCONT no late reply answers another command: lines 9 and 10.
//! - Restart Redis empty: what was queued ends by its timeout, and calls go on.
//! - Put something on the port that is not Redis: [`Loss::Garbled`], with pauses between the tries.
//! - Let the process idle: it wakes about once per `read_block` and deadline, not more: line 10.
//!
//! Loops for single rules are easier over [`memory`](crate::memory), as above: `now` is yours, so a
//! minute passes in no time, and the same seed gives the same run.
//!
//! [`CallError::OutcomeUnknown`]: crate::CallError::OutcomeUnknown
//! [`Client`]: crate::Client
//! [`ClientConfig`]: crate::ClientConfig
//! [`ClientEvent::Stopped`]: crate::ClientEvent::Stopped
//! [`Command::args`]: crate::Command::args
//! [`Command::reply_shape`]: crate::Command::reply_shape
//! [`Engine`]: crate::Engine
//! [`Hello::decode`]: crate::Hello::decode
//! [`Hello::decode_time`]: crate::Hello::decode_time
//! [`Input::Progress`]: crate::Input::Progress
//! [`Input::Reply`]: crate::Input::Reply
//! [`Input::Tick`]: crate::Input::Tick
//! [`Instant`]: crate::Instant
//! [`Loss`]: crate::Loss
//! [`Loss::Credentials`]: crate::Loss::Credentials
//! [`Loss::Garbled`]: crate::Loss::Garbled
//! [`Output::Event`]: crate::Output::Event
//! [`Output::Idle`]: crate::Output::Idle
//! [`Output::Open`]: crate::Output::Open
//! [`ReplyShape::decode`]: crate::ReplyShape::decode
//! [`Server`]: crate::Server
//! [`ServerEvent::Abandon`]: crate::ServerEvent::Abandon
//! [`ServerEvent::Start`]: crate::ServerEvent::Start
//! [`ServerEvent::Stopped`]: crate::ServerEvent::Stopped
//! [`Token`]: crate::Token
//! [`Value`]: crate::Value

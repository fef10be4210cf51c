//! A custom event loop: a client and a server in one thread, over non-blocking sockets, without
//! any runtime. Where it keeps a line of the contract in `clamator_engine::porting`, it says so.
//!
//! `event_loop [redis://host:port] [calls]` calls `arith.add`, serves it and checks each sum. mio
//! waits for the sockets; `redis` packs commands and reads replies, also those that come in pieces.
//! Not for TLS or Unix sockets; the host's name is looked up once, before the loop.
//!
//! A call that fails is counted, not made again: it may have run. So a run ends with every call
//! answered or counted, or with an error because Redis stays away.
#![expect(clippy::print_stdout, reason = "an example shows its result")]
#![expect(clippy::wildcard_enum_match_arm, reason = "it cares for what it needs")]

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::Range;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use clamator_engine::{
    Answer, CallId, Client, ClientConfig, ClientEvent, Engine, Hello, Input, Instant, Job, Lane,
    Loss, Output, Refusal, ReplyShape, Server, ServerConfig, ServerEvent, ServiceConfig, Token,
    Value, Version,
};
use clamator_proto::{Contract, Json, Method, MethodName, RpcError, ServiceName};
use mio::{Events, Interest, Poll, Registry, net::TcpStream};
use redis::{Cmd, Parser, RedisWrite};

type Done<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// Most calls under way at once.
const WINDOW: usize = 64;
/// How long a call may take, and how long Redis may be away.
const PATIENCE: Duration = Duration::from_secs(5);
/// About how much a lane may read in one turn, so that the others get theirs and timers are kept.
const BYTES_MAX: usize = 256 * 1024;

#[expect(clippy::disallowed_methods, reason = "whoever drives an engine owns the clock")]
fn main() -> Done {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".into());
    let calls = arguments.next().map_or(Ok(10_000), |calls| calls.parse())?;
    let mut sums = Sums { left: 0..calls, ..Sums::default() };
    let host = target.trim_start_matches("redis://").trim_end_matches('/');
    let address = host.to_socket_addrs()?.next().ok_or("the host has no address")?;
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(64));
    let start = std::time::Instant::now();
    let clock = || Instant::from_start(start.elapsed());
    let (client, server) = engines(clock())?;
    let mut client = Port::new(client, address, poll.registry())?;
    let mut server = Port::new(server, address, poll.registry())?;
    let (mut served, mut wait) = (false, Some(Duration::ZERO));
    while !(sums.stopped && served) {
        match poll.poll(&mut events, wait) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        // Contract 2: one `now` for everything that this turn hands in.
        let now = clock();
        // Contract 3: verbs come first. The rest of a turn is `Port::turn`.
        sums.make_calls(now, &mut client.engine)?;
        let first = client.turn(now, |engine, event| sums.take(now, engine, event))?;
        if sums.are_done() {
            server.engine.drain(now, PATIENCE);
        }
        let second = server.turn(now, |engine, event| {
            match event {
                // The handler took time: the `now` of its end, for its pace decides what is read.
                ServerEvent::Start(job) => {
                    let sum = add(&job).map(Answer::Result);
                    let wrong = || RpcError::invalid_params("TypeError", "a and b are no integers");
                    engine.answer(clock(), job.id, sum.unwrap_or_else(|| Answer::Error(wrong())));
                }
                ServerEvent::Stopped { .. } => served = true,
                ServerEvent::Notice(notice) => println!("server: {notice:?}"),
                _ => {}
            }
            Ok(())
        })?;
        // Contract 10: sleeps until a deadline at most, and not at all with something left to do.
        let verbs = sums.may_call().then_some(now);
        let wake = [verbs, first, second].into_iter().flatten().min();
        wait = wake.map(|wake| wake.since(clock()));
    }
    println!("{} calls answered, in one thread, in {:.1?}", sums.answered, start.elapsed());
    sums.failed.iter().for_each(|(reason, count)| println!("{count} calls failed: {reason}"));
    Ok(())
}

/// Makes the engines, which connect at once: their first outputs say so.
fn engines(now: Instant) -> Done<(Client, Server)> {
    // Contract 1: names and seeds are random; an engine has no die of its own.
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce)?;
    let client = ClientConfig::new("event-loop", nonce, getrandom::u64()?);
    let instance = format!("{:016x}", getrandom::u64()?);
    let server = ServerConfig::new("event-loop", instance, getrandom::u64()?);
    let arith = Contract::new(ServiceName::new("arith")?).request(MethodName::new("add")?)?;
    Ok((Client::new(now, client), Server::new(now, server, vec![ServiceConfig::new(arith)])))
}

/// The handler of `arith.add`; `None` when it is not given two integers.
fn add(job: &Job) -> Option<Json> {
    let params: BTreeMap<String, i64> = job.params.as_ref()?.decode().ok()?;
    Json::encode(&params.get("a")?.checked_add(*params.get("b")?)?).ok()
}

/// The application: keeps a window of calls under way and checks their sums.
#[derive(Default)]
struct Sums {
    left: Range<u64>,
    under_way: BTreeMap<CallId, u64>,
    answered: u64,
    /// How many calls failed, by reason.
    failed: BTreeMap<String, u64>,
    connected: bool,
    /// Since when Redis is away, and why.
    away: Option<(Instant, Loss)>,
    stopped: bool,
}

impl Sums {
    fn are_done(&self) -> bool {
        self.left.is_empty() && self.under_way.is_empty()
    }

    fn may_call(&self) -> bool {
        self.connected && self.under_way.len() < WINDOW && !self.left.is_empty()
    }

    /// Makes the calls there is room for. Not from an event: what cannot be sent fails within the
    /// same drain, which would never end if that made the next call.
    fn make_calls(&mut self, now: Instant, client: &mut Client) -> Done {
        if let Some((since, why)) = &self.away
            && now.since(*since) > PATIENCE
        {
            return Err(why.to_string().into());
        }
        while let Some(number) = self.may_call().then(|| self.left.next()).flatten() {
            let params = Json::encode(&BTreeMap::from([("a", number), ("b", 1)]))?;
            let id = client.call(now, &Method::parse("arith.add")?, &params, Some(PATIENCE), None);
            self.under_way.insert(id, number);
        }
        Ok(())
    }

    fn take(&mut self, now: Instant, client: &mut Client, event: ClientEvent) -> Done {
        match event {
            ClientEvent::Connected => (self.connected, self.away) = (true, None),
            ClientEvent::Disconnected(loss) => {
                println!("client: {loss}");
                (self.connected, self.away) = (false, Some((now, loss)));
            }
            ClientEvent::Finished(id, result) => {
                let number = self.under_way.remove(&id).unwrap_or_default();
                match result {
                    Ok(sum) if sum.decode::<u64>()? == number + 1 => self.answered += 1,
                    Ok(sum) => return Err(format!("{number} + 1 is not {sum}").into()),
                    Err(error) => *self.failed.entry(error.to_string()).or_default() += 1,
                }
            }
            ClientEvent::Stopped => self.stopped = true,
            _ => {}
        }
        if self.are_done() {
            client.stop(now);
        }
        Ok(())
    }
}

/// One engine, the connections of its lanes, and when it wants its next tick.
struct Port<E> {
    engine: E,
    address: SocketAddr,
    registry: Registry,
    wires: BTreeMap<Lane, Wire>,
    due: Option<Instant>,
}

impl<E: Engine> Port<E> {
    fn new(engine: E, address: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let registry = registry.try_clone()?;
        Ok(Self { engine, address, registry, wires: BTreeMap::new(), due: None })
    }

    /// Takes the turn but for its verbs, which came before; says when the next one is due.
    fn turn(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(&mut E, E::Event) -> Done,
    ) -> Done<Option<Instant>> {
        let Self { engine, address, registry, wires, due } = self;
        // Every socket is tried: of a handful it does not matter which of them mio named.
        wires.retain(|lane, wire| {
            let read = wire.read(*lane, |input| engine.handle_input(now, input));
            // Contract 8: said once, behind all that was read.
            read.map_err(|loss| engine.handle_input(now, Input::LaneLost(*lane, loss))).is_ok()
        });
        // Contract 3: what came in before the tick beats its timers.
        if due.is_some_and(|due| due <= now) {
            engine.handle_input(now, Input::Tick);
        }
        // Contract 4: does what the engine says, in its order, until it is idle.
        loop {
            match engine.poll_output() {
                Output::Open(lane) => match Wire::open(registry, *address) {
                    Ok(wire) => drop(wires.insert(lane, wire)),
                    Err(error) => engine.handle_input(now, Input::LaneLost(lane, closed(error))),
                },
                // Contract 9: with the connection go its tokens and what it might still say.
                Output::Close(lane) => drop(wires.remove(&lane)),
                Output::Command { lane, token, command, .. } => {
                    let mut packed = Cmd::new();
                    command.args(&mut |arg| packed.write_arg(arg));
                    let asked = Asked::Command(token, command.reply_shape());
                    wires.entry(lane).and_modify(|wire| wire.send(asked, &packed));
                }
                Output::Event(event) => tell(engine, event)?,
                Output::Idle(deadline) => break *due = deadline.map(|deadline| deadline.at),
                _ => {}
            }
        }
        // Contract 6: what a lane has to send goes out in one write.
        wires.values_mut().for_each(Wire::write);
        let unread = wires.values().any(|wire| wire.source.bytes_left == 0);
        Ok(if unread { Some(now) } else { *due })
    }
}

/// The connection of one lane.
struct Wire {
    source: Source,
    parser: Parser,
    hello: Hello,
    /// What the next replies are for, oldest first.
    waiting: VecDeque<Asked>,
    outgoing: BytesMut,
}

enum Asked {
    Hello,
    Time,
    Name,
    Command(Token, ReplyShape),
}

impl Wire {
    /// Contract 5: a connection for one lane alone, which says hello before it is called open.
    /// Nothing waits here: the engine closes a lane that takes too long. A password would go with
    /// AUTH, in front of HELLO.
    fn open(registry: &Registry, address: SocketAddr) -> io::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        registry.register(&mut socket, mio::Token(0), Interest::READABLE | Interest::WRITABLE)?;
        let mut wire = Self {
            source: Source { socket, bytes_left: BYTES_MAX },
            parser: Parser::new(),
            hello: Hello::new(Version::OLDEST),
            waiting: VecDeque::new(),
            outgoing: BytesMut::new(),
        };
        wire.send(Asked::Hello, &redis::cmd("HELLO"));
        wire.send(Asked::Time, &redis::cmd("TIME"));
        wire.send(Asked::Name, redis::cmd("CLIENT").arg("SETNAME").arg("clamator:event-loop"));
        Ok(wire)
    }

    /// Hands in what has come, as far as it may be read in one turn.
    fn read(&mut self, lane: Lane, mut hand_in: impl FnMut(Input)) -> Result<(), Loss> {
        self.source.bytes_left = BYTES_MAX;
        loop {
            // The parser keeps what it has of a reply, and goes on where its bytes ran out.
            let reply = match self.parser.parse_value(&mut self.source) {
                Ok(reply) => value(reply),
                Err(error) if error.is_timeout() => return Ok(()),
                Err(error) if error.is_io_error() => return Err(closed(error)),
                Err(error) => return Err(garbled(error)),
            };
            match self.waiting.pop_front() {
                Some(Asked::Hello) => self.hello = Hello::decode(reply)?,
                Some(Asked::Time) => self.hello.time = Hello::decode_time(&reply),
                // Redis may refuse the name, which is for people.
                Some(Asked::Name) => {
                    self.source.socket.set_nodelay(true).map_err(closed)?;
                    hand_in(Input::LaneOpen(lane, self.hello.clone()));
                }
                // Contract 7: a lane is answered in order, so this is for its oldest token.
                Some(Asked::Command(token, shape)) => {
                    hand_in(Input::Reply(token, shape.decode(reply).map_err(garbled)?));
                }
                None => return Err(garbled("a reply to nothing")),
            }
        }
    }

    fn send(&mut self, asked: Asked, packed: &Cmd) {
        self.waiting.push_back(asked);
        self.outgoing.extend_from_slice(&packed.get_packed_command());
    }

    /// Writes what the socket takes; the rest waits for a turn in which it takes more.
    fn write(&mut self) {
        // Why it cannot be connected, or broke, is for the read to find: mio wakes the loop for it.
        while !self.outgoing.is_empty() && self.source.socket.peer_addr().is_ok() {
            let Ok(bytes) = self.source.socket.write(&self.outgoing) else { return };
            self.outgoing.advance(bytes);
        }
    }
}

/// A socket, as far as it may be read in this turn.
struct Source {
    socket: TcpStream,
    bytes_left: usize,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes_left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let bytes = self.socket.read(buffer)?;
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        Ok(bytes)
    }
}

fn value(reply: redis::Value) -> Value {
    match reply {
        redis::Value::Array(replies) => Value::Array(replies.into_iter().map(value).collect()),
        redis::Value::BulkString(bytes) => Value::Bytes(bytes.into()),
        redis::Value::Int(integer) => Value::Integer(integer),
        redis::Value::Nil => Value::Nil,
        redis::Value::Okay => Value::Bytes(Bytes::from_static(b"OK")),
        redis::Value::ServerError(error) => {
            Value::Error(Refusal::new(error.code(), error.details().unwrap_or_default()))
        }
        redis::Value::SimpleString(text) => Value::Bytes(text.into()),
        _ => Value::Other,
    }
}

fn garbled(detail: impl ToString) -> Loss {
    Loss::Garbled { detail: detail.to_string() }
}

fn closed(detail: impl ToString) -> Loss {
    Loss::Closed { detail: detail.to_string() }
}

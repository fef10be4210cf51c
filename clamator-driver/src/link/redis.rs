//! [`RedisLink`]: lanes over real connections, one `redis` connection per lane.
//!
//! Not `redis`'s own reconnecting, retrying or timing out: those would hide from the engine what
//! happened. The commands of a turn go out as one pipeline; a command that blocks goes out alone,
//! because a pipeline's replies are only told when the last of them is there. An answer that
//! cannot be read ends the lane: what comes behind it could be matched to the wrong command.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use clamator_engine::{Command, Hello, Input, Instant, Lane, Loss, ReplyShape, Token};
use futures_util::future::{BoxFuture, MaybeDone, maybe_done};
use redis::{Cmd, Pipeline, RedisResult, RedisWrite};

use crate::link::Link;
use crate::runtime::Runtime;
use crate::target::Route;

mod connection;
mod last_words;
mod notes;
mod stream;
mod value;

use connection::Connection;

/// The lanes of one engine on a Redis server.
pub(crate) struct RedisLink<R> {
    runtime: R,
    route: Route,
    /// What connections are called on the server.
    name: String,
    lanes: BTreeMap<Lane, State>,
    /// What happened and was not said yet.
    happened: VecDeque<Input>,
}

enum State {
    Open(Box<Open>),
    Opening(BoxFuture<'static, Result<(Connection, Hello), Loss>>),
}

/// An open lane.
struct Open {
    connection: Connection,
    /// What the next flush sends.
    outgoing: Batch,
    /// What was sent and not answered, oldest first.
    flying: VecDeque<Flying>,
}

/// Commands that travel as one pipeline, and what waits for their replies.
#[derive(Default)]
struct Batch {
    pipeline: Pipeline,
    waiting: Vec<(Token, ReplyShape)>,
}

struct Flying {
    replies: MaybeDone<BoxFuture<'static, RedisResult<Vec<redis::Value>>>>,
    waiting: Vec<(Token, ReplyShape)>,
}

impl<R: Runtime> RedisLink<R> {
    pub(crate) const fn new(runtime: R, route: Route, name: String) -> Self {
        Self { runtime, route, name, lanes: BTreeMap::new(), happened: VecDeque::new() }
    }

    /// Polls every lane once; what happened is queued. Lanes that ended are dropped.
    fn poll_lanes(&mut self, cx: &mut Context<'_>) {
        let happened = &mut self.happened;
        self.lanes.retain(|lane, state| match state.poll(*lane, happened, cx) {
            Ok(()) => true,
            Err(loss) => {
                happened.push_back(Input::LaneLost(*lane, loss));
                false
            }
        });
    }
}

impl<R: Runtime> Link for RedisLink<R> {
    fn open(&mut self, _now: Instant, lane: Lane) {
        let (runtime, route) = (self.runtime.clone(), self.route.clone());
        let opening = connection::open(runtime, route, self.name.clone());
        self.lanes.insert(lane, State::Opening(Box::pin(opening)));
    }

    fn send(&mut self, lane: Lane, token: Token, command: Command) {
        // A lane that was lost a moment ago takes its commands with it, like one lost just after.
        let Some(State::Open(open)) = self.lanes.get_mut(&lane) else { return };
        let blocks = blocks(&command);
        if blocks {
            open.flush();
        }
        open.outgoing.add(token, &command);
        if blocks {
            open.flush();
        }
    }

    fn flush(&mut self, _now: Instant) {
        for state in self.lanes.values_mut() {
            if let State::Open(open) = state {
                open.flush();
            }
        }
    }

    fn close(&mut self, _now: Instant, lane: Lane) {
        self.lanes.remove(&lane);
        self.happened.retain(|input| lane_of(input) != Some(lane));
    }

    fn poll_input(&mut self, _now: Instant, cx: &mut Context<'_>) -> Poll<Input> {
        if self.happened.is_empty() {
            self.poll_lanes(cx);
        }
        self.happened.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}

impl State {
    /// Queues what happened on the lane; an error ends it.
    fn poll(
        &mut self,
        lane: Lane,
        happened: &mut VecDeque<Input>,
        cx: &mut Context<'_>,
    ) -> Result<(), Loss> {
        match self {
            Self::Open(open) => open.poll(lane, happened, cx),
            Self::Opening(opening) => {
                if let Poll::Ready(opened) = opening.as_mut().poll(cx) {
                    let (connection, hello) = opened?;
                    happened.push_back(Input::LaneOpen(lane, hello));
                    *self = Self::Open(Box::new(Open::new(connection)));
                }
                Ok(())
            }
        }
    }
}

impl Open {
    fn new(connection: Connection) -> Self {
        Self { connection, outgoing: Batch::default(), flying: VecDeque::new() }
    }

    fn flush(&mut self) {
        if self.outgoing.waiting.is_empty() {
            return;
        }
        let Batch { pipeline, waiting } = std::mem::take(&mut self.outgoing);
        let (mut connection, count) = (self.connection.share(), waiting.len());
        let replies = async move { connection.send_packed_commands(&pipeline, 0, count).await };
        let replies: BoxFuture<'static, _> = Box::pin(replies);
        self.flying.push_back(Flying { replies: maybe_done(replies), waiting });
    }

    /// Polls every batch, not only the oldest: one that has not been polled has not been sent. What
    /// is answered is told from the oldest on: a later batch may be seen to be answered first.
    fn poll(
        &mut self,
        lane: Lane,
        happened: &mut VecDeque<Input>,
        cx: &mut Context<'_>,
    ) -> Result<(), Loss> {
        for flying in &mut self.flying {
            let _ = Pin::new(&mut flying.replies).poll(cx);
        }
        while let Some(flying) = self.flying.front_mut() {
            let Some(replies) = Pin::new(&mut flying.replies).take_output() else { break };
            let waiting = std::mem::take(&mut flying.waiting);
            self.flying.pop_front();
            tell(waiting, replies.map_err(|error| self.connection.loss(&error))?, happened)?;
        }
        let bytes = self.connection.take_moved();
        if bytes > 0 && !self.flying.is_empty() {
            happened.push_back(Input::Progress { lane, bytes });
        }
        if self.connection.poll_closed(cx).is_ready() {
            return Err(Loss::Closed { detail: "the server closed it".into() });
        }
        Ok(())
    }
}

/// Tells the replies of one batch.
fn tell(
    waiting: Vec<(Token, ReplyShape)>,
    replies: Vec<redis::Value>,
    happened: &mut VecDeque<Input>,
) -> Result<(), Loss> {
    if replies.len() != waiting.len() {
        let detail = "a pipeline was answered in part".into();
        return Err(Loss::Garbled { detail });
    }
    for ((token, shape), value) in waiting.into_iter().zip(replies) {
        let reply = shape.decode(value::convert(value));
        let reply = reply.map_err(|error| Loss::Garbled { detail: error.to_string() })?;
        happened.push_back(Input::Reply(token, reply));
    }
    Ok(())
}

impl Batch {
    fn add(&mut self, token: Token, command: &Command) {
        let (mut count, mut bytes) = (0, 0);
        command.args(&mut |arg| {
            count += 1;
            bytes += arg.len();
        });
        let mut cmd = Cmd::with_capacity(count, bytes);
        command.args(&mut |arg| cmd.write_arg(arg));
        self.pipeline.add_command(cmd);
        self.waiting.push((token, command.reply_shape()));
    }
}

fn blocks(command: &Command) -> bool {
    matches!(
        command,
        Command::XRead { block: Some(_), .. } | Command::XReadGroup { block: Some(_), .. }
    )
}

fn lane_of(input: &Input) -> Option<Lane> {
    match input {
        Input::LaneLost(lane, _) | Input::LaneOpen(lane, _) | Input::Progress { lane, .. } => {
            Some(*lane)
        }
        Input::Reply(token, _) => Some(token.lane()),
        Input::Tick | _ => None,
    }
}

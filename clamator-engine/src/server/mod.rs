//! [`Server`]: the rules of serving, as a state machine.
//!
//! Not the running of handlers: a job is an event, its outcome a verb. Per entry the order is
//! read → run → reply XADD → its answer → XACK and XDEL; each step may be repeated, none is
//! undone by the failure of a later one, and no failure runs a handler again in this process.
//! Rules are cited by the numbers of [`rules`](crate::rules): the group (4.1) is in `group`,
//! reading (4.3) in `intake`, leases (4.4) in `lease` and `missing`, looking back and taking over (4.5)
//! in `look_back`, `reclaim` and `take_back`, judging entries (4.6–4.8) in `request`, deadlines (4.9) in `expired` and `clock`, replies and
//! acknowledgements in `settle`, the stop (4.10) in `stop` and `hand_back`, bounds (4.11) in `settle`,
//! `trim`, `expiry` and `consumers`.
//!
//! Commands: <https://redis.io/docs/latest/commands/xreadgroup/>

mod aim;
mod clock;
mod config;
mod consumers;
mod dead;
mod event;
mod expired;
mod expiry;
mod group;
mod hand_back;
mod health;
mod held;
mod intake;
mod lease;
mod leases;
mod look_back;
mod missing;
mod outbound;
mod pace;
mod reclaim;
mod request;
mod service;
mod settle;
mod stats;
mod stop;
mod take_back;
#[cfg(test)]
mod tests;
mod timers;
mod trim;
mod under_way;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use clamator_proto::Keys;

use self::aim::{Aim, Purpose};
use self::clock::Clock;
pub use self::config::{Concurrency, ServerConfig, ServiceConfig, StartFrom};
pub use self::event::{Answer, Job, JobId, Notice, PoisonFault, ServerEvent};
use self::expired::Patience;
use self::expiry::ReplyStreams;
use self::held::{Key, Run, Unstarted};
use self::request::{Judge, Verdict};
use self::service::Service;
use self::settle::Retry;
pub use self::stats::ServerStats;
use self::stop::Drain;
use self::under_way::UnderWay;
use crate::command::Command;
use crate::engine::{Engine, Input, Lane, Loss, Output};
use crate::health::Refusals;
use crate::jitter::Jitter;
use crate::lanes::{Ended, Lanes};
use crate::reply::{Refusal, RefusalKind, Reply};
use crate::seeded::Bug;
use crate::time::Instant;

/// A server: serves services to the clients of one key prefix.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    keys: Keys,
    /// The last time that was handed in.
    now: Instant,
    jitter: Jitter,
    clock: Clock,
    lanes: Lanes<Purpose>,
    services: Vec<Service>,
    /// Services to be looked at before the next idle.
    dirty: BTreeSet<usize>,
    jobs: BTreeMap<JobId, (usize, Key)>,
    next_job: u64,
    tick_at: Instant,
    ticks: u64,
    trim_at: Instant,
    /// Set while Redis cannot take replies.
    retry: Option<Retry>,
    refusals: Refusals,
    replies: UnderWay,
    reply_streams: ReplyStreams,
    stage: Stage,
    events: VecDeque<ServerEvent>,
    /// Of what is no service's.
    stats: ServerStats,
}

#[derive(Debug)]
enum Stage {
    Draining(Drain),
    Running,
    Starting,
    Stopped,
}

impl Server {
    /// Makes a server that connects at once. The services' names must differ.
    #[must_use]
    pub fn new(now: Instant, config: ServerConfig, services: Vec<ServiceConfig>) -> Self {
        let config = config.within_bounds();
        let keys = Keys::new(config.prefix.as_str());
        let services: Vec<Service> = (0u16..)
            .zip(services)
            .map(|(number, service)| Service::new(now, number, service, &keys, &config))
            .collect();
        let lanes = u16::try_from(services.len()).unwrap_or(u16::MAX);
        let mut jitter = Jitter::new(config.seed);
        let tick_at = now + jitter.spread(config.reclaim_tick);
        let trim_at = now + jitter.spread(config.trim_tick);
        Self {
            keys,
            now,
            lanes: Lanes::new(now, lanes, config.connect_timeout, jitter.clone(), config.seeded),
            jitter,
            clock: Clock::new(config.seeded),
            dirty: (0..services.len()).collect(),
            services,
            jobs: BTreeMap::new(),
            next_job: 0,
            tick_at,
            ticks: 0,
            trim_at,
            retry: None,
            refusals: Refusals::default(),
            replies: UnderWay::default(),
            reply_streams: ReplyStreams::default(),
            stage: Stage::Starting,
            events: VecDeque::new(),
            stats: ServerStats::default(),
            config,
        }
    }

    /// How many entries are held, whatever their state.
    #[cfg(feature = "sim")]
    pub(crate) fn held(&self) -> usize {
        self.services.iter().map(|service| service.held.len()).sum()
    }

    /// Looks at one service: does whatever can be done now.
    fn advance(&mut self, service: usize) {
        self.ensure_group(service);
        self.send_replies(service);
        self.start_waiting(service);
        self.hand_back(service);
        self.renew(service);
        self.count_deliveries(service);
        self.read(service);
        self.claim(service);
        self.acknowledge(service);
    }

    /// Starts what waits, oldest first, as far as the service's concurrency allows (rule 4.2).
    fn start_waiting(&mut self, index: usize) {
        loop {
            let Some(service) = self.services.get_mut(index) else {
                return;
            };
            let limited = !self.config.seeded.is(Bug::ConcurrencyUnbounded);
            if limited && service.held.running() >= service.concurrency.limit() {
                return;
            }
            let Some(next) = service.held.next_waiting() else { return };
            if !self.may_start(index, next) || !self.is_ours(index, next) {
                return;
            }
            let Some(service) = self.services.get_mut(index) else { return };
            let Some((key, unstarted)) = service.held.pop_waiting() else { return };
            let judge = Judge {
                contract: &service.contract,
                keys: &self.keys,
                relaxed_reply_to: self.config.relaxed_reply_to
                    || self.config.seeded.is(Bug::ReplyToAnyKey),
                seeded: self.config.seeded,
            };
            let verdict = judge.judge(&unstarted.fields);
            self.carry_out(index, key, unstarted, verdict);
        }
    }

    fn carry_out(&mut self, index: usize, key: Key, unstarted: Unstarted, verdict: Verdict) {
        let spent = self.is_spent(&unstarted);
        let patience = Patience::read(key.id, &unstarted.fields);
        let (expired, remaining) = (self.is_expired(patience), self.remaining(patience));
        let Some(service) = self.services.get_mut(index) else {
            return;
        };
        match verdict {
            Verdict::Answer { reply, error } => {
                self.reply(index, key, &reply, &Answer::Error(error));
            }
            Verdict::Drop => {
                let notice = Notice::NotFound { service: service.name(), entry: key.id };
                self.events.push_back(ServerEvent::Notice(notice));
                self.settle(index, key);
            }
            Verdict::Poison { fault, reply } => {
                service.stats.poison += 1;
                let answer = match &fault {
                    PoisonFault::Envelope(fault) => reply.zip(Some(fault.into())),
                    PoisonFault::NoEnvelope | PoisonFault::Response => None,
                };
                let service = service.name();
                let notice = Notice::Poison { service, entry: key.id, fault };
                self.events.push_back(ServerEvent::Notice(notice));
                match answer {
                    _ if self.config.seeded.is(Bug::PoisonKept) => {}
                    Some((reply, error)) => self.reply(index, key, &reply, &Answer::Error(error)),
                    None => self.settle(index, key),
                }
            }
            Verdict::Run { .. } if expired => self.skip(index, key),
            Verdict::Run { reply, .. } if spent => self.bury(index, key, unstarted, reply),
            Verdict::Run { method, params, request, reply, refused, traceparent } => {
                let job = JobId(self.next_job);
                self.next_job += 1;
                self.jobs.insert(job, (index, key));
                let Unstarted { fields, deliveries, .. } = unstarted;
                let (started, lost, overdue, again) = (self.now, false, false, None);
                let run = Run { fields, job, started, deliveries, reply, lost, overdue, again };
                service.held.insert_running(key, run);
                if self.config.seeded.is(Bug::AckOnStart) {
                    service.acks.push(key.id);
                }
                let name = service.name();
                service.stats.jobs_started += 1;
                service.stats.jobs_redelivered += u64::from(deliveries > 1);
                if refused {
                    service.stats.reply_to_refused += 1;
                    let notice = Notice::ReplyToRefused { service: name.clone(), entry: key.id };
                    self.events.push_back(ServerEvent::Notice(notice));
                }
                self.events.push_back(ServerEvent::Start(Job {
                    deliveries,
                    entry: key.id,
                    id: job,
                    method,
                    params,
                    request,
                    service: name,
                    traceparent,
                    remaining,
                }));
            }
        }
    }

    /// Sends a command on the command lane; says whether it could.
    fn send(&mut self, service: usize, command: Command, aim: Aim) -> bool {
        let timeout = self.config.command_timeout;
        self.lanes.send(self.now, Lane::Command, command, timeout, Purpose { service, aim }).is_ok()
    }

    fn notice(&mut self, notice: Notice) {
        self.events.push_back(ServerEvent::Notice(notice));
    }

    fn handle_reply(&mut self, lane: Lane, purpose: Purpose, reply: Result<Reply, Refusal>) {
        let Purpose { service, aim } = purpose;
        self.note_answer(service, &aim, &reply);
        if let Err(refusal) = &reply {
            match refusal.kind() {
                RefusalKind::WrongServer if self.config.seeded.is(Bug::ReadonlyKept) => {}
                RefusalKind::WrongServer => self.give_up(lane, Loss::Unfit(refusal.clone())),
                // Another group is gone, or was never ours.
                RefusalKind::NoGroup if matches!(aim, Aim::TrimPending { .. }) => {}
                RefusalKind::NoGroup => self.lose_group(service),
                RefusalKind::Final | RefusalKind::GroupExists | RefusalKind::Heals => {}
            }
        }
        self.dirty.insert(service);
        self.replies.proven |= lane == Lane::Command;
        match aim {
            Aim::Acknowledge { epoch, ids } => {
                self.handle_acknowledged(service, epoch, ids, &reply)
            }
            Aim::CheckConsumer => self.handle_consumer_checked(service, &reply),
            Aim::CheckGhost(id) => self.handle_ghost_checked(service, id, &reply),
            Aim::CheckLeases { keys, given_out, sent } => {
                self.handle_leases_checked(service, keys, given_out, sent, reply);
            }
            Aim::Renew { keys, sent } => self.handle_renewed(service, keys, sent, reply),
            Aim::Claim { start, count, sent } => {
                self.handle_claimed(service, start, count, sent, reply)
            }
            Aim::Count { first, last } => self.handle_counted(service, first, last, reply),
            Aim::CreateGroup { restore } => self.handle_created(service, restore, reply),
            Aim::Delete | Aim::Unblock => {}
            Aim::Expire(stream) => self.handle_expiry(stream, reply),
            Aim::Fetch { epoch, unseen } => self.handle_fetched(service, epoch, unseen, reply),
            Aim::FindGhosts => self.handle_ghosts(service, reply),
            Aim::FindOwn { sent } => self.handle_own_found(service, sent, reply),
            Aim::HandBack { keys } => self.handle_handed_back(service, keys, reply),
            Aim::InspectStream => self.handle_inspected(service, &reply),
            Aim::ListGroups => self.handle_groups(service, reply),
            Aim::ListOwn { epoch, sent } => self.handle_listed(service, epoch, sent, reply),
            Aim::ListPending => self.handle_pending(service, &reply),
            Aim::Read { epoch, sent } => self.handle_read(service, epoch, sent, reply),
            Aim::RemoveConsumer => self.handle_consumer_removed(service, &reply),
            Aim::RemoveIdleConsumers => self.handle_idle_consumers_removed(service, &reply),
            Aim::Reply { key, bytes } => {
                self.reply_done(bytes);
                self.handle_replied(service, key, reply);
            }
            Aim::SeekEntry { missing, given_out, sent } => {
                self.handle_entry_sought(service, missing, given_out, sent, reply);
            }
            Aim::SeekGroup { missing, sent } => {
                self.handle_group_sought(service, missing, sent, reply);
            }
            Aim::TakeBack { ids, sent } => self.handle_taken_back(service, ids, sent, reply),
            Aim::Time { sent } => self.handle_time(sent, &reply),
            Aim::Trim => self.handle_trimmed(service, &reply),
            Aim::TrimPending { round } => self.handle_trim_pending(service, round, &reply),
        }
    }

    fn give_up(&mut self, lane: Lane, loss: Loss) {
        if let Some(ended) = self.lanes.fail(self.now, lane, loss) {
            self.handle_ended(ended);
        }
    }

    /// A lane has ended: what was under way on it has an unknown outcome.
    fn handle_ended(&mut self, ended: Ended<Purpose>) {
        for voided in ended.voided {
            let Purpose { service, aim } = voided.purpose;
            match aim {
                Aim::Acknowledge { epoch, ids } => self.unacknowledge(service, epoch, ids),
                Aim::CheckConsumer | Aim::RemoveConsumer => self.consumer_done(),
                Aim::CheckLeases { keys, .. } => self.void_renewal(service, &keys),
                Aim::Expire(stream) => self.doubt_expiry(stream),
                Aim::HandBack { keys } => self.void_hand_back(service, &keys, voided.sent),
                Aim::Renew { keys, .. } => self.lose_renewal(service, &keys, voided.sent),
                Aim::Claim { count, .. } => self.void_claim(service, count, voided.sent),
                Aim::FindOwn { .. } => self.void_claim(service, 0, false),
                Aim::TakeBack { ids, .. } => self.void_claim(service, ids.len(), voided.sent),
                Aim::Count { .. } => self.void_count(service),
                Aim::CreateGroup { .. } | Aim::InspectStream => self.void_creation(service),
                Aim::Fetch { unseen, .. } => {
                    self.void_fetch(service, unseen, voided.sent, ended.closed);
                }
                Aim::ListOwn { .. } => self.void_list(service, voided.sent),
                Aim::Read { .. } => self.void_read(service, voided.sent),
                Aim::Reply { key, bytes } => {
                    self.reply_done(bytes);
                    self.lose_reply(service, key, voided.sent && !ended.unfit);
                }
                Aim::SeekEntry { missing, .. } => self.void_renewal(service, &[missing.key]),
                Aim::SeekGroup { missing, .. } => {
                    let keys: Vec<Key> = missing.iter().map(|it| it.key).collect();
                    self.void_renewal(service, &keys);
                }
                Aim::Trim | Aim::TrimPending { .. } => self.void_trim(service),
                Aim::CheckGhost(_)
                | Aim::Delete
                | Aim::FindGhosts
                | Aim::ListGroups
                | Aim::ListPending
                | Aim::RemoveIdleConsumers
                | Aim::Time { .. }
                | Aim::Unblock => {}
            }
        }
        self.dirty.extend(0..self.services.len());
    }

    fn tick(&mut self) {
        for ended in self.lanes.tick(self.now) {
            self.handle_ended(ended);
        }
        for service in &mut self.services {
            service.acks_paused_until = service.acks_paused_until.filter(|at| *at > self.now);
        }
        self.tick_looks();
        self.tick_retry();
        if self.trim_at <= self.now {
            self.tick_trim();
        }
        if self.tick_at <= self.now {
            let tick = self.config.reclaim_tick;
            let even = self.config.seeded.is(Bug::TickUnjittered);
            self.tick_at = self.now + if even { tick } else { self.jitter.spread(tick) };
            self.ticks += 1;
            self.drop_overdue();
            self.tick_clock();
            self.tick_reclaim();
            self.tick_expiry();
            self.tick_marks();
            self.tick_consumers();
        }
        self.dirty.extend(0..self.services.len());
    }

    /// Says once that every service is being served.
    fn check_started(&mut self) -> bool {
        let ready = matches!(self.stage, Stage::Starting)
            && self.lanes.is_open(Lane::Command)
            && self
                .services
                .iter()
                .all(|service| service.is_ready() && self.lanes.is_open(service.lane));
        if ready {
            self.stage = Stage::Running;
            self.events.push_back(ServerEvent::Started);
            self.dirty.extend(0..self.services.len());
        }
        ready
    }
}

impl Engine for Server {
    type Event = ServerEvent;

    fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = now;
        match input {
            Input::LaneOpen(lane, hello) => {
                if let Some(ended) = self.lanes.opened(now, lane, hello) {
                    self.handle_ended(ended);
                }
                self.expect_look(lane);
                if lane == Lane::Command {
                    self.clock.forget();
                    self.ask_time();
                    self.forget_groups();
                    for service in &mut self.services {
                        service.held.leases.hurry(now);
                    }
                    self.renew_all();
                    self.replies.proven = false;
                    self.tell_doubtful();
                }
                self.dirty.extend(0..self.services.len());
            }
            Input::LaneLost(lane, loss) => {
                if let Some(ended) = self.lanes.lost(now, lane, loss) {
                    self.handle_ended(ended);
                }
            }
            Input::Progress { lane, bytes } => {
                if self.lanes.progress(now, lane, bytes) {
                    self.note_progress(lane);
                }
            }
            Input::Reply(token, reply) => {
                if let Some(purpose) = self.lanes.reply(now, &token, reply.is_ok()) {
                    self.handle_reply(token.lane(), purpose, reply);
                }
            }
            Input::Tick => self.tick(),
        }
    }

    fn poll_output(&mut self) -> Output<ServerEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Output::Event(event);
            }
            if let Some(service) = self.dirty.pop_first() {
                self.advance(service);
            } else if let Some(action) = self.lanes.poll() {
                return action.into_output(|loss| match loss {
                    None => ServerEvent::Connected,
                    Some(loss) => ServerEvent::Disconnected(loss),
                });
            } else if !self.check_started() && !self.advance_stop() {
                return Output::Idle(self.deadline());
            }
        }
    }
}

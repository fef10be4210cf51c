//! [`sequence`]: a random sequence of steps, decided by its seed alone.
//!
//! Not uniform. Each sequence has a temper of its own: how many keys, groups and consumers, large
//! or small entries, which commands it likes and which it never sends. Sequences that all look
//! alike would meet the same few states again and again. Arguments are in [`super::arguments`].

use std::time::Duration;

use bytes::Bytes;
use clamator_engine::sim::Dice;
use clamator_engine::{ClaimAs, Command, GroupStart, StreamId};

use super::arguments::Arguments;
use super::step::{Deed, Meddling, Step, client_of};

/// Connections of a sequence.
pub const SEATS: usize = 5;

/// Draws a sequence.
pub fn sequence(seed: u64) -> Vec<Step> {
    let mut dice = Dice::new(seed).split();
    let temper = Temper::draw(&mut dice);
    let len = dice.scale_number(10, 320);
    let mut author =
        Author { arguments: Arguments::draw(&mut dice), dice, next: 0, steps: vec![], temper };
    author.begin();
    while author.next < len {
        author.go_on();
    }
    author.steps
}

/// What may be done, and how often if nothing speaks against it.
const DEEDS: [(What, u64); 32] = [
    (What::Ack, 90),
    (What::Add, 220),
    (What::AddMany, 8),
    (What::Claim, 90),
    (What::ClaimIds, 80),
    (What::Close, 8),
    (What::CreateGroup, 35),
    (What::Del, 5),
    (What::DeleteConsumer, 15),
    (What::DeleteEntries, 60),
    (What::DeleteIdle, 25),
    (What::Expire, 12),
    (What::ExpireSoon, 3),
    (What::InfoGroups, 15),
    (What::InfoStream, 15),
    (What::MeddleDelete, 10),
    (What::MeddleDestroy, 6),
    (What::MeddleFlush, 2),
    (What::MeddleString, 4),
    (What::MeddleTrim, 5),
    (What::Pending, 25),
    (What::PendingRange, 50),
    (What::Range, 40),
    (What::Read, 25),
    (What::ReadBlocking, 25),
    (What::ReadGroup, 110),
    (What::ReadGroupBlocking, 55),
    (What::Sleep, 8),
    (What::TrimBelow, 25),
    (What::Unblock, 25),
    (What::WaitOut, 2),
    (What::WaitOutGroup, 3),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Ack,
    Add,
    AddMany,
    Claim,
    ClaimIds,
    Close,
    CreateGroup,
    Del,
    DeleteConsumer,
    DeleteEntries,
    DeleteIdle,
    Expire,
    ExpireSoon,
    InfoGroups,
    InfoStream,
    MeddleDelete,
    MeddleDestroy,
    MeddleFlush,
    MeddleString,
    MeddleTrim,
    Pending,
    PendingRange,
    Range,
    Read,
    ReadBlocking,
    ReadGroup,
    ReadGroupBlocking,
    Sleep,
    TrimBelow,
    Unblock,
    WaitOut,
    WaitOutGroup,
}

/// What a sequence likes to do.
struct Temper {
    weights: Vec<(What, u64)>,
    total: u64,
    /// How often, in a hundred, another connection than the first one acts.
    others: u64,
    /// Whether it begins with more entries than one trimming removes.
    giant: bool,
}

impl Temper {
    fn draw(dice: &mut Dice) -> Self {
        // Of four commands one is not sent and one is a favourite.
        let weight = |(what, weight)| (what, weight * [0, 2, 2, 5][index(dice, 4)]);
        let mut weights: Vec<(What, u64)> = DEEDS.into_iter().map(weight).collect();
        // Without entries nothing happens.
        weights.push((What::Add, 200));
        let total = weights.iter().map(|(_, weight)| weight).sum();
        Self { weights, total, others: dice.between(0, 50), giant: dice.roll(1500) == 0 }
    }

    fn roll(&self, dice: &mut Dice) -> What {
        let mut roll = dice.roll(self.total);
        for (what, weight) in &self.weights {
            if roll < *weight {
                return *what;
            }
            roll -= weight;
        }
        What::Add
    }
}

struct Author {
    arguments: Arguments,
    dice: Dice,
    next: u64,
    steps: Vec<Step>,
    temper: Temper,
}

impl Author {
    /// Most sequences begin with a stream and a group, or most commands would be refused.
    fn begin(&mut self) {
        if self.dice.chance(90) {
            let Arguments { keys, groups, .. } = &self.arguments;
            let pairs: Vec<_> =
                keys.iter().flat_map(|key| groups.iter().map(move |group| (key, group))).collect();
            let commands: Vec<_> = pairs
                .into_iter()
                .map(|(key, group)| Command::XGroupCreate {
                    key: key.clone(),
                    group: group.clone(),
                    start: GroupStart::After(StreamId::ZERO),
                })
                .collect();
            for command in commands {
                self.ask(0, command);
            }
        }
        if self.temper.giant {
            for _ in 0..self.dice.between(10_150, 10_500) {
                self.add_small();
            }
            let key = self.arguments.keys[0].clone();
            let fields = vec![(key.clone(), key.clone())];
            self.add(0, Command::XAdd { key, create: true, max_len: Some(0), fields });
        }
    }

    fn go_on(&mut self) {
        let what = self.temper.roll(&mut self.dice);
        let seat = self.seat();
        if let Some(command) = self.command(what) {
            let command = self.foreign(command);
            return match command {
                Command::XAdd { .. } => self.add(seat, command),
                command => self.ask(seat, command),
            };
        }
        let key = self.arguments.key(&mut self.dice);
        let group = self.arguments.group(&mut self.dice);
        match what {
            What::AddMany => {
                for _ in 0..self.dice.scale_number(5, 130) {
                    let command = self.arguments.add(&mut self.dice);
                    self.add(seat, command);
                }
            }
            What::Close => self.push(seat, Deed::Close),
            What::MeddleDelete => self.delete(seat, key, group),
            What::MeddleDestroy => {
                self.push(seat, Deed::Meddle(Meddling::DestroyGroup(key, group)));
            }
            What::MeddleFlush => self.push(seat, Deed::Meddle(Meddling::FlushAll)),
            What::MeddleString => {
                self.push(seat, Deed::Meddle(Meddling::SetString(key.clone())));
                // Not for long: nothing else can be done with the key.
                for _ in 0..self.dice.between(0, 12) {
                    self.go_on();
                }
                self.ask(0, Command::Del { key });
            }
            What::MeddleTrim => {
                let len = self.arguments.len(&mut self.dice);
                self.push(seat, Deed::Meddle(Meddling::Trim(key, len)));
            }
            What::Sleep => {
                let duration = Duration::from_micros(self.dice.between(500, 4000));
                self.push(seat, Deed::Sleep(duration));
            }
            What::ExpireSoon => {
                let ttl = Duration::from_millis(self.dice.between(0, 4));
                self.push(seat, Deed::Outlive(Command::PExpire { key, ttl }));
            }
            What::WaitOut | What::WaitOutGroup => self.wait_out(what, key, group),
            _ => unreachable!("all others are commands"),
        }
    }

    fn command(&mut self, what: What) -> Option<Command> {
        let Self { arguments, dice, .. } = self;
        let key = arguments.key(dice);
        let group = arguments.group(dice);
        let consumer = arguments.consumer(dice);
        let at = dice.between(0, 2);
        Some(match what {
            What::Ack => Command::XAck { ids: arguments.ids(dice, &key), key, group },
            What::Add => arguments.add(dice),
            What::Claim => {
                let start = if at > 0 { StreamId::ZERO } else { arguments.id(dice, &key) };
                let (count, idle_min) = (arguments.claim_count(dice), arguments.idle(dice));
                Command::XAutoClaim { key, group, consumer, idle_min, start, count }
            }
            What::ClaimIds => {
                let (ids, idle_min) = (arguments.ids(dice, &key), arguments.idle(dice));
                let claim_as = match at {
                    0 => ClaimAs::HandedBack { deliveries: arguments.deliveries(dice) },
                    1 => ClaimAs::Delivered,
                    _ => ClaimAs::Renewed,
                };
                Command::XClaim { key, group, consumer, idle_min, ids, claim_as }
            }
            What::CreateGroup => {
                let start = match at {
                    0 => GroupStart::New,
                    1 => GroupStart::After(StreamId::ZERO),
                    _ => GroupStart::After(arguments.id(dice, &key)),
                };
                Command::XGroupCreate { key, group, start }
            }
            What::Del => Command::Del { key },
            What::DeleteConsumer => Command::XGroupDelConsumer { key, group, consumer },
            What::DeleteEntries => Command::XDel { ids: arguments.ids(dice, &key), key },
            What::DeleteIdle => {
                let idle_min = arguments.idle(dice);
                Command::DelIdleConsumers { key, group, idle_min, keep: consumer }
            }
            What::Expire => Command::PExpire { key, ttl: arguments.ttl(dice) },
            What::InfoGroups => Command::XInfoGroups { key },
            What::InfoStream => Command::XInfoStream { key },
            What::Pending => Command::XPending { key, group },
            What::PendingRange => {
                let ((start, end), count) = (arguments.range(dice, &key), arguments.count(dice));
                Command::XPendingRange { key, group, start, end, count, consumer }
            }
            What::Range => {
                let ((start, end), count) = (arguments.range(dice, &key), arguments.count(dice));
                Command::XRange { key, start, end, count }
            }
            What::Read | What::ReadBlocking => {
                let block = (what == What::ReadBlocking).then(|| arguments.block(dice));
                let after = if at == 0 { StreamId::ZERO } else { arguments.id(dice, &key) };
                Command::XRead { after, key, count: arguments.count(dice), block }
            }
            What::ReadGroup | What::ReadGroupBlocking => {
                let block = (what == What::ReadGroupBlocking).then(|| arguments.block(dice));
                let count = arguments.count(dice);
                Command::XReadGroup { key, group, consumer, count, block }
            }
            What::TrimBelow => Command::XTrim { min_id: arguments.id(dice, &key), key },
            What::Unblock => Command::ClientUnblock { client: client(dice) },
            _ => return None,
        })
    }

    /// Now and then the key or the group is one that is not there, or one with an odd name.
    fn foreign(&mut self, mut command: Command) -> Command {
        if self.dice.chance(2) {
            let odd = self.arguments.odd_name(&mut self.dice);
            match &mut command {
                Command::DelIdleConsumers { group, .. }
                | Command::XAck { group, .. }
                | Command::XAutoClaim { group, .. }
                | Command::XClaim { group, .. }
                | Command::XGroupCreate { group, .. }
                | Command::XGroupDelConsumer { group, .. }
                | Command::XPending { group, .. }
                | Command::XPendingRange { group, .. }
                | Command::XReadGroup { group, .. }
                    if self.dice.chance(50) =>
                {
                    *group = odd;
                }
                Command::Del { key }
                | Command::DelIdleConsumers { key, .. }
                | Command::PExpire { key, .. }
                | Command::XAck { key, .. }
                | Command::XAdd { key, .. }
                | Command::XAutoClaim { key, .. }
                | Command::XClaim { key, .. }
                | Command::XDel { key, .. }
                | Command::XGroupCreate { key, .. }
                | Command::XGroupDelConsumer { key, .. }
                | Command::XInfoGroups { key }
                | Command::XInfoStream { key }
                | Command::XPending { key, .. }
                | Command::XPendingRange { key, .. }
                | Command::XRange { key, .. }
                | Command::XRead { key, .. }
                | Command::XReadGroup { key, .. }
                | Command::XTrim { key, .. } => *key = odd,
                _ => {}
            }
        }
        command
    }

    /// Deletes a stream for which somebody may wait.
    fn delete(&mut self, seat: usize, key: Bytes, group: Bytes) {
        if self.dice.chance(40) {
            let reader = 1 + index(&mut self.dice, SEATS - 1);
            let consumer = self.arguments.consumer(&mut self.dice);
            let block = Some(self.arguments.block(&mut self.dice));
            let (key, group) = (key.clone(), group.clone());
            self.ask(reader, Command::XReadGroup { key, group, consumer, count: 3, block });
        }
        self.push(seat, Deed::Meddle(Meddling::Delete(key.clone())));
        // Redis 6.2 tells a reader of the stream that was only when another one has come.
        if self.dice.chance(70) {
            let other = Bytes::from_static(b"other");
            let group = if self.dice.chance(50) { group } else { other };
            let start = GroupStart::After(StreamId::ZERO);
            self.ask(0, Command::XGroupCreate { key, group, start });
        }
    }

    fn wait_out(&mut self, what: What, key: Bytes, group: Bytes) {
        let Self { arguments, dice, .. } = self;
        // A wait of less than a millisecond is spelled as one of a millisecond.
        let block = Some(Duration::from_micros(dice.between(0, 9000)));
        let (consumer, count) = (arguments.consumer(dice), arguments.count(dice));
        let read = if what == What::WaitOut {
            let after = arguments.id(dice, &key);
            Command::XRead { key, after, count, block }
        } else {
            Command::XReadGroup { key, group, consumer, count, block }
        };
        let behind = [What::Add, What::Ack, What::ReadGroup, What::Claim][index(dice, 4)];
        let behind = if dice.chance(50) { self.command(behind) } else { None };
        let seat = self.seat();
        self.push(seat, Deed::WaitOut { read, behind });
    }

    fn add_small(&mut self) {
        let key = self.arguments.keys[0].clone();
        let fields = vec![(key.clone(), key.clone())];
        self.add(0, Command::XAdd { key, create: true, max_len: None, fields });
    }

    fn add(&mut self, seat: usize, command: Command) {
        if let Command::XAdd { key, .. } = &command {
            self.arguments.added(key, self.next);
        }
        self.ask(seat, command);
    }

    fn ask(&mut self, seat: usize, command: Command) {
        self.push(seat, Deed::Ask(command));
    }

    fn push(&mut self, seat: usize, deed: Deed) {
        self.steps.push(Step { label: self.next, seat, deed });
        self.next += 1;
    }

    fn seat(&mut self) -> usize {
        if self.dice.chance(self.temper.others) { index(&mut self.dice, SEATS) } else { 0 }
    }
}

fn client(dice: &mut Dice) -> u64 {
    let numbers =
        [0, 999_999_999, i64::MAX.cast_unsigned(), i64::MAX.cast_unsigned() + 1, u64::MAX];
    if dice.chance(6) { numbers[index(dice, 5)] } else { client_of(index(dice, SEATS)) }
}

fn index(dice: &mut Dice, below: usize) -> usize {
    usize::try_from(dice.roll(below as u64)).unwrap()
}

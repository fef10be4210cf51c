//! [`Arguments`]: the names, ids, counts and times that the commands of a sequence are made of.
//!
//! Not which command is sent. Most arguments are such that the command does something; some are
//! the values at which servers change their minds: nothing, one, the greatest, one more than that,
//! what is deleted, what belongs to another stream, what was never there.

use std::time::Duration;

use bytes::Bytes;
use clamator_engine::sim::Dice;
use clamator_engine::{Command, Fields, StreamId};

use super::step::{Shift, id_of};

const I64_MAX: u64 = i64::MAX.cast_unsigned();
/// Longer than any sequence takes: such a wait is ended by something else.
const FOR_LONG: Duration = Duration::from_secs(120);
/// How far back a sequence remembers its entries.
const RECENT: usize = 60;

/// What a sequence draws its arguments from.
#[derive(Debug)]
pub struct Arguments {
    pub keys: Vec<Bytes>,
    pub groups: Vec<Bytes>,
    consumers: Vec<Bytes>,
    /// Labels of entries, by key.
    added: Vec<Vec<u64>>,
    /// Largest value of a field.
    value_max: u64,
    /// How often, in a hundred, an added entry trims the stream.
    trims: u64,
}

impl Arguments {
    pub fn draw(dice: &mut Dice) -> Self {
        let mut some = |names: &[&'static str]| {
            let many = index(dice, names.len()) + 1;
            names[..many].iter().map(|name| Bytes::from_static(name.as_bytes())).collect()
        };
        let keys: Vec<Bytes> = some(&["k", "l", "m"]);
        let (groups, consumers) = (some(&["g", "h"]), some(&["ana", "bob", "cyd", ""]));
        let added = vec![vec![]; keys.len()];
        let value_max = [8, 40, 300, 5000][index(dice, 4)];
        let trims = [0, 0, 20, 60][index(dice, 4)];
        Self { keys, groups, consumers, added, value_max, trims }
    }

    /// Remembers that the step of this label adds an entry.
    pub fn added(&mut self, key: &Bytes, label: u64) {
        if let Some(place) = self.keys.iter().position(|other| other == key) {
            self.added[place].push(label);
        }
    }

    pub fn key(&self, dice: &mut Dice) -> Bytes {
        self.keys[index(dice, self.keys.len())].clone()
    }

    pub fn group(&self, dice: &mut Dice) -> Bytes {
        self.groups[index(dice, self.groups.len())].clone()
    }

    pub fn consumer(&self, dice: &mut Dice) -> Bytes {
        self.consumers[index(dice, self.consumers.len())].clone()
    }

    /// A name that is not there, or looks odd in an error.
    pub fn odd_name(&self, dice: &mut Dice) -> Bytes {
        let names: [&'static [u8]; 6] =
            [b"none", b"", b"a\r\nb", b"a\0b", b"\xff\xfe", b"it's \"it\""];
        Bytes::from_static(names[index(dice, names.len())])
    }

    pub fn add(&self, dice: &mut Dice) -> Command {
        let key = self.key(dice);
        let max_len = dice.chance(self.trims).then(|| self.len(dice));
        Command::XAdd { key, create: !dice.chance(10), max_len, fields: self.fields(dice) }
    }

    /// A length to trim to: about as many entries as a node of Redis's has, or fewer.
    pub fn len(&self, dice: &mut Dice) -> u64 {
        match dice.roll(12) {
            0 => 0,
            1 => 100,
            2 => [I64_MAX, I64_MAX + 1, u64::MAX][index(dice, 3)],
            3 => dice.between(90, 210),
            _ => dice.between(1, 30),
        }
    }

    /// An id that means something to the stream, or one at the edge.
    pub fn id(&self, dice: &mut Dice, key: &Bytes) -> StreamId {
        let own = self.keys.iter().position(|other| other == key).unwrap_or(0);
        let place = if dice.chance(95) { own } else { index(dice, self.keys.len()) };
        let added = &self.added[place];
        let recent = &added[added.len().saturating_sub(RECENT)..];
        if let Some(label) = dice.pick(recent)
            && dice.chance(90)
        {
            let shift = match dice.roll(12) {
                0 => Shift::Before,
                1 => Shift::Behind,
                _ => Shift::None,
            };
            return id_of(*label, shift);
        }
        let edges = [
            StreamId::ZERO,
            StreamId::new(0, 1),
            StreamId::new(5, 3),
            StreamId::new(99_999_999_999_999, 0),
            StreamId::new(u64::MAX, 0),
            StreamId::MAX.previous(),
            StreamId::MAX,
        ];
        edges[index(dice, edges.len())]
    }

    /// Ids, seldom none, now and then more than Redis keeps on its stack, and the same one twice.
    pub fn ids(&self, dice: &mut Dice, key: &Bytes) -> Vec<StreamId> {
        let count = match dice.roll(20) {
            0 => 0,
            1..=4 => dice.between(2, 4),
            5 => dice.between(7, 12),
            _ => 1,
        };
        let mut ids: Vec<_> = (0..count).map(|_| self.id(dice, key)).collect();
        if count > 1 && dice.chance(10) {
            ids.push(ids[0]);
        }
        ids
    }

    pub fn range(&self, dice: &mut Dice, key: &Bytes) -> (StreamId, StreamId) {
        let start = if dice.chance(50) { StreamId::ZERO } else { self.id(dice, key) };
        let end = if dice.chance(50) { StreamId::MAX } else { self.id(dice, key) };
        (start, end)
    }

    pub fn count(&self, dice: &mut Dice) -> u64 {
        match dice.roll(20) {
            0 => 0,
            1 => [1000, I64_MAX, I64_MAX + 1, u64::MAX][index(dice, 4)],
            2..=6 => 1,
            7..=9 => 2,
            _ => dice.between(1, 12),
        }
    }

    /// Counts between a thousand and the greatest are left out: whether Redis gets the memory that
    /// it wants for them depends on the machine.
    pub fn claim_count(&self, dice: &mut Dice) -> u64 {
        match dice.roll(24) {
            0 => 0,
            1 => [I64_MAX / 16, I64_MAX / 16 + 1, I64_MAX, I64_MAX + 1][index(dice, 4)],
            2 => 100,
            3..=11 => 1,
            _ => dice.between(1, 6),
        }
    }

    /// How often a worker says that an entry was given out which it hands back.
    pub fn deliveries(&self, dice: &mut Dice) -> u64 {
        match dice.roll(12) {
            0 => [I64_MAX, I64_MAX + 1, u64::MAX][index(dice, 3)],
            _ => dice.between(0, 4),
        }
    }

    pub fn idle(&self, dice: &mut Dice) -> Duration {
        Duration::from_millis(match dice.roll(10) {
            0 => [60_000, I64_MAX, I64_MAX + 1, u64::MAX][index(dice, 4)],
            1..=5 => 0,
            _ => dice.between(1, 6),
        })
    }

    /// A time that no sequence lives to see the end of, or one that no key can live for.
    pub fn ttl(&self, dice: &mut Dice) -> Duration {
        let edges = [I64_MAX - (1 << 41), I64_MAX, I64_MAX + 1, u64::MAX];
        if dice.chance(20) {
            return Duration::from_millis(edges[index(dice, 4)]);
        }
        FOR_LONG + Duration::from_millis(dice.between(0, 1000))
    }

    pub fn block(&self, dice: &mut Dice) -> Duration {
        let edges = [I64_MAX, I64_MAX + 1, u64::MAX];
        if dice.chance(2) { Duration::from_millis(edges[index(dice, 3)]) } else { FOR_LONG }
    }

    fn fields(&self, dice: &mut Dice) -> Fields {
        // Names that are the same as those of the entry before take less room in Redis.
        const NAMES: [&[u8]; 6] = [b"a", b"b", b"", b"type", b"17", b"\xff\r\n"];
        let usual = dice.chance(80);
        let count = match dice.roll(40) {
            0 => 0,
            _ if usual => 2,
            _ => dice.between(1, 5),
        };
        let name = |dice: &mut Dice, place: u64| {
            if usual { NAMES[usize::try_from(place).unwrap() % 2] } else { NAMES[index(dice, 6)] }
        };
        (0..count).map(|place| (Bytes::from_static(name(dice, place)), self.value(dice))).collect()
    }

    /// A value; Redis keeps those that look like integers in fewer bytes.
    fn value(&self, dice: &mut Dice) -> Bytes {
        match dice.roll(8) {
            0 => (dice.word().cast_signed() >> dice.roll(64)).to_string().into(),
            1 => dice.between(0, 300).to_string().into(),
            2 => format!("0{}", dice.between(0, 9)).into(),
            3 => Bytes::from_static(b"-0"),
            _ => {
                let len = usize::try_from(dice.scale_number(1, self.value_max) - 1).unwrap();
                vec![b'x'; len].into()
            }
        }
    }
}

fn index(dice: &mut Dice, below: usize) -> usize {
    usize::try_from(dice.roll(below as u64)).unwrap()
}

//! [`Dice`]: the inputs of a seed, made by changing good ones and from nothing.
//!
//! Not the choice of what is kept for further changes: `runner`.

use std::fs;
use std::path::Path;

use clamator_engine::sim;
use clamator_tests::seed::of_environment;

/// What is put between or in place of bytes, beside bytes of any value.
const TOKENS: [&[u8]; 24] = [
    b"null",
    b"true",
    b"NaN",
    b"-",
    b"0",
    b"2.0",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\u00",
    b",",
    b":",
    b"\"id\":",
    b"\"method\":\"",
    b"\"jsonrpc\":\"2.0\"",
    b"\"result\":",
    b"\"error\":{\"code\":",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0\0\0\0\0",
    b"\xef\xbb\xbf",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    b"\xf0\x9f\xa6\x80",
];

/// Chance, from a seed.
pub(crate) struct Dice(sim::Dice);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(sim::Dice::new(seed))
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.0.word()
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap() % sides.max(1)
    }

    /// An input: some bytes from nothing, or one or two of these with changes.
    pub(crate) fn input(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        if pool.is_empty() || self.roll(8) == 0 {
            let magnitude = self.roll(12);
            let length = self.roll(1 << magnitude);
            return (0..length).map(|_| self.byte()).collect();
        }
        let mut bytes = pool[self.roll(pool.len())].clone();
        if self.roll(8) == 0 {
            let other = &pool[self.roll(pool.len())];
            let (from, at) = (self.roll(other.len() + 1), self.roll(bytes.len() + 1));
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        let changes = [0, 1, 1, 1, 2, 4][self.roll(6)];
        for _ in 0..changes {
            self.damage(&mut bytes);
        }
        bytes.truncate(1 << 14);
        bytes
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.roll(256)).unwrap()
    }

    fn token(&mut self) -> &'static [u8] {
        TOKENS[self.roll(TOKENS.len())]
    }

    /// Changes some bytes.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        let from = self.roll(bytes.len() + 1);
        let magnitude = self.roll(6);
        let to = (from + 1 + self.roll(1 << magnitude)).min(bytes.len());
        match self.roll(8) {
            0 => bytes.truncate(from),
            1 => _ = bytes.drain(from..to),
            2 => {
                let copy = bytes[from..to].to_vec();
                bytes.splice(to..to, copy);
            }
            3 => _ = bytes.splice(from..to, self.token().iter().copied()),
            4 => _ = bytes.splice(from..from, self.token().iter().copied()),
            5 => {
                let more: Vec<u8> = (0..1 + self.roll(64)).map(|_| self.byte()).collect();
                bytes.splice(from..from, more);
            }
            6 => {
                let byte = self.byte();
                if let Some(old) = bytes.get_mut(from) {
                    *old = byte;
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(from) {
                    *byte ^= 1 << self.roll(8);
                }
            }
        }
    }
}

/// `CLAMATOR_SEED`, or a fixed seed.
pub(crate) fn seed() -> u64 {
    of_environment().unwrap_or(0x00c1_a3a7)
}

/// The committed inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

//! [`Dice`]: the inputs of a seed, made by changing good ones and from nothing.
//!
//! Not the choice of what is kept for further changes: `runner`.

use std::path::Path;
use std::{env, fs};

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

/// A stream of numbers that looks random: splitmix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
    env::var("CLAMATOR_SEED").map_or(0x00c1_a3a7, |text| {
        parse_seed(text.trim()).unwrap_or_else(|| panic!("CLAMATOR_SEED is no seed: {text:?}"))
    })
}

/// A decimal number, a hexadecimal one behind `0x`, or the 40 digits of a commit.
fn parse_seed(text: &str) -> Option<u64> {
    if text.len() == 40 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return u64::from_str_radix(&text[..16], 16).ok();
    }
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// The committed inputs of a target.
pub(crate) fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

#[test]
fn a_seed_is_a_number_or_a_commit() {
    assert_eq!(parse_seed("28"), Some(28));
    assert_eq!(parse_seed("0x1c"), Some(28));
    let commit = "00000000000000ff00112233445566778899aabb";
    assert_eq!(parse_seed(commit), Some(255));
    assert_eq!(parse_seed("zz"), None);
}

//! The floor: what Redis itself allows for one round trip over the same wire.
//!
//! Raw blocking sockets: no JSON, no async, no engine. The commands are the wire's own (XADD,
//! XREADGROUP BLOCK, XADD of the reply with MAXLEN ~, XACK and XDEL, XREAD BLOCK), batched as hard
//! as they can be; a batch is acknowledged once its replies were answered, with the next batch's
//! write. Not a peer: it reads no envelope, it cuts the id out of it by position.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use super::{Clock, Figures, WARM_UP};

const COMMANDS: &[u8] = b"floor:cmds:arith";
const GROUP: &[u8] = b"arith";
const REPLIES: &[u8] = b"floor:replies:1";
/// Length of a request id, which is a UUID's.
const ID: usize = 36;
/// Where a reply's id begins.
const REPLY_ID: usize = br#"{"jsonrpc":"2.0","id":""#.len();
/// What stands behind a request's id.
const REQUEST_END: usize = br#""}"#.len();

/// Serves until the connection ends.
pub fn serve(port: u16) -> io::Result<()> {
    let (mut reader, mut writer) = (Wire::open(port)?, Wire::open(port)?);
    reader.call(&[b"XGROUP", b"CREATE", COMMANDS, GROUP, b"0", b"MKSTREAM"])?;
    let mut settled: Vec<Vec<u8>> = Vec::new();
    loop {
        let entries = reader.call(&[
            b"XREADGROUP",
            b"GROUP",
            GROUP,
            b"arith:1",
            b"COUNT",
            b"256",
            b"BLOCK",
            b"1000",
            b"STREAMS",
            COMMANDS,
            b">",
        ])?;
        let entries = entries.entries();
        let mut answers = entries.len();
        if !settled.is_empty() {
            let ids = || settled.iter().map(Vec::as_slice);
            writer
                .add(&[&b"XACK"[..], COMMANDS, GROUP].into_iter().chain(ids()).collect::<Vec<_>>());
            writer.add(&[&b"XDEL"[..], COMMANDS].into_iter().chain(ids()).collect::<Vec<_>>());
            answers += 2;
        }
        for (_, fields) in &entries {
            let (envelope, reply_to) = (&fields[3], &fields[5]);
            let id = &envelope[envelope.len() - ID - REQUEST_END..envelope.len() - REQUEST_END];
            let reply = [br#"{"jsonrpc":"2.0","id":""#, id, br#"","result":{"sum":5.0}}"#].concat();
            writer.add(&[
                b"XADD",
                reply_to,
                b"MAXLEN",
                b"~",
                b"1024",
                b"*",
                b"type",
                b"rpc",
                b"envelope",
                &reply,
            ]);
        }
        writer.flush()?;
        for _ in 0..answers {
            writer.receive()?;
        }
        settled = entries.into_iter().map(|(id, _)| id).collect();
    }
}

/// Makes calls, `window` at a time, and measures all but the first few.
pub fn call(port: u16, window: usize, calls: usize) -> io::Result<Figures> {
    let (mut writer, mut reader) = (Wire::open(port)?, Wire::open(port)?);
    let mut last = b"0".to_vec();
    run(&mut writer, &mut reader, &mut last, window, WARM_UP)?;
    run(&mut writer, &mut reader, &mut last, window, calls)
}

fn run(
    writer: &mut Wire,
    reader: &mut Wire,
    last: &mut Vec<u8>,
    window: usize,
    calls: usize,
) -> io::Result<Figures> {
    let mut sent_at: HashMap<Vec<u8>, Instant> = HashMap::new();
    let (mut sent, mut answered) = (0, 0);
    let mut clock = Clock::start(calls);
    while answered < calls {
        let more = (window - (sent - answered)).min(calls - sent);
        for _ in 0..more {
            let id = format!("0b1c6e4e-7a51-4c6c-9d6e-{sent:012}");
            let envelope = format!(
                r#"{{"jsonrpc":"2.0","method":"arith.add","params":{{"a":2.0,"b":3.0}},"id":"{id}"}}"#
            );
            writer.add(&[
                b"XADD",
                COMMANDS,
                b"*",
                b"type",
                b"rpc",
                b"envelope",
                envelope.as_bytes(),
                b"reply-to",
                REPLIES,
            ]);
            sent_at.insert(id.into_bytes(), Instant::now());
            sent += 1;
        }
        writer.flush()?;
        for _ in 0..more {
            writer.receive()?;
        }
        let read: [&[u8]; 8] =
            [b"XREAD", b"COUNT", b"256", b"BLOCK", b"1000", b"STREAMS", REPLIES, last.as_slice()];
        for (entry, fields) in reader.call(&read)?.entries() {
            *last = entry;
            let sent = sent_at.remove(&fields[3][REPLY_ID..REPLY_ID + ID]);
            clock.answered(sent.expect("a reply answers a call"));
            answered += 1;
        }
    }
    Ok(clock.stop())
}

/// A raw connection that sends any number of commands in one write.
#[derive(Debug)]
pub struct Wire {
    reader: BufReader<TcpStream>,
    outgoing: Vec<u8>,
}

/// An answer, without what the floor does not look at.
#[derive(Debug)]
pub enum Answer {
    Array(Vec<Self>),
    Nothing,
    Text(Vec<u8>),
}

impl Wire {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Self { reader: BufReader::with_capacity(1 << 18, stream), outgoing: Vec::new() })
    }

    /// Adds a command to the next write.
    pub fn add(&mut self, words: &[&[u8]]) {
        // Writing to a vector cannot fail.
        let _ = write!(self.outgoing, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.outgoing, "${}\r\n", word.len());
            self.outgoing.extend_from_slice(word);
            self.outgoing.extend_from_slice(b"\r\n");
        }
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        self.reader.get_mut().write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Reads the next answer.
    pub fn receive(&mut self) -> io::Result<Answer> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line)?;
        let Some((kind, rest)) = line.strip_suffix(b"\r\n").and_then(<[u8]>::split_first) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let size = || std::str::from_utf8(rest).ok()?.parse::<usize>().ok();
        Ok(match (kind, size()) {
            (b'$', Some(size)) => {
                let mut text = vec![0; size + 2];
                self.reader.read_exact(&mut text)?;
                text.truncate(size);
                Answer::Text(text)
            }
            (b'*', Some(size)) => {
                Answer::Array((0..size).map(|_| self.receive()).collect::<io::Result<_>>()?)
            }
            (b'+' | b'-', _) => Answer::Text(line),
            _ => Answer::Nothing,
        })
    }

    fn call(&mut self, words: &[&[u8]]) -> io::Result<Answer> {
        self.add(words);
        self.flush()?;
        self.receive()
    }
}

impl Answer {
    fn array(self) -> Vec<Self> {
        if let Self::Array(items) = self { items } else { Vec::new() }
    }

    fn text(self) -> Vec<u8> {
        if let Self::Text(text) = self { text } else { Vec::new() }
    }

    /// The entries of the one stream in a read's answer: ids, and names and values in one list.
    fn entries(self) -> Vec<(Vec<u8>, Vec<Vec<u8>>)> {
        let streams = self.array().into_iter();
        let entries = streams.filter_map(|stream| stream.array().pop()).flat_map(Self::array);
        entries
            .map(|entry| {
                let mut entry = entry.array().into_iter();
                let mut next = || entry.next().unwrap_or(Self::Nothing);
                (next().text(), next().array().into_iter().map(Self::text).collect())
            })
            .collect()
    }
}

//! [`Wire`]: a connection that writes many commands at once and reads replies as [`Value`]s.
//!
//! Not a client: it matches nothing, it only frames. RESP2, as every server speaks it without
//! being asked. Besides waiting for a reply it can tell whether one has arrived already, which is
//! how a blocked read is told from an answered one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{Command, Refusal, Value};

/// A connection to a server on loopback.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    /// What is to be written.
    outgoing: Vec<u8>,
    /// What was read, from `taken` on not yet taken.
    incoming: Vec<u8>,
    taken: usize,
}

impl Wire {
    pub fn open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { stream, outgoing: Vec::new(), incoming: Vec::new(), taken: 0 })
    }

    /// Adds a command to what is to be written.
    pub fn push(&mut self, command: &Command) {
        let mut count = 0;
        command.args(&mut |_| count += 1);
        self.head(b'*', count);
        command.args(&mut |arg| self.bulk(arg));
    }

    /// Adds a command that engines do not send.
    pub fn push_words(&mut self, words: &[&[u8]]) {
        self.head(b'*', words.len());
        for word in words {
            self.bulk(word);
        }
    }

    /// Writes what was added.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.outgoing)?;
        self.outgoing.clear();
        Ok(())
    }

    /// Waits for a reply.
    pub fn receive(&mut self) -> io::Result<Value> {
        loop {
            if let Some(value) = self.take() {
                return Ok(value);
            }
            self.fill()?;
        }
    }

    /// A reply, if one has arrived. A server writes a large one in pieces, between which it serves
    /// others; so one that has begun is waited for.
    pub fn ready(&mut self) -> io::Result<Option<Value>> {
        loop {
            if let Some(value) = self.take() {
                return Ok(Some(value));
            }
            self.stream.set_nonblocking(true)?;
            let filled = self.fill();
            self.stream.set_nonblocking(false)?;
            match filled {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let has_begun = self.taken < self.incoming.len();
                    return if has_begun { self.receive().map(Some) } else { Ok(None) };
                }
                other => other?,
            }
        }
    }

    /// Sends a command that engines do not send and waits for its reply.
    pub fn ask(&mut self, words: &[&[u8]]) -> io::Result<Value> {
        self.push_words(words);
        self.flush()?;
        self.receive()
    }

    fn head(&mut self, kind: u8, number: usize) {
        self.outgoing.push(kind);
        self.outgoing.extend_from_slice(number.to_string().as_bytes());
        self.outgoing.extend_from_slice(b"\r\n");
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.head(b'$', bytes.len());
        self.outgoing.extend_from_slice(bytes);
        self.outgoing.extend_from_slice(b"\r\n");
    }

    fn fill(&mut self) -> io::Result<()> {
        self.incoming.drain(..std::mem::take(&mut self.taken));
        let mut chunk = [0; 64 * 1024];
        let read = self.stream.read(&mut chunk)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.incoming.extend_from_slice(&chunk[..read]);
        Ok(())
    }

    fn take(&mut self) -> Option<Value> {
        let mut rest = &self.incoming[self.taken..];
        let value = value(&mut rest)?;
        self.taken = self.incoming.len() - rest.len();
        Some(value)
    }
}

/// Takes one value off the front; `None` when it is not all there.
fn value(rest: &mut &[u8]) -> Option<Value> {
    let line = line(rest)?;
    let (kind, text) = line.split_first()?;
    let number = || std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    Some(match kind {
        b'+' => Value::Bytes(Bytes::copy_from_slice(text)),
        b'-' => {
            let text = String::from_utf8_lossy(text);
            let (code, message) = text.split_once(' ').unwrap_or((&text, ""));
            Value::Error(Refusal::new(code, message))
        }
        b':' => number().map_or(Value::Other, Value::Integer),
        b'$' | b'*' if number() == Some(-1) => Value::Nil,
        b'$' => {
            let len = usize::try_from(number()?).ok()?;
            let bytes = rest.get(..len)?;
            *rest = rest.get(len + 2..)?;
            Value::Bytes(Bytes::copy_from_slice(bytes))
        }
        b'*' => Value::Array((0..number()?).map(|_| value(rest)).collect::<Option<_>>()?),
        _ => Value::Other,
    })
}

fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_taken_when_all_of_it_is_there() {
        let text = b"*4\r\n$3\r\na\r\n\r\n:-1\r\n*-1\r\n-NOGROUP No such key\r\n+OK\r\n";
        let whole = text.len() - 5;
        for end in 0..whole {
            assert_eq!(value(&mut &text[..end]), None, "{end}");
        }
        let mut rest = &text[..];
        let expected = [
            Value::Bytes(Bytes::from_static(b"a\r\n")),
            Value::Integer(-1),
            Value::Nil,
            Value::Error(Refusal::new("NOGROUP", "No such key")),
        ];
        assert_eq!(value(&mut rest), Some(Value::Array(expected.to_vec())));
        assert_eq!(rest, b"+OK\r\n");
    }
}

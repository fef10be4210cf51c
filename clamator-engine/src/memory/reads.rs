//! [`Read`]: `XREAD` and `XREADGROUP`, tried at once and again while they are blocked.
//!
//! Not who waits and for how long. What a blocked read is told when its stream or group goes away
//! depends on the version; a plain read is never told.
//!
//! <https://redis.io/docs/latest/commands/xreadgroup/>

use alloc::vec::Vec;

use bytes::Bytes;

use super::group::limited;
use super::keyspace::Keyspace;
use super::refusals::no_group;
use crate::reply::{Entry, Refusal};
use crate::stream_id::StreamId;

/// What is read.
#[derive(Debug)]
pub(super) struct Read {
    /// 0 means all there is.
    pub(super) count: u64,
    pub(super) key: Bytes,
    pub(super) source: Source,
}

/// On whose behalf is read.
#[derive(Debug)]
pub(super) enum Source {
    /// A consumer of a group.
    Group { group: Bytes, consumer: Bytes },
    /// Whoever asks.
    Stream { after: StreamId },
}

impl Keyspace {
    /// Carries a read out; `None` when there is nothing yet, and it may wait.
    ///
    /// # Errors
    /// `WRONGTYPE` or `NOGROUP`; nothing was read.
    pub(super) fn read(
        &mut self,
        wall_ms: u64,
        read: &Read,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let dialect = self.dialect();
        let stream = self.stream_mut(&read.key)?;
        match &read.source {
            Source::Stream { after } => {
                let log = stream.map(|stream| &stream.log);
                let log = log.filter(|log| log.reaches_beyond(*after));
                Ok(log.map(|log| limited(log.after(*after), read.count)))
            }
            Source::Group { group: name, consumer } => {
                let found = stream.and_then(|stream| stream.group(name));
                let (log, group) = found
                    .ok_or_else(|| no_group(&read.key, name, " in XREADGROUP with GROUP option"))?;
                if dialect.trying_makes_consumer() {
                    group.mention(wall_ms, consumer);
                }
                let any = log.reaches_beyond(group.last_delivered());
                Ok(any.then(|| group.read_new(log, wall_ms, consumer, read.count)))
            }
        }
    }

    /// Tries a blocked read again after something happened to its key; `None` when it goes on
    /// waiting.
    ///
    /// # Errors
    /// What the reader is told when its stream or group is gone.
    pub(super) fn read_again(
        &mut self,
        wall_ms: u64,
        read: &Read,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let dialect = self.dialect();
        let stream = self.stream_mut(&read.key).ok().flatten();
        match (stream, &read.source) {
            (None, Source::Stream { .. }) => Ok(None),
            _ if dialect.blocked_reads_run_again() => self.read(wall_ms, read),
            (None, Source::Group { .. }) if dialect.deletion_wakes_readers() => {
                Err(Refusal::new("UNBLOCKED", "the stream key no longer exists"))
            }
            (None, Source::Group { .. }) => Ok(None),
            // These versions go by the last id that was given, even if that entry is gone again.
            (Some(stream), Source::Stream { after }) => {
                let any = stream.log.last_generated() > *after;
                Ok(any.then(|| limited(stream.log.after(*after), read.count)))
            }
            (Some(stream), Source::Group { group, consumer }) => {
                let gone = "the consumer group this client was blocked on no longer exists";
                let (log, group) =
                    stream.group(group).ok_or_else(|| Refusal::new("NOGROUP", gone))?;
                let any = log.last_generated() > group.last_delivered();
                Ok(any.then(|| group.read_new(log, wall_ms, consumer, read.count)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, GroupStart};
    use crate::engine::Version;
    use crate::memory::testing::{
        Desk, GROUP, KEY, add, create_group, delete, id, read, read_group,
    };
    use alloc::string::String;
    use alloc::vec;

    const V6_2: Version = Version::new(6, 2, 0);
    const V7_0: Version = Version::new(7, 0, 0);
    const V7_2: Version = Version::new(7, 2, 0);
    const NO_GROUP: &str =
        "NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option";

    /// What a blocked plain reader and a blocked group reader are told when this happens.
    fn told(version: Version, event: impl FnOnce(&mut Desk)) -> [Option<String>; 2] {
        let mut desk = Desk::with_group_on(version);
        let readers = [desk.send_anew(read(50)), desk.send_anew(read_group(50))];
        event(&mut desk);
        let replies = desk.replies();
        readers.map(|reader| {
            let reply = replies.iter().find(|(connection, _)| *connection == reader);
            reply.map(|(_, reply)| reply.clone())
        })
    }

    fn texts(plain: Option<&str>, group: Option<&str>) -> [Option<String>; 2] {
        [plain, group].map(|text| text.map(Into::into))
    }

    #[test]
    fn an_entry_wakes_every_plain_reader_and_the_first_reader_of_a_group() {
        let mut desk = Desk::with_group();
        let plain = [desk.send_anew(read(50)), desk.send_anew(read(50))];
        let group = [(); 3].map(|()| desk.send_anew(read_group(50)));
        desk.send(desk.main, add());
        desk.send(desk.main, add());
        let got = |reader, entries: &str| (reader, entries.into());
        let expected = [
            got(desk.main, "1000-0"),
            got(plain[0], "[1000-0]"),
            got(plain[1], "[1000-0]"),
            got(group[0], "[1000-0]"),
            got(desk.main, "1000-1"),
            got(group[1], "[1000-1]"),
        ];
        assert_eq!(desk.replies(), expected);
        assert_eq!(desk.pending(), 2);
    }

    #[test]
    fn a_plain_reader_waits_for_an_entry_behind_its_id() {
        let mut desk = Desk::with_group();
        let block = Some(core::time::Duration::from_secs(1));
        let after = StreamId::new(1000, 0);
        let reader = desk.send_anew(Command::XRead { key: KEY, after, count: 1, block });
        assert_eq!(desk.ask(add()), "1000-0");
        assert_eq!(desk.ask_among(add(), reader), ["[1000-1]"]);
    }

    #[test]
    fn what_is_there_is_read_at_once_and_what_is_deleted_is_waited_behind() {
        let mut desk = Desk::with_group();
        desk.ask(add());
        assert_eq!(desk.ask(read(50)), "[1000-0]");
        desk.ask(delete(&[id(0)]));
        assert_eq!(desk.ask(read(0)), "[]");
        desk.send_anew(read(50));
        desk.send_anew(read_group(50));
        assert_eq!(desk.replies(), []);
    }

    #[test]
    fn a_read_takes_count_entries_and_all_when_count_is_zero() {
        let mut desk = Desk::with_group();
        for _ in 0..3 {
            desk.ask(add());
        }
        let read = |count| Command::XRead { key: KEY, after: StreamId::ZERO, count, block: None };
        assert_eq!(desk.ask(read(2)), "[1000-0, 1000-1]");
        assert_eq!(desk.ask(read(0)), "[1000-0, 1000-1, 1000-2]");
    }

    #[test]
    fn a_deleted_stream_is_told_to_group_readers_as_the_version_does() {
        let gone = "UNBLOCKED the stream key no longer exists";
        for (version, text) in [(V6_2, None), (V7_0, Some(gone)), (V7_2, Some(NO_GROUP))] {
            let deleted = told(version, |desk| assert!(desk.streams.delete(desk.now, &KEY)));
            assert_eq!(deleted, texts(None, text), "{version}");
            let flushed = told(version, |desk| desk.streams.flush_all(desk.now));
            assert_eq!(flushed, texts(None, text), "{version}");
        }
    }

    #[test]
    fn a_key_of_another_type_is_told_to_group_readers_as_the_version_does() {
        let gone = "UNBLOCKED the stream key no longer exists";
        let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
        for (version, text) in [(V6_2, None), (V7_0, Some(gone)), (V7_2, Some(wrong))] {
            let set = told(version, |desk| desk.streams.set_string(desk.now, KEY));
            assert_eq!(set, texts(None, text), "{version}");
        }
    }

    #[test]
    fn a_destroyed_group_is_told_to_its_readers() {
        let gone = "NOGROUP the consumer group this client was blocked on no longer exists";
        for (version, text) in [(V6_2, gone), (V7_0, gone), (V7_2, NO_GROUP)] {
            let destroyed = told(version, |desk| {
                assert!(desk.streams.destroy_group(desk.now, &KEY, &GROUP));
                assert!(!desk.streams.destroy_group(desk.now, &KEY, &GROUP));
            });
            assert_eq!(destroyed, texts(None, Some(text)), "{version}");
        }
    }

    #[test]
    fn on_6_2_a_reader_of_a_deleted_stream_goes_on_when_the_group_is_there_again() {
        let again = told(V6_2, |desk| {
            desk.streams.delete(desk.now, &KEY);
            desk.send(desk.main, create_group(GroupStart::New));
            desk.send(desk.main, add());
        });
        assert_eq!(again, texts(Some("[1000-0]"), Some("[1000-0]")));
        let without = told(V6_2, |desk| {
            desk.streams.delete(desk.now, &KEY);
            desk.send(desk.main, add());
        });
        let gone = "NOGROUP the consumer group this client was blocked on no longer exists";
        assert_eq!(without, texts(Some("[1000-0]"), Some(gone)));
        let other = told(V6_2, |desk| {
            desk.streams.delete(desk.now, &KEY);
            let start = GroupStart::New;
            desk.send(desk.main, Command::XGroupCreate { key: KEY, group: KEY, start });
        });
        assert_eq!(other, texts(None, Some(gone)));
    }

    #[test]
    fn before_7_2_an_entry_that_is_trimmed_at_once_ends_the_wait_empty() {
        let fields = vec![(KEY, KEY)];
        let add = Command::XAdd { key: KEY, create: true, max_len: Some(0), fields };
        for (version, text) in [(V6_2, Some("[]")), (V7_0, Some("[]")), (V7_2, None)] {
            let added = told(version, |desk| desk.send(desk.main, add.clone()));
            assert_eq!(added, texts(text, text), "{version}");
        }
    }

    #[test]
    fn before_7_2_a_read_of_new_entries_that_gets_none_leaves_no_consumer_behind() {
        for (version, consumers) in [(V6_2, 0), (V7_0, 0), (V7_2, 1)] {
            let mut desk = Desk::with_group_on(version);
            assert_eq!(desk.ask(read_group(0)), "[]");
            let reader = desk.send_anew(read_group(50));
            assert_eq!(desk.streams.consumers(&KEY, &GROUP).count(), consumers, "{version}");
            assert_eq!(desk.ask_among(add(), reader), ["[1000-0]"]);
            assert_eq!(desk.streams.consumers(&KEY, &GROUP).count(), 1, "{version}");
        }
    }

    #[test]
    fn a_read_without_its_group_is_refused() {
        let mut desk = Desk::new(V7_0);
        assert_eq!(desk.ask(read_group(50)), NO_GROUP);
        assert_eq!(desk.ask(read(0)), "[]");
    }
}

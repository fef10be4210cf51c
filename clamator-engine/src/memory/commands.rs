//! [`Keyspace::execute`]: what each [`Command`] does to the keys.
//!
//! Not the blocking of reads: an [`Outcome`] only says that one has to wait. Matches name every
//! command, so that a new one cannot be forgotten here.
//!
//! <https://redis.io/docs/latest/commands/?group=stream>

use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::arguments::{self, whole_millis};
use super::group::{Claim, Group, Scan};
use super::keyspace::{Keyspace, Stream};
use super::reads::{Read, Source};
use super::refusals::{exhausted, group_exists, group_needs_key, no_consumer_group, no_key};
use crate::command::{ClaimAs, Command, GroupStart};
use crate::reply::{Entry, Fields, GroupInfo, Refusal, Reply, StreamInfo};
use crate::stream_id::StreamId;

/// What comes of a command.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is answered.
    Reply(Reply),
    /// Another connection's wait is to be ended, and the asker told whether there was one.
    Unblock(u64),
    /// It waits for entries, so long.
    Wait(Read, Duration),
}

impl Keyspace {
    /// Carries a command out.
    ///
    /// # Errors
    /// What Redis answers when it does not carry the command out; nothing was changed.
    pub(super) fn execute(&mut self, wall_ms: u64, command: Command) -> Result<Outcome, Refusal> {
        arguments::check(&command, self.dialect(), wall_ms)?;
        self.expire(wall_ms);
        let reply = match command {
            Command::ClientUnblock { client } => return Ok(Outcome::Unblock(client)),
            Command::Del { key } => Reply::Integer(self.delete(&key).into()),
            Command::DelIdleConsumers { key, group, idle_min, keep } => {
                let stream = self.stream_mut(&key)?.ok_or_else(no_key)?;
                let found = stream.group(&group);
                let (_, found) = found.ok_or_else(|| no_consumer_group(&key, &group))?;
                integer(found.delete_idle_consumers(wall_ms, whole_millis(idle_min), &keep))
            }
            Command::PExpire { key, ttl } => {
                Reply::Integer(self.limit(key, wall_ms, whole_millis(ttl)).into())
            }
            Command::Time => Reply::Time(Duration::from_millis(wall_ms)),
            Command::XAck { key, group, ids } => self.ack(&key, &group, &ids)?,
            Command::XAdd { key, create, max_len, fields } => {
                self.add(wall_ms, key, create, max_len, fields)?
            }
            Command::XAutoClaim { key, group, consumer, idle_min, start, count } => {
                let dialect = self.dialect();
                let idle_ms_min = whole_millis(idle_min);
                let scan = Scan { consumer, count, dialect, idle_ms_min, start };
                let (log, group) = self.group(&key, &group)?;
                group.scan(log, wall_ms, &scan)?
            }
            Command::XClaim { key, group, consumer, idle_min, ids, claim_as } => {
                let dialect = self.dialect();
                let (log, group) = self.group(&key, &group)?;
                let idle_ms_min = arguments::claim(idle_min, claim_as)?;
                let claim = Claim { consumer, dialect, claim_as, idle_ms_min };
                let claimed = group.claim(log, wall_ms, &claim, &ids);
                match claim_as {
                    ClaimAs::Delivered => Reply::Entries(log.entries(&claimed)),
                    ClaimAs::HandedBack { .. } | ClaimAs::Renewed => Reply::Ids(claimed),
                }
            }
            Command::XDel { key, ids } => self.remove(&key, &ids)?,
            Command::XGroupCreate { key, group, start } => self.create_group(key, group, start)?,
            Command::XGroupDelConsumer { key, group, consumer } => {
                self.delete_consumer(&key, &group, &consumer)?
            }
            Command::XInfoGroups { key } => self.info_groups(&key)?,
            Command::XInfoStream { key } => {
                let log = &self.stream(&key)?.ok_or_else(no_key)?.log;
                Reply::Stream(StreamInfo::new(log.last_generated()))
            }
            Command::XPending { key, group } => self.group(&key, &group)?.1.summary(),
            Command::XPendingRange { key, group, start, end, count, consumer } => {
                let (_, group) = self.group(&key, &group)?;
                let held = group.held(wall_ms, &consumer, start).take_while(|held| held.id <= end);
                Reply::PendingRange(held.take(size(count)).collect())
            }
            Command::XRange { key, start, end, count } => self.range(&key, start, end, count)?,
            Command::XRead { key, after, count, block } => {
                let read = Read { count, key, source: Source::Stream { after } };
                return self.read_or_wait(wall_ms, read, block);
            }
            Command::XReadGroup { key, group, consumer, count, block } => {
                let read = Read { count, key, source: Source::Group { group, consumer } };
                return self.read_or_wait(wall_ms, read, block);
            }
            Command::XTrim { key, min_id } => {
                let log = self.stream_mut(&key)?.map(|stream| &mut stream.log);
                integer(log.map_or(0, |log| log.trim_below(min_id)))
            }
        };
        Ok(Outcome::Reply(reply))
    }

    fn read_or_wait(
        &mut self,
        wall_ms: u64,
        read: Read,
        block: Option<Duration>,
    ) -> Result<Outcome, Refusal> {
        let entries = match (self.read(wall_ms, &read)?, block) {
            (Some(entries), _) => entries,
            // A wait of zero would never end; commands are spelled with at least 1 ms.
            (None, Some(block)) => {
                let block = Duration::from_millis(whole_millis(block).max(1));
                return Ok(Outcome::Wait(read, block));
            }
            (None, None) => Vec::new(),
        };
        Ok(Outcome::Reply(Reply::Entries(entries)))
    }

    fn ack(&mut self, key: &[u8], group: &[u8], ids: &[StreamId]) -> Result<Reply, Refusal> {
        let Some((_, group)) = self.stream_mut(key)?.and_then(|stream| stream.group(group)) else {
            return Ok(Reply::Integer(0));
        };
        Ok(integer(ids.iter().filter(|id| group.settle(**id)).count()))
    }

    fn add(
        &mut self,
        wall_ms: u64,
        key: Bytes,
        create: bool,
        max_len: Option<u64>,
        fields: Fields,
    ) -> Result<Reply, Refusal> {
        if self.stream(&key)?.is_none() && !create {
            return Ok(Reply::Added(None));
        }
        let log = &mut self.stream_or_new(&key)?.log;
        let id = log.add(wall_ms, fields).ok_or_else(exhausted)?;
        if let Some(max_len) = max_len {
            log.trim(max_len);
        }
        self.signal(key);
        Ok(Reply::Added(Some(id)))
    }

    fn create_group(
        &mut self,
        key: Bytes,
        group: Bytes,
        start: GroupStart,
    ) -> Result<Reply, Refusal> {
        let is_new = self.stream(&key)?.is_none();
        let stream = self.stream_or_new(&key)?;
        let start = match start {
            GroupStart::After(id) => id,
            GroupStart::New => stream.log.last_generated(),
        };
        let created = stream.add_group(group, start);
        if is_new {
            self.signal(key);
        }
        if created { Ok(Reply::Ok) } else { Err(group_exists()) }
    }

    fn delete_consumer(
        &mut self,
        key: &[u8],
        group: &[u8],
        consumer: &[u8],
    ) -> Result<Reply, Refusal> {
        let stream = self.stream_mut(key)?.ok_or_else(group_needs_key)?;
        let (_, found) = stream.group(group).ok_or_else(|| no_consumer_group(key, group))?;
        Ok(integer(found.delete_consumer(consumer)))
    }

    fn remove(&mut self, key: &[u8], ids: &[StreamId]) -> Result<Reply, Refusal> {
        let Some(Stream { log, .. }) = self.stream_mut(key)? else { return Ok(Reply::Integer(0)) };
        Ok(integer(ids.iter().filter(|id| log.remove(**id)).count()))
    }

    fn info_groups(&self, key: &[u8]) -> Result<Reply, Refusal> {
        let groups = &self.stream(key)?.ok_or_else(no_key)?.groups;
        let info =
            |(name, group): (&Bytes, &Group)| GroupInfo::new(name.clone(), group.last_delivered());
        Ok(Reply::Groups(groups.iter().map(info).collect()))
    }

    fn range(
        &self,
        key: &[u8],
        start: StreamId,
        end: StreamId,
        count: u64,
    ) -> Result<Reply, Refusal> {
        let stream = self.stream(key)?;
        let entries = stream.into_iter().flat_map(|stream| stream.log.from(start));
        let entries = entries.take_while(|entry: &Entry| entry.id <= end);
        Ok(Reply::Entries(entries.take(size(count)).collect()))
    }
}

/// `COUNT`, which may be greater than the address space.
fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn integer(count: usize) -> Reply {
    Reply::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Version;
    use crate::memory::testing::{
        Desk, GROUP, KEY, ack, add, create_group, delete, id, read, read_group,
    };
    use alloc::format;
    use alloc::vec;

    const CONSUMER: Bytes = Bytes::from_static(b"c");

    fn claim(consumer: &'static str) -> Command {
        let (consumer, start) = (Bytes::from_static(consumer.as_bytes()), StreamId::ZERO);
        let idle_min = Duration::from_millis(10);
        Command::XAutoClaim { key: KEY, group: GROUP, consumer, idle_min, start, count: 2 }
    }

    fn delete_consumer(consumer: Bytes) -> Command {
        Command::XGroupDelConsumer { key: KEY, group: GROUP, consumer }
    }

    fn range(start: StreamId, end: StreamId, count: u64) -> Command {
        Command::XRange { key: KEY, start, end, count }
    }

    fn pending_range(start: StreamId, end: StreamId, count: u64) -> Command {
        Command::XPendingRange { key: KEY, group: GROUP, start, end, count, consumer: CONSUMER }
    }

    fn of_group() -> [Command; 4] {
        [
            claim("c"),
            Command::XPending { key: KEY, group: GROUP },
            pending_range(StreamId::ZERO, StreamId::MAX, 1),
            read_group(0),
        ]
    }

    /// A server whose consumer `c` was given entries 0, 1 and 2, one a millisecond.
    fn desk() -> Desk {
        let mut desk = Desk::with_group();
        for _ in 0..3 {
            desk.ask(add());
            desk.sleep(1);
        }
        assert_eq!(desk.ask(read_group(0)), "[1000-0, 1001-0, 1002-0]");
        desk
    }

    #[test]
    fn every_command_on_a_key_of_another_type_is_refused() {
        let mut desk = Desk::with_group();
        desk.streams.set_string(desk.now, KEY);
        let more = [
            ack(&[id(0)]),
            add(),
            create_group(GroupStart::New),
            delete(&[id(0)]),
            range(StreamId::ZERO, StreamId::MAX, 1),
            read(50),
            delete_consumer(CONSUMER),
            Command::XInfoGroups { key: KEY },
            Command::XInfoStream { key: KEY },
        ];
        let wrong = "WRONGTYPE Operation against a key holding the wrong kind of value";
        for command in of_group().into_iter().chain(more) {
            assert_eq!(desk.ask(command.clone()), wrong, "{command:?}");
        }
        assert_eq!(desk.ask(Command::Del { key: KEY }), "1");
        assert_eq!(desk.ask(add()), "1000-0");
    }

    #[test]
    fn a_missing_stream_or_group_is_refused_or_empty() {
        let mut desk = Desk::new(Version::OLDEST);
        for _ in 0..2 {
            for command in of_group() {
                let refusal = desk.ask(command);
                assert!(refusal.starts_with("NOGROUP No such key 's' or consumer group 'g'"));
            }
            assert_eq!(desk.ask(ack(&[id(0)])), "0");
            assert_eq!(desk.ask(delete(&[id(5)])), "0");
            let missing = desk.ask(delete_consumer(CONSUMER));
            assert_eq!(missing.starts_with("NOGROUP"), desk.streams.len(&KEY) > 0, "{missing}");
            desk.ask(add());
        }
        desk.ask(Command::Del { key: KEY });
        assert_eq!(desk.ask(Command::Del { key: KEY }), "0");
        assert_eq!(desk.ask(range(StreamId::ZERO, StreamId::MAX, 1)), "[]");
        for info in [Command::XInfoGroups { key: KEY }, Command::XInfoStream { key: KEY }] {
            assert_eq!(desk.ask(info), "ERR no such key");
        }
    }

    #[test]
    fn an_entry_is_added_only_where_there_is_a_stream_if_asked_so() {
        let mut desk = Desk::with_group();
        let add = |key: &'static str| {
            let key = Bytes::from_static(key.as_bytes());
            Command::XAdd { key, create: false, max_len: None, fields: vec![(KEY, KEY)] }
        };
        assert_eq!(desk.ask(add("other")), "nil");
        assert_eq!(desk.ask(add("s")), "1000-0");
        assert_eq!((desk.streams.len(b"other"), desk.streams.len(b"s")), (0, 1));
    }

    #[test]
    fn a_bounded_stream_stays_within_a_node_of_its_bound() {
        let mut desk = Desk::with_group();
        for _ in 0..350 {
            let fields = vec![(KEY, KEY)];
            desk.ask(Command::XAdd { key: KEY, create: true, max_len: Some(120), fields });
            assert!(desk.streams.len(&KEY) < 220);
        }
        assert_eq!(desk.streams.len(&KEY), 150);
    }

    #[test]
    fn a_group_starts_where_it_was_told_and_is_created_once() {
        let mut desk = desk();
        let busy = "BUSYGROUP Consumer Group name already exists";
        assert_eq!(desk.ask(create_group(GroupStart::New)), busy);
        let starts = [(GroupStart::After(id(1)), "1001-0"), (GroupStart::New, "1002-0")];
        for (start, expected) in starts {
            desk.streams.destroy_group(desk.now, &KEY, &GROUP);
            assert_eq!(desk.ask(create_group(start)), "ok");
            let groups = desk.ask(Command::XInfoGroups { key: KEY });
            assert!(groups.contains(&format!("last_delivered: {expected}")), "{groups}");
        }
    }

    #[test]
    fn an_emptied_stream_remembers_its_last_id_and_its_groups() {
        let mut desk = desk();
        assert_eq!(desk.ask(delete(&[id(0), id(1), id(2), id(2)])), "3");
        let info = desk.ask(Command::XInfoStream { key: KEY });
        assert!(info.contains("last_generated: 1002-0"), "{info}");
        assert_eq!(desk.pending(), 3);
    }

    #[test]
    fn groups_vanish_with_their_stream() {
        let mut desk = desk();
        desk.ask(Command::Del { key: KEY });
        desk.ask(add());
        assert_eq!(desk.ask(Command::XInfoGroups { key: KEY }), "Groups([])");
    }

    #[test]
    fn acknowledging_counts_what_was_pending() {
        let mut desk = desk();
        assert_eq!(desk.ask(ack(&[id(0), id(2), id(0), id(9)])), "2");
        let summary = desk.ask(Command::XPending { key: KEY, group: GROUP });
        assert_eq!(summary, "Pending { count: 1, first: Some(1001-0) }");
    }

    #[test]
    fn pending_entries_are_told_within_the_range_with_their_idle_time() {
        let mut desk = desk();
        desk.sleep(5);
        let told = desk.ask(pending_range(id(1), id(1), 9));
        let row = "PendingEntry { id: 1001-0, consumer: b\"c\", idle_ms: 5, deliveries: 1 }";
        assert_eq!(told, format!("PendingRange([{row}])"));
        assert_eq!(desk.ask(pending_range(id(0), id(2), 2)).matches("idle_ms").count(), 2);
        assert_eq!(desk.ask(pending_range(id(0), id(2), 0)), "PendingRange([])");
    }

    #[test]
    fn a_claim_moves_idle_entries_and_a_deleted_consumer_takes_them_along() {
        let mut desk = desk();
        desk.sleep(9);
        assert_eq!(desk.ask(claim("d")), "next 0-0, [], deleted [], nameless 0");
        desk.sleep(1);
        assert_eq!(desk.ask(claim("d")), "next 1002-0, [1000-0, 1001-0], deleted [], nameless 0");
        let delete = || delete_consumer(Bytes::from_static(b"d"));
        assert_eq!((desk.ask(delete()), desk.ask(delete())), ("2".into(), "0".into()));
        assert_eq!(desk.pending(), 1);
    }

    #[test]
    fn consumers_that_hold_nothing_and_are_idle_are_deleted_but_for_one() {
        let mut desk = desk();
        let idle = |millis, keep: &'static str| Command::DelIdleConsumers {
            key: KEY,
            group: GROUP,
            idle_min: Duration::from_millis(millis),
            keep: Bytes::from_static(keep.as_bytes()),
        };
        desk.sleep(10);
        desk.ask(claim("d"));
        desk.ask(ack(&[id(0), id(1)]));
        assert_eq!(desk.ask(idle(0, "d")), "0", "one holds something, the other is kept");
        desk.sleep(5);
        assert_eq!((desk.ask(idle(6, "e")), desk.ask(idle(5, "e"))), ("0".into(), "1".into()));
        desk.ask(ack(&[id(2)]));
        assert_eq!((desk.ask(idle(0, "c")), desk.ask(idle(0, "e"))), ("0".into(), "1".into()));
    }

    #[test]
    fn a_range_has_both_ends_and_a_limit() {
        let mut desk = desk();
        assert_eq!(desk.ask(range(id(0), id(1), 9)), "[1000-0, 1001-0]");
        assert_eq!(desk.ask(range(id(1), id(2), 1)), "[1001-0]");
        assert_eq!(desk.ask(range(id(2), id(1), 9)), "[]");
        assert_eq!(desk.ask(range(id(0), id(2), 0)), "[]");
    }
}

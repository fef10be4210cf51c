//! What Redis refuses before it looks at any key: numbers out of range, lists that are empty.
//!
//! Not the refusals that depend on what is stored. Redis keeps numbers as signed 64 bits, while a
//! [`Command`] can hold more.

use core::time::Duration;

use super::dialect::Dialect;
use crate::command::{ClaimAs, Command};
use crate::reply::Refusal;

const MAX: u64 = i64::MAX.cast_unsigned();

/// Checks a command's arguments.
///
/// # Errors
/// The refusal that Redis answers; the command must not be carried out.
pub(super) fn check(command: &Command, dialect: Dialect, wall_ms: u64) -> Result<(), Refusal> {
    match command {
        Command::ClientUnblock { client } => number(*client),
        Command::XAck { ids, .. } => some(ids, "'xack' command"),
        Command::XAdd { max_len, fields, .. } => {
            // Few words are told from none before the bound is read, and enough of them after.
            if max_len.is_none() {
                return some(fields, "'xadd' command");
            }
            max_len.map_or(Ok(()), number)?;
            some(fields, dialect.xadd_in_errors())
        }
        Command::XAutoClaim { idle_min, count, .. } => {
            let idle = "Invalid min-idle-time argument for XAUTOCLAIM";
            within(whole_millis(*idle_min), 0, MAX, idle)?;
            within(*count, 1, dialect.claim_count_max(), "COUNT must be > 0")
        }
        Command::PExpire { ttl, .. } => {
            let millis = whole_millis(*ttl);
            number(millis)?;
            let complaint =
                alloc::format!("invalid expire time in {}", dialect.pexpire_in_errors());
            within(millis, 0, MAX.saturating_sub(wall_ms), &complaint)
        }
        Command::XDel { ids, .. } => some(ids, "'xdel' command"),
        Command::XClaim { ids, claim_as: ClaimAs::Delivered, .. } => some(ids, "'xclaim' command"),
        Command::XPendingRange { count, .. } | Command::XRange { count, .. } => number(*count),
        Command::XRead { count, block, .. } | Command::XReadGroup { count, block, .. } => {
            number(*count)?;
            let millis = block.map_or(0, whole_millis);
            within(millis, 0, MAX, "timeout is not an integer or out of range")?;
            within(millis, 0, dialect.block_ms_max(wall_ms), "timeout is out of range")
        }
        // Redis looks for the group first: see `claim`.
        Command::XClaim { .. }
        | Command::Del { .. }
        | Command::DelIdleConsumers { .. }
        | Command::Time
        | Command::XGroupCreate { .. }
        | Command::XGroupDelConsumer { .. }
        | Command::XInfoGroups { .. }
        | Command::XInfoStream { .. }
        | Command::XPending { .. }
        | Command::XTrim { .. } => Ok(()),
    }
}

/// Checks the numbers of a claim by id, and tells the idle time in milliseconds.
///
/// # Errors
/// The refusal that Redis answers; nothing must be claimed.
pub(super) fn claim(idle_min: Duration, claim_as: ClaimAs) -> Result<u64, Refusal> {
    let idle_ms = whole_millis(idle_min);
    within(idle_ms, 0, MAX, "Invalid min-idle-time argument for XCLAIM")?;
    if let ClaimAs::HandedBack { deliveries } = claim_as {
        within(deliveries, 0, MAX, "Invalid RETRYCOUNT option argument for XCLAIM")?;
    }
    Ok(idle_ms)
}

/// A duration as it is spelled in a command: rounded down.
pub(super) fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn number(number: u64) -> Result<(), Refusal> {
    within(number, 0, MAX, "value is not an integer or out of range")
}

fn within(number: u64, min: u64, max: u64, complaint: &str) -> Result<(), Refusal> {
    if (min..=max).contains(&number) { Ok(()) } else { Err(Refusal::new("ERR", complaint)) }
}

fn some<T>(list: &[T], command: &str) -> Result<(), Refusal> {
    if list.is_empty() {
        let message = alloc::format!("wrong number of arguments for {command}");
        return Err(Refusal::new("ERR", message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Version;
    use crate::stream_id::StreamId;
    use alloc::string::{String, ToString};
    use alloc::vec;
    use bytes::Bytes;

    const KEY: Bytes = Bytes::from_static(b"k");

    fn refused(command: &Command) -> String {
        let checked = check(command, Dialect::new(Version::new(7, 0, 0)), 1000);
        checked.map_or_else(|refusal| refusal.to_string(), |()| String::new())
    }

    fn claim(count: u64, idle_min: Duration) -> Command {
        let start = StreamId::ZERO;
        Command::XAutoClaim { key: KEY, group: KEY, consumer: KEY, idle_min, start, count }
    }

    #[test]
    fn lists_must_not_be_empty() {
        let commands = [
            (Command::XAck { key: KEY, group: KEY, ids: vec![] }, "xack"),
            (Command::XAdd { key: KEY, create: true, max_len: None, fields: vec![] }, "xadd"),
            (Command::XDel { key: KEY, ids: vec![] }, "xdel"),
        ];
        for (command, name) in commands {
            let expected = alloc::format!("ERR wrong number of arguments for '{name}' command");
            assert_eq!(refused(&command), expected);
        }
    }

    #[test]
    fn a_bound_is_looked_at_before_the_fields_and_6_2_names_the_command_otherwise() {
        let add = |number| {
            let max_len = Some(number);
            Command::XAdd { key: KEY, create: true, max_len, fields: vec![] }
        };
        let expected = "ERR wrong number of arguments for 'xadd' command";
        assert_eq!(refused(&add(MAX)), expected);
        assert_eq!(refused(&add(MAX + 1)), "ERR value is not an integer or out of range");
        let old = check(&add(MAX), Dialect::new(Version::OLDEST), 1000);
        let text = "wrong number of arguments for XADD";
        assert_eq!(old, Err(Refusal::new("ERR", text)));
    }

    #[test]
    fn numbers_must_fit_64_bits_with_sign() {
        let (start, end) = (StreamId::ZERO, StreamId::MAX);
        let command = |number| {
            [
                Command::ClientUnblock { client: number },
                Command::XAdd {
                    key: KEY,
                    create: true,
                    max_len: Some(number),
                    fields: vec![(KEY, KEY)],
                },
                Command::XRange { key: KEY, start, end, count: number },
                Command::XPendingRange {
                    key: KEY,
                    group: KEY,
                    start,
                    end,
                    count: number,
                    consumer: KEY,
                },
                Command::XRead { key: KEY, after: start, count: number, block: None },
            ]
        };
        for command in command(MAX + 1) {
            assert_eq!(refused(&command), "ERR value is not an integer or out of range");
        }
        for command in command(MAX) {
            assert_eq!(refused(&command), "");
        }
    }

    #[test]
    fn a_claim_needs_a_count_and_a_sensible_idle_time() {
        assert_eq!(refused(&claim(1, Duration::ZERO)), "");
        assert_eq!(refused(&claim(0, Duration::ZERO)), "ERR COUNT must be > 0");
        assert_eq!(refused(&claim(MAX, Duration::ZERO)), "ERR COUNT must be > 0");
        let old = Dialect::new(Version::OLDEST);
        assert_eq!(check(&claim(MAX, Duration::ZERO), old, 1000), Ok(()));
        let idle = "ERR Invalid min-idle-time argument for XAUTOCLAIM";
        assert_eq!(refused(&claim(0, Duration::MAX)), idle);
    }

    #[test]
    fn a_wait_must_fit_64_bits_of_milliseconds() {
        let read =
            |block| Command::XReadGroup { key: KEY, group: KEY, consumer: KEY, count: 1, block };
        let timeout = "ERR timeout is not an integer or out of range";
        assert_eq!(refused(&read(Some(Duration::MAX))), timeout);
        assert_eq!(refused(&read(Some(Duration::from_secs(1)))), "");
        assert_eq!(refused(&read(None)), "");
    }

    #[test]
    fn a_key_must_not_outlive_what_redis_can_count() {
        let expire = |millis| Command::PExpire { key: KEY, ttl: Duration::from_millis(millis) };
        assert_eq!(refused(&expire(MAX - 1000)), "");
        assert_eq!(refused(&expire(MAX - 999)), "ERR invalid expire time in 'pexpire' command");
        assert_eq!(refused(&expire(MAX + 1)), "ERR value is not an integer or out of range");
        let old = check(&expire(MAX), Dialect::new(Version::OLDEST), 1000);
        assert_eq!(old, Err(Refusal::new("ERR", "invalid expire time in pexpire")));
    }

    #[test]
    fn from_7_2_on_a_wait_must_end_within_what_redis_can_count() {
        let wait = |millis| {
            let block = Some(Duration::from_millis(millis));
            Command::XRead { key: KEY, after: StreamId::ZERO, count: 1, block }
        };
        let new = Dialect::new(Version::new(7, 2, 0));
        let refusal = Refusal::new("ERR", "timeout is out of range");
        assert_eq!(check(&wait(MAX - 999), new, 1000), Err(refusal));
        assert_eq!(check(&wait(MAX - 1000), new, 1000), Ok(()));
        assert_eq!(refused(&wait(MAX)), "");
    }
}

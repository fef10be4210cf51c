//! The table of rights: who sends which [`Command`], for which streams, and what that is worth.
//!
//! Not how rights are written: see [`rules`](super::rules). A command that is new does not compile
//! until it has a row here, be it an empty one.

use super::Access::{Read, ReadWrite, Write};
use super::Role::{Client, Operator, Server};
use super::Stream::{Commands, Dead, Replies};
use super::{Access, Grant, Role, Stream};
use crate::command::Command;
use crate::engine::Version;

/// Makes `of` and `ALL` of one table: a match that leaves no command out, and a list of it.
macro_rules! table {
    ($($($variant:ident)|+: $($grant:expr),* ;)*) => {
        /// The rights that this command needs: one for each role that sends it, and each kind of
        /// stream.
        #[must_use]
        pub const fn of(command: &Command) -> &'static [Grant] {
            match command {
                $($(Command::$variant { .. })|+ => const { &[$($grant),*] },)*
            }
        }

        /// All rows, and what connections need.
        pub(super) static ALL: &[&[Grant]] = &[$(const { &[$($grant),*] },)* CONNECTIONS];
    };
}

/// What whoever opens a connection sends, beside `HELLO` and `AUTH`.
const CONNECTIONS: &[Grant] = &[
    handshake(Client, "client|setname", NAME, "nothing"),
    handshake(Client, "select", DATABASE, EVERY_DATABASE),
    handshake(Client, "time", CLEAN, "nothing"),
    handshake(Operator, "client|setname", NAME, "nothing"),
    handshake(Operator, "select", DATABASE, EVERY_DATABASE),
    handshake(Operator, "time", CLEAN, "nothing"),
    handshake(Server, "client|setname", NAME, "nothing"),
    handshake(Server, "select", DATABASE, EVERY_DATABASE),
];

const NAME: &str = "connections have a name in `CLIENT LIST`";
const DATABASE: &str = "a target may name a database other than 0";
const EVERY_DATABASE: &str = "the same keys in every database";
const CLEAN: &str = "the handshake's look at the clock leaves no trace in `ACL LOG`";
const DELETES: &str = "deletes requests that nobody has run";
const TAKES: &str = "takes over what another worker is running, and reads it";

table! {
    ClientUnblock:
        optional(
            Server, "client|unblock", None,
            "a stop does not wait until its reads run out, by default up to 1 s",
            "ends the blocking read of any connection of any user",
        );
    Del:
        optional(
            Client, "del", Some((Replies, Write)),
            "a client that stops leaves no stream of replies behind, which expires after an hour \
             at the earliest",
            "deletes replies that were not read yet",
        );
    DelIdleConsumers:
        optional(
            Server, "eval", Some((Commands, ReadWrite)),
            "consumers that workers leave in the group when they are killed are removed from it, \
             together with `xinfo|consumers` and `xgroup|delconsumer`",
            "runs scripts, of the commands that it may send",
        ),
        optional(
            Server, "xinfo|consumers", Some((Commands, Read)),
            "consumers that workers leave in the group when they are killed are removed from it, \
             as with `eval`",
            "shows the names of workers, and when each was there last",
        );
    PExpire:
        optional(
            Server, "pexpire", Some((Replies, Write)),
            "streams of replies that nobody deletes expire",
            "lets replies expire that were not read yet",
        );
    Time:
        optional(
            Server, "time", None,
            "requests whose callers have given up are told by Redis's clock, and not run",
            "nothing",
        );
    XAck:
        required(
            Server, "xack", Some((Commands, Write)),
            "what is settled is not run again",
            "settles requests that nobody has run",
        );
    XAdd:
        required(
            Client, "xadd", Some((Commands, Write)),
            "calls and notifications",
            "writes anything to the stream of a service, also what is no request, and has the \
             answers written to any stream of replies",
        ),
        required(
            Server, "xadd", Some((Replies, Write)),
            "answers",
            "answers calls that others have been given",
        ),
        optional(
            Server, "xadd", Some((Dead, Write)),
            "what is given out too often is kept as a dead letter, and not just acknowledged",
            "makes dead letters up, which an operator may put back as requests",
        ),
        optional(
            Operator, "xadd", Some((Commands, Write)),
            "dead letters are put back",
            "calls any method of the service",
        );
    XAutoClaim:
        optional(
            Server, "xautoclaim", Some((Commands, Write)),
            "what dead workers leave, and what others hand back, is taken over; without it, only \
             by other servers, and no record of the log says so",
            TAKES,
        );
    XClaim:
        optional(
            Server, "xclaim", Some((Commands, Write)),
            "what runs or waits for longer than `claim_idle` is not given to another worker; what \
             waits at a stop is handed back; and a worker that is started again under its name takes \
             back what it held",
            TAKES,
        );
    XDel:
        withdrawing(
            "xdel", Write,
            "deletes requests of others that nobody has run",
        ),
        optional(
            Server, "xdel", Some((Commands, Write)),
            "what was handled leaves its stream at once",
            DELETES,
        ),
        optional(
            Operator, "xdel", Some((Dead, Write)),
            "dead letters are removed, also those that were put back",
            "removes dead letters that nobody has seen",
        );
    XGroupCreate:
        required(
            Server, "xgroup|create", Some((Commands, Write)),
            "the service's group is there, at the start and whenever it was lost",
            "makes other groups, for which everything stays in the stream",
        );
    XGroupDelConsumer:
        optional(
            Server, "xgroup|delconsumer", Some((Commands, Write)),
            "a server that stops leaves no consumer behind",
            "removes others' consumers, and with them the requests that they hold",
        );
    XInfoGroups:
        withdrawing("xinfo|groups", Read, "shows names and progress of groups"),
        optional(
            Server, "xinfo|groups", Some((Commands, Read)),
            "it is known whether others read the stream too, without which nothing leaves it, and \
             how far a group has come that has to be made again, without which that runs anew \
             what is still in the stream",
            "shows names and progress of groups",
        );
    XInfoStream:
        optional(
            Server, "xinfo|stream", Some((Commands, Read)),
            "a stream that was deleted, and begins again with lower ids, is served from its \
             beginning",
            "shows the stream's first and last entry",
        );
    XPending | XPendingRange:
        optional(
            Server, "xpending", Some((Commands, Read)),
            "it is known how often an entry was given out, so that there are dead letters; who \
             holds it when a lease is in doubt; what a worker held that is started again under its \
             name; what a connection was given that has ended, as with `xrange`; and how far a group \
             has come, as with `xinfo|groups`; a server that stops removes its consumer",
            "shows who holds what",
        );
    XRange:
        required(
            Operator, "xrange", Some((Dead, Read)),
            "dead letters are listed",
            "reads the requests that have become dead letters",
        ),
        optional(
            Server, "xrange", Some((Commands, Read)),
            "what was deleted from the stream before it was settled is noticed: by Redis 6.2 at \
             all, by others while it is run; and what a connection was given that has ended does not \
             wait for `claim_idle`, together with `xpending`",
            "reads the requests of the service, also those that others run",
        );
    XRead:
        required(
            Client, "xread", Some((Replies, Read)),
            "replies",
            "reads the replies to all clients whose streams it may read",
        );
    XReadGroup:
        required(
            Server, "xreadgroup", Some((Commands, Read)),
            "requests and notifications",
            "takes requests without running them",
        );
    XTrim:
        optional(
            Server, "xtrim", Some((Commands, Write)),
            "what peers have acknowledged and left in the stream leaves it",
            DELETES,
        );
}

const fn required(
    role: Role,
    command: &'static str,
    keys: Option<(Stream, Access)>,
    buys: &'static str,
    exposes: &'static str,
) -> Grant {
    Grant { role, command, keys, required: true, since: Version::OLDEST, buys, exposes }
}

const fn optional(
    role: Role,
    command: &'static str,
    keys: Option<(Stream, Access)>,
    buys: &'static str,
    exposes: &'static str,
) -> Grant {
    Grant { required: false, ..required(role, command, keys, buys, exposes) }
}

/// What a client needs to take requests back. Older versions are not asked to.
const fn withdrawing(command: &'static str, access: Access, exposes: &'static str) -> Grant {
    let buys = "a call that no worker was given says so, and its request is not run later; without \
                either of `xdel` and `xinfo|groups` it ends as any other whose time is over";
    let keys = Some((Commands, access));
    Grant { since: Version::new(7, 0, 0), ..optional(Client, command, keys, buys, exposes) }
}

const fn handshake(
    role: Role,
    command: &'static str,
    buys: &'static str,
    exposes: &'static str,
) -> Grant {
    optional(role, command, None, buys, exposes)
}

//! The rules of clamator by number, as code, tests and the simulator's judges cite them.
//!
//! Not how they are kept: each names the file that does. What a rule promises is held by tests that
//! carry its sentence as their name, and by a judge of the simulator over every run.
//!
//! # 1 Names
//!
//! **1** Every key is under one prefix: `<prefix>:cmds:<service>`, `<prefix>:replies:<instance>`.
//! No command touches any other key.
//!
//! # 3 The engine's face
//!
//! **3** Inputs and `now` go in, outputs and deadlines come out ([`Engine`](crate::Engine)). A lane
//! answers in order and promises nothing beside another lane. Every command has a time by which its
//! answer is due; past it the lane is given up, so that no late answer is matched to another
//! command. What was under way on a lane that ended has an unknown outcome. Lanes open again after
//! 100 ms, doubling up to 1 s, spread by 25 %; after refused credentials after 30 s. An engine says at
//! any time whether it can do its work, as far as Redis's answers tell ([`Health`](crate::Health)).
//!
//! # 4 Serving
//!
//! **4** An entry is read, run, its reply written, *that answered*, then acknowledged and deleted.
//! The failure of a later step repeats no earlier one in the same process (`server/settle.rs`).
//!
//! **4.1 Group.** It starts at the oldest entry, so that what was queued before the first server is
//! served. A group that is gone is made again within two seconds, without a hot loop, at its
//! low-water mark: up to it everything was given out and settled. A stream whose last id is below
//! the mark is another one, and is served from its start; what a read brings that began before is
//! looked up in the pending list (`server/group.rs`).
//!
//! **4.2 Serial.** One handler at a time for each service, in stream order, unless the service asks
//! for more. No service waits for another.
//!
//! **4.3 Prefetch.** No more waits unstarted than a few milliseconds of work at the handlers'
//! measured pace. Reads and claims ask for the free places (`server/intake.rs`, `server/pace.rs`). A
//! service without prefetch takes nothing in while no handler is free for it.
//!
//! **4.4 Leases.** What is held, running or waiting, is renewed at a third of `claim_idle`, unless
//! another worker has taken it over: nothing is taken back. A lease is valid for `claim_idle` after
//! the command was sent that touched the entry last, and no longer than its group is there. What a
//! handler comes to whose lease is lost is not heard (`server/lease.rs`, `server/missing.rs`). No
//! renewal is sent behind more replies than pass in time (`server/under_way.rs`).
//!
//! **4.5 Reclaim.** Once a second, spread by 25 %, what other consumers left idle for `claim_idle`
//! is taken over, with a cursor that is carried on. What is already held starts no second handler. What
//! an earlier process of the same name was given is taken back after a start, once it has been idle for
//! two renewal intervals, so that nothing is taken from a twin that renews in time
//! (`server/take_back.rs`).
//! After a lane that ended with a read unanswered what is pending for this consumer and not held is
//! looked for first, and once more when that read must be over. That counts as no delivery
//! (`server/reclaim.rs`, `server/look_back.rs`).
//!
//! **4.6 Isolation.** One entry never harms another: bad bytes, a reply that cannot be written, a
//! handler that panics are settled on their own. A reply with which three lanes have ended is sent
//! alone; if they go on ending, its caller is sent an error. What is read or taken over when a lane
//! ends is asked for in halves, and an entry that ends every lane on which it alone is asked for is
//! settled with a notice, or left to others if it only takes too long (`server/settle.rs`,
//! `server/look_back.rs`).
//!
//! **4.7 Reach.** A reply goes to `<prefix>:replies:` and nowhere else; a method of another service
//! is not run (`server/request.rs`).
//!
//! **4.8 Poison.** What is no request is acknowledged with a notice; its caller is told when it can
//! be found out who that is. An entry that would be given out once too often is put aside as a dead
//! letter, and acknowledged behind that (`server/dead.rs`).
//!
//! **4.9 Deadlines.** A request says for how long its caller still waits. One whose deadline is past
//! by more than `deadline_slack`, as Redis's clock has been seen to show on this lane, is not run: it
//! is acknowledged, and nobody is answered. If two looks at that clock disagree with the server's
//! own, nothing is skipped that was written before (`server/expired.rs`, `server/clock.rs`).
//!
//! **4.10 Stop.** Reading ends first, and nothing more is started; then running handlers within the
//! grace, then replies and acknowledgements. What waits is handed back at once, as often given out as
//! before; what a dropped handler ran for is handed back when that is gone, with its start counted;
//! both with the fence of a renewal (`server/hand_back.rs`). A consumer is removed when nothing can
//! be given to it any more and nothing is pending for it (`server/stop.rs`).
//!
//! **4.11 Bounds.** What is settled is deleted, behind its acknowledgement, while no other group
//! reads the stream. What peers have acknowledged and left is trimmed, up to what each group has yet
//! to be given or has pending (`server/trim.rs`); by their length command streams never are. Reply
//! streams are, to about a length, and live for a limited time after the last reply
//! (`server/expiry.rs`). A consumer that holds nothing and has been idle for long is removed, in one
//! step with the look at it (`server/consumers.rs`).
//!
//! **4.12 Redis in trouble.** While Redis takes no writes, finished replies are kept and tried
//! again, nothing more is read, and nothing runs twice. A connection is given up whose server says
//! that it is no master, or not one yet.
//!
//! # 5 Calling
//!
//! **5.1 Replies.** One stream for each client, read from its start on each new lane, and when
//! replies are missing for 5 s: it may have been made anew with lower ids. 10 s later it is read
//! again, and ever less often, up to once a minute, each time on a new lane; so it is when a write
//! is refused because the server is no master: a demoted one goes on answering reads, and knows of
//! nothing new. What it answers in the same turn is heard before it is left. No lane is opened to a
//! replica (`hello.rs`). A reply ends the call of its id; all others are counted and dropped. Ids
//! begin with a number that no other start of a client has (`client/replies.rs`).
//!
//! **5.2 Timeout.** It begins before the request is sent, and covers everything until the reply. A
//! call that expired or was cancelled ends at once. Shortly before it expires, and when it was
//! cancelled, its request is taken back, if no worker was given it: looked up, deleted, and looked
//! up again behind that, on the connection on which it was sent. Not on Redis before 7.0, and not
//! where another group reads the stream or the group was set back (`client/withdraw.rs`).
//!
//! **5.3 In flight.** So many calls at most; others wait, within their own timeouts. A call that
//! expired keeps its place until its reply is seen, its request was taken back, or one more timeout
//! has passed, a minute at most, so that replies are not trimmed unread (`client/calls.rs`). Those of
//! one service wait in the order in which they were made; among services the turn goes round, and in
//! a client that calls several each leaves a quarter of the places, so that one that nobody serves
//! does not take them all (`client/turns.rs`).
//!
//! **5.4 Errors.** They say what may be done next: see [`CallError`](crate::CallError).
//!
//! **5.5 No retry.** No request is sent twice.
//!
//! **5.6 Notifications.** One ends when its entry is on the stream.
//!
//! **5.7 Stop.** What is pending fails, and the reply stream is deleted.
//!
//! **5.8 Re-entrancy.** A call from inside a handler to its own serial service, on its own server,
//! is told at once that it would wait for that handler, unless the service allows it. Who is inside of
//! which handler is the driver's to know.

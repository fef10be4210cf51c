//! An operator's tasks, one by one, without a Redis: every reply here is hand-made.

use super::*;
use crate::testing::Rig;
use alloc::vec;

const SECOND: Duration = Duration::from_secs(1);

fn service() -> ServiceName {
    ServiceName::new("arith").unwrap()
}

fn id(ms: u64) -> StreamId {
    StreamId::new(ms, 0)
}

fn rig() -> Rig<Operator> {
    let mut rig = Rig::new(Operator::new(Instant::ZERO, OperatorConfig::new("app", 1)));
    rig.open_lanes();
    rig.events();
    rig
}

fn field(name: &'static str, value: &'static str) -> (Bytes, Bytes) {
    (Bytes::from_static(name.as_bytes()), Bytes::from_static(value.as_bytes()))
}

/// What the letter was before it was one.
fn original() -> Fields {
    vec![field("type", "rpc"), field("envelope", "{}"), field("dead-reason", "its own")]
}

fn letter(ms: u64) -> Entry {
    let said = [
        field("dead-entry", "7-1"),
        field("dead-reason", "delivered too often"),
        field("dead-deliveries", "10"),
    ];
    let mut fields = vec![field("type", "rpc"), field("envelope", "{}"), field("x", "y")];
    fields.extend(said);
    Entry::new(id(ms), Some(fields))
}

impl Rig<Operator> {
    /// How the only task that has ended did.
    fn done(&mut self) -> Result<Done, OperatorError> {
        let mut events = self.events().into_iter();
        match (events.next(), events.next()) {
            (Some(OperatorEvent::Finished(_, done)), None) => done,
            other => panic!("{other:?}"),
        }
    }

    fn begin(&mut self, task: fn(&mut Operator, Instant) -> TaskId) {
        task(&mut self.engine, self.now);
        self.drain();
    }
}

fn list(operator: &mut Operator, now: Instant) -> TaskId {
    operator.list(now, &service(), id(3), 20)
}

fn remove(operator: &mut Operator, now: Instant) -> TaskId {
    operator.remove(now, &service(), id(5))
}

fn requeue(operator: &mut Operator, now: Instant) -> TaskId {
    operator.requeue(now, &service(), id(5))
}

#[test]
fn what_is_put_back_has_no_deadline_any_more() {
    let mut rig = rig();
    rig.begin(requeue);
    let mut letter = letter(5);
    letter.fields.iter_mut().for_each(|fields| fields.insert(2, field("timeout-ms", "5000")));
    rig.answer("XRANGE", Reply::Entries(vec![letter]));
    let Command::XAdd { fields, .. } = rig.take("XADD").command else { panic!() };
    assert_eq!(fields, [field("type", "rpc"), field("envelope", "{}"), field("x", "y")]);
}

#[test]
fn dead_letters_are_listed_with_what_was_said_of_them() {
    let mut rig = rig();
    rig.begin(list);
    let command = rig.answer("XRANGE", Reply::Entries(vec![letter(5), Entry::new(id(6), None)]));
    let key = Bytes::from_static(b"app:dead:arith");
    let (start, end) = (id(3).next(), StreamId::MAX);
    assert_eq!(command, Command::XRange { key, start, end, count: 20 });
    let fields = vec![field("type", "rpc"), field("envelope", "{}"), field("x", "y")];
    let reason = "delivered too often".into();
    let entry = Some(StreamId::new(7, 1));
    let expected = DeadLetter { id: id(5), entry, reason, deliveries: 10, fields };
    assert_eq!(rig.done(), Ok(Done::Listed(vec![expected])));
}

#[test]
fn only_what_stands_behind_all_fields_was_said_of_a_letter() {
    let mut fields = original();
    fields.push(field("last", "one"));
    fields.push(field("dead-deliveries", "x"));
    let read = dead_letter(Entry::new(id(1), Some(fields))).unwrap();
    assert_eq!((read.entry, read.reason.as_str(), read.deliveries), (None, "", 0));
    let mut kept = original();
    kept.push(field("last", "one"));
    assert_eq!(read.fields, kept);
}

#[test]
fn a_letter_that_is_put_back_is_deleted_only_when_its_copy_is_there() {
    let mut rig = rig();
    rig.begin(requeue);
    rig.answer("XRANGE", Reply::Entries(vec![letter(5)]));
    assert_eq!(rig.count("XDEL"), 0);
    let command = rig.answer("XADD", Reply::Added(Some(id(9))));
    let key = Bytes::from_static(b"app:cmds:arith");
    let fields = vec![field("type", "rpc"), field("envelope", "{}"), field("x", "y")];
    assert_eq!(command, Command::XAdd { key, create: true, max_len: None, fields });
    let command = rig.answer("XDEL", Reply::Integer(1));
    let key = Bytes::from_static(b"app:dead:arith");
    assert_eq!(command, Command::XDel { key, ids: vec![id(5)] });
    assert_eq!(rig.done(), Ok(Done::Requeued { entry: id(9), removed: true }));
}

#[test]
fn a_letter_whose_copy_may_be_there_is_kept() {
    let mut rig = rig();
    rig.begin(requeue);
    rig.answer("XRANGE", Reply::Entries(vec![letter(5)]));
    rig.lose(Lane::Command);
    let done = |event: OperatorEvent| match event {
        OperatorEvent::Finished(_, done) => Some(done),
        _ => None,
    };
    let ended: Vec<_> = rig.events().into_iter().filter_map(done).collect();
    assert_eq!(ended, [Err(OperatorError::OutcomeUnknown)]);
    rig.run(SECOND);
    rig.open_lanes();
    assert_eq!((rig.count("XADD"), rig.count("XDEL")), (0, 0));
}

#[test]
fn a_letter_that_was_put_back_and_cannot_be_deleted_is_told_so() {
    let mut rig = rig();
    rig.begin(requeue);
    rig.answer("XRANGE", Reply::Entries(vec![letter(5)]));
    rig.answer("XADD", Reply::Added(Some(id(9))));
    let sent = rig.take("XDEL");
    rig.refuse(sent.token, "NOPERM");
    assert_eq!(rig.done(), Ok(Done::Requeued { entry: id(9), removed: false }));
}

#[test]
fn what_is_not_there_is_not_found() {
    let mut rig = rig();
    rig.begin(requeue);
    rig.answer("XRANGE", Reply::Entries(vec![]));
    assert_eq!(rig.done(), Err(OperatorError::NotFound));
    rig.begin(remove);
    rig.answer("XDEL", Reply::Integer(0));
    assert_eq!(rig.done(), Ok(Done::Removed(false)));
}

#[test]
fn what_redis_refuses_is_told() {
    for (task, name) in [(list as fn(&mut Operator, Instant) -> TaskId, "XRANGE"), (remove, "XDEL")]
    {
        let mut rig = rig();
        rig.begin(task);
        let sent = rig.take(name);
        rig.refuse(sent.token, "NOPERM");
        let done = rig.done();
        assert!(
            matches!(&done, Err(OperatorError::Refused(it)) if it.code == "NOPERM"),
            "{done:?}"
        );
    }
}

#[test]
fn tasks_wait_for_a_lane_that_is_being_made_and_fail_while_there_is_none() {
    let mut rig = Rig::new(Operator::new(Instant::ZERO, OperatorConfig::new("app", 1)));
    rig.begin(list);
    assert!(rig.events().is_empty());
    rig.open_lanes();
    rig.answer("XRANGE", Reply::Entries(vec![]));
    rig.events();
    rig.lose(Lane::Command);
    rig.events();
    rig.begin(list);
    assert_eq!(rig.done(), Err(OperatorError::NotSent));
}

#[test]
fn a_stop_ends_every_task_and_closes_the_lane() {
    let mut rig = rig();
    rig.begin(list);
    rig.engine.stop();
    rig.engine.stop();
    rig.drain();
    let events = rig.events();
    assert!(
        matches!(
            events[..],
            [OperatorEvent::Finished(_, Err(OperatorError::Stopped)), OperatorEvent::Stopped]
        ),
        "{events:?}"
    );
    assert_eq!((rig.closed.as_slice(), rig.deadline), (&[Lane::Command][..], None));
    rig.begin(remove);
    assert_eq!(rig.done(), Err(OperatorError::Stopped));
}

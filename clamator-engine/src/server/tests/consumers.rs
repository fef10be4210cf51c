//! Removing the consumers of workers that are gone (rule 4.11).
//!
//! Not what Redis makes of it: see `memory`.

use super::*;
use crate::engine::Lane;
use crate::reply::Refusal;

const IDLE_MAX: Duration = Duration::from_secs(120);

fn rig() -> Rig<Server> {
    rig_with(IDLE_MAX)
}

fn rig_with(consumer_idle_max: Duration) -> Rig<Server> {
    let mut config = config();
    config.consumer_idle_max = consumer_idle_max;
    let mut rig = serving(config, service("arith"));
    rig.habit = |command| match command {
        Command::DelIdleConsumers { .. } => None,
        other => quiet(other),
    };
    rig
}

impl Rig<Server> {
    /// Lets time pass, and answers every look so. Tells how often it was looked.
    fn looks(&mut self, time: Duration, answer: &Result<Reply, Refusal>) -> usize {
        let end = self.now + time;
        let mut looks = 0;
        while self.now < end {
            self.run(SECOND);
            while let Some(sent) = self.find("EVAL") {
                looks += 1;
                match answer {
                    Ok(reply) => self.reply(sent.token, reply.clone()),
                    Err(refusal) => self.refuse(sent.token, &refusal.code),
                }
            }
        }
        looks
    }
}

#[test]
fn consumers_are_removed_that_are_idle_for_long_and_the_own_one_is_not() {
    let mut rig = rig();
    rig.run(2 * SECOND);
    let Sent { command, token, .. } = rig.take("EVAL");
    let Command::DelIdleConsumers { key, group, idle_min, keep } = command else { panic!() };
    assert_eq!((&key[..], &group[..]), (&b"app:cmds:arith"[..], &b"arith"[..]));
    assert_eq!((idle_min, &keep[..]), (IDLE_MAX, &b"arith:w1"[..]));
    rig.reply(token, Reply::Integer(7));
    assert_eq!(rig.engine.stats().consumers_removed, 7);
}

#[test]
fn consumers_are_looked_at_four_times_in_the_time_they_may_be_idle() {
    let looks = rig().looks(IDLE_MAX, &Ok(Reply::Integer(0)));
    assert!((3..=6).contains(&looks), "{looks}");
}

#[test]
fn a_server_that_may_run_no_script_says_so_and_seldom_tries_again() {
    let mut rig = rig();
    let refusal = Err(Refusal::new("NOPERM", ""));
    let looks = rig.looks(5 * IDLE_MAX, &refusal);
    assert!((2..=3).contains(&looks), "{looks}");
    assert_eq!(rig.engine.stats().consumer_looks_refused, looks as u64);
}

#[test]
fn a_look_that_removed_as_many_as_it_may_is_followed_by_another_one_with_the_next_tick() {
    let looks = rig().looks(IDLE_MAX / 10, &Ok(Reply::Integer(1000)));
    assert!(looks >= 6, "{looks}");
}

#[test]
fn a_refusal_that_heals_is_tried_again() {
    let looks = rig().looks(IDLE_MAX, &Err(Refusal::new("BUSY", "")));
    assert!((3..=6).contains(&looks), "{looks}");
}

#[test]
fn a_look_for_which_there_was_no_connection_is_taken_once_there_is_one() {
    let mut rig = rig();
    rig.lose(Lane::Command);
    rig.run(2 * SECOND);
    rig.open_lanes();
    rig.run(2 * SECOND);
    assert_eq!(rig.count("EVAL"), 1);
}

#[test]
fn all_consumers_stay_if_told_so() {
    let mut rig = rig_with(Duration::MAX);
    assert_eq!(rig.looks(IDLE_MAX, &Ok(Reply::Integer(0))), 0);
}

#[test]
fn nobody_is_looked_for_once_a_stop_has_begun() {
    let mut rig = rig();
    rig.deliver(vec![request(1)]);
    rig.stop(IDLE_MAX);
    assert_eq!(rig.looks(IDLE_MAX / 2, &Ok(Reply::Integer(0))), 0);
}

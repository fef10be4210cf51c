//! The promises of lanes: matching, overdue replies, pauses, limits.
//!
//! Not what the commands are for.

use super::*;
use crate::reply::Refusal;
use bytes::Bytes;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: u64) -> Instant {
    Instant::from_start(Duration::from_secs(seconds))
}

fn lanes(blocking: u16) -> Lanes<u32> {
    Lanes::new(at(0), blocking, 2 * SECOND, Jitter::new(1), Seeded::default())
}

fn hello() -> Hello {
    Hello::new(Version::new(7, 0, 15))
}

fn command() -> Command {
    Command::Del { key: Bytes::from_static(b"k") }
}

fn drain(lanes: &mut Lanes<u32>) -> Vec<Action> {
    core::iter::from_fn(|| lanes.poll()).collect()
}

fn tokens(lanes: &mut Lanes<u32>) -> Vec<Token> {
    drain(lanes)
        .into_iter()
        .filter_map(|action| match action {
            Action::Command { token, .. } => Some(token),
            _ => None,
        })
        .collect()
}

fn open() -> Lanes<u32> {
    let mut lanes = lanes(0);
    assert!(lanes.opened(at(0), Lane::Command, hello()).is_none());
    drain(&mut lanes);
    lanes
}

fn closed() -> Loss {
    Loss::Closed { detail: "reset".into() }
}

#[test]
fn every_lane_is_opened_at_the_start() {
    let actions = drain(&mut lanes(2));
    let wanted = [Lane::Command, Lane::Blocking(0), Lane::Blocking(1)];
    assert_eq!(actions.len(), 3);
    for (action, lane) in actions.iter().zip(wanted) {
        assert!(matches!(action, Action::Open(opened) if *opened == lane), "{action:?}");
    }
}

#[test]
fn a_command_for_a_lane_that_is_not_open_is_given_back() {
    assert_eq!(lanes(0).send(at(0), Lane::Command, command(), SECOND, 7), Err(7));
}

#[test]
fn a_reply_finds_its_command_and_only_once() {
    let mut lanes = open();
    for purpose in 0..3 {
        lanes.send(at(0), Lane::Command, command(), SECOND, purpose).unwrap();
    }
    let tokens = tokens(&mut lanes);
    assert_eq!(lanes.reply(at(0), &tokens[0], true), Some(0));
    assert_eq!(lanes.reply(at(0), &tokens[0], true), None);
    assert_eq!(lanes.reply(at(0), &tokens[1], true), Some(1));
}

#[test]
fn a_reply_after_its_lane_was_lost_answers_nothing() {
    let mut lanes = open();
    lanes.send(at(0), Lane::Command, command(), SECOND, 1).unwrap();
    let old = tokens(&mut lanes);
    let ended = lanes.lost(at(0), Lane::Command, closed()).unwrap();
    assert!(matches!(ended.voided[..], [Voided { purpose: 1, sent: true }]));
    lanes.tick(at(1));
    lanes.opened(at(1), Lane::Command, hello());
    lanes.send(at(1), Lane::Command, command(), SECOND, 2).unwrap();
    assert_eq!(lanes.reply(at(1), &old[0], true), None);
}

#[test]
fn an_overdue_reply_closes_the_lane() {
    let mut lanes = open();
    lanes.send(at(0), Lane::Command, command(), SECOND, 1).unwrap();
    drain(&mut lanes);
    assert_eq!(lanes.deadline(), Some(Deadline::new(at(1), Timer::Command(Lane::Command))));
    assert!(lanes.tick(Instant::from_start(Duration::from_millis(999))).is_empty());
    let ended = lanes.tick(at(1));
    assert_eq!(ended.len(), 1);
    let actions = drain(&mut lanes);
    assert!(matches!(actions[0], Action::Close(Lane::Command)), "{actions:?}");
    assert!(matches!(actions[1], Action::Disconnected(Loss::Overdue { .. })), "{actions:?}");
}

#[test]
fn a_connection_that_takes_too_long_is_given_up() {
    let mut lanes = lanes(0);
    drain(&mut lanes);
    assert_eq!(lanes.tick(at(2)).len(), 1);
    assert!(matches!(drain(&mut lanes)[0], Action::Close(Lane::Command)));
    assert!(lanes.opened(at(2), Lane::Command, hello()).is_none());
    assert!(!lanes.is_open(Lane::Command), "a connection that was given up cannot open");
}

#[test]
fn pauses_double_up_to_a_second_and_start_over_after_a_reply() {
    let mut lanes = open();
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..6 {
        lanes.lost(now, Lane::Command, closed());
        let until = lanes.deadline().unwrap().at;
        pauses.push(until.since(now).as_millis());
        now = until;
        lanes.tick(now);
    }
    for (pause, middle) in pauses.iter().zip([100, 200, 400, 800, 1000, 1000]) {
        assert!((middle * 3 / 4..=middle * 5 / 4).contains(pause), "{pauses:?}");
    }
    lanes.opened(now, Lane::Command, hello());
    lanes.send(now, Lane::Command, command(), SECOND, 1).unwrap();
    let token = tokens(&mut lanes).pop().unwrap();
    lanes.reply(now, &token, true);
    lanes.lost(now, Lane::Command, closed());
    assert!(lanes.deadline().unwrap().at.since(now) <= Duration::from_millis(125));
}

#[test]
fn refused_credentials_are_not_tried_again_for_half_a_minute() {
    let mut lanes = lanes(0);
    lanes.lost(at(0), Lane::Command, Loss::Credentials { detail: "WRONGPASS".into() });
    assert!(lanes.deadline().unwrap().at >= Instant::from_start(Duration::from_millis(22_500)));
}

#[test]
fn a_server_that_is_too_old_is_not_used() {
    let mut lanes = lanes(0);
    drain(&mut lanes);
    lanes.opened(at(0), Lane::Command, Hello::new(Version::new(6, 0, 16)));
    assert!(!lanes.is_open(Lane::Command));
    let actions = drain(&mut lanes);
    assert!(matches!(actions[0], Action::Close(Lane::Command)));
    assert!(matches!(actions[1], Action::Disconnected(Loss::TooOld { .. })));
}

#[test]
fn the_oldest_server_that_is_not_too_old_is_used() {
    let mut lanes = lanes(0);
    lanes.opened(at(0), Lane::Command, Hello::new(Version::new(6, 2, 0)));
    assert!(lanes.is_open(Lane::Command));
}

#[test]
fn a_reply_that_is_coming_in_is_not_overdue_nor_is_what_waits_behind_it() {
    let mut lanes = open();
    for purpose in 0..2 {
        lanes.send(at(0), Lane::Command, command(), 5 * SECOND, purpose).unwrap();
    }
    let tokens = tokens(&mut lanes);
    for second in [4, 8, 12] {
        lanes.progress(at(second), Lane::Command, PROGRESS_MIN);
        assert!(lanes.tick(at(second + 4)).is_empty(), "at {second}");
    }
    assert_eq!(lanes.reply(at(16), &tokens[0], true), Some(0));
    assert!(lanes.tick(at(16)).is_empty());
    // Nothing more moves: the second one is overdue when its own time is over.
    assert_eq!(lanes.deadline(), Some(Deadline::new(at(17), Timer::Command(Lane::Command))));
    assert_eq!(lanes.tick(at(17)).len(), 1);
}

#[test]
fn a_lane_on_which_bytes_merely_drip_is_overdue() {
    let mut lanes = open();
    lanes.send(at(0), Lane::Command, command(), 5 * SECOND, 0).unwrap();
    for second in 1..5 {
        lanes.progress(at(second), Lane::Command, PROGRESS_MIN / 4 - 1);
    }
    assert_eq!(lanes.tick(at(5)).len(), 1);
}

#[test]
fn sixty_four_kibibytes_are_progress_and_a_byte_less_is_not() {
    for (bytes, overdue) in [(64 << 10, 0), ((64 << 10) - 1, 1)] {
        let mut lanes = open();
        lanes.send(at(0), Lane::Command, command(), 5 * SECOND, 0).unwrap();
        lanes.progress(at(1), Lane::Command, bytes);
        assert_eq!(lanes.tick(at(5)).len(), overdue, "{bytes}");
    }
}

#[test]
fn connected_and_disconnected_are_said_once_per_change() {
    let mut lanes = lanes(1);
    drain(&mut lanes);
    lanes.opened(at(0), Lane::Command, hello());
    assert!(drain(&mut lanes).is_empty());
    lanes.opened(at(0), Lane::Blocking(0), hello());
    assert!(matches!(drain(&mut lanes)[..], [Action::Connected]));
    lanes.lost(at(0), Lane::Command, closed());
    assert!(matches!(drain(&mut lanes)[..], [Action::Disconnected(_)]));
    lanes.fail(at(0), Lane::Blocking(0), Loss::Overdue { allowed: SECOND });
    assert!(matches!(drain(&mut lanes)[..], [Action::Close(_)]));
}

#[test]
fn another_reason_to_be_disconnected_is_said_once_too() {
    let mut lanes = open();
    lanes.lost(at(0), Lane::Command, closed());
    assert!(matches!(drain(&mut lanes)[..], [Action::Disconnected(Loss::Closed { .. })]));
    let refused = || Loss::Credentials { detail: "WRONGPASS".into() };
    let unfit = || Loss::Unfit(Refusal::new("LOADING", ""));
    let mut said = Vec::new();
    for (second, loss) in (1..).zip([refused(), closed(), unfit(), refused(), unfit()]) {
        lanes.tick(at(60 * second));
        assert!(lanes.is_opening(Lane::Command));
        lanes.lost(at(60 * second), Lane::Command, loss);
        said.extend(drain(&mut lanes).into_iter().filter_map(|action| match action {
            Action::Disconnected(loss) => Some(loss),
            _ => None,
        }));
    }
    assert_eq!(said, [refused(), unfit()]);
    lanes.tick(at(600));
    lanes.opened(at(600), Lane::Command, hello());
    lanes.lost(at(600), Lane::Command, refused());
    let again = drain(&mut lanes);
    assert!(matches!(again[..], [Action::Open(_), Action::Connected, Action::Disconnected(_)]));
}

#[test]
fn commands_beyond_the_limit_wait_and_are_known_not_to_be_sent() {
    let mut lanes = open();
    for purpose in 0..5000 {
        lanes.send(at(0), Lane::Command, command(), SECOND, purpose).unwrap();
    }
    let tokens = tokens(&mut lanes);
    assert_eq!(tokens.len(), FLYING_MAX);
    lanes.reply(at(0), &tokens[0], true);
    assert_eq!(drain(&mut lanes).len(), 1);
    let ended = lanes.lost(at(0), Lane::Command, closed()).unwrap();
    let sent = ended.voided.iter().filter(|voided| voided.sent).count();
    assert_eq!((sent, ended.voided.len()), (FLYING_MAX, 4999));
}

#[test]
fn a_lane_that_nobody_has_opened_yet_is_not_closed() {
    let mut lanes = open();
    assert!(lanes.fail(at(1), Lane::Command, closed()).is_some());
    drain(&mut lanes);
    lanes.tick(at(60));
    lanes.close_all();
    assert!(lanes.poll().is_none());
}

#[test]
fn a_lane_that_is_being_opened_is_closed_for_good() {
    let mut lanes = lanes(0);
    drain(&mut lanes);
    lanes.close_all();
    assert!(matches!(lanes.poll(), Some(Action::Close(Lane::Command))));
    assert!(lanes.deadline().is_none());
}

#[test]
fn a_lane_that_is_closed_for_good_is_not_opened_again_when_its_end_is_told() {
    let mut lanes = open();
    lanes.close_all();
    drain(&mut lanes);
    assert!(lanes.lost(at(1), Lane::Command, closed()).is_none());
    assert!(lanes.fail(at(1), Lane::Command, closed()).is_none());
    lanes.tick(at(60));
    assert!(lanes.poll().is_none());
    assert!(lanes.deadline().is_none());
}

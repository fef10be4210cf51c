//! [`shrink`]: makes a sequence that fails smaller while it goes on failing.
//!
//! Not a proof that it is the smallest. Steps are taken away in ever smaller runs (delta
//! debugging), then what is left is made plainer. Any difference counts as failing, also another
//! one than before: the shortest way to some difference is what a reader wants.

use std::time::Duration;

use bytes::Bytes;
use clamator_engine::{Command, StreamId};

use super::step::{Deed, Step};

/// Most sequences that are tried.
const TRIES_MAX: usize = 1500;
/// Who reads if it does not matter.
const READER: &[u8] = b"ana";
/// How often a sequence is tried before it counts as one that does not fail, where a step more or
/// less is at stake: a busy machine leaves the time of a command in doubt, and that can explain
/// what differs.
const TRIES_EACH: usize = 3;

/// Makes a failing sequence smaller. `fails` carries one out.
pub fn shrink(steps: &[Step], mut fails: impl FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut left = TRIES_MAX;
    let mut fails = |steps: &[Step]| {
        left = left.saturating_sub(1);
        left > 0 && fails(steps)
    };
    let mut steps = steps.to_vec();
    // Without this one, a failure that comes and goes would be tried a thousand times in vain.
    if !(0..TRIES_EACH).any(|_| fails(&steps)) {
        return steps;
    }
    loop {
        let before = steps.clone();
        take_away(&mut steps, &mut fails);
        make_plainer(&mut steps, &mut fails);
        if steps == before {
            return steps;
        }
    }
}

fn take_away(steps: &mut Vec<Step>, fails: &mut impl FnMut(&[Step]) -> bool) {
    let mut run = steps.len().div_ceil(2);
    while run > 0 {
        let tries = if run == 1 { TRIES_EACH } else { 1 };
        let mut end = steps.len();
        while end > 0 {
            let start = end.saturating_sub(run);
            let mut fewer = steps.clone();
            fewer.drain(start..end);
            if (0..tries).any(|_| fails(&fewer)) {
                *steps = fewer;
            }
            end = start.min(steps.len());
        }
        run /= 2;
    }
}

fn make_plainer(steps: &mut [Step], fails: &mut impl FnMut(&[Step]) -> bool) {
    for place in 0..steps.len() {
        for plainer in plainer(&steps[place]) {
            if plainer == steps[place] {
                continue;
            }
            let before = std::mem::replace(&mut steps[place], plainer);
            if !fails(steps) {
                steps[place] = before;
            }
        }
    }
}

fn plainer(step: &Step) -> Vec<Step> {
    let with = |deed: Deed| Step { deed, ..step.clone() };
    let mut all = vec![Step { seat: 0, ..step.clone() }];
    match &step.deed {
        Deed::Ask(command) => {
            all.extend(plainer_commands(command).into_iter().map(|it| with(Deed::Ask(it))));
        }
        Deed::WaitOut { read, .. } => {
            all.push(with(Deed::WaitOut { read: read.clone(), behind: None }));
        }
        Deed::Sleep(_) => all.push(with(Deed::Sleep(Duration::from_millis(1)))),
        Deed::Close | Deed::Meddle(_) | Deed::Outlive(_) => {}
    }
    all
}

fn plainer_commands(command: &Command) -> Vec<Command> {
    let word = Bytes::from_static(b"a");
    match command {
        Command::XAck { key, group, ids } if ids.len() > 1 => {
            let one = |id| Command::XAck { key: key.clone(), group: group.clone(), ids: vec![id] };
            ids.iter().copied().map(one).collect()
        }
        Command::XDel { key, ids } if ids.len() > 1 => {
            let one = |id| Command::XDel { key: key.clone(), ids: vec![id] };
            ids.iter().copied().map(one).collect()
        }
        Command::XAdd { key, create, max_len, .. } => {
            let plain = |create, max_len| {
                let fields = vec![(word.clone(), word.clone())];
                Command::XAdd { key: key.clone(), create, max_len, fields }
            };
            vec![plain(true, None), plain(*create, *max_len)]
        }
        // Of everything: an end of the range that another step has made would keep that step.
        Command::XPendingRange { key, group, count, consumer, .. } => {
            vec![Command::XPendingRange {
                key: key.clone(),
                group: group.clone(),
                start: StreamId::ZERO,
                end: StreamId::MAX,
                count: *count,
                consumer: consumer.clone(),
            }]
        }
        // Of what is idle for no time: any other would keep the steps in which time passes.
        Command::XAutoClaim { key, group, consumer, idle_min, start, count }
            if !idle_min.is_zero() =>
        {
            vec![Command::XAutoClaim {
                key: key.clone(),
                group: group.clone(),
                consumer: consumer.clone(),
                idle_min: Duration::ZERO,
                start: *start,
                count: *count,
            }]
        }
        // By one reader: whoever takes over from another keeps the step in which it does.
        Command::XReadGroup { key, group, count, block, .. } => {
            vec![Command::XReadGroup {
                key: key.clone(),
                group: group.clone(),
                consumer: Bytes::from_static(READER),
                count: *count,
                block: *block,
            }]
        }
        Command::XRead { key, after, count, .. } => {
            vec![Command::XRead { key: key.clone(), after: *after, count: *count, block: None }]
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_it_takes() {
        let step = |label| Step { label, seat: 3, deed: Deed::Close };
        let steps: Vec<Step> = (0..200).map(step).collect();
        let has = |steps: &[Step], label| steps.iter().any(|step| step.label == label);
        let shrunk = shrink(&steps, |steps| has(steps, 17) && has(steps, 171));
        let expected = [17, 171].map(|label| Step { seat: 0, ..step(label) });
        assert_eq!(shrunk, expected);
    }

    #[test]
    fn a_failure_that_hides_at_times_is_shrunk_as_far() {
        let step = |label| Step { label, seat: 0, deed: Deed::Close };
        let steps: Vec<Step> = (0..8).map(step).collect();
        let mut tries = 0;
        let shrunk = shrink(&steps, |steps| {
            tries += 1;
            tries % 3 == 0 && steps.iter().any(|step| step.label == 5)
        });
        assert_eq!(shrunk, [step(5)]);
    }
}

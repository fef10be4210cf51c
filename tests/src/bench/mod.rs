//! What the benchmark compares: clamator, and the floor below it, each as a client and a server.
//!
//! Not the running of processes and not the table: those are `bin/bench.rs`. Both sides do the
//! same work on the same wire: a client keeps `window` calls in flight, a server answers each.
//! A server serves until it is killed; a client says its [`Figures`] once.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub mod clamator;
pub mod floor;

/// Calls made before the clock starts, so that connections, group and pace are there.
pub const WARM_UP: usize = 500;

/// What one client measured.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct Figures {
    pub calls_per_second: f64,
    /// Half of the calls were answered within this many microseconds.
    pub p50_us: f64,
    /// All but a hundredth of the calls were answered within this many microseconds.
    pub p99_us: f64,
    /// Microseconds of processor time that the client took for a call; `None` where the system
    /// does not tell. Less at the mercy of the machine's other work than the rest.
    pub client_cpu_us: Option<f64>,
    /// As `client_cpu_us`, of the server.
    pub server_cpu_us: Option<f64>,
}

impl Figures {
    /// Sums a run up from how long it took and how long each call took.
    pub fn new(took: Duration, mut each: Vec<Duration>) -> Self {
        each.sort_unstable();
        let place = |hundredths: usize| each[(each.len() - 1) * hundredths / 100];
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        Self {
            calls_per_second: each.len() as f64 / took.as_secs_f64(),
            p50_us: micros(place(50)),
            p99_us: micros(place(99)),
            client_cpu_us: None,
            server_cpu_us: None,
        }
    }

    /// The median of several runs, figure by figure.
    pub fn median(runs: &[Self]) -> Self {
        let median = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            calls_per_second: median(|run| run.calls_per_second),
            p50_us: median(|run| run.p50_us),
            p99_us: median(|run| run.p99_us),
            client_cpu_us: some(median(|run| run.client_cpu_us.unwrap_or_default())),
            server_cpu_us: some(median(|run| run.server_cpu_us.unwrap_or_default())),
        }
    }
}

fn some(figure: f64) -> Option<f64> {
    (figure > 0.0).then_some(figure)
}

/// The processor time that a process's first thread has taken, on Linux.
///
/// <https://docs.kernel.org/scheduler/sched-stats.html>
pub fn processor_time(process: &str) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// What a call took of something that was read before and after a number of them.
pub fn each(before: Option<Duration>, after: Option<Duration>, calls: usize) -> Option<f64> {
    Some((after? - before?).as_secs_f64() * 1e6 / calls as f64)
}

/// A clock that starts when the warm-up is over.
#[derive(Debug)]
struct Clock {
    processor: Option<Duration>,
    started: Instant,
    each: Vec<Duration>,
}

impl Clock {
    fn start(calls: usize) -> Self {
        Self {
            processor: processor_time("self"),
            started: Instant::now(),
            each: Vec::with_capacity(calls),
        }
    }

    fn answered(&mut self, sent: Instant) {
        self.each.push(sent.elapsed());
    }

    fn stop(self) -> Figures {
        let (took, processor) = (self.started.elapsed(), processor_time("self"));
        let client_cpu_us = each(self.processor, processor, self.each.len());
        Figures { client_cpu_us, ..Figures::new(took, self.each) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_calls_are_within_the_p50_and_nearly_all_within_the_p99() {
        let each = (1..=100).rev().map(Duration::from_micros).collect();
        let figures = Figures::new(Duration::from_secs(2), each);
        assert_eq!(figures.calls_per_second, 50.0);
        assert!((figures.p50_us - 50.0).abs() < 1e-6, "{figures:?}");
        assert!((figures.p99_us - 99.0).abs() < 1e-6, "{figures:?}");
    }

    #[test]
    fn the_median_is_taken_figure_by_figure() {
        let run = |calls_per_second, p50_us, p99_us| {
            let (client_cpu_us, server_cpu_us) = (Some(p50_us), None);
            Figures { calls_per_second, p50_us, p99_us, client_cpu_us, server_cpu_us }
        };
        let runs = [run(3.0, 1.0, 9.0), run(1.0, 3.0, 8.0), run(2.0, 2.0, 7.0)];
        let median = Figures::median(&runs);
        assert_eq!((median.calls_per_second, median.p50_us, median.p99_us), (2.0, 2.0, 8.0));
        assert_eq!((median.client_cpu_us, median.server_cpu_us), (Some(2.0), None));
    }
}

//! [`Meter`]: the numbers of a client or server, passed on through the [`metrics`] facade.
//!
//! Not the counting, which is the engine's. What has changed is passed on once a turn of the
//! driver, as what it has changed by, so that the numbers of several clients or servers of one
//! process add up; a gauge is back where it was when its owner is gone. The names are in the
//! [manual](crate::manual::knowing).

use clamator_proto::ServiceName;
use metrics::{Key, Label, Level, Metadata};

const METADATA: Metadata<'static> = Metadata::new("clamator", Level::INFO, Some(module_path!()));
/// What is not about one service of a server.
const WHOLE: [&str; 2] = ["clock_jumps", "reconnects"];

/// What was passed on of one client or server.
pub(crate) struct Meter {
    role: &'static str,
    /// Of each service, and of what is no service's.
    rows: Vec<Row>,
}

#[derive(Default)]
struct Row {
    counters: Vec<Told>,
    gauges: Vec<Told>,
}

/// What was told of one number.
struct Told {
    key: Key,
    value: u64,
}

impl Meter {
    /// Begins to measure a `client` or a `server`.
    pub(crate) const fn new(role: &'static str) -> Self {
        Self { role, rows: Vec::new() }
    }

    /// Passes on what has changed in one row. The first time, also what is zero.
    pub(crate) fn tell(
        &mut self,
        row: usize,
        service: Option<&ServiceName>,
        counters: impl Iterator<Item = (&'static str, u64)>,
        gauges: impl Iterator<Item = (&'static str, u64)>,
    ) {
        if self.rows.len() <= row {
            self.rows.resize_with(row + 1, Row::default);
        }
        let role = self.role;
        let Some(row) = self.rows.get_mut(row) else { return };
        let belongs = |name: &str| role == "client" || WHOLE.contains(&name) == service.is_none();
        for (number, (name, value)) in counters.enumerate() {
            let told = told(&mut row.counters, number, || Told::new(role, name, "_total", service));
            if let Some((told, new)) = told
                && (told.value != value || (new && belongs(name)))
            {
                told.count(value);
            }
        }
        for (number, (name, value)) in gauges.enumerate() {
            let told = told(&mut row.gauges, number, || Told::new(role, name, "", service));
            if let Some((told, new)) = told
                && (told.value != value || (new && belongs(name)))
            {
                told.set(value);
            }
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        for told in self.rows.iter_mut().flat_map(|row| &mut row.gauges) {
            if told.value > 0 {
                told.set(0);
            }
        }
    }
}

/// What was told of this number; and whether it is new.
fn told(
    all: &mut Vec<Told>,
    number: usize,
    make: impl FnOnce() -> Told,
) -> Option<(&mut Told, bool)> {
    let new = all.len() == number;
    if new {
        all.push(make());
    }
    all.get_mut(number).map(|told| (told, new))
}

impl Told {
    fn new(role: &str, name: &str, unit: &str, service: Option<&ServiceName>) -> Self {
        let label = |service: &ServiceName| Label::new("service", service.to_string());
        let labels: Vec<Label> = service.map(label).into_iter().collect();
        Self { key: Key::from_parts(format!("clamator_{role}_{name}{unit}"), labels), value: 0 }
    }

    fn count(&mut self, value: u64) {
        let more = value.saturating_sub(self.value);
        metrics::with_recorder(|it| it.register_counter(&self.key, &METADATA).increment(more));
        self.value = value;
    }

    fn set(&mut self, value: u64) {
        metrics::with_recorder(|recorder| {
            let gauge = recorder.register_gauge(&self.key, &METADATA);
            if value < self.value {
                gauge.decrement(exact(self.value - value));
            } else {
                gauge.increment(exact(value - self.value));
            }
        });
        self.value = value;
    }
}

/// No more entries are held than fit into 32 bits.
fn exact(value: u64) -> f64 {
    u32::try_from(value).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use metrics::{Counter, Gauge, Histogram, KeyName, Recorder, SharedString, Unit};

    use super::*;

    /// Keeps one gauge, whatever it is called.
    #[derive(Debug, Default)]
    struct Tape(Arc<AtomicU64>);

    impl Recorder for Tape {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(Arc::clone(&self.0))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn gauges_add_up_and_go_back_with_whoever_raised_them() {
        let tape = Tape::default();
        let level = || f64::from_bits(tape.0.load(Ordering::SeqCst)).to_string();
        let tell = |meter: &mut Meter, held| {
            meter.tell(0, None, std::iter::empty(), [("held", held)].into_iter());
        };
        metrics::with_local_recorder(&tape, || {
            let (mut one, mut other) = (Meter::new("server"), Meter::new("server"));
            tell(&mut one, 5);
            tell(&mut other, 3);
            tell(&mut other, 2);
            assert_eq!(level(), "7");
            drop(one);
            assert_eq!(level(), "2");
            drop(other);
            assert_eq!(level(), "0");
        });
    }
}

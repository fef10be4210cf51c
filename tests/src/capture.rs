//! [`Capture`]: what clients and servers log, as values, by the name of the instance that speaks.
//!
//! Not by thread: what a test starts may run on any thread, and other tests run beside it. So
//! whoever listens gives its clients and servers names of their own, such as [`unique`] makes.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Who listens at the moment.
static LISTENING: Mutex<Vec<Weak<Ear>>> = Mutex::new(Vec::new());

/// A name that no other instance in this process has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Listens to some instances until it is dropped.
#[derive(Debug)]
pub struct Capture(Arc<Ear>);

#[derive(Debug)]
struct Ear {
    instances: Vec<String>,
    lines: Mutex<Vec<Line>>,
}

/// One event under the target `clamator`.
#[derive(Clone, Debug)]
pub struct Line {
    pub level: Level,
    pub message: String,
    /// All other fields, as text.
    pub fields: BTreeMap<&'static str, String>,
}

impl Line {
    /// A field as text; empty when there is none.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

impl Capture {
    /// Listens to these instances.
    pub fn of(instances: &[&str]) -> Self {
        static START: Once = Once::new();
        START.call_once(|| {
            let subscriber = tracing_subscriber::registry().with(Listener);
            tracing::subscriber::set_global_default(subscriber).expect("nobody else listens");
        });
        let instances = instances.iter().map(|instance| (*instance).to_owned()).collect();
        let ear = Arc::new(Ear { instances, lines: Mutex::default() });
        let mut listening = lock(&LISTENING);
        listening.retain(|ear| ear.strong_count() > 0);
        listening.push(Arc::downgrade(&ear));
        Self(ear)
    }

    /// Takes out the warnings and errors whose message begins like this.
    pub fn take(&self, message: &str) -> Vec<Line> {
        self.take_if(|line| line.level <= Level::WARN && line.message.starts_with(message))
    }

    /// Takes out every line, of any level.
    pub fn take_all(&self) -> Vec<Line> {
        self.take_if(|_| true)
    }

    fn take_if(&self, wanted: impl Fn(&Line) -> bool) -> Vec<Line> {
        let mut lines = lock(&self.0.lines);
        let (taken, kept) = lines.drain(..).partition(wanted);
        *lines = kept;
        taken
    }
}

struct Listener;

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() != "clamator" {
            return;
        }
        let level = *event.metadata().level();
        let mut line = Line { level, message: String::new(), fields: BTreeMap::new() };
        event.record(&mut line);
        for ear in lock(&LISTENING).iter().filter_map(Weak::upgrade) {
            if ear.instances.iter().any(|instance| instance == line.field("instance")) {
                lock(&ear.lines).push(line.clone());
            }
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => _ = self.fields.insert(name, text),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => _ = self.fields.insert(name, value.to_owned()),
        }
    }
}

/// A test that failed while it held the lock has failed; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! [`Capture`]: what is logged on one thread, as values.
//!
//! Not what other threads log: a test that listens runs its client and server on a single thread,
//! so that tests beside it are not heard.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Listens until it is dropped.
pub(crate) struct Capture {
    lines: Arc<Mutex<Vec<Line>>>,
    _listening: DefaultGuard,
}

/// One event.
#[derive(Clone, Debug, Default)]
pub(crate) struct Line {
    pub(crate) warning: bool,
    pub(crate) message: String,
    /// The id of the entry that it is about, if it is about one.
    pub(crate) entry: Option<String>,
    /// All fields, as text.
    pub(crate) fields: String,
}

impl Capture {
    /// Listens to warnings and errors on this thread.
    pub(crate) fn start() -> Self {
        let lines = Arc::default();
        let listener = Listener(Arc::clone(&lines));
        let subscriber = tracing_subscriber::registry().with(listener);
        Self { lines, _listening: tracing::subscriber::set_default(subscriber) }
    }

    /// Takes the lines out whose message begins like this.
    pub(crate) fn take(&self, message: &str) -> Vec<Line> {
        let mut lines = self.lines.lock().expect("nobody fails while it logs");
        let (taken, kept) =
            lines.drain(..).partition(|line: &Line| line.message.starts_with(message));
        *lines = kept;
        taken
    }
}

struct Listener(Arc<Mutex<Vec<Line>>>);

impl<S: Subscriber> Layer<S> for Listener {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if *event.metadata().level() > Level::WARN {
            return;
        }
        let mut line =
            Line { warning: *event.metadata().level() == Level::WARN, ..Line::default() };
        event.record(&mut line);
        self.0.lock().expect("nobody fails while it logs").push(line);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            "entry" => self.entry = Some(text),
            // Writing to a String cannot fail.
            name => _ = write!(self.fields, "{name}={text} "),
        }
    }
}

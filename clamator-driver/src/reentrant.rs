//! Calls from inside a handler to the serial service that it belongs to: they would wait for it.
//!
//! Rule 5.8. While a handler is polled its thread remembers where it is served, and a call that is
//! made meanwhile, to the same service in the same place, is refused. Tasks that a handler spawns
//! are polled elsewhere and not seen. Of handlers that are polled inside one another, as by a
//! `block_on`, the innermost counts.

use std::cell::RefCell;
use std::sync::Arc;

use clamator_proto::{Method, ServiceName};

use crate::target::{Place, Target};

/// Where keys of one deployment are.
#[derive(Clone)]
pub(crate) struct Home {
    place: Place,
    prefix: Arc<str>,
}

/// A service that cannot be called from inside its own handlers, and where it is served.
pub(crate) struct Spot {
    home: Home,
    service: ServiceName,
}

thread_local! {
    /// Of the handler that is being polled, if it is of such a service.
    static HERE: RefCell<Option<Arc<Spot>>> = const { RefCell::new(None) };
}

impl Home {
    pub(crate) fn new(target: &Target, prefix: &str) -> Self {
        Self { place: target.0.clone(), prefix: prefix.into() }
    }

    /// Whether a call to this method, made now and here, would wait for whoever makes it.
    pub(crate) fn is_reentrant(&self, method: &Method<'_>) -> bool {
        let is_here = |spot: &Spot| {
            spot.service.as_str() == method.service()
                && spot.home.prefix == self.prefix
                && spot.home.place.is_same(&self.place)
        };
        // A thread that is ending runs no handler any more.
        HERE.try_with(|here| here.borrow().as_deref().is_some_and(is_here)).unwrap_or(false)
    }
}

impl Spot {
    pub(crate) fn new(home: &Home, service: &ServiceName) -> Arc<Self> {
        Arc::new(Self { home: home.clone(), service: service.clone() })
    }
}

/// A handler is being polled for as long as this lives.
#[must_use]
pub(crate) struct Inside {
    /// What was being polled around it.
    around: Option<Arc<Spot>>,
}

impl Inside {
    /// Enters a handler; `None` when its service may be called from it.
    pub(crate) fn of(spot: Option<&Arc<Spot>>) -> Self {
        Self { around: exchange(spot.cloned()) }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        exchange(self.around.take());
    }
}

fn exchange(spot: Option<Arc<Spot>>) -> Option<Arc<Spot>> {
    HERE.try_with(|here| here.replace(spot)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::memory_bus::MemoryBus;

    fn is_reentrant(home: &Home, method: &str) -> bool {
        home.is_reentrant(&Method::parse(method).unwrap())
    }

    #[test]
    fn a_call_is_reentrant_in_the_same_place_under_the_same_prefix_to_the_same_service() {
        let (here, there) = (MemoryBus::new(), MemoryBus::new());
        let home = Home::new(&Target::memory(&here), "app");
        let spot = Spot::new(&home, &ServiceName::new("arith").unwrap());
        assert!(!is_reentrant(&home, "arith.add"));
        let inside = Inside::of(Some(&spot));
        assert!(is_reentrant(&Home::new(&(&here).into(), "app"), "arith.add"));
        assert!(!is_reentrant(&home, "other.add"));
        assert!(!is_reentrant(&Home::new(&(&here).into(), "bank"), "arith.add"));
        assert!(!is_reentrant(&Home::new(&(&there).into(), "app"), "arith.add"));
        drop(inside);
        assert!(!is_reentrant(&home, "arith.add"));
    }

    #[test]
    fn of_handlers_inside_one_another_the_innermost_counts_and_a_panic_leaves_none_behind() {
        let home = Home::new(&Target::memory(&MemoryBus::new()), "app");
        let spot = Spot::new(&home, &ServiceName::new("arith").unwrap());
        let outer = Inside::of(Some(&spot));
        let inner = Inside::of(None);
        assert!(!is_reentrant(&home, "arith.add"));
        drop(inner);
        assert!(is_reentrant(&home, "arith.add"));
        drop(outer);
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _inside = Inside::of(Some(&spot));
            std::panic::resume_unwind(Box::new("boom"));
        }));
        assert!(panicked.is_err() && !is_reentrant(&home, "arith.add"));
    }

    #[test]
    fn places_are_told_apart_by_what_a_connection_is_made_to() {
        let same = |one: &str, other: &str| {
            let place = |url| Target::url(url).unwrap().0;
            place(one).is_same(&place(other))
        };
        assert!(same("redis://host", "redis://ann:secret@host:6379/0?protocol=resp3"));
        assert!(!same("redis://host", "redis://host/1"));
        assert!(!same("redis://host", "redis://host:6380"));
        assert!(!same("redis://host", "redis://other"));
        assert!(same("unix:///run/redis.sock", "unix:///run/redis.sock?db=0"));
        assert!(!same("unix:///run/redis.sock", "unix:///run/other.sock"));
        assert!(!same("redis://host", "unix:///run/redis.sock"));
    }
}

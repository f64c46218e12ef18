//! What an interceptor may do from within: every action from each of its four places, on every kind of bus, each under a
//! watchdog. What is answered is a row of the table; afterwards the laws hold and captures are gone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Attempt, AttemptOutcome, BoxError, EventBus, FlushError, Handling, HandlingInterceptor,
    InterceptorHandle, OfferedEvent, PublishErrorKind, PublishInterceptor, PublishOutcome, Subscription,
    WeakEventBus,
};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;
use support::{OnDrop, WATCHDOG, capture, event, is_dropped, publish, ready, watched};

/// Where it is the limit, a wait is a hang.
const FOR_EVER: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    BeforePublish,
    AfterPublish,
    BeforeHandling,
    AfterHandling,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Inline,
    Queued,
    Manual,
}

struct World {
    place: Place,
    action: Action,
    bus: WeakEventBus,
    last: Mutex<Option<EventBus>>,
    own: OnceLock<Vec<InterceptorHandle>>,
    subscriptions: OnceLock<Vec<Subscription>>,
    has_begun: AtomicBool,
    done: Mutex<mpsc::Sender<Result<(), String>>>,
}

type Action = fn(&World, &EventBus);

const ACTIONS: &[(&str, Action)] = &[
    ("publish", |_, bus| publish(bus, "nested")),
    ("publish_async", |_, bus| {
        ready(bus.publish_async(event("nested"))).unwrap();
    }),
    ("publish_batch", |_, bus| {
        assert!(bus.publish_batch([event("a"), event("b")]).iter().all(Result::is_ok));
    }),
    ("publish_and_wait", |_, bus| drop(ready(bus.publish_and_wait(event("nested"))).unwrap())),
    ("publish_later", |_, bus| {
        assert!(bus.publish_later(event("nested"), FOR_EVER).unwrap().cancel());
    }),
    ("subscribe", |_, bus| drop(bus.subscribe("*").handler(|_| ()).unwrap())),
    ("unsubscribe all", |world, _| {
        assert!(world.subscriptions.get().unwrap().iter().all(Subscription::unsubscribe));
    }),
    ("unsubscribe and wait", |world, _| {
        for subscription in world.subscriptions.get().unwrap() {
            let _ = subscription.unsubscribe_and_wait(FOR_EVER);
        }
    }),
    ("remove itself", |world, _| {
        let removed = world.own.get().unwrap().iter().filter(|handle| handle.remove()).count();
        assert_eq!(removed, 2);
    }),
    ("install another", |_, bus| {
        bus.intercept_publish(|_: &mut OfferedEvent<'_>| -> Result<(), BoxError> { Ok(()) });
        struct Nothing;
        impl HandlingInterceptor for Nothing {}
        bus.intercept_handling(Nothing);
    }),
    ("flush", |_, bus| assert_eq!(bus.flush(FOR_EVER), Err(FlushError::WouldDeadlock))),
    ("shutdown", |_, bus| {
        bus.shutdown(FOR_EVER);
        let refusal = bus.publish(event("nested")).unwrap_err();
        assert!(matches!(refusal.kind(), PublishErrorKind::Closed));
    }),
    ("drop the last handle", |world, _| drop(world.last.lock().unwrap().take())),
    ("look around", |_, bus| {
        let _ = (bus.get_stats(), bus.history().latest(10), bus.dead_letter_queue().letters());
        bus.reset_stats();
    }),
    ("remove itself, with a destructor that publishes", |world, bus| {
        let weak = bus.downgrade();
        let publishes = OnDrop(move || {
            if let Some(bus) = weak.upgrade() {
                drop(bus.publish(event("nested")));
            }
        });
        let publishes = Mutex::new(publishes);
        let handle = bus.intercept_publish(move |_: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
            drop(publishes.lock().unwrap());
            Ok(())
        });
        assert!(handle.remove());
        world.own.get().unwrap().iter().for_each(|handle| assert!(handle.remove()));
    }),
];

impl World {
    fn act(&self, place: Place) {
        if place != self.place || self.has_begun.swap(true, SeqCst) {
            return;
        }
        let bus = self.bus.upgrade().expect("there is a handle");
        let acts = std::panic::AssertUnwindSafe(|| (self.action)(self, &bus));
        let outcome = std::panic::catch_unwind(acts);
        let outcome = outcome.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default());
        drop(bus);
        self.done.lock().unwrap().send(outcome).unwrap();
    }
}

struct Acts(Arc<World>, #[allow(dead_code, reason = "it is only held")] Arc<()>);

impl PublishInterceptor for Acts {
    fn before_publish(&self, _: &mut OfferedEvent<'_>) -> Result<(), BoxError> {
        self.0.act(Place::BeforePublish);
        Ok(())
    }
    fn after_publish(&self, _: &PublishOutcome<'_>) {
        self.0.act(Place::AfterPublish);
    }
}

impl HandlingInterceptor for Acts {
    fn before_handling(&self, _: &Attempt<'_>) -> Result<Handling, BoxError> {
        self.0.act(Place::BeforeHandling);
        Ok(Handling::Proceed)
    }
    fn after_handling(&self, _: &Attempt<'_>, _: &AttemptOutcome<'_>, _: Duration) {
        self.0.act(Place::AfterHandling);
    }
}

fn combination(kind: Kind, place: Place, is_async: bool, name: &str, action: Action) {
    let builder = EventBus::builder().max_workers(1);
    let (bus, driver) = match kind {
        Kind::Inline => (builder.build().unwrap(), None),
        Kind::Queued => (builder.queued().build().unwrap(), None),
        Kind::Manual => {
            let (bus, driver) = builder.manual().build().unwrap();
            (bus, Some(driver))
        }
    };
    let (done, ends) = mpsc::channel();
    let is_last_dropped = name == "drop the last handle";
    let world = Arc::new(World {
        place,
        action,
        bus: bus.downgrade(),
        last: Mutex::new(is_last_dropped.then(|| bus.clone())),
        own: OnceLock::new(),
        subscriptions: OnceLock::new(),
        has_begun: AtomicBool::new(false),
        done: Mutex::new(done),
    });
    let (held, seen) = capture();
    let own = vec![
        bus.intercept_publish(Acts(Arc::clone(&world), Arc::clone(&held))),
        bus.intercept_handling(Acts(Arc::clone(&world), held)),
    ];
    assert!(world.own.set(own).is_ok());
    let builder = bus.subscribe("*").subscriber_id("own");
    let own = if is_async { builder.async_handler(|_| async {}) } else { builder.handler(|_| ()) }.unwrap();
    let other = bus.subscribe("*").priority(-1).handler(|_| ()).unwrap();
    assert!(world.subscriptions.set(vec![own, other]).is_ok());
    drop(bus.publish(event("outer")));
    if let Some(driver) = &driver {
        driver.run_until_idle();
    }
    let weak = bus.downgrade();
    let bus = (!is_last_dropped).then_some(bus);
    ends.recv_timeout(WATCHDOG).expect("the action comes to its end").unwrap();
    if let Some(bus) = bus {
        if name == "shutdown" {
            bus.shutdown(WATCHDOG);
        } else {
            bus.flush(WATCHDOG).unwrap();
            laws::check(&bus.get_stats());
            bus.publish(event("afterwards")).unwrap();
        }
    }
    drop(driver);
    while weak.upgrade().is_some() || !is_dropped(&seen) {
        std::thread::yield_now();
    }
}

#[test]
fn everything_may_be_done_from_every_place_on_every_kind_of_bus() {
    let mut failures = Vec::new();
    let mut rows = 0;
    for kind in [Kind::Inline, Kind::Queued, Kind::Manual] {
        for place in [Place::BeforePublish, Place::AfterPublish, Place::BeforeHandling, Place::AfterHandling]
        {
            for is_async in [false, true] {
                for &(name, action) in ACTIONS {
                    let row = format!("{name}, {place:?}, async {is_async}, {kind:?}");
                    let run = row.clone();
                    let runs =
                        move || watched(&run, move || combination(kind, place, is_async, name, action));
                    if let Err(panic) = std::panic::catch_unwind(runs) {
                        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.push(format!("{row}: {said}"));
                    }
                    rows += 1;
                    assert!(failures.len() < 8, "{}", failures.join("\n"));
                }
            }
        }
    }
    assert_eq!(rows, 3 * 4 * 2 * ACTIONS.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

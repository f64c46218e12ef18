//! Everything that user code may do from wherever the bus runs it, in every combination, each under a watchdog.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Delivery, Event, EventBus, EventDeliveryError, EventMixin, EventSchema, EventType, Payload, Subscription,
    WeakEventBus, correlation,
};
use serde::{Serialize, Serializer};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, event, publish, ready};

/// What the user's code can reach.
struct World {
    bus: WeakEventBus,
    other: EventBus,
    handle: Mutex<Option<EventBus>>,
    bystander: Subscription,
    own: OnceLock<Subscription>,
    action: Action,
    began: AtomicBool,
    done: AtomicBool,
}

type Action = fn(&World, &EventBus);

impl World {
    /// Acts the first time it is called.
    fn act(&self) {
        if !self.began.swap(true, SeqCst) {
            (self.action)(self, &self.bus.upgrade().expect("the test holds a handle"));
            self.done.store(true, SeqCst);
        }
    }
}

const ACTIONS: &[(&str, Action)] = &[
    ("publish the same type", |_, bus| publish(bus, "re.entry")),
    ("publish another type", |_, bus| publish(bus, "build.start")),
    ("publish to another bus", |world, _| publish(&world.other, "re.entry")),
    ("publish_batch", |_, bus| {
        let outcomes = bus.publish_batch([event("re.entry"), event("build.start")]);
        assert!(outcomes.iter().all(Result::is_ok));
    }),
    ("publish_async", |_, bus| {
        ready(bus.publish_async(event("re.entry"))).unwrap();
    }),
    ("emit_typed", |_, bus| {
        bus.emit_typed(event("build.start")).unwrap_err();
        bus.emit_typed(event("task.started")).unwrap();
    }),
    ("subscribe", |_, bus| drop(bus.subscribe(["re.*", "*"]).handler(|_| ()).unwrap())),
    ("unsubscribe itself", |world, _| {
        world.own.get().map(Subscription::unsubscribe);
    }),
    ("unsubscribe another", |world, _| assert!(world.bystander.unsubscribe())),
    ("unsubscribe another and wait", |world, _| {
        // Outside of the bus's own frames the wait succeeds, inside it is refused; it never hangs.
        let _ = world.bystander.unsubscribe_and_wait(Duration::MAX);
        assert!(!world.bystander.unsubscribe());
    }),
    ("read the history", |_, bus| {
        let history = bus.history();
        assert_eq!(history.query().event_type("*").events().unwrap().len() as u64, history.len());
        drop(history.latest(10));
    }),
    ("get_stats", |_, bus| assert!(bus.get_stats().subscribers_count >= 2)),
    ("reset_stats", |_, bus| {
        bus.reset_stats();
        assert_eq!(bus.get_stats().completed, 0);
    }),
    ("list_event_types", |_, bus| assert!(bus.list_event_types().len() >= EventType::STANDARD.len())),
    ("redrive", |_, bus| {
        let outcomes = bus.dead_letter_queue().redrive_all(|_| true);
        assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Err(EventDeliveryError::Failed(_)))));
        drop(bus.dead_letter_queue().purge(|_| true));
    }),
    ("shutdown", |_, bus| assert!(bus.shutdown(Duration::MAX).pending() <= 1)),
    ("drop a handle of the bus", |world, _| drop(world.handle.lock().unwrap().take())),
    ("init a mixin", |_, bus| {
        let mixin = EventMixin::init_events_on("mixin", bus).unwrap();
        let subscription = mixin.on("*", |_| ()).unwrap();
        mixin.emit("re.entry", json!({})).unwrap();
        assert!(mixin.off(subscription.id()));
        mixin.on("*", |_| ()).unwrap();
    }),
    ("register a schema", |_, bus| {
        drop(bus.event_schema().register_event_schema("re.entry", json!({"type": "object"})).unwrap());
    }),
    ("enter a scope", |_, bus| {
        correlation::scope(&correlation::new_id(), || publish(bus, "re.entry"));
    }),
];

/// A payload and a capture that acts when it is serialised, or when it is dropped.
struct Acting {
    world: Arc<World>,
    when: When,
}

#[derive(PartialEq)]
enum When {
    Serialized,
    Dropped,
}

impl Serialize for Acting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.when == When::Serialized {
            self.world.act();
        }
        json!({"build_type": "release", "target": "x"}).serialize(serializer)
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        if self.when == When::Dropped {
            self.world.act();
        }
    }
}

fn carrying(event_type: &str, world: &Arc<World>, when: When) -> Event {
    let payload = Payload::typed(Acting { world: Arc::clone(world), when });
    Event::builder(event_type, "test").data(payload).build().expect("a valid name")
}

/// Has the world act from one place. What comes after may be refused: the action may have shut the bus down.
type Place = fn(&EventBus, &Arc<World>);

fn listen(bus: &EventBus, world: &Arc<World>, handler: impl Fn(&Delivery<'_>) + Send + Sync + 'static) {
    let own = bus.subscribe("re.*").priority(1).handler(handler).expect("a valid subscription");
    world.own.set(own).expect("the only one");
}

const PLACES: &[(&str, Place)] = &[
    ("a handler", |bus, world| {
        let acting = Arc::clone(world);
        listen(bus, world, move |_| acting.act());
        publish(bus, "re.entry");
    }),
    ("a filter", |bus, world| {
        let acting = Arc::clone(world);
        let builder = bus.subscribe("re.*").filter(move |_| {
            acting.act();
            true
        });
        world.own.set(builder.handler(|_| ()).unwrap()).unwrap();
        publish(bus, "re.entry");
    }),
    ("a destructor of a capture, after a delivery", |bus, world| {
        let acting = Acting { world: Arc::clone(world), when: When::Dropped };
        listen(bus, world, move |delivery| {
            assert!(acting.when == When::Dropped && delivery.subscription().unsubscribe());
        });
        publish(bus, "re.entry");
    }),
    ("a destructor of a capture, at unsubscribing", |bus, world| {
        let acting = Acting { world: Arc::clone(world), when: When::Dropped };
        listen(bus, world, move |_| {
            std::hint::black_box(&acting);
        });
        publish(bus, "re.entry");
        world.own.get().unwrap().unsubscribe_and_wait(WATCHDOG).unwrap();
    }),
    ("a Serialize, in a handler", |bus, world| {
        listen(bus, world, |delivery| assert!(delivery.data().json().is_ok()));
        bus.publish(carrying("re.entry", world, When::Serialized)).unwrap();
    }),
    ("a Serialize, in validation", |bus, world| {
        drop(bus.emit_typed(carrying("build.start", world, When::Serialized)));
    }),
    ("a destructor of a payload, by its publisher", |bus, world| {
        publish(bus, "re.entry");
        drop(bus.publish(carrying("re.entry", world, When::Dropped)));
        drop(bus.publish_batch([event("evicts.it"), event("evicts.it")]));
    }),
    ("a destructor of a payload, in a handler", |bus, world| {
        let publisher = bus.downgrade();
        listen(bus, world, move |delivery| {
            if delivery.sequence() == 3 {
                drop(publisher.upgrade().unwrap().publish(event("evicts.it")));
            }
        });
        publish(bus, "re.entry");
        bus.publish(carrying("re.entry", world, When::Dropped)).unwrap();
        drop(bus.publish(event("re.entry")));
        drop(bus.publish(event("evicts.it")));
    }),
    ("a destructor of a payload, of an evicted letter", |bus, world| {
        bus.publish(carrying("broken.handler", world, When::Dropped)).unwrap();
        drop(bus.publish_batch([event("broken.handler"), event("broken.handler")]));
        drop(bus.publish(event("broken.handler")));
        // Not before the queue's own copies are looked through.
        assert!(bus.dead_letter_queue().len() <= 1);
    }),
];

fn combination(place: Place, action: Action) {
    // Compiled once for all: a handle on a registry may be shared.
    static SCHEMAS: LazyLock<EventSchema> = LazyLock::new(EventSchema::new);
    let builder = || EventBus::builder().schemas(SCHEMAS.clone());
    let bus = builder().history(1).dead_letters(1).build().unwrap();
    let other = builder().build().unwrap();
    let back = bus.downgrade();
    // The other bus answers on the first.
    let answer = move |_: &Delivery<'_>| {
        back.upgrade().map(|bus| bus.publish(event("answer")).is_ok());
    };
    other.subscribe("*").handler(answer).unwrap();
    bus.subscribe("broken.*").handler(|_| Err::<(), _>("broken")).unwrap();
    let bystander = bus.subscribe("*").handler(|_| ()).unwrap();
    let world = Arc::new(World {
        bus: bus.downgrade(),
        other,
        handle: Mutex::new(Some(bus.clone())),
        bystander,
        own: OnceLock::new(),
        action,
        began: AtomicBool::new(false),
        done: AtomicBool::new(false),
    });
    place(&bus, &world);
    assert!(world.began.load(SeqCst), "the place never ran the user's code");
    assert!(world.done.load(SeqCst), "the action did not come to its end");
    let probe = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&probe);
    match bus.subscribe("probe").handler(move |_| {
        count.fetch_add(1, SeqCst);
    }) {
        Ok(_) => publish(&bus, "probe"),
        Err(closed) => assert_eq!(closed.to_string(), "the bus is shut down"),
    }
    let stats = bus.get_stats();
    assert_eq!(
        probe.load(SeqCst),
        usize::from(!stats.subscribers.is_empty() && bus.publish(event("x")).is_ok())
    );
    assert_eq!((stats.pending, stats.deliveries.pending), (0, 0));
    assert_eq!(stats.offered, stats.accepted + stats.refused);
    let ended = stats.deliveries.succeeded + stats.deliveries.dead_lettered + stats.deliveries.cancelled;
    assert_eq!(stats.deliveries.total, ended);
}

#[test]
fn everything_may_be_done_from_everywhere() {
    let mut failures = Vec::new();
    for (place_name, place) in PLACES {
        for (action_name, action) in ACTIONS {
            let (done, waiting) = mpsc::channel();
            let thread = thread::spawn(move || {
                combination(*place, *action);
                done.send(()).unwrap();
            });
            match waiting.recv_timeout(WATCHDOG) {
                Ok(()) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    failures.push(format!("{action_name} from {place_name} hangs"));
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    let panic = thread.join().unwrap_err();
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    failures.push(format!("{action_name} from {place_name}: {}", text.unwrap_or_default()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} combinations:\n{}", failures.len(), failures.join("\n"));
}

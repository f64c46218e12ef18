//! What user code may do from wherever a bus with workers, mailboxes and timers runs it: every action from every place,
//! on every kind of bus, each under a watchdog. What is answered is a row of the table; afterwards the laws hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{
    Delivery, EventBus, EventDeliveryError, EventPublishError, FlushError, Gate, GateError, Overflow,
    OwnedDelivery, PublishErrorKind, Subscription, WaitError, WeakEventBus,
};
use std::collections::HashSet;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;
use support::{OnDrop, WATCHDOG, capture, event, is_dropped, publish};
use tokio::sync::watch;

/// How long a lane or a mailbox that is full may hold anybody up.
const SHORT: Duration = Duration::from_millis(50);

/// Longer than the watchdog waits: where it is the limit, a wait is a hang.
const FOR_EVER: Duration = Duration::from_secs(600);

/// More than these are not looked for: a hang takes its time to be found.
const FAILURES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Inline,
    /// With mailboxes that are full, whose owners let publishers wait for ever.
    InlineFullMailboxes,
    /// One worker.
    Queued,
    /// One lane, with one place, which is taken; the worker is held up.
    QueuedFullLane,
    QueuedFullMailboxes,
}

const KINDS: [Kind; 5] =
    [Kind::Inline, Kind::InlineFullMailboxes, Kind::Queued, Kind::QueuedFullLane, Kind::QueuedFullMailboxes];

impl Kind {
    fn is_queued(self) -> bool {
        !matches!(self, Kind::Inline | Kind::InlineFullMailboxes)
    }

    fn has_full_mailboxes(self) -> bool {
        matches!(self, Kind::InlineFullMailboxes | Kind::QueuedFullMailboxes)
    }

    fn builder(self) -> codomyrmex_events::EventBusBuilder {
        let builder = EventBus::builder().max_workers(1);
        match self {
            Kind::Inline | Kind::InlineFullMailboxes => builder,
            Kind::QueuedFullLane => {
                builder.queued().lanes(1).lane_room(1).overflow(Overflow::Block(SHORT)).keep_dropped()
            }
            Kind::Queued | Kind::QueuedFullMailboxes => builder.queued().overflow(Overflow::Block(FOR_EVER)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Handler,
    AsyncHandler,
    Filter,
    /// Of a capture of a handler that unsubscribes itself.
    Destructor,
    LetterListener,
    OrderKey,
}

const PLACES: [Place; 6] = [
    Place::Handler,
    Place::AsyncHandler,
    Place::Filter,
    Place::Destructor,
    Place::LetterListener,
    Place::OrderKey,
];

impl Place {
    /// Whether the only worker of a queued bus is held up while the user's code runs.
    fn holds_the_worker(self) -> bool {
        !matches!(self, Place::AsyncHandler | Place::OrderKey)
    }

    /// Whether the event that is being handled is pending meanwhile.
    fn has_a_pending_event(self) -> bool {
        matches!(self, Place::Handler | Place::AsyncHandler | Place::Filter)
    }
}

/// What the user's code can reach.
struct World {
    kind: Kind,
    place: Place,
    bus: WeakEventBus,
    /// The last handle, once the test has let go of its own.
    last: Mutex<Option<EventBus>>,
    /// Where the publish that brought it here was called.
    publisher: OnceLock<ThreadId>,
    publisher_is_done: AtomicBool,
    own: OnceLock<Subscription>,
    bystander: OnceLock<Subscription>,
    letter: OnceLock<u64>,
    action: Action,
    is_armed: AtomicBool,
    has_begun: AtomicBool,
    entered: mpsc::Sender<()>,
    go: Mutex<mpsc::Receiver<()>>,
    done: mpsc::Sender<Result<(), String>>,
}

type Acting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Action = for<'a> fn(&'a World, &'a EventBus) -> Acting<'a>;

impl World {
    /// Acts the first time it is called once it is armed. Where the publisher does not wait for it, it begins when the
    /// test has filled what is to be full.
    async fn act(&self) {
        if !self.is_armed.load(SeqCst) || self.has_begun.swap(true, SeqCst) {
            return;
        }
        self.entered.send(()).unwrap();
        if !self.runs_in_the_test() {
            self.go.lock().unwrap().recv_timeout(WATCHDOG).unwrap();
        }
        let bus = self.bus.upgrade().expect("there is a handle");
        (self.action)(self, &bus).await;
    }

    /// The same, for code that is not async, with a word about its end.
    fn act_here(&self) {
        let acts = std::panic::AssertUnwindSafe(|| block_on(self.act()));
        let has_begun = self.has_begun.load(SeqCst);
        let outcome = std::panic::catch_unwind(acts);
        if !has_begun && self.has_begun.load(SeqCst) {
            self.done.send(outcome.map_err(said)).unwrap();
        }
    }

    fn runs_in_the_test(&self) -> bool {
        self.publisher.get() == Some(&thread::current().id()) && !self.kind.is_queued()
    }

    fn own(&self) -> &Subscription {
        self.own.get().expect("it is set before anything is published")
    }

    /// How long an asynchronous publish waits for room: where it holds up nothing meanwhile.
    fn patience(&self) -> Duration {
        if self.place == Place::AsyncHandler { SHORT } else { Duration::ZERO }
    }

    /// What a publish answers whose event needs a place in the lane.
    fn check_answer<T: Debug>(&self, answer: Result<T, EventPublishError>, waited: Duration) {
        if self.kind == Kind::QueuedFullLane {
            let refusal = answer.unwrap_err();
            let PublishErrorKind::Full(full) = refusal.kind() else { panic!("{refusal}") };
            assert_eq!((full.capacity(), full.waited()), (1, waited));
        } else {
            answer.unwrap();
        }
    }
}

fn said(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Each with the answer that is due. What waits says so with the limit that it waited, where there is one.
const ACTIONS: &[(&str, Action)] = &[
    ("wait for an event", |_, bus| {
        Box::pin(async {
            let never = || bus.wait_for("never.published");
            assert!(matches!(never().within(FOR_EVER), Err(WaitError::WouldDeadlock)));
            assert!(matches!(never().within_async(SHORT).await, Err(WaitError::TimedOut { limit: SHORT })));
            // It may be in the history already.
            let known = bus.wait_for("re.entry").including_history().within(FOR_EVER);
            assert!(matches!(known, Ok(_) | Err(WaitError::WouldDeadlock)), "{known:?}");
        })
    }),
    ("open gates", |_, bus| {
        Box::pin(async {
            let any = || Gate::any_of().require("any", "*").including_history();
            let gate = any().on(bus).unwrap();
            let keyed = any().keyed_by_correlation().on(bus).unwrap();
            let known = gate.wait(FOR_EVER);
            assert!(matches!(known, Ok(_) | Err(GateError::WouldDeadlock)), "{known:?}");
            drop((gate, keyed));
        })
    }),
    ("publish the same type", |world, bus| {
        Box::pin(async { world.check_answer(bus.publish(event("re.entry")), Duration::ZERO) })
    }),
    ("publish another type", |world, bus| {
        Box::pin(async { world.check_answer(bus.publish(event("other.type")), Duration::ZERO) })
    }),
    ("publish_async the same type", |world, bus| {
        Box::pin(async { world.check_answer(bus.publish_async(event("re.entry")).await, world.patience()) })
    }),
    ("publish_async another type", |world, bus| {
        Box::pin(async { world.check_answer(bus.publish_async(event("other.type")).await, world.patience()) })
    }),
    ("publish_batch", |world, bus| {
        Box::pin(async {
            for answer in bus.publish_batch([event("re.entry"), event("other.type")]) {
                world.check_answer(answer, Duration::ZERO);
            }
        })
    }),
    ("publish_later", |_, bus| {
        Box::pin(async {
            let scheduled = bus.publish_later(event("other.type"), FOR_EVER).unwrap();
            assert!(scheduled.cancel() && !scheduled.cancel());
            bus.publish_later(event("re.entry"), Duration::from_millis(1)).unwrap();
        })
    }),
    ("publish_and_wait", |world, bus| {
        Box::pin(async {
            let answer = bus.publish_and_wait(event("re.entry")).await;
            world.check_answer(answer, world.patience());
        })
    }),
    ("subscribe", |_, bus| {
        Box::pin(async {
            bus.subscribe(["re.*", "*"]).handler(|_| ()).unwrap();
            bus.subscribe("re.*").async_handler(|_| async {}).unwrap();
        })
    }),
    ("unsubscribe itself", |world, _| {
        Box::pin(async { assert_eq!(world.own().unsubscribe(), world.place != Place::Destructor) })
    }),
    ("unsubscribe another", |world, _| {
        Box::pin(async { assert!(world.bystander.get().unwrap().unsubscribe()) })
    }),
    ("unsubscribe itself and wait", |world, _| {
        Box::pin(async {
            world.own().unsubscribe_and_wait(FOR_EVER).unwrap_err();
            world.own().unsubscribe_and_wait_async(FOR_EVER).await.unwrap_err();
        })
    }),
    ("flush", |_, bus| Box::pin(async { assert_eq!(bus.flush(FOR_EVER), Err(FlushError::WouldDeadlock)) })),
    ("flush_async", |_, bus| {
        Box::pin(async { assert_eq!(bus.flush_async(FOR_EVER).await, Err(FlushError::WouldDeadlock)) })
    }),
    ("shutdown", |world, bus| {
        Box::pin(async {
            let report = bus.shutdown(FOR_EVER);
            assert!(report.undelivered().is_empty(), "it goes on");
            assert!(report.pending() >= u64::from(world.place.has_a_pending_event()));
            let refusal = bus.publish(event("other.type")).unwrap_err();
            assert!(matches!(refusal.kind(), PublishErrorKind::Closed));
        })
    }),
    ("drop the last handle", |world, _| {
        Box::pin(async {
            // In the publisher's own publish there is the publisher's handle.
            while !world.runs_in_the_test() && !world.publisher_is_done.load(SeqCst) {
                thread::yield_now();
            }
            drop(world.last.lock().unwrap().take());
        })
    }),
    ("redrive a letter", |world, bus| {
        Box::pin(async {
            let letter = *world.letter.get().unwrap();
            let answer = bus.dead_letter_queue().redrive(letter);
            assert!(matches!(answer, Err(EventDeliveryError::Failed(_))), "{answer:?}");
        })
    }),
    ("get_stats and history", |world, bus| {
        Box::pin(async {
            let stats = bus.get_stats();
            assert!(stats.pending >= u64::from(world.place.has_a_pending_event()));
            assert_eq!(bus.history().len(), stats.history.kept);
            assert!(!bus.history().query().event_type("*").events().unwrap().is_empty());
        })
    }),
];

/// Has the world act when `re.entry` is published.
fn settle(bus: &EventBus, world: &Arc<World>) {
    let acting = Arc::clone(world);
    let builder = bus.subscribe("re.*").subscriber_id("own").priority(1);
    let own = match world.place {
        Place::Handler => builder.handler(move |_| acting.act_here()),
        Place::Filter => builder
            .filter(move |_| {
                acting.act_here();
                true
            })
            .handler(|_| ()),
        Place::AsyncHandler => {
            let patience = if world.kind.is_queued() { SHORT } else { FOR_EVER };
            builder.mailbox(1).overflow(Overflow::Block(patience)).async_handler(move |_: OwnedDelivery| {
                let acting = Arc::clone(&acting);
                async move {
                    let is_first = acting.is_armed.load(SeqCst) && !acting.has_begun.load(SeqCst);
                    acting.act().await;
                    if is_first {
                        acting.done.send(Ok(())).unwrap();
                    }
                }
            })
        }
        Place::Destructor => {
            let dropped = Mutex::new(OnDrop(move || acting.act_here()));
            builder.handler(move |delivery: &Delivery<'_>| {
                std::hint::black_box(&dropped);
                delivery.subscription().unsubscribe();
            })
        }
        Place::LetterListener => builder.handler(|_| Err::<(), _>("a letter")),
        Place::OrderKey => builder.handler(|_| ()),
    };
    world.own.set(own.unwrap()).unwrap();
}

/// What a combination leaves to be let go in the end.
struct Gates {
    stalled: watch::Sender<bool>,
    blocked: mpsc::Sender<()>,
}

/// A mailbox that is full: one delivery is being handled, one waits.
fn fill_mailbox(bus: &EventBus, kind: Kind, stalled: &watch::Receiver<bool>) {
    let stalled = stalled.clone();
    let is_begun = Arc::new(AtomicBool::new(false));
    let begun = Arc::clone(&is_begun);
    let patience = if kind.is_queued() { SHORT } else { FOR_EVER };
    bus.subscribe("other.*")
        .subscriber_id("stalled")
        .mailbox(1)
        .overflow(Overflow::Block(patience))
        .async_handler(move |_: OwnedDelivery| {
            let (mut stalled, begun) = (stalled.clone(), Arc::clone(&begun));
            async move {
                begun.store(true, SeqCst);
                drop(stalled.wait_for(|is_open| *is_open).await);
            }
        })
        .unwrap();
    publish(bus, "other.type");
    // That none waits would not say so: a worker may be about to post it, and then there is no room for the next.
    wait_until("it is being handled", || is_begun.load(SeqCst));
    publish(bus, "other.type");
    wait_until("the next one waits", || bus.get_stats().subscribers["stalled"].waiting == Some(1));
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let mut left = WATCHDOG.as_millis();
    while !is_so() {
        assert!(left > 0, "waited in vain until {what}");
        left -= 1;
        thread::sleep(Duration::from_millis(1));
    }
}

fn combination(kind: Kind, place: Place, name: &str, action: Action) {
    let (entered, enters) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    let (done, ends) = mpsc::channel();
    let shared: Arc<OnceLock<Arc<World>>> = Arc::default();
    let (listening, ordering) = (Arc::clone(&shared), Arc::clone(&shared));
    let mut builder = kind.builder();
    if place == Place::LetterListener {
        builder = builder.on_dead_letter(move |_| listening.get().unwrap().act_here());
    }
    if place == Place::OrderKey {
        builder = builder.order_by(move |_| {
            ordering.get().unwrap().act_here();
            0
        });
    }
    let bus = builder.build().unwrap();
    let world = Arc::new(World {
        kind,
        place,
        bus: bus.downgrade(),
        last: Mutex::new(Some(bus.clone())),
        publisher: OnceLock::new(),
        publisher_is_done: AtomicBool::new(false),
        own: OnceLock::new(),
        bystander: OnceLock::new(),
        letter: OnceLock::new(),
        action,
        is_armed: AtomicBool::new(false),
        has_begun: AtomicBool::new(false),
        entered,
        go: Mutex::new(goes),
        done,
    });
    assert!(shared.set(Arc::clone(&world)).is_ok());

    let (value, seen) = capture();
    let bystander = bus.subscribe("*").handler(move |_| {
        std::hint::black_box(&value);
    });
    world.bystander.set(bystander.unwrap()).unwrap();
    bus.subscribe("broken").handler(|_| Err::<(), _>("broken")).unwrap();
    publish(&bus, "broken");
    bus.flush(WATCHDOG).unwrap();
    world.letter.set(bus.dead_letter_queue().letters()[0].id()).unwrap();
    let (stalled, stalls) = watch::channel(false);
    if kind.has_full_mailboxes() {
        fill_mailbox(&bus, kind, &stalls);
    }
    let (block, blocked) = mpsc::channel::<()>();
    let (blocking, blocks) = mpsc::channel();
    let blocked = Mutex::new(blocked);
    bus.subscribe("block")
        .handler(move |_| {
            blocking.send(()).unwrap();
            let _ = blocked.lock().unwrap().recv_timeout(WATCHDOG);
        })
        .unwrap();
    settle(&bus, &world);
    world.is_armed.store(true, SeqCst);

    // The key of order is asked for on the publisher's thread, and the test has something to do meanwhile.
    let publishing = Arc::clone(&world);
    let trigger = move || {
        publishing.publisher.set(thread::current().id()).unwrap();
        let bus = publishing.bus.upgrade().expect("the test holds a handle");
        let answer = bus.publish(event("re.entry"));
        drop(bus);
        publishing.publisher_is_done.store(true, SeqCst);
        answer.map(drop)
    };
    let publisher = if place == Place::OrderKey {
        Some(thread::spawn(trigger))
    } else {
        trigger().unwrap();
        None
    };
    enters.recv_timeout(WATCHDOG).expect("the place runs the user's code");
    if kind == Kind::QueuedFullLane {
        if !place.holds_the_worker() {
            publish(&bus, "block");
            blocks.recv_timeout(WATCHDOG).unwrap();
        }
        publish(&bus, "filler");
        assert_eq!(bus.get_stats().queued.iter().sum::<usize>(), 1);
    }
    if kind.has_full_mailboxes() && place == Place::AsyncHandler {
        publish(&bus, "re.entry");
        wait_until("its mailbox is full", || bus.get_stats().subscribers["own"].waiting == Some(1));
    }
    let is_last_dropped = name == "drop the last handle";
    let gates = Gates { stalled, blocked: block };
    if is_last_dropped {
        if place == Place::OrderKey {
            world.publisher_is_done.store(true, SeqCst);
        }
        drop(bus);
        go.send(()).unwrap();
        end_of(&ends, gates);
        wait_until("the bus is gone", || world.bus.upgrade().is_none());
        drop(publisher.map(|publisher| publisher.join().unwrap()));
        wait_until("its captures are dropped", || is_dropped(&seen));
        return;
    }
    drop(world.last.lock().unwrap().take());
    // Where nobody waits for it, it is over already.
    let _ = go.send(());
    end_of(&ends, gates);
    drop(publisher.map(|publisher| publisher.join().unwrap()));
    let is_closed = name == "shutdown";
    wait_until("delayed events are published", || bus.get_stats().waiting_events == 0);
    check_laws(&bus);
    assert_eq!(bus.publish(event("afterwards")).is_err(), is_closed);
    bus.flush(WATCHDOG).unwrap();
    let report = bus.shutdown(WATCHDOG);
    assert!(report.is_complete() && report.undelivered().is_empty());
    drop(bus);
    wait_until("its captures are dropped", || is_dropped(&seen));
}

/// The action has come to its end; what was held up may go on.
fn end_of(ends: &mpsc::Receiver<Result<(), String>>, gates: Gates) {
    let outcome = ends.recv_timeout(WATCHDOG).expect("the action comes to its end");
    let _ = gates.stalled.send(true);
    drop(gates.blocked);
    if let Err(panic) = outcome {
        panic!("{panic}");
    }
}

fn check_laws(bus: &EventBus) {
    bus.flush(WATCHDOG).unwrap();
    laws::check(&bus.get_stats());
}

#[test]
fn everything_may_be_done_from_everywhere_on_every_kind_of_bus() {
    let mut rows = Vec::new();
    for kind in KINDS {
        for place in PLACES {
            if place == Place::OrderKey && !kind.is_queued() {
                continue;
            }
            rows.extend(ACTIONS.iter().map(|(name, action)| (kind, place, *name, *action)));
        }
    }
    assert_eq!(rows.len(), (5 * 5 + 3) * 19);
    let names: HashSet<&str> = rows.iter().map(|row| row.2).collect();
    assert_eq!(names.len(), ACTIONS.len());

    // Most of the time they wait.
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(&(kind, place, name, action)) = rows.get(next.fetch_add(1, SeqCst)) {
                    let (done, waiting) = mpsc::channel();
                    let thread = thread::spawn(move || {
                        combination(kind, place, name, action);
                        done.send(()).unwrap();
                    });
                    let failure = match waiting.recv_timeout(WATCHDOG * 2) {
                        Ok(()) => continue,
                        Err(mpsc::RecvTimeoutError::Timeout) => "hangs".to_owned(),
                        Err(mpsc::RecvTimeoutError::Disconnected) => said(thread.join().unwrap_err()),
                    };
                    let mut failures = failures.lock().unwrap();
                    failures.push(format!("{name}, {place:?}, {kind:?}: {failure}"));
                    if failures.len() >= FAILURES_MAX {
                        return;
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} at least:\n{}", failures.len(), rows.len(), failures.join("\n"));
}

#[test]
fn a_key_of_order_that_publishes_nests_to_the_limit_and_no_further() {
    let (asked, asks) = mpsc::channel();
    let shared: Arc<OnceLock<WeakEventBus>> = Arc::default();
    let ordering = Arc::clone(&shared);
    let key = move |_: &codomyrmex_events::Event| {
        let bus = ordering.get().unwrap().upgrade().unwrap();
        asked.send(bus.publish(event("re.entry")).is_ok()).unwrap();
        0
    };
    let bus = EventBus::builder().queued().max_workers(1).order_by(key).build().unwrap();
    shared.set(bus.downgrade()).unwrap();
    publish(&bus, "re.entry");
    let answers: Vec<bool> = asks.try_iter().collect();
    assert_eq!(answers.iter().position(|is_ok| *is_ok), Some(1), "the innermost is refused");
    assert_eq!(answers.len(), codomyrmex_events::NESTED_PUBLISHES_MAX);
    check_laws(&bus);
}

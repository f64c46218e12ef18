//! Waiting for an event of a queued bus, and of one that a test drives.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{Delivery, Driver, Event, EventBus, EventWait, OwnedDelivery, WaitError};
use std::pin::{Pin, pin};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed};
use support::{WATCHDOG, event, publish, watched};

const SECOND: Duration = Duration::from_secs(1);

fn manual() -> (EventBus, Driver) {
    EventBus::builder().manual().build().unwrap()
}

fn polled<F: Future>(future: &mut Pin<&mut F>) -> Option<F::Output> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[test]
fn its_limit_is_on_the_clock_of_the_bus() {
    let (bus, driver) = manual();
    let wait = bus.wait_for("a").begin().unwrap();
    let mut early = pin!(wait.within_async(SECOND));
    let mut late = pin!(wait.within_async(SECOND * 2));
    assert!(polled(&mut early).is_none() && polled(&mut late).is_none());
    driver.advance(SECOND - Duration::from_nanos(1));
    assert!(polled(&mut early).is_none());
    driver.advance(Duration::from_nanos(1));
    assert!(matches!(polled(&mut early), Some(Err(WaitError::TimedOut { limit: SECOND }))));
    publish(&bus, "a");
    assert!(polled(&mut late).is_none(), "it has not been handled");
    assert_eq!(driver.block_on(late).unwrap().unwrap().sequence(), 1);
    assert!(driver.block_on(bus.wait_for("a").within_async(SECOND)).is_none(), "nobody moves the time");
}

#[test]
fn nobody_drives_a_manual_bus_while_a_thread_waits() {
    let (bus, driver) = manual();
    let wait = bus.wait_for("a").begin().unwrap();
    assert!(matches!(wait.within(WATCHDOG), Err(WaitError::WouldDeadlock)));
    publish(&bus, "a");
    assert!(matches!(wait.within(WATCHDOG), Err(WaitError::WouldDeadlock)));
    driver.step();
    assert_eq!(wait.within(WATCHDOG).unwrap().sequence(), 1);
    // Its turn has come, but it was published.
    publish(&bus, "b");
    assert_eq!(bus.wait_for("b").including_history().within(WATCHDOG).unwrap().sequence(), 2);
}

#[test]
fn a_shutdown_drains_before_it_ends_a_wait() {
    let (bus, _driver) = manual();
    let [heard, unheard] = ["a", "b"].map(|glob| bus.wait_for(glob).begin().unwrap());
    publish(&bus, "a");
    assert!(bus.shutdown(SECOND).is_complete());
    assert_eq!(heard.within(WATCHDOG).unwrap().sequence(), 1);
    assert!(matches!(unheard.within(WATCHDOG), Err(WaitError::Closed)));

    // The worker holds its event when the bus is shut down, and handles another after it.
    watched("a shutdown", || {
        let bus = EventBus::builder().queued().max_workers(1).build().unwrap();
        let [taken, go] = std::array::from_fn(|_| Arc::new(Barrier::new(2)));
        let (held, released) = (Arc::clone(&taken), Arc::clone(&go));
        let hold = move |_: &Delivery<'_>| {
            held.wait();
            released.wait();
        };
        bus.subscribe("hold").handler(hold).unwrap();
        let [heard, unheard] = ["a", "b"].map(|glob| bus.wait_for(glob).begin().unwrap());
        publish(&bus, "hold");
        taken.wait();
        publish(&bus, "a");
        thread::scope(|threads| {
            let blocking = threads.spawn(|| heard.within(WATCHDOG));
            let awaiting = threads.spawn(|| block_on(heard.within_async(WATCHDOG)));
            let in_vain = threads.spawn(|| block_on(unheard.within_async(WATCHDOG)));
            let shutdown = threads.spawn(|| bus.shutdown(WATCHDOG));
            while bus.publish(event("c")).is_ok() {
                thread::yield_now();
            }
            go.wait();
            assert!(shutdown.join().unwrap().is_complete());
            assert_eq!(blocking.join().unwrap().unwrap().sequence(), 2);
            assert_eq!(awaiting.join().unwrap().unwrap().sequence(), 2);
            assert!(matches!(in_vain.join().unwrap(), Err(WaitError::Closed)));
        });
    });
}

#[test]
fn a_shutdown_that_is_given_up_ends_a_wait_as_well() {
    let bus = EventBus::builder().queued().build().unwrap();
    let wait = bus.wait_for("a").begin().unwrap();
    // Dropped at its first rest, or done before it.
    let _ = polled(&mut pin!(bus.shutdown_async(WATCHDOG)));
    assert!(matches!(watched("a wait", move || wait.within(WATCHDOG)), Err(WaitError::Closed)));
}

#[test]
fn an_asynchronous_handler_may_wait() {
    for is_queued in [false, true] {
        watched("a wait in an asynchronous handler", move || {
            let builder = EventBus::builder();
            let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
            let handler = |delivery: OwnedDelivery| async move {
                let answer = delivery.bus().wait_for("answer").begin().unwrap();
                publish(&delivery.bus(), "question");
                let answer = answer.within_async(WATCHDOG).await.unwrap();
                publish(&delivery.bus(), &format!("done.{}", answer.event_type()));
            };
            bus.subscribe("go").async_handler(handler).unwrap();
            bus.subscribe("question").handler(|delivery| publish(&delivery.bus(), "answer")).unwrap();
            let done = bus.wait_for("done.*").begin().unwrap();
            publish(&bus, "go");
            assert_eq!(done.within(WATCHDOG).unwrap().event_type().as_str(), "done.answer");
        });
    }
}

#[test]
fn every_wait_of_many_threads_hears_the_answer_to_its_own_question() {
    let bus = EventBus::builder().queued().max_workers(2).build().unwrap();
    bus.subscribe("question").handler(|delivery| delivery.bus().publish(event("answer")).map(drop)).unwrap();
    watched("questions", move || {
        thread::scope(|threads| {
            for thread in 0..8 {
                let bus = &bus;
                threads.spawn(move || {
                    for n in 0..50 {
                        let id = format!("{thread}-{n}");
                        let expected = id.clone();
                        let is_mine = move |event: &Event| {
                            event.correlation_id().is_some_and(|id| id.as_str() == expected)
                        };
                        let wait = bus.wait_for("answer").filter(is_mine).begin().unwrap();
                        let question = Event::builder("question", "test");
                        bus.publish(question.correlation_id(id).build().unwrap()).unwrap();
                        let _ = if n % 2 == 0 {
                            wait.within(WATCHDOG).unwrap()
                        } else {
                            block_on(wait.within_async(WATCHDOG)).unwrap()
                        };
                    }
                });
            }
        });
        assert_eq!(bus.subscriptions().len(), 1);
        assert_eq!(bus.get_stats().deliveries.dead_lettered, 0);
    });
}

/// A wait, and what a model says that it has heard.
struct Modelled {
    wait: EventWait,
    glob: &'static str,
    begun_after: u64,
    heard: Option<u64>,
}

impl Modelled {
    /// An event was handled.
    fn hear(&mut self, sequence: u64, name: &str) {
        let matches = self.glob == "*" || self.glob.contains(name);
        if matches && sequence > self.begun_after && self.heard.is_none() {
            self.heard = Some(sequence);
        }
    }
}

/// Random interleavings of beginning, publishing, stepping, polling, dropping half-way, advancing, and a shutdown at the end: the
/// first event that matches and is handled after the beginning is heard, whichever futures were dropped.
#[test]
fn random_schedules_hear_what_a_model_hears() {
    let seed = Seed::given();
    let mut random = Random(seed.0);
    for _ in 0..150 {
        let (bus, driver) = manual();
        let mut waits: Vec<Modelled> = Vec::new();
        let handled = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&handled);
        let record = move |event: &Delivery<'_>| {
            record.lock().unwrap().push((event.sequence(), event.event_type().to_string()));
        };
        bus.subscribe("*").handler(record).unwrap();
        for _ in 0..random.below(60) {
            match random.below(10) {
                0..3 => publish(&bus, ["a", "b", "c"][random.below(3) as usize]),
                3..5 => waits.push(begun(&bus, &mut random)),
                5..7 => drop(driver.step()),
                7 if !waits.is_empty() => {
                    let at = random.below(waits.len() as u64) as usize;
                    drop(waits.swap_remove(at));
                }
                8 => driver.advance(SECOND * random.below(2) as u32),
                _ => {
                    for modelled in &waits {
                        let polled = polled(&mut pin!(modelled.wait.within_async(SECOND)));
                        assert_eq!(polled.map(|outcome| outcome.unwrap().sequence()), modelled.heard);
                    }
                }
            }
            for (sequence, name) in std::mem::take(&mut *handled.lock().unwrap()) {
                waits.iter_mut().for_each(|modelled| modelled.hear(sequence, &name));
            }
            for modelled in &waits {
                assert_eq!(modelled.wait.heard().map(|heard| heard.sequence()), modelled.heard);
            }
        }
        // It drains first.
        assert!(bus.shutdown(SECOND).is_complete());
        for (sequence, name) in std::mem::take(&mut *handled.lock().unwrap()) {
            waits.iter_mut().for_each(|modelled| modelled.hear(sequence, &name));
        }
        for Modelled { wait, heard, .. } in &waits {
            let outcomes = [wait.within(WATCHDOG), block_on(wait.within_async(WATCHDOG))];
            for outcome in outcomes {
                match outcome {
                    Ok(recorded) => assert_eq!(Some(recorded.sequence()), *heard),
                    Err(error) => assert!(matches!(error, WaitError::Closed) && heard.is_none(), "{error}"),
                }
            }
        }
    }
}

fn begun(bus: &EventBus, random: &mut Random) -> Modelled {
    let glob = ["a", "b", "c", "[ab]", "*"][random.below(5) as usize];
    let begun_after = bus.history().last_sequence();
    let (wait, heard) = if random.below(3) == 0 {
        let known = bus.history().query().event_type(glob).since(1).limit(1).events().unwrap();
        (bus.wait_for(glob).including_history(), known.first().map(|known| known.sequence()))
    } else {
        (bus.wait_for(glob), None)
    };
    Modelled { wait: wait.begin().unwrap(), glob, begun_after, heard }
}

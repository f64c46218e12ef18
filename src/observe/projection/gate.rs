//! Which events of a seeded projection come from its subscription, and which from the history.
//!
//! There is a number, the boundary: events up to it are the history's, later ones are heard. It must be such that every later
//! event is heard, and it must be known to whoever handles one. Both hold from different moments on, so the gate goes through
//! three states:
//!
//! 1. *Joining*: the subscription is there, but a publish that began before may not know it. What is heard is left to the
//!    history.
//! 2. *Settled*: every event from now on is heard (`Host::settled_sequence`). Whoever comes first, the seeder or a handler,
//!    reads the last number that there is and makes it the boundary, by one compare-and-swap.
//! 3. *Bounded*: the boundary stands for ever.
//!
//! So each event is folded once. One after the boundary is heard, since the boundary was read after the bus had settled, and
//! its handler finds the boundary below it. One up to the boundary is never folded by its handler: that finds the boundary,
//! or still the first state, and who finds the first state handles an event whose number was given before the boundary was
//! read (see `fix`). The history is asked for exactly these.
//!
//! And events are folded after the seed, in their order: as long as it is being folded, those after the boundary
//! [wait](super::waiting) behind a pointer, which the seeder takes in turns until it finds nothing there and replaces that by
//! "open" in one step. From then on handlers fold by themselves. No handler waits for the seeder. Where events come faster than they are
//! folded, so that the list is full or never empty, the surplus is folded at once, counted as out of order, and not lost.

use super::waiting::Waiting;
use crate::bus::Recorded;
use crate::sync::{AtomicU64, Ordering, fence};
use arc_swap::ArcSwapOption;
use std::sync::Arc;

const JOINING: u64 = u64::MAX;
const SETTLED: u64 = u64::MAX - 1;

/// How many events may wait for the seed.
const WAITING_MAX: usize = 1 << 16;

pub(super) struct Gate {
    boundary: AtomicU64,
    /// `None`: handlers fold by themselves.
    waiting: ArcSwapOption<Waiting>,
    out_of_order: AtomicU64,
}

impl Default for Gate {
    fn default() -> Self {
        Gate {
            boundary: AtomicU64::new(JOINING),
            waiting: ArcSwapOption::from_pointee(Waiting::default()),
            out_of_order: AtomicU64::new(0),
        }
    }
}

impl Gate {
    /// What a handler is to fold now; nothing if the event is the history's, or waits for the seed.
    pub(super) fn admit(&self, event: Recorded, last_sequence: impl FnOnce() -> u64) -> Option<Recorded> {
        let mut boundary = self.boundary.load(Ordering::Acquire);
        if boundary >= SETTLED {
            boundary = self.fix(last_sequence);
        }
        if event.sequence() <= boundary {
            return None;
        }
        let mut waiting = self.waiting.load();
        loop {
            let Some(list) = waiting.as_ref() else { return Some(event) };
            if list.len() >= WAITING_MAX {
                self.out_of_order.fetch_add(1, Ordering::Relaxed);
                return Some(event);
            }
            let found = self.waiting.compare_and_swap(&*waiting, Some(list.with(event.clone())));
            if found.as_ref().map(Arc::as_ptr) == waiting.as_ref().map(Arc::as_ptr) {
                return None;
            }
            waiting = found;
        }
    }

    /// Every event that is recorded from now on is heard. The boundary.
    pub(super) fn settle(&self, last_sequence: impl FnOnce() -> u64) -> u64 {
        self.boundary.store(SETTLED, Ordering::Release);
        self.fix(last_sequence)
    }

    /// The boundary, or one above everything while there is none yet.
    ///
    /// Ordering: of "give the event its number, then look at the state" in a handler and "settle, then read the last number"
    /// in whoever fixes the boundary, one sees the other's store: by the first fence here and the second, whichever thread
    /// settled. So a handler that still finds `JOINING` has an event whose number is not above the boundary.
    #[cold]
    fn fix(&self, last_sequence: impl FnOnce() -> u64) -> u64 {
        fence(Ordering::SeqCst);
        let found = self.boundary.load(Ordering::Acquire);
        if found != SETTLED {
            return found;
        }
        fence(Ordering::SeqCst);
        let last = last_sequence();
        let fixed = self.boundary.compare_exchange(SETTLED, last, Ordering::AcqRel, Ordering::Acquire);
        fixed.map_or_else(|fixed| fixed, |_| last)
    }

    /// The events that came while the last were folded; nothing once there were none, and handlers fold by themselves.
    pub(super) fn take_waiting(&self) -> Option<Vec<Recorded>> {
        let waiting = self.waiting.load();
        if waiting.as_ref().is_some_and(|list| list.len() == 0) {
            let found = self.waiting.compare_and_swap(&*waiting, None);
            if found.as_ref().map(Arc::as_ptr) == waiting.as_ref().map(Arc::as_ptr) {
                return None;
            }
        }
        let taken = self.waiting.swap(Some(Arc::default()));
        Some(taken.map_or_else(Vec::new, |list| list.in_order()))
    }

    /// Lets handlers fold by themselves, whoever waits. Those are counted as out of order, and the caller's.
    pub(super) fn open(&self) -> Vec<Recorded> {
        let rest = self.waiting.swap(None).map_or_else(Vec::new, |list| list.in_order());
        self.out_of_order.fetch_add(rest.len() as u64, Ordering::Relaxed);
        rest
    }

    pub(super) fn out_of_order(&self) -> u64 {
        self.out_of_order.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Event;
    use std::thread;

    fn event(sequence: u64) -> Recorded {
        Recorded::new(sequence, Arc::new(Event::builder("a", "test").build().unwrap()))
    }

    fn numbers(events: &[Recorded]) -> Vec<u64> {
        events.iter().map(Recorded::sequence).collect()
    }

    #[test]
    fn until_the_boundary_stands_events_are_left_to_the_history() {
        let gate = Gate::default();
        assert!(gate.admit(event(1), || unreachable!("nobody may fix the boundary yet")).is_none());
        assert_eq!(gate.settle(|| 4), 4);
        for sequence in [3, 7, 4, 5, 6] {
            assert!(gate.admit(event(sequence), || unreachable!("it is fixed")).is_none());
        }
        assert_eq!(numbers(&gate.take_waiting().unwrap()), [5, 6, 7]);
        assert!(gate.admit(event(8), || 9).is_none());
        assert_eq!(numbers(&gate.take_waiting().unwrap()), [8]);
        assert!(gate.take_waiting().is_none(), "nothing waits, so it is open");
        assert_eq!(gate.admit(event(9), || 9).map(|event| event.sequence()), Some(9));
        assert!(
            gate.admit(event(2), || 9).is_none(),
            "one that is handled late is the history's all the same"
        );
        assert_eq!(gate.out_of_order(), 0);
    }

    #[test]
    fn a_handler_that_comes_first_fixes_the_boundary() {
        let gate = Gate::default();
        gate.boundary.store(SETTLED, Ordering::Release);
        assert!(gate.admit(event(5), || 6).is_none());
        assert_eq!(gate.fix(|| 9), 6, "the seeder comes second");
        assert!(gate.admit(event(7), || 9).is_none());
        assert_eq!(numbers(&gate.take_waiting().unwrap()), [7]);
    }

    #[test]
    fn what_does_not_fit_is_folded_at_once_and_counted() {
        let gate = Gate::default();
        gate.settle(|| 0);
        for sequence in 1..=WAITING_MAX as u64 {
            assert!(gate.admit(event(sequence), || 0).is_none());
        }
        assert!(gate.admit(event(70_000), || 0).is_some());
        assert_eq!(gate.out_of_order(), 1);
        let rest = gate.open();
        assert_eq!((rest.len(), gate.out_of_order()), (WAITING_MAX, 1 + WAITING_MAX as u64));
        assert!(rest.is_sorted_by_key(Recorded::sequence));
        assert!(gate.admit(event(70_001), || 0).is_some());
    }

    /// Publishers that number an event and then hand it over, and a seeder that settles somewhere in between.
    #[test]
    fn each_event_is_either_the_historys_or_heard() {
        let event = event(1).event().clone();
        for round in 0..2_000 {
            let (gate, last) = (Gate::default(), AtomicU64::new(0));
            let last_sequence = || last.load(Ordering::Acquire);
            let (boundary, mut heard) = thread::scope(|threads| {
                let publish = || {
                    let publish_one = |_| {
                        let sequence = last.fetch_add(1, Ordering::AcqRel) + 1;
                        gate.admit(Recorded::new(sequence, Arc::clone(&event)), last_sequence)
                    };
                    (0..20).filter_map(publish_one).collect::<Vec<_>>()
                };
                let publishers = [threads.spawn(publish), threads.spawn(publish)];
                (0..round % 50).for_each(|_| std::hint::spin_loop());
                let boundary = gate.settle(last_sequence);
                let mut heard = Vec::new();
                while let Some(waiting) = gate.take_waiting() {
                    heard.extend(waiting);
                }
                for publisher in publishers {
                    heard.extend(publisher.join().unwrap());
                }
                (boundary, numbers(&heard))
            });
            heard.sort_unstable();
            assert_eq!(heard, (boundary + 1..=40).collect::<Vec<_>>());
        }
    }
}

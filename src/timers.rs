//! [`Timers`]: items that wait for their time, in one ordered map, with one thread that waits for the earliest.
//!
//! Due times are absolute, so they do not drift; a pending item costs a node of the map and no thread. Taking one back
//! frees it at once. Only map operations run under the lock: items are dropped by whoever was given them.

use crate::clock::{Clock, Moment};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Names one pending item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket {
    due: Moment,
    /// Ties are in order of adding.
    number: u64,
}

impl Ticket {
    /// None is earlier.
    const FIRST: Ticket = Ticket { due: Moment::FIRST, number: 0 };
}

pub(crate) struct Timers<T> {
    clock: Clock,
    room: usize,
    /// The group that an item can be taken back with, if it has one.
    group_of: fn(&T) -> Option<u64>,
    pending: Mutex<Pending<T>>,
    changed: Condvar,
}

struct Pending<T> {
    items: BTreeMap<Ticket, T>,
    /// The tickets of the items that have a group.
    groups: BTreeSet<(u64, Ticket)>,
    last_number: u64,
    /// Until when the thread that waits sleeps; none if it is awake.
    sleeps_until: Option<Moment>,
    is_stopped: bool,
}

impl<T> Timers<T> {
    /// At most `room` items wait at a time.
    pub(crate) fn new(clock: Clock, room: usize, group_of: fn(&T) -> Option<u64>) -> Self {
        let pending = Pending {
            items: BTreeMap::new(),
            groups: BTreeSet::new(),
            last_number: 0,
            sleeps_until: None,
            is_stopped: false,
        };
        Timers { clock, room, group_of, pending: Mutex::new(pending), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Pending<T>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `item` wait. It comes back if there is no room, or nobody takes what is due any more.
    pub(crate) fn add(&self, wait: Duration, item: T) -> Result<Ticket, T> {
        let due = self.clock.now().after(wait);
        let mut pending = self.lock();
        if pending.is_stopped || pending.items.len() >= self.room {
            return Err(item);
        }
        pending.last_number += 1;
        let ticket = Ticket { due, number: pending.last_number };
        // PERF: most limits are taken back in time, and the thread need not hear of them.
        let is_earlier = pending.sleeps_until.is_some_and(|until| due < until);
        if let Some(group) = (self.group_of)(&item) {
            pending.groups.insert((group, ticket));
        }
        pending.items.insert(ticket, item);
        drop(pending);
        if is_earlier {
            self.changed.notify_one();
        }
        Ok(ticket)
    }

    /// Takes an item back, unless it was taken out already.
    pub(crate) fn cancel(&self, ticket: Ticket) -> Option<T> {
        let mut pending = self.lock();
        let item = pending.items.remove(&ticket)?;
        self.leave_group(&mut pending, ticket, &item);
        Some(item)
    }

    fn leave_group(&self, pending: &mut Pending<T>, ticket: Ticket, item: &T) {
        if let Some(group) = (self.group_of)(item) {
            pending.groups.remove(&(group, ticket));
        }
    }

    /// Takes back all items of a group, in due order.
    pub(crate) fn take_group(&self, group: u64) -> Vec<T> {
        let mut pending = self.lock();
        let tickets: Vec<_> = pending
            .groups
            .range((group, Ticket::FIRST)..)
            .map_while(|(of, ticket)| (*of == group).then_some(*ticket))
            .collect();
        let take = |ticket: Ticket| {
            pending.groups.remove(&(group, ticket));
            pending.items.remove(&ticket)
        };
        tickets.into_iter().filter_map(take).collect()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.lock().is_stopped
    }

    /// Takes out the earliest item, if its time has come.
    #[cfg(feature = "queued")]
    pub(crate) fn take_due(&self) -> Option<T> {
        let now = self.clock.now();
        let mut pending = self.lock();
        let first = pending.items.first_entry().filter(|first| first.key().due <= now)?;
        let (ticket, item) = first.remove_entry();
        self.leave_group(&mut pending, ticket, &item);
        Some(item)
    }

    /// When the earliest item is due.
    #[cfg(feature = "queued")]
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.lock().items.first_key_value().map(|(first, _)| first.due)
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Takes out the earliest item once its time has come, and waits until then; `None` when stopped. `hand` is given the
    /// item under the lock: whoever stops the timers finds it here or where `hand` put it.
    pub(crate) fn wait_due<R>(&self, hand: impl Fn(T) -> R) -> Option<R> {
        let mut pending = self.lock();
        while !pending.is_stopped {
            let now = self.clock.now();
            let first = pending.items.first_key_value().map(|(first, _)| first.due);
            if first.is_some_and(|due| due <= now) {
                let (ticket, item) = pending.items.pop_first()?;
                self.leave_group(&mut pending, ticket, &item);
                return Some(hand(item));
            }
            let until = first.unwrap_or(Moment::NEVER);
            pending.sleeps_until = Some(until);
            pending = match first {
                Some(due) => {
                    self.changed
                        .wait_timeout(pending, due.since(now))
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self.changed.wait(pending).unwrap_or_else(PoisonError::into_inner),
            };
            pending.sleeps_until = None;
        }
        None
    }

    /// Takes out all items that `pick` says yes to, in due order.
    pub(crate) fn take_where(&self, pick: impl Fn(&T) -> bool) -> Vec<T> {
        let mut pending = self.lock();
        let (taken, left): (BTreeMap<Ticket, T>, _) =
            std::mem::take(&mut pending.items).into_iter().partition(|(_, item)| pick(item));
        pending.items = left;
        for (ticket, item) in &taken {
            self.leave_group(&mut pending, *ticket, item);
        }
        drop(pending);
        taken.into_values().collect()
    }

    /// Refuses everything from now on, ends [`wait_due`](Self::wait_due), and hands out what was pending, in due order.
    pub(crate) fn stop(&self) -> Vec<T> {
        let items = {
            let mut pending = self.lock();
            pending.is_stopped = true;
            pending.groups.clear();
            std::mem::take(&mut pending.items)
        };
        self.changed.notify_all();
        items.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{AtomicU64, Ordering};
    use std::sync::Arc;
    use std::thread;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn items_come_in_the_order_they_are_due_and_ties_in_the_order_added() {
        let clock = Clock::manual();
        let timers = Timers::new(clock.clone(), 10, |_| None);
        for (wait, name) in [(3, "c"), (1, "a"), (2, "b"), (1, "a2")] {
            timers.add(SECOND * wait, name).unwrap();
        }
        clock.advance_to(clock.now().after(SECOND * 3));
        let came: Vec<&str> = (0..4).map(|_| timers.wait_due(|item| item).unwrap()).collect();
        assert_eq!(came, ["a", "a2", "b", "c"]);
    }

    #[test]
    fn a_full_or_stopped_one_gives_the_item_back_and_stopping_hands_out_the_rest() {
        let timers = Timers::new(Clock::real(), 2, |_| None);
        timers.add(SECOND * 200, 2).unwrap();
        let first = timers.add(SECOND * 100, 1).unwrap();
        assert_eq!(timers.add(SECOND, 3), Err(3));
        assert_eq!(timers.cancel(first), Some(1));
        assert_eq!(timers.cancel(first), None);
        timers.add(SECOND * 300, 3).unwrap();
        assert_eq!(timers.stop(), [2, 3]);
        assert_eq!(timers.add(SECOND, 4), Err(4));
        assert_eq!(timers.wait_due(|item| item), None);
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn an_earlier_item_added_later_comes_first_and_stopping_ends_the_wait() {
        let timers = Arc::new(Timers::new(Clock::real(), 10, |_| None));
        let waiting = Arc::clone(&timers);
        let thread = thread::spawn(move || (waiting.wait_due(|item| item), waiting.wait_due(|item| item)));
        timers.add(SECOND * 1_000, "late").unwrap();
        timers.add(Duration::from_millis(1), "early").unwrap();
        while timers.len() > 1 {
            thread::yield_now();
        }
        assert_eq!(timers.stop(), ["late"]);
        assert_eq!(thread.join().unwrap(), (Some("early"), None));
    }

    #[test]
    fn a_group_is_taken_back_as_it_is_at_that_moment_and_leaves_the_others() {
        let timers =
            Timers::new(Clock::manual(), 100, |item: &u64| Some(item % 3).filter(|group| *group != 0));
        let tickets: Vec<_> =
            (0..12).map(|item| timers.add(SECOND * (20 - item as u32), item).unwrap()).collect();
        assert_eq!(timers.cancel(tickets[4]), Some(4));
        assert_eq!(timers.take_group(1), [10, 7, 1]);
        assert_eq!(timers.take_group(1), [0; 0]);
        assert_eq!(timers.take_where(|item| *item > 9), [11]);
        assert_eq!(timers.take_group(2), [8, 5, 2]);
        assert_eq!(timers.stop(), [9, 6, 3, 0]);
    }

    #[test]
    fn an_item_is_cancelled_or_comes_and_never_both() {
        const ITEMS: u64 = 20_000;
        let timers = Arc::new(Timers::new(Clock::real(), ITEMS as usize, |_| None));
        let came = Arc::new(AtomicU64::new(0));
        let (taking, count) = (Arc::clone(&timers), Arc::clone(&came));
        let thread = thread::spawn(move || {
            while taking.wait_due(|item| item).is_some() {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut cancelled = 0;
        for item in 0..ITEMS {
            let ticket = timers.add(Duration::from_micros(item % 7), item).unwrap();
            cancelled += u64::from(timers.cancel(ticket).is_some());
        }
        while timers.len() > 0 {
            thread::yield_now();
        }
        let left = timers.stop().len() as u64;
        thread.join().unwrap();
        assert_eq!(came.load(Ordering::Relaxed) + cancelled + left, ITEMS);
    }
}

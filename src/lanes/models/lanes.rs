//! Lanes: nothing is lost or taken twice, one holds a lane at a time, and places are neither lost nor made up.

use super::check;
use crate::lanes::{Lanes, Place};
use loom::cell::Cell;
use loom::thread;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

const NORMAL: Place = Place { lane: 0, band: 2 };
const CRITICAL: Place = Place { lane: 0, band: 0 };

/// One lane, and what only its holder may touch: `loom` reports two who touch it at once, and one who does not see
/// what the one before him did. An `Rc` will do: `loom`'s threads take turns on one of the system's.
struct Modelled {
    lanes: Lanes<u32>,
    turns: Cell<u32>,
}

impl Modelled {
    fn new(room: usize) -> Rc<Self> {
        Rc::new(Modelled { lanes: Lanes::new(1, room), turns: Cell::new(0) })
    }

    fn put(&self, place: Place, item: u32) {
        self.lanes.reserve(place).expect("there is room").fill(item);
    }

    /// Puts `item` in and makes room if need be; says what went for it, or hands it back if there is no room now.
    fn put_over_oldest(&self, item: u32) -> Option<u32> {
        if let Some(reserved) = self.lanes.reserve(NORMAL) {
            reserved.fill(item);
            return None;
        }
        let Some((reserved, oldest)) = self.lanes.displace(NORMAL) else { return Some(item) };
        reserved.fill(item);
        Some(oldest)
    }

    /// One turn of a worker, if there is a lane to hold.
    fn turn(&self) -> Option<Vec<u32>> {
        let mut held = self.lanes.hold()?;
        self.turns.set(self.turns.get() + 1);
        let taken = held.by_ref().collect();
        self.turns.set(self.turns.get() + 1);
        held.leave();
        Some(taken)
    }

    /// Turns until workers find nothing more.
    fn sweep(&self) -> Vec<u32> {
        std::iter::from_fn(|| self.turn()).flatten().collect()
    }

    /// How many places can be reserved at once.
    fn places(&self) -> usize {
        let reserved: Vec<_> = std::iter::from_fn(|| self.lanes.reserve(NORMAL)).collect();
        reserved.len()
    }
}

fn sorted(mut items: Vec<u32>) -> Vec<u32> {
    items.sort_unstable();
    items
}

/// Catches a holder who leaves without seeing what was put in meanwhile, and a publisher who thinks that somebody
/// holds the lane who has left it.
#[test]
fn what_is_put_in_while_the_holder_leaves_is_found() {
    check(Some(4), || {
        let modelled = Modelled::new(3);
        modelled.put(NORMAL, 0);
        let putting = Rc::clone(&modelled);
        let publisher = thread::spawn(move || {
            putting.put(NORMAL, 1);
            putting.put(NORMAL, 2);
        });
        let mut taken = modelled.turn().expect("the lane is ready");
        publisher.join().expect("nobody panics");
        taken.extend(modelled.sweep());
        assert_eq!(taken, [0, 1, 2]);
        assert_eq!(modelled.places(), 3);
    });
}

/// A turn that ends before the lane is empty. Catches a holder who lists it for what came in and not for what he left.
#[test]
fn what_a_turn_leaves_in_the_lane_is_found() {
    check(Some(4), || {
        let modelled = Modelled::new(3);
        modelled.put(NORMAL, 0);
        modelled.put(NORMAL, 1);
        let putting = Rc::clone(&modelled);
        let publisher = thread::spawn(move || putting.put(NORMAL, 2));
        let mut held = modelled.lanes.hold().expect("the lane is ready");
        let mut taken: Vec<u32> = held.next().into_iter().collect();
        held.leave();
        publisher.join().expect("nobody panics");
        taken.extend(modelled.sweep());
        assert_eq!(taken, [0, 1, 2]);
    });
}

/// A critical item lists the lane twice, so that two workers find it. Catches two who hold it at once, one who does not
/// see what the last holder did, and items in a lane that is not listed.
#[test]
fn a_lane_is_held_by_one_at_a_time() {
    check(Some(3), || {
        let modelled = Modelled::new(2);
        modelled.put(CRITICAL, 0);
        let workers = [0, 1].map(|_| {
            let modelled = Rc::clone(&modelled);
            thread::spawn(move || modelled.turn().unwrap_or_default())
        });
        modelled.put(CRITICAL, 1);
        let mut taken = workers.map(|worker| worker.join().expect("nobody panics")).concat();
        taken.extend(modelled.sweep());
        assert_eq!(sorted(taken), [0, 1]);
        assert!(!modelled.lanes.has_ready());
    });
}

/// Two publishers and a worker at a lane that is empty. Catches a lane that is listed by neither, or by both.
#[test]
fn two_publishers_list_a_lane_once() {
    check(Some(3), || {
        let modelled = Modelled::new(2);
        let publishers = [1, 2].map(|item| {
            let modelled = Rc::clone(&modelled);
            thread::spawn(move || modelled.put(NORMAL, item))
        });
        let mut taken = modelled.turn().unwrap_or_default();
        publishers.into_iter().for_each(|publisher| publisher.join().expect("nobody panics"));
        taken.extend(modelled.sweep());
        assert_eq!(sorted(taken), [1, 2]);
    });
}

/// One place: two want it, of whom one thinks better of it, and a worker takes what he finds. A place that is given
/// out twice, or before the item in it is gone, meets a full queue in `Reserved::fill`, which asserts that it does not;
/// one that is never given back is missing in the end.
#[test]
fn a_place_is_reserved_by_one_and_comes_back() {
    check(Some(3), || {
        let modelled = Modelled::new(1);
        modelled.put(NORMAL, 0);
        let changing = Rc::clone(&modelled);
        let changes_his_mind = thread::spawn(move || drop(changing.lanes.reserve(NORMAL)));
        let putting = Rc::clone(&modelled);
        let puts =
            thread::spawn(move || putting.lanes.reserve(NORMAL).map(|reserved| reserved.fill(1)).is_some());
        let mut taken = modelled.turn().expect("the lane is ready");
        changes_his_mind.join().expect("nobody panics");
        let is_put = puts.join().expect("nobody panics");
        taken.extend(modelled.sweep());
        assert_eq!(taken, if is_put { vec![0, 1] } else { vec![0] });
        assert_eq!(modelled.places(), 1);
    });
}

/// A full lane: two publishers each let the oldest go for theirs while a worker takes it. Catches an item that goes
/// twice or nowhere, and a place that is given back although a newer item has it.
#[test]
fn what_makes_room_goes_once_and_its_place_stays_taken() {
    check(Some(3), || {
        let modelled = Modelled::new(1);
        modelled.put(NORMAL, 0);
        let publishers = [1, 2].map(|item| {
            let modelled = Rc::clone(&modelled);
            thread::spawn(move || modelled.put_over_oldest(item))
        });
        let mut seen = modelled.turn().expect("the lane is ready");
        for publisher in publishers {
            seen.extend(publisher.join().expect("nobody panics"));
        }
        seen.extend(modelled.sweep());
        assert_eq!(sorted(seen), [0, 1, 2]);
        assert_eq!(modelled.places(), 1);
    });
}

/// Two publishers find the room that was freed, at the same moment. Catches one that is refused while another is about to take
/// the last freed places into account.
#[test]
fn all_that_was_freed_can_be_reserved_at_once() {
    check(None, || {
        let modelled = Modelled::new(2);
        modelled.put(NORMAL, 0);
        modelled.put(NORMAL, 1);
        assert_eq!(modelled.turn(), Some(vec![0, 1]));
        let publishers = [2, 3].map(|item| {
            let modelled = Rc::clone(&modelled);
            thread::spawn(move || modelled.put_over_oldest(item))
        });
        for publisher in publishers {
            assert_eq!(publisher.join().expect("nobody panics"), None, "there is room for both");
        }
        assert_eq!(sorted(modelled.sweep()), [2, 3]);
    });
}

/// One waits for the only place while a worker frees it. Catches a place that is freed after the last look and not
/// signalled, as it would be if either side's two accesses could change places.
#[test]
fn a_freed_place_is_seen_or_signalled() {
    check(None, || {
        let modelled = Modelled::new(1);
        modelled.put(NORMAL, 0);
        let working = Rc::clone(&modelled);
        let worker = thread::spawn(move || working.turn());
        let mut waiter = modelled.lanes.waiter(NORMAL);
        let is_seen = modelled.lanes.reserve(NORMAL).is_some();
        worker.join().expect("nobody panics");
        let freed = Pin::new(waiter.freed());
        let is_signalled = Future::poll(freed, &mut Context::from_waker(Waker::noop())).is_ready();
        assert!(is_seen || is_signalled);
    });
}

/// Somebody drains what a worker is taking, as a shutdown does. Catches an item that is taken twice or nowhere.
#[test]
fn what_is_drained_is_not_taken_too() {
    check(Some(3), || {
        let modelled = Modelled::new(2);
        modelled.put(NORMAL, 0);
        modelled.put(NORMAL, 1);
        let working = Rc::clone(&modelled);
        let worker = thread::spawn(move || working.turn().unwrap_or_default());
        let mut taken = modelled.lanes.drain();
        taken.extend(worker.join().expect("nobody panics"));
        taken.extend(modelled.sweep());
        assert_eq!(sorted(taken), [0, 1]);
        assert_eq!(modelled.places(), 2);
    });
}

/// The holder leaves while a critical item comes in beside another. Catches a lane that is listed among the ready ones
/// alone, where the critical item waits behind every other lane.
#[test]
fn a_lane_left_with_something_critical_is_urgent() {
    check(Some(4), || {
        let modelled = Modelled::new(2);
        modelled.put(NORMAL, 0);
        let working = Rc::clone(&modelled);
        let worker = thread::spawn(move || working.turn());
        modelled.put(NORMAL, 1);
        modelled.put(CRITICAL, 2);
        worker.join().expect("nobody panics");
        let is_critical = !modelled.lanes.band(CRITICAL).is_empty();
        assert!(!is_critical || !modelled.lanes.urgent.is_empty());
    });
}

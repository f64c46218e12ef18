//! What one gate, or one key of one, has seen: bits in one number, so that of all who see the last precondition at the same
//! moment exactly one opens it, and that it is open and that its time is up exclude each other.

use crate::bus::Reminder;
use crate::event::{Event, EventType};
use crate::ids::{CorrelationId, EventId};
use crate::sync::{AtomicU64, Ordering};
use arc_swap::ArcSwapOption;
use once_cell::race::OnceBox;
use std::sync::Arc;

/// How many preconditions a gate may have.
pub const PRECONDITIONS_MAX: usize = 32;

/// ```text
///  63   62   61    ...  39 .. 32    31 ............ 0
///  CLOSED
///       TIMED_OUT
///            OPEN         by whom    the preconditions seen
/// ```
const OPEN: u64 = 1 << 61;
const TIMED_OUT: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;
const OVER: u64 = OPEN | TIMED_OUT | CLOSED;
const BY_SHIFT: u32 = 32;

/// Whether a gate is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GateState {
    /// Its preconditions have not been seen.
    Waiting,
    /// They have, and it stays open.
    Open,
    /// They were not seen in time, and it will not open.
    TimedOut,
    /// It was ended before it opened.
    Closed,
}

/// Which of its preconditions opens a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    All,
    Any,
}

/// The event that met a precondition.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    pub(super) event_type: EventType,
    pub(super) event_id: EventId,
    pub(super) correlation_id: Option<CorrelationId>,
    pub(super) sequence: u64,
}

impl Witness {
    pub(super) fn of(event: &Event, sequence: u64) -> Self {
        Witness {
            event_type: event.event_type().clone(),
            event_id: event.event_id().clone(),
            correlation_id: event.correlation_id().cloned(),
            sequence,
        }
    }
}

/// What became of a precondition that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// More are needed.
    Noted,
    /// It was the one: for exactly one caller, ever.
    Opened,
    /// It was over before.
    TooLate(GateState),
}

pub(super) struct State {
    bits: AtomicU64,
    witnesses: Box<[OnceBox<Witness>]>,
    /// That its time is up. Taken back when it opens.
    pub(super) reminder: ArcSwapOption<Reminder>,
}

impl State {
    pub(super) fn new(preconditions: usize) -> Self {
        State {
            bits: AtomicU64::new(0),
            witnesses: std::iter::repeat_with(OnceBox::new).take(preconditions).collect(),
            reminder: ArcSwapOption::const_empty(),
        }
    }

    /// Precondition `index` was seen.
    pub(super) fn see(&self, rule: Rule, index: usize, witness: impl FnOnce() -> Witness) -> Seen {
        let bits = self.bits.load(Ordering::Acquire);
        if bits & OVER != 0 {
            return Seen::TooLate(state_of(bits));
        }
        if bits & (1 << index) != 0 {
            return Seen::Noted;
        }
        // The first one stays.
        let _ = self.witnesses[index].set(Box::new(witness()));
        let all = (1 << self.witnesses.len()) - 1;
        let mut opens = false;
        // Ordering: SeqCst, for the reminder: see `keep_reminder`. And who sees a bit sees its witness.
        let change = self.bits.fetch_update(Ordering::SeqCst, Ordering::Acquire, |bits| {
            let seen = bits | 1 << index;
            opens = rule == Rule::Any || seen & all == all;
            let by = if opens { OPEN | (index as u64) << BY_SHIFT } else { 0 };
            (bits & OVER == 0).then_some(seen | by)
        });
        match change {
            Err(bits) => Seen::TooLate(state_of(bits)),
            Ok(_) if opens => {
                self.reminder.store(None);
                Seen::Opened
            }
            Ok(_) => Seen::Noted,
        }
    }

    /// Its time is up; true for exactly one caller, if it was waiting.
    pub(super) fn time_out(&self) -> bool {
        self.end(TIMED_OUT)
    }

    /// It is ended from outside; true for exactly one caller, if it was waiting.
    pub(super) fn close(&self) -> bool {
        self.end(CLOSED)
    }

    fn end(&self, how: u64) -> bool {
        let change = |bits| (bits & OVER == 0).then_some(bits | how);
        let is_ended = self.bits.fetch_update(Ordering::SeqCst, Ordering::Acquire, change).is_ok();
        self.reminder.store(None);
        is_ended
    }

    /// Keeps what will remind of the time, unless it is over already.
    pub(super) fn keep_reminder(&self, reminder: Reminder) {
        self.reminder.store(Some(Arc::new(reminder)));
        // Ordering: of "store the reminder, then look at the bits" here and "set a bit, then take the reminder back" in whoever
        // ends it, one sees the other.
        if self.bits.load(Ordering::SeqCst) & OVER != 0 {
            self.reminder.store(None);
        }
    }

    pub(super) fn get(&self) -> GateState {
        state_of(self.bits.load(Ordering::Acquire))
    }

    /// What was seen, with the number of the precondition, in order; what was not; and which of them opened it.
    pub(super) fn account(&self) -> Account<'_> {
        let bits = self.bits.load(Ordering::Acquire);
        let is_open = bits & OPEN != 0;
        let mut account = Account { seen: Vec::new(), missing: Vec::new(), opened_by: None };
        for (index, witness) in self.witnesses.iter().enumerate() {
            match witness.get().filter(|_| bits & (1 << index) != 0) {
                Some(witness) => account.seen.push((index, witness)),
                None if !is_open => account.missing.push(index),
                // Open is open: nothing is missing.
                None => {}
            }
        }
        account.opened_by = is_open.then_some((bits >> BY_SHIFT) as usize & 0xff);
        account
    }
}

/// What a state has to tell.
pub(super) struct Account<'a> {
    pub(super) seen: Vec<(usize, &'a Witness)>,
    pub(super) missing: Vec<usize>,
    pub(super) opened_by: Option<usize>,
}

fn state_of(bits: u64) -> GateState {
    match bits & OVER {
        0 => GateState::Waiting,
        TIMED_OUT => GateState::TimedOut,
        CLOSED => GateState::Closed,
        _ => GateState::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn witness() -> Witness {
        Witness::of(&Event::builder("a", "test").build().unwrap(), 1)
    }

    #[test]
    fn a_state_opens_for_one_or_its_time_is_up_for_one() {
        for rule in [Rule::All, Rule::Any] {
            for _ in 0..200 {
                let state = State::new(4);
                let ends: usize = thread::scope(|threads| {
                    let seeing = (0..4).map(|index| {
                        let state = &state;
                        threads.spawn(move || usize::from(state.see(rule, index, witness) == Seen::Opened))
                    });
                    let timing = threads.spawn(|| usize::from(state.time_out()));
                    let opened: usize =
                        seeing.collect::<Vec<_>>().into_iter().map(|t| t.join().unwrap()).sum();
                    opened + timing.join().unwrap()
                });
                assert_eq!(ends, 1);
                assert_ne!(state.get(), GateState::Waiting);
                assert!(!state.close() && !state.time_out());
            }
        }
    }

    #[test]
    fn as_many_as_may_be_fit() {
        let state = State::new(PRECONDITIONS_MAX);
        for index in 1..PRECONDITIONS_MAX {
            assert_eq!(state.see(Rule::All, index, witness), Seen::Noted);
        }
        assert_eq!(state.account().missing, [0]);
        assert_eq!(state.see(Rule::All, 0, witness), Seen::Opened);
        assert_eq!((state.account().opened_by, state.account().seen.len()), (Some(0), PRECONDITIONS_MAX));
        assert_eq!(state.see(Rule::All, 0, witness), Seen::TooLate(GateState::Open));
    }
}

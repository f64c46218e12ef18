//! [`Pile`]: the events that wait, in batches, and the counts. It decides which event goes into which batch, when it is
//! added; it knows neither threads nor time.
//!
//! The last batch is open. One that is as full as may be, or that somebody waits for, is sealed and takes its turn. A batch
//! whose interval is over is not: while the handler is busy it may still grow.

use super::batch::{BatchTrigger, DeadBatch};
use super::dead::DeadBatches;
use super::outcome::Ticket;
use super::report::{BatchAddErrorKind, BatchStats, RedriveBatchError};
use super::waiting::{Entry, Waiting};
use crate::bus::Timer;
use crate::event::Event;
use crate::quiet::drop_quietly;
use std::collections::VecDeque;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Of one batch.
    pub(super) count: usize,
    pub(super) bytes: Option<usize>,
    /// Events that may wait, but for those that a bus delivers: it bounds them.
    pub(super) room: usize,
    pub(super) dead_batches: usize,
}

pub(super) struct Pile {
    limits: Limits,
    state: State,
    open: Waiting,
    /// When the open batch has to go; with the driver once it has seen it.
    timer: Option<Timer>,
    is_open_due: bool,
    /// Oldest first. Bounded by the room, and by how many deliveries the bus makes at a time.
    sealed: VecDeque<Waiting>,
    in_hand: Option<InHand>,
    dead: DeadBatches,
    /// All but those of dead batches, and `pending`, which is counted when somebody asks.
    counts: BatchStats,
    room_taken: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Started,
    Stopped,
    /// Stopped for good: whoever handles the batches goes home when none is left.
    Ending,
    /// Nobody handles batches any more.
    Over,
}

/// The batch that is being handled.
struct InHand {
    start: u64,
    events: usize,
    room: usize,
}

/// What whoever handles the batches does next.
pub(super) enum Next {
    Handle(Waiting),
    /// Nothing is to be done before an event is added or the open batch, of this number, is due.
    Wait {
        open: u64,
        timer: Option<Timer>,
    },
    Over,
}

/// Whom to tell of what was added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Added {
    /// Whoever handles the batches has something to see to.
    pub(super) is_news: bool,
}

impl Pile {
    pub(super) fn new(limits: Limits) -> Self {
        Pile {
            state: State::Started,
            open: Waiting::new(1, 0),
            timer: None,
            is_open_due: false,
            sealed: VecDeque::new(),
            in_hand: None,
            dead: DeadBatches::new(limits.dead_batches),
            limits,
            counts: BatchStats::default(),
            room_taken: 0,
        }
    }

    pub(super) fn is_started(&self) -> bool {
        self.state == State::Started
    }

    /// Adds an event by hand; if it is the first of its batch, `timer` says when that is due.
    pub(super) fn add(
        &mut self,
        event: &Arc<Event>,
        bytes: usize,
        timer: impl FnOnce() -> Option<Timer>,
    ) -> Result<Added, BatchAddErrorKind> {
        if !self.is_started() {
            return Err(BatchAddErrorKind::Stopped);
        }
        if self.room_taken >= self.limits.room {
            return Err(BatchAddErrorKind::Full { room: self.limits.room });
        }
        self.room_taken += 1;
        self.begin_entry(bytes);
        Ok(self.put(Entry { event: Arc::clone(event), given_up: None }, bytes, timer))
    }

    /// Adds an event that a bus delivers; it is told what becomes of it. `None`: the stream is stopped.
    pub(super) fn add_delivery(
        &mut self,
        event: &Arc<Event>,
        bytes: usize,
        timer: impl FnOnce() -> Option<Timer>,
    ) -> Option<(Added, Ticket)> {
        if !self.is_started() {
            return None;
        }
        self.begin_entry(bytes);
        let outcome = self.open.outcome.get_or_insert_with(Arc::default);
        let (ticket, given_up) = Ticket::new(outcome);
        let entry = Entry { event: Arc::clone(event), given_up: Some(given_up) };
        Some((self.put(entry, bytes, timer), ticket))
    }

    pub(super) fn refuse(&mut self) {
        self.counts.refused += 1;
    }

    /// Makes room in the open batch for an entry that would make it too large.
    fn begin_entry(&mut self, bytes: usize) {
        if self.limits.bytes.is_some_and(|most| self.open.bytes.saturating_add(bytes) > most) {
            self.seal(BatchTrigger::Bytes);
        }
    }

    fn put(&mut self, entry: Entry, bytes: usize, timer: impl FnOnce() -> Option<Timer>) -> Added {
        let was_sealed = self.sealed.len();
        let is_first = self.open.entries.is_empty();
        if is_first {
            self.timer = timer();
            self.is_open_due = self.timer.is_none();
        }
        self.counts.added += 1;
        self.open.bytes += bytes;
        self.open.entries.push(entry);
        if self.open.entries.len() >= self.limits.count {
            self.seal(BatchTrigger::Count);
        } else if self.limits.bytes.is_some_and(|most| self.open.bytes >= most) {
            self.seal(BatchTrigger::Bytes);
        }
        // A batch that was sealed to make room is followed by a first entry.
        Added { is_news: is_first || self.sealed.len() > was_sealed }
    }

    /// Ends the open batch, if there is anything in it.
    pub(super) fn seal(&mut self, trigger: BatchTrigger) {
        if self.open.entries.is_empty() {
            return;
        }
        let next = Waiting::new(self.open.number + 1, self.counts.added);
        let sealed = std::mem::replace(&mut self.open, next);
        self.sealed.push_back(Waiting { trigger, ..sealed });
        (self.timer, self.is_open_due) = (None, false);
    }

    /// The interval of batch `number` is over.
    pub(super) fn is_due(&mut self, number: u64) {
        self.is_open_due |= self.open.number == number && !self.open.entries.is_empty();
    }

    /// Takes out the batch whose turn it is; `is_hurried` if somebody waits for what there is.
    pub(super) fn next(&mut self, is_hurried: bool) -> Next {
        loop {
            if self.sealed.is_empty() {
                match () {
                    () if is_hurried || self.state != State::Started => self.seal(BatchTrigger::Flush),
                    () if self.is_open_due => self.seal(BatchTrigger::Interval),
                    () => {}
                }
            }
            let Some(mut batch) = self.sealed.pop_front() else { break };
            let had = batch.entries.len();
            batch.entries.retain(|entry| !entry.is_given_up());
            self.counts.dropped += (had - batch.entries.len()) as u64;
            if batch.entries.is_empty() {
                continue;
            }
            let (start, events) = (batch.start, batch.entries.len());
            let room = batch.entries.iter().filter(|entry| entry.is_own()).count();
            self.in_hand = Some(InHand { start, events, room });
            return Next::Handle(batch);
        }
        match self.state {
            State::Ending | State::Over => Next::Over,
            _ => Next::Wait { open: self.open.number, timer: self.timer.take() },
        }
    }

    pub(super) fn count_retry(&mut self) {
        self.counts.retries += 1;
    }

    /// The batch in hand was handled.
    pub(super) fn deliver(&mut self) {
        let Some(in_hand) = self.in_hand.take() else { return };
        self.room_taken -= in_hand.room;
        self.counts.delivered += in_hand.events as u64;
        self.counts.batches_delivered += 1;
    }

    /// The batch in hand failed for good; `dead` is what is to be kept of it. Returns what makes room for it.
    pub(super) fn bury(&mut self, dead: Option<DeadBatch>) -> Option<Arc<DeadBatch>> {
        let in_hand = self.in_hand.take()?;
        self.room_taken -= in_hand.room;
        self.counts.dead += in_hand.events as u64;
        self.counts.batches_dead += 1;
        self.dead.keep(dead?)
    }

    /// Takes out all that waits, which is dropped.
    pub(super) fn give_up(&mut self) -> Vec<Waiting> {
        self.seal(BatchTrigger::Flush);
        let given_up: Vec<Waiting> = self.sealed.drain(..).collect();
        for entry in given_up.iter().flat_map(|batch| &batch.entries) {
            self.counts.dropped += 1;
            self.room_taken -= usize::from(entry.is_own());
        }
        given_up
    }

    /// Nobody handles batches any more: what is in hand is dropped, and what waits comes back.
    pub(super) fn end(&mut self) -> Vec<Waiting> {
        self.state = State::Over;
        if let Some(in_hand) = self.in_hand.take() {
            self.room_taken -= in_hand.room;
            self.counts.dropped += in_hand.events as u64;
        }
        self.give_up()
    }

    /// Refuses everything from now on; `for_good` if nobody is left to start it again.
    pub(super) fn stop(&mut self, for_good: bool) {
        match self.state {
            State::Over | State::Ending => {}
            _ if for_good => self.state = State::Ending,
            _ => self.state = State::Stopped,
        }
    }

    /// Accepts events again; false if it does already, or nobody would handle them.
    pub(super) fn start(&mut self) -> bool {
        let is_stopped = self.state == State::Stopped;
        if is_stopped {
            self.state = State::Started;
        }
        is_stopped
    }

    pub(super) fn added(&self) -> u64 {
        self.counts.added
    }

    /// Whether the first `added` events are settled.
    pub(super) fn is_settled(&self, added: u64) -> bool {
        let in_hand = self.in_hand.as_ref().map(|in_hand| in_hand.start);
        let first = in_hand.or(self.sealed.front().map(|batch| batch.start)).unwrap_or(self.open.start);
        first >= added || self.pending() == 0
    }

    pub(super) fn pending(&self) -> u64 {
        let waiting: usize = self.sealed.iter().map(|batch| batch.entries.len()).sum();
        let in_hand = self.in_hand.as_ref().map_or(0, |in_hand| in_hand.events);
        (waiting + self.open.entries.len() + in_hand) as u64
    }

    pub(super) fn stats(&self) -> BatchStats {
        BatchStats {
            pending: self.pending(),
            dead_kept: self.dead.len(),
            dead_evicted: self.dead.evicted(),
            ..self.counts
        }
    }

    pub(super) fn dead(&mut self) -> &mut DeadBatches {
        &mut self.dead
    }

    /// Puts a dead batch behind what waits, as a batch of its own.
    pub(super) fn redrive(&mut self, number: u64) -> Result<(), RedriveBatchError> {
        if !self.is_started() {
            return Err(RedriveBatchError::Stopped);
        }
        let found = self.dead.get(number).ok_or(RedriveBatchError::NoSuchBatch { number })?;
        let events = found.events.len();
        if self.limits.room - self.room_taken < events {
            return Err(RedriveBatchError::Full { room: self.limits.room });
        }
        let Some(dead) = self.dead.take(number) else { return Ok(()) };
        self.seal(BatchTrigger::Flush);
        self.room_taken += events;
        self.counts.added += events as u64;
        let entry = |event: &Arc<Event>| Entry { event: Arc::clone(event), given_up: None };
        self.open.entries = dead.events.iter().map(entry).collect();
        self.open.earlier = Some(dead);
        self.seal(BatchTrigger::Redrive);
        Ok(())
    }
}

impl Drop for Pile {
    fn drop(&mut self) {
        // Payloads have destructors of their own.
        self.end().into_iter().for_each(drop_quietly);
    }
}

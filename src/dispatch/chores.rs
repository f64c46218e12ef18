//! What has to wait until no pin is held, since it runs user code: destructors, and the word about a dead letter.
//!
//! It is done by whoever unpins next. Inside user code of the same bus, which runs under a pin, it is left to the publish
//! around it.

use super::attempt::HandlingInterceptor;
use super::chain::Chain;
use super::dead_letter::DeadLetter;
use super::engine::Engine;
use crate::context;
use crate::event::Event;
use crate::quiet::{drop_quietly, log, panics};
use crate::sync::{AtomicBool, Ordering};
use crossbeam_queue::SegQueue;
use std::sync::Arc;

/// How many waiting handlers a publish looks at in vain. A handler that never returns may hold up thousands.
const LOOKS_PER_PUBLISH: usize = 4;

/// How many those look at who subscribe and unsubscribe.
pub(crate) const LOOKS_PER_CHANGE: usize = 64;

/// Is told of each dead letter.
pub(crate) type LetterListener = Arc<dyn Fn(&DeadLetter) + Send + Sync>;

enum Chore {
    /// Made room for a newer one.
    DropLetter(Arc<DeadLetter>),
    /// Left a mailbox without being handled.
    DropEvent(Arc<Event>),
    /// Of interceptors that were removed, by the last who ran them.
    DropChain(Chain<dyn HandlingInterceptor>),
    Tell(Arc<DeadLetter>),
}

/// What one publish, or one turn, leaves to be done.
pub(crate) struct Chores {
    waiting: SegQueue<Chore>,
    are_waiting: AtomicBool,
}

impl Chores {
    pub(crate) fn new() -> Self {
        Chores { waiting: SegQueue::new(), are_waiting: AtomicBool::new(false) }
    }

    fn add(&self, chore: Chore) {
        self.waiting.push(chore);
        self.are_waiting.store(true, Ordering::Release);
    }
}

impl Engine {
    /// Keeps a dead letter. The one that makes room for it waits to be dropped until no pin is held, and so does the word
    /// about it.
    pub(crate) fn add_letter(&self, letter: DeadLetter) {
        let (letter, evicted) = self.dead_letters.add(letter);
        if let Some(evicted) = evicted {
            self.chores.add(Chore::DropLetter(evicted));
        }
        if self.letter_listener.is_some() {
            self.chores.add(Chore::Tell(letter));
        }
    }

    /// Lets an event go, later.
    pub(super) fn drop_event_later(&self, event: Arc<Event>) {
        self.chores.add(Chore::DropEvent(event));
    }

    /// Lets interceptors go, later.
    pub(super) fn drop_chain_later(&self, chain: Chain<dyn HandlingInterceptor>) {
        self.chores.add(Chore::DropChain(chain));
    }

    /// Does what had to wait for a pin: takes apart the handlers that nobody can be running any more, and the chores.
    #[inline]
    pub(crate) fn after_pin(&self) {
        if self.has_chores() {
            self.do_chores(LOOKS_PER_PUBLISH);
        }
    }

    /// The same, for those who are in less of a hurry.
    pub(crate) fn tidy(&self, looks: usize) {
        if self.has_chores() {
            self.do_chores(looks);
        }
    }

    #[inline]
    fn has_chores(&self) -> bool {
        self.grace.is_busy()
            || self.chores.are_waiting.load(Ordering::Relaxed)
            || (self.has_flushers() && !self.is_queued())
    }

    #[cold]
    fn do_chores(&self, looks: usize) {
        if context::is_inside(self.key) {
            return;
        }
        self.chores.are_waiting.store(false, Ordering::Relaxed);
        while let Some(chore) = self.chores.waiting.pop() {
            match chore {
                Chore::DropLetter(letter) => self.let_go(letter),
                Chore::DropEvent(event) => self.let_go(event),
                Chore::DropChain(chain) => self.let_go(chain),
                Chore::Tell(letter) => self.tell(&letter),
            }
        }
        self.grace.sweep(looks);
        // Workers tell when they have nothing more to do.
        if !self.is_queued() {
            self.tell_flushers();
        }
    }

    /// Drops what belongs to somebody else, as code of this bus: its destructor must not wait for the thread that it is on.
    #[inline]
    pub(crate) fn let_go<T>(&self, value: T) {
        context::within_bus(self.key, || drop_quietly(value));
    }

    /// Drops what made room in the history. A destructor that publishes displaces the next, so it is nested like a handler.
    #[inline]
    pub(super) fn let_evicted_go(&self, evicted: Arc<Event>) {
        // PERF: while somebody else holds it nothing is destroyed (`scripts/instructions.sh`). Asking for the count first would
        // leave room for the others to let go in between.
        if let Some(event) = Arc::into_inner(evicted) {
            self.let_last_go(event);
        }
    }

    #[inline(never)]
    fn let_last_go(&self, event: Event) {
        self.let_go(event);
    }

    fn tell(&self, letter: &DeadLetter) {
        let Some(listener) = &self.letter_listener else { return };
        if context::within_bus(self.key, || panics(|| listener(letter))) {
            log(|| tracing::error!(letter = letter.id(), "the function told of dead letters panicked"));
        }
    }
}

//! The dead-letter queue: looking at what could not be delivered, and trying again.

#[cfg(feature = "schema")]
use super::Validation;
use super::{Bus, EventBus};
use crate::dispatch::dead_letter::{DeadLetter, DeadLetterInbox, DeadLetterKind};
use crate::dispatch::engine::Redelivered;
use crate::error::{EventDeliveryError, EventHandlerError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// The letters that are kept, oldest first. Publishers leave new ones in the engine's inbox and never come
/// here, so the lock is between those who read letters.
#[derive(Default)]
pub(crate) struct Letters {
    kept: Mutex<VecDeque<Arc<DeadLetter>>>,
}

impl Letters {
    /// Runs `f` on the letters, the new ones included. What is to be dropped is dropped after the lock.
    fn with<R>(&self, inbox: &DeadLetterInbox, f: impl FnOnce(&mut VecDeque<Arc<DeadLetter>>) -> R) -> R {
        let mut evicted = Vec::new();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(letter) = inbox.take() {
            kept.push_back(letter);
            if kept.len() > inbox.limit() {
                evicted.extend(kept.pop_front());
            }
        }
        inbox.count_evicted(evicted.len() as u64);
        let answer = f(&mut kept);
        drop(kept);
        drop(evicted);
        answer
    }
}

/// What could not be delivered. Made by [`EventBus::dead_letter_queue`].
#[derive(Clone, Copy, Debug)]
pub struct DeadLetterQueue<'a> {
    bus: &'a EventBus,
}

impl EventBus {
    /// The events that failed for good: every attempt of a handler, or their schema. The newest 100 are kept
    /// unless the bus was built otherwise.
    #[must_use]
    pub fn dead_letter_queue(&self) -> DeadLetterQueue<'_> {
        DeadLetterQueue { bus: self }
    }
}

impl DeadLetterQueue<'_> {
    fn bus(&self) -> &Bus {
        &self.bus.bus
    }

    fn with<R>(&self, f: impl FnOnce(&mut VecDeque<Arc<DeadLetter>>) -> R) -> R {
        self.bus().letters.with(&self.bus().engine.dead_letters, f)
    }

    /// How many letters are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.with(|kept| kept.len())
    }

    /// Whether no letter is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The letters, oldest first.
    #[must_use]
    pub fn letters(&self) -> Vec<Arc<DeadLetter>> {
        self.with(|kept| kept.iter().cloned().collect())
    }

    /// The letter with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.with(|kept| kept.iter().find(|letter| letter.id() == id).cloned())
    }

    /// Tries a letter again. A handler's letter is handed to that subscription and to nobody else; an event
    /// that its schema refused is validated again and published. Success takes the letter out of the queue.
    ///
    /// # Errors
    /// No such letter; a subscription that is gone (the letter stays); a handler that failed again (the letter
    /// is back under a new id, its attempts added up); an event that was refused again.
    pub fn redrive(&self, id: u64) -> Result<(), EventDeliveryError> {
        // Out of the queue while it is tried, so that two redrives of one letter deliver it once.
        let letter = self.with(|kept| {
            let index = kept.iter().position(|letter| letter.id() == id)?;
            kept.remove(index)
        });
        let letter = letter.ok_or(EventDeliveryError::NoSuchLetter { letter: id })?;
        match letter.kind() {
            DeadLetterKind::Handler => self.redeliver(letter),
            DeadLetterKind::Schema => self.republish(&letter),
        }
    }

    /// Tries again all letters that `pick` says yes to, oldest first; answers for each, by id.
    pub fn redrive_all(
        &self,
        pick: impl Fn(&DeadLetter) -> bool,
    ) -> Vec<(u64, Result<(), EventDeliveryError>)> {
        let picked = self.letters().into_iter().filter(|letter| pick(letter));
        picked.map(|letter| (letter.id(), self.redrive(letter.id()))).collect()
    }

    /// Takes out all letters that `pick` says yes to, and returns them.
    pub fn purge(&self, pick: impl Fn(&DeadLetter) -> bool) -> Vec<Arc<DeadLetter>> {
        // `pick` is user code: it runs on a copy, without the lock.
        let picked: Vec<u64> =
            self.letters().iter().filter(|letter| pick(letter)).map(|letter| letter.id()).collect();
        self.with(|kept| {
            let (taken, left): (Vec<_>, Vec<_>) =
                kept.drain(..).partition(|letter| picked.binary_search(&letter.id()).is_ok());
            *kept = left.into();
            taken
        })
    }

    fn redeliver(&self, letter: Arc<DeadLetter>) -> Result<(), EventDeliveryError> {
        let Some(entry) = letter.entry() else { return Ok(()) };
        let id = letter.id();
        match self.bus().engine.redeliver(&letter, &entry) {
            Redelivered::Delivered => Ok(()),
            Redelivered::FailedAgain(again) => {
                let subscriber_id = again.subscriber_id().unwrap_or_default().to_owned();
                let event = Arc::clone(again.event());
                let error = EventHandlerError::new(
                    subscriber_id,
                    event,
                    again.attempts(),
                    again.error_chain().to_vec(),
                );
                self.bus().engine.dead_letters.add(again);
                Err(EventDeliveryError::Failed(error))
            }
            Redelivered::Gone => {
                let subscriber_id = letter.subscriber_id().unwrap_or_default().to_owned();
                self.put_back(letter);
                Err(EventDeliveryError::SubscriptionGone { letter: id, subscriber_id })
            }
            Redelivered::TooDeep => {
                self.put_back(letter);
                Err(EventDeliveryError::TooDeep { letter: id })
            }
        }
    }

    /// Returns a letter to its place by age.
    fn put_back(&self, letter: Arc<DeadLetter>) {
        self.with(|kept| {
            let place = kept.partition_point(|other| other.id() < letter.id());
            kept.insert(place, letter);
        });
    }

    #[cfg(feature = "schema")]
    fn republish(&self, letter: &Arc<DeadLetter>) -> Result<(), EventDeliveryError> {
        let event = Arc::clone(letter.event());
        let validation = match self.bus().validation {
            Validation::All => Validation::All,
            Validation::Off | Validation::Typed => Validation::Typed,
        };
        self.bus.publish_validated(event, validation).map(drop).map_err(EventDeliveryError::Refused)
    }

    /// Without schemas no letter is of this kind.
    #[cfg(not(feature = "schema"))]
    fn republish(&self, letter: &Arc<DeadLetter>) -> Result<(), EventDeliveryError> {
        let published = self.bus.publish(Arc::clone(letter.event()));
        published.map(drop).map_err(EventDeliveryError::Refused)
    }
}

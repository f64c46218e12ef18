//! The dead-letter queue: looking at what could not be delivered, and trying again.

use super::{Bus, EventBus};
use crate::context::correlation::without;
use crate::dispatch::dead_letter::{DeadLetter, DeadLetterInbox, DeadLetterKind};
use crate::dispatch::publish::Redelivered;
use crate::dispatch::slots::Entry;
use crate::error::{EventDeliveryError, EventHandlerError};
use crate::event::{EventPublishError, PublishErrorKind};
use crate::quiet::drop_quietly;
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
            insert(&mut kept, letter);
        }
        evict(&mut kept, inbox.limit(), &mut evicted);
        let answer = f(&mut kept);
        evict(&mut kept, inbox.limit(), &mut evicted);
        inbox.count_evicted(evicted.len() as u64);
        drop(kept);
        evicted.into_iter().for_each(drop_quietly);
        answer
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner);
        kept.drain(..).for_each(drop_quietly);
    }
}

/// Puts a letter in its place by age. Threads that fail together may leave their letters out of order.
fn insert(kept: &mut VecDeque<Arc<DeadLetter>>, letter: Arc<DeadLetter>) {
    let newer = kept.iter().rev().take_while(|other| other.id() > letter.id()).count();
    kept.insert(kept.len() - newer, letter);
}

fn evict(kept: &mut VecDeque<Arc<DeadLetter>>, limit: usize, evicted: &mut Vec<Arc<DeadLetter>>) {
    let surplus = kept.len().saturating_sub(limit);
    evicted.extend(kept.drain(..surplus));
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

    /// The letters that `pick` says yes to, oldest first.
    #[must_use]
    pub fn matching(&self, pick: impl Fn(&DeadLetter) -> bool) -> Vec<Arc<DeadLetter>> {
        // `pick` is user code: it runs on a copy, without the lock.
        self.letters().into_iter().filter(|letter| pick(letter)).collect()
    }

    /// The letter with this id.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<Arc<DeadLetter>> {
        self.with(|kept| kept.iter().find(|letter| letter.id() == id).cloned())
    }

    /// Tries a letter again. A handler's letter is handed to that subscription and to nobody else; an event
    /// that its schema refused is validated again and published; one that was dropped is published. Success takes the letter
    /// out of the queue. An asynchronous handler's letter is put in its mailbox and is out of the queue meanwhile; if it fails
    /// again, or is not delivered, there is a new letter.
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
            DeadLetterKind::Schema => self.republish(letter, true),
            // A whole event was dropped; else it was one subscription's delivery.
            DeadLetterKind::Dropped if letter.subscriber_id().is_none() => self.republish(letter, false),
            _ => self.redeliver(letter),
        }
    }

    /// Tries again all letters that `pick` says yes to, oldest first; answers for each, by id.
    pub fn redrive_all(
        &self,
        pick: impl Fn(&DeadLetter) -> bool,
    ) -> Vec<(u64, Result<(), EventDeliveryError>)> {
        self.matching(pick).into_iter().map(|letter| (letter.id(), self.redrive(letter.id()))).collect()
    }

    /// Takes out all letters that `pick` says yes to, and returns them.
    pub fn purge(&self, pick: impl Fn(&DeadLetter) -> bool) -> Vec<Arc<DeadLetter>> {
        let picked: Vec<u64> = self.matching(pick).iter().map(|letter| letter.id()).collect();
        self.with(|kept| {
            let (taken, left): (Vec<_>, Vec<_>) =
                kept.drain(..).partition(|letter| picked.binary_search(&letter.id()).is_ok());
            *kept = left.into();
            taken
        })
    }

    /// Takes in a letter that was read from a text, or was another bus's, as the newest of this queue; its new id. Where the
    /// queue is full, the oldest letter goes and is counted, as for a new one; [`Stats`](crate::Stats) counts it as made.
    /// Nobody is told of it: its failure is old.
    ///
    /// It knows its subscription by the id alone: a redrive hands it to the subscription that has this id then.
    pub fn adopt(&self, letter: DeadLetter) -> u64 {
        let (letter, evicted) = self.bus().engine.dead_letters.add(letter.without_entry());
        let id = letter.id();
        // One by one: two destructors that panic must not meet.
        drop_quietly(letter);
        drop_quietly(evicted);
        id
    }

    fn redeliver(&self, letter: Arc<DeadLetter>) -> Result<(), EventDeliveryError> {
        let id = letter.id();
        let redelivered = match self.entry_of(&letter) {
            Some(entry) => self.bus().engine.redeliver(&letter, &entry),
            None => Redelivered::Gone,
        };
        match redelivered {
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
                self.bus().engine.add_letter(again);
                Err(EventDeliveryError::Failed(error))
            }
            Redelivered::Gone => {
                let subscriber_id = letter.subscriber_id().unwrap_or_default().to_owned();
                self.put_back(letter);
                Err(EventDeliveryError::SubscriptionGone { letter: id, subscriber_id })
            }
            Redelivered::Closed => {
                let event = Arc::clone(letter.event());
                self.put_back(letter);
                let refusal = EventPublishError::new(PublishErrorKind::Closed, Some(event));
                Err(EventDeliveryError::Refused(refusal))
            }
            Redelivered::TooDeep => {
                self.put_back(letter);
                Err(EventDeliveryError::TooDeep { letter: id })
            }
        }
    }

    /// Whose letter it is; of one from elsewhere, who has the id now.
    fn entry_of(&self, letter: &DeadLetter) -> Option<Entry> {
        let by_id = |id| self.bus().registry.by_id(&self.bus().engine, id);
        letter.entry().or_else(|| by_id(letter.subscriber_id()?).map(|subscriber| subscriber.entry))
    }

    /// Returns a letter to its place by age.
    fn put_back(&self, letter: Arc<DeadLetter>) {
        self.with(|kept| insert(kept, letter));
    }

    /// An event that its schema refuses again makes a letter of its own; refused for another reason, the old
    /// letter stays.
    #[cfg_attr(not(feature = "schema"), allow(unused_variables, reason = "nothing is validated"))]
    fn republish(&self, letter: Arc<DeadLetter>, validates: bool) -> Result<(), EventDeliveryError> {
        let event = Arc::clone(letter.event());
        // It is complete as it was offered: whoever redrives it has no part in it.
        #[cfg(feature = "schema")]
        let published = without(|| match validates {
            true => self.bus.publish_required(event, true),
            false => self.bus.publish_by_default(event, true),
        });
        #[cfg(not(feature = "schema"))]
        let published = without(|| self.bus.publish_by_default(event, true));
        published.map(drop).map_err(|refusal| {
            if !matches!(refusal.kind(), PublishErrorKind::Rejected(_)) {
                self.put_back(letter);
            }
            EventDeliveryError::Refused(refusal)
        })
    }
}

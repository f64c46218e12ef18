//! Who is subscribed: the writers' side of the snapshot.
//!
//! Subscribing and unsubscribing take turns under one lock, off the publish path; publishers see only the
//! tables that are made here. No user code runs under the lock: handlers are boxed before it, and taken apart
//! after it.

use crate::dispatch::chain::Interceptors;
use crate::dispatch::chores::LOOKS_PER_CHANGE;
use crate::dispatch::engine::Engine;
#[cfg(feature = "stream")]
use crate::dispatch::feed::Feed;
use crate::dispatch::handler::{Call, Filter, Handler, RetryIf};
use crate::dispatch::latency::Histogram;
#[cfg(feature = "async")]
use crate::dispatch::mailbox::Mailbox;
use crate::dispatch::retry::Backoff;
use crate::dispatch::slots::Entry;
#[cfg(feature = "stream")]
use crate::dispatch::slots::FEED;
use crate::dispatch::subscriber::{Extras, Subscriber, Wishes};
use crate::matcher::Pattern;
use dashmap::DashMap;
use foldhash::HashMap;
use smol_str::{SmolStr, format_smolstr};
#[cfg(feature = "async")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(crate) struct Registry {
    writer: Mutex<Writer>,
    /// The live subscriptions by id. Read without the lock, changed under it.
    by_id: DashMap<SmolStr, Arc<Subscriber>>,
}

#[derive(Default)]
struct Writer {
    live: HashMap<u64, Arc<Subscriber>>,
    last_key: u64,
    next_slot: u32,
    /// How many ids of the form `subscriber_N` were given out.
    generated: u64,
    /// Of asynchronous handlers; those of ended subscriptions may still have deliveries.
    #[cfg(feature = "async")]
    mailboxes: Vec<Weak<Mailbox>>,
    /// Those that are paused too.
    #[cfg(feature = "stream")]
    feeds: Vec<Weak<Feed>>,
}

/// What a subscription begins with.
pub(crate) struct Request {
    /// `None`: `subscriber_1`, `subscriber_2`, ...
    pub(crate) id: Option<SmolStr>,
    pub(crate) patterns: Box<[Pattern]>,
    pub(crate) priority: i32,
    pub(crate) attempts_max: u32,
    pub(crate) backoff: Option<Backoff>,
    pub(crate) retry_if: Option<RetryIf>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) once: bool,
    pub(crate) filter: Option<Filter>,
    pub(crate) call: Call,
}

/// Why a subscription was not made.
pub(crate) enum Refusal {
    IdInUse(SmolStr),
    Closed,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Registry { writer: Mutex::default(), by_id: DashMap::new() }
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        // A panic under the lock could only be a failed allocation; the state is consistent at each step.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subscribes. When this returns, every publish that begins is heard.
    pub(crate) fn subscribe(&self, engine: &Engine, request: Request) -> Result<Arc<Subscriber>, Refusal> {
        // Frees slots, and runs destructors while no lock is held.
        engine.tidy(LOOKS_PER_CHANGE);
        let Request {
            id,
            patterns,
            priority,
            attempts_max,
            backoff,
            retry_if,
            time_limit,
            once,
            filter,
            call,
        } = request;
        let mut writer = self.writer();
        if !engine.table().is_open {
            return Err(Refusal::Closed);
        }
        let free = self.free_slot(engine, &mut writer);
        let id = match id {
            Some(id) if self.by_id.contains_key(&id) => {
                free.inspect(|slot| engine.grace.give_slot(*slot));
                return Err(Refusal::IdInUse(id));
            }
            Some(id) => id,
            None => self.generate_id(&mut writer),
        };
        let slot = writer.slot(free);
        writer.last_key += 1;
        let entry = engine.slots.entry(slot, writer.last_key, priority);
        let is_timed = time_limit.is_some() || engine.latencies.is_some() || engine.slow_after.is_some();
        let call = match call {
            Call::Plain(call) if is_timed || (once && attempts_max > 1) => Call::Attended(call),
            call => call,
        };
        let is_plain = matches!(call, Call::Plain(_)) && attempts_max == 1;
        let extras = (!is_plain).then(|| {
            Box::new(Extras {
                backoff,
                time_limit,
                handling: engine.latencies.is_some().then(Histogram::default),
                #[cfg(feature = "async")]
                mailbox: writer.keep_mailbox(&call),
                ..Extras::default()
            })
        });
        let wishes = Wishes { id: id.clone(), patterns, attempts_max, once, extras };
        let subscriber = Arc::new(Subscriber::new(wishes, entry, turns_of(engine, slot)));
        let handler = Handler {
            key: entry.key,
            is_guarded: filter.is_some() || once,
            call,
            filter,
            retry_if,
            subscriber: Arc::clone(&subscriber),
        };
        self.by_id.insert(id, Arc::clone(&subscriber));
        writer.move_in(engine, handler);
        Ok(subscriber)
    }

    /// Opens a feed: from now on every publish that begins puts its event in. It is no subscription to be found by its id.
    #[cfg(feature = "stream")]
    pub(crate) fn open_feed(
        &self,
        engine: &Engine,
        patterns: Box<[Pattern]>,
        feed: &Arc<Feed>,
    ) -> Result<Arc<Subscriber>, Refusal> {
        engine.tidy(LOOKS_PER_CHANGE);
        let mut writer = self.writer();
        if !engine.table().is_open {
            return Err(Refusal::Closed);
        }
        let free = self.free_slot(engine, &mut writer);
        let slot = writer.slot(free);
        writer.last_key += 1;
        let entry = engine.slots.entry(slot, writer.last_key | FEED, 0);
        let id = SmolStr::new_static("feed");
        let wishes = Wishes { id, patterns, attempts_max: 1, once: false, extras: None };
        let subscriber = Arc::new(Subscriber::new(wishes, entry, turns_of(engine, slot)));
        let handler = Handler {
            key: entry.key,
            is_guarded: false,
            call: Call::Feed(Arc::clone(feed)),
            filter: None,
            retry_if: None,
            subscriber: Arc::clone(&subscriber),
        };
        writer.move_in(engine, handler);
        writer.keep_feed(feed);
        Ok(subscriber)
    }

    /// A slot that was used before, if there is one. It is free only after its `once` subscription was announced as spent, so
    /// the order matters: a slot in hand, the spent ones are struck before anybody else moves in.
    fn free_slot(&self, engine: &Engine, writer: &mut Writer) -> Option<u32> {
        let free = engine.grace.free_slot();
        self.strike_spent(engine, writer);
        free
    }

    fn generate_id(&self, writer: &mut Writer) -> SmolStr {
        loop {
            writer.generated += 1;
            let id = format_smolstr!("subscriber_{}", writer.generated);
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// Unsubscribes; false if it was not subscribed any more.
    pub(crate) fn unsubscribe(&self, engine: &Engine, subscriber: &Subscriber) -> bool {
        let was_subscribed = {
            let mut writer = self.writer();
            self.strike_spent(engine, &mut writer);
            self.strike(engine, &mut writer, &subscriber.entry)
        };
        engine.cancel_retries(subscriber);
        engine.tidy(LOOKS_PER_CHANGE);
        was_subscribed
    }

    /// Ends all subscriptions, and drops their handlers.
    pub(crate) fn unsubscribe_all(&self, engine: &Engine) {
        {
            let mut writer = self.writer();
            let entries: Vec<Entry> = writer.live.values().map(|subscriber| subscriber.entry).collect();
            for entry in entries {
                self.strike(engine, &mut writer, &entry);
            }
        }
        engine.tidy(usize::MAX);
    }

    /// Strikes the `once` subscriptions that had their turn.
    fn strike_spent(&self, engine: &Engine, writer: &mut Writer) {
        while let Some(entry) = engine.next_spent() {
            self.strike(engine, writer, &entry);
        }
    }

    /// Takes a subscription out of the table and its handler out of its slot; false if it is not there.
    fn strike(&self, engine: &Engine, writer: &mut Writer, entry: &Entry) -> bool {
        let Some(subscriber) = writer.live.remove(&entry.key) else { return false };
        if !entry.is_feed() {
            self.by_id.remove(subscriber.id());
        }
        let table = engine.table();
        let is_live = |entry: &Entry| writer.live.contains_key(&entry.key);
        engine.set_table(table.without(entry, &subscriber.patterns, is_live));
        if let Some(taken) = engine.slots.take(entry) {
            engine.grace.begin(taken, || engine.shards());
        }
        true
    }

    /// Changes the interceptors. When this returns, every publish that begins and every event whose turns do meets them.
    pub(crate) fn intercept<R>(&self, engine: &Engine, change: impl FnOnce(&Interceptors) -> R) -> R {
        let _writer = self.writer();
        let changed = change(&engine.interceptors);
        engine.set_table(engine.table().intercepted(&engine.interceptors));
        changed
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self, engine: &Engine) {
        let _writer = self.writer();
        let table = engine.table();
        if table.is_open {
            engine.set_table(table.closed());
        }
    }

    /// The feeds that somebody may still read, be they paused.
    #[cfg(feature = "stream")]
    pub(crate) fn feeds(&self) -> Vec<Arc<Feed>> {
        self.writer().feeds.iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn by_id(&self, engine: &Engine, id: &str) -> Option<Arc<Subscriber>> {
        self.tidy(engine);
        self.by_id.get(id).map(|found| Arc::clone(&found))
    }

    /// The live subscriptions, in order of subscribing.
    pub(crate) fn subscribers(&self, engine: &Engine) -> Vec<Arc<Subscriber>> {
        self.tidy(engine);
        let live = |subscriber: &&Arc<Subscriber>| !subscriber.entry.is_feed();
        let mut subscribers: Vec<_> = self.writer().live.values().filter(live).cloned().collect();
        subscribers.sort_unstable_by_key(|subscriber| subscriber.entry.key);
        subscribers
    }

    fn tidy(&self, engine: &Engine) {
        let mut writer = self.writer();
        self.strike_spent(engine, &mut writer);
    }
}

impl Writer {
    fn slot(&mut self, free: Option<u32>) -> u32 {
        free.unwrap_or_else(|| {
            self.next_slot += 1;
            self.next_slot - 1
        })
    }

    /// Puts a handler in its slot and into the next table.
    fn move_in(&mut self, engine: &Engine, handler: Handler) {
        let subscriber = Arc::clone(&handler.subscriber);
        let entry = subscriber.entry;
        engine.slots.put(&entry, Box::new(handler));
        self.live.insert(entry.key, Arc::clone(&subscriber));
        let is_live = |entry: &Entry| self.live.contains_key(&entry.key);
        engine.set_table(engine.table().with(&subscriber.patterns, entry, is_live));
    }
}

#[cfg(feature = "async")]
impl Writer {
    fn keep_mailbox(&mut self, call: &Call) -> Option<Weak<Mailbox>> {
        let Call::Async(call) = call else { return None };
        let mailbox = Arc::downgrade(&call.mailbox);
        if self.mailboxes.len() == self.mailboxes.capacity() {
            // Before the list grows: those of ended subscriptions need not be kept.
            self.mailboxes.retain(|mailbox| mailbox.strong_count() > 0);
        }
        self.mailboxes.push(Weak::clone(&mailbox));
        Some(mailbox)
    }
}

#[cfg(feature = "stream")]
impl Writer {
    fn keep_feed(&mut self, feed: &Arc<Feed>) {
        if !feed.is_new() {
            return;
        }
        if self.feeds.len() == self.feeds.capacity() {
            // Before the list grows: those that are gone need not be kept.
            self.feeds.retain(|feed| feed.strong_count() > 0);
        }
        self.feeds.push(Arc::downgrade(feed));
    }
}

#[cfg(feature = "async")]
impl Registry {
    /// All mailboxes in which there may be something.
    pub(crate) fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.writer().mailboxes.iter().filter_map(Weak::upgrade).collect()
    }
}

/// Deliveries begun and succeeded in a slot, over all threads.
pub(crate) fn turns_of(engine: &Engine, slot: u32) -> (u64, u64) {
    engine.shards().iter().fold((0, 0), |(begun, succeeded), shard| {
        let (more_begun, more_succeeded) = shard.turns_of(slot as usize);
        (begun + more_begun, succeeded + more_succeeded)
    })
}

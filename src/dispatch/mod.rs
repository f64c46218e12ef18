//! What is done with an accepted event: who hears it, in which order, and what becomes of failures.
//!
//! In reading order:
//! - [`handler`]: what a subscriber hands in; [`subscriber`]: a subscription without its closures;
//! - [`slots`]: where handlers sit, and how they are taken apart while others look;
//! - [`table`]: the snapshot, from event to route; [`names`]: its bounded memory for names of one's own, and
//!   [`routes`], what names share of them;
//! - [`shard`] and [`local`]: what each publishing thread writes, and keeps at hand;
//! - [`look`]: looking along a route; [`deliver`]: one event along its route; [`ending`]: how a delivery ends that is not over with its turn;
//!   [`dead_letter`]: what could not be delivered, and that as text;
//! - [`intercept`] and [`attempt`]: what surrounds publishing and handling; [`chain`]: the lists of it;
//! - [`retry`]: deliveries that go on after their event's turns; [`later`], [`due`] and [`delayed`]: what waits for its time, and who does it
//!   then;
//!   [`time_limit`] and [`alarm`]: handlers and waits that take too long;
//! - [`watch`] and [`awaited`]: publishing from async code, and telling a publisher how it ended;
//! - `mailbox`, `door`, `task` and `owned` (feature `async`): asynchronous handlers; [`policy`] and [`drops`]: what is done when a
//!   queue is full;
//! - `queue`, `enqueue` and `workers` (feature `queued`): the event as a job, on its way into a lane, and out of it; `desk`:
//!   what workers are handling;
//! - `feed`, `feed_reader` and `feeding` (feature `stream`): recorded events for readers who take them when they like;
//! - [`chores`]: what has to wait until no pin is held; [`pending`]: waiting until nothing is; [`latency`]: how long it took;
//! - [`surroundings`]: what a publisher's surroundings say, put on the event;
//! - [`engine`]: the state of all that; [`publish`]: the path that runs through it.

pub(crate) mod alarm;
pub(crate) mod attempt;
pub(crate) mod awaited;
pub(crate) mod chain;
pub(crate) mod chores;
pub(crate) mod dead_letter;
pub(crate) mod delayed;
pub(crate) mod deliver;
#[cfg(feature = "queued")]
pub(crate) mod desk;
#[cfg(feature = "async")]
mod door;
pub(crate) mod drops;
pub(crate) mod due;
pub(crate) mod ending;
pub(crate) mod engine;
#[cfg(feature = "queued")]
pub(crate) mod enqueue;
#[cfg(feature = "stream")]
pub(crate) mod feed;
#[cfg(feature = "stream")]
pub(crate) mod feed_reader;
#[cfg(feature = "stream")]
pub(crate) mod feeding;
pub(crate) mod handler;
pub(crate) mod intercept;
pub(crate) mod latency;
pub(crate) mod later;
pub(crate) mod local;
pub(crate) mod look;
#[cfg(feature = "async")]
pub(crate) mod mailbox;
pub(crate) mod names;
#[cfg(feature = "async")]
pub(crate) mod owned;
pub(crate) mod pending;
pub(crate) mod policy;
pub(crate) mod publish;
#[cfg(feature = "queued")]
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod routes;
pub(crate) mod shard;
pub(crate) mod slots;
pub(crate) mod subscriber;
pub(crate) mod surroundings;
pub(crate) mod table;
#[cfg(feature = "async")]
pub(crate) mod task;
pub(crate) mod time_limit;
pub(crate) mod watch;
#[cfg(feature = "queued")]
pub(crate) mod workers;

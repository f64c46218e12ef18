//! What is done with an accepted event: who hears it, in which order, and what becomes of failures.
//!
//! In reading order:
//! - [`handler`]: what a subscriber hands in; [`subscriber`]: a subscription without its closures;
//! - [`slots`]: where handlers sit, and how they are taken apart while others look;
//! - [`table`]: the snapshot, from event to route; [`names`]: its bounded memory for names of one's own, and
//!   [`routes`], what names share of them;
//! - [`shard`] and [`local`]: what each publishing thread writes, and keeps at hand;
//! - [`deliver`]: one event along its route; [`dead_letter`]: what could not be delivered;
//! - [`retry`]: trying again later; [`alarm`]: time limits of async waits;
//! - `queue`, `enqueue` and `workers` (feature `queued`): the event as a job, on its way into a lane, and out of it;
//! - [`engine`]: the state of all that, and its upkeep; [`publish`]: the path that runs through it.

pub(crate) mod alarm;
pub(crate) mod dead_letter;
pub(crate) mod deliver;
pub(crate) mod engine;
#[cfg(feature = "queued")]
pub(crate) mod enqueue;
pub(crate) mod handler;
pub(crate) mod local;
pub(crate) mod names;
pub(crate) mod publish;
#[cfg(feature = "queued")]
pub(crate) mod queue;
pub(crate) mod retry;
pub(crate) mod routes;
pub(crate) mod shard;
pub(crate) mod slots;
pub(crate) mod subscriber;
pub(crate) mod table;
#[cfg(feature = "queued")]
pub(crate) mod workers;

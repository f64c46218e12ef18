//! What is done with an accepted event: who hears it, in which order, and what becomes of failures.
//!
//! In reading order:
//! - [`handler`]: what a subscriber hands in; [`subscriber`]: a subscription without its closures;
//! - [`slots`]: where handlers sit, and how they are taken apart while others look;
//! - [`table`]: the snapshot, from event to route; [`names`]: its bounded memory for names of one's own, and
//!   [`routes`], what names share of them;
//! - [`shard`] and [`local`]: what each publishing thread writes, and keeps at hand;
//! - [`deliver`]: one event along its route; [`dead_letter`]: what could not be delivered;
//! - [`engine`]: the state of all that, and its upkeep; [`publish`]: the path that runs through it.

pub(crate) mod dead_letter;
pub(crate) mod deliver;
pub(crate) mod engine;
pub(crate) mod handler;
pub(crate) mod local;
pub(crate) mod names;
pub(crate) mod publish;
pub(crate) mod routes;
pub(crate) mod shard;
pub(crate) mod slots;
pub(crate) mod subscriber;
pub(crate) mod table;

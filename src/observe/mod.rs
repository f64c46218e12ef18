//! What is made of a bus's events by those who only look: no publish pays for it until it is used.
//!
//! In reading order: `projection` (states that events keep up to date), `alarms` (handlers that are slow or keep failing).

mod alarms;
mod projection;

pub use alarms::{AttachedAlarms, HandlerAlarms};
pub use projection::{ByKey, EventCount, Folded, PROJECTION_KEYS_MAX, Projected, Projection, ProjectionSeed};

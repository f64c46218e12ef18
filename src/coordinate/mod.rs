//! Parts of a program that work together by events, and wait for each other.
//!
//! - `waiting`: [`EventBus::wait_for`](crate::EventBus::wait_for), for the next event of a kind;
//! - `gate`: [`Gate`] and [`KeyedGate`], for several that must all, or any of them, have been seen;
//! - `request`: a question, and the first answer to it;
//! - `mailbox`: messages that wait for one agent.

mod gate;
mod mailbox;
mod request;
mod waiting;

pub use gate::{
    ByCorrelation, GATE_KEYS_MAX, Gate, GateBuilder, GateError, GateOpened, GateState, KeyedGate, Met,
    PRECONDITIONS_MAX,
};
pub use mailbox::*;
pub use request::*;
pub use waiting::{EventWait, WaitBuilder, WaitError};

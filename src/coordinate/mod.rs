//! Parts of a program that wait for each other by events.
//!
//! - `waiting`: [`EventBus::wait_for`](crate::EventBus::wait_for), for the next event of a kind;
//! - `gate`: [`Gate`] and [`KeyedGate`], for several that must all, or any of them, have been seen.

mod gate;
mod waiting;

pub use gate::{
    ByCorrelation, GATE_KEYS_MAX, Gate, GateBuilder, GateError, GateOpened, GateState, KeyedGate, Met,
    PRECONDITIONS_MAX,
};
pub use waiting::{EventWait, WaitBuilder, WaitError};

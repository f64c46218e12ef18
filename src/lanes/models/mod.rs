//! Every interleaving of small cases, tried by `loom`: `cargo models` runs them and nothing else does.
//!
//! What a model sees are our own atomics, and parking. The queues are a stand-in (`sync/stand_in.rs`). A `Signal` is
//! not taken apart: raising one, or looking at it, is one step here. So a wait for room is modelled up to the signal,
//! and the sleep of the waiting thread is not.
//!
//! A model without a bound is tried in full; the others bound how often a thread is interrupted where it could have
//! gone on, and say how often. What each would catch stands above it.

mod lanes;
mod sleepers;

/// Tries `model` in every interleaving with at most `interruptions`, or in every one.
fn check(interruptions: Option<usize>, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.check(model);
}

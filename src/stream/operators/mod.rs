//! Operators for streams.

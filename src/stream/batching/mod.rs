//! `BatchingStream`: events by the batch.

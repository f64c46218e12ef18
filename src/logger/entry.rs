//! What is told of one event.

use super::records::{Record, is_error};
use crate::event::Event;
use crate::sync::Ordering;
use std::sync::Arc;
use std::time::Duration;

/// One event of the log, as it stood when it was asked for: handlers that run later are not in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EventLogEntry {
    sequence: u64,
    event: Arc<Event>,
    handler_count: u64,
    attempts: u64,
    failures: u64,
    processing_time: Duration,
    error: Option<String>,
}

impl EventLogEntry {
    pub(super) fn of(record: &Record) -> Self {
        EventLogEntry {
            sequence: record.sequence,
            event: Arc::clone(&record.event),
            handler_count: record.handlers.load(Ordering::Relaxed),
            attempts: record.attempts.load(Ordering::Relaxed),
            failures: record.failures.load(Ordering::Relaxed),
            processing_time: Duration::from_nanos(record.took_ns.load(Ordering::Relaxed)),
            error: record.error.get().cloned(),
        }
    }

    /// The publication's number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The event: its id, type, priority, time, source, data, metadata and correlation id.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    /// How many deliveries were tried: subscriptions whose turn came and whose filter said yes, and redrives. One whose
    /// first attempt an interceptor denied that was installed before the logger is not among them.
    #[must_use]
    pub fn handler_count(&self) -> u64 {
        self.handler_count
    }

    /// How often handlers were tried, retries included.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// How many of the attempts failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures
    }

    /// How long handlers took, all attempts added up.
    #[must_use]
    pub fn processing_time(&self) -> Duration {
        self.processing_time
    }

    /// The first error of a handler, at most 1 KiB of it.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether an attempt failed, or the event tells of an error by its type: the last part of its name is `error` or
    /// `failed`.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.failures > 0 || is_error(&self.event)
    }
}

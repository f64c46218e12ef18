//! What a bus kept, as lines: its history and its dead letters.

use super::lines::LINE_BYTES_MAX;
use crate::bus::{DeadLetterQueue, EventHistory, HistoryQuery, Recorded};
use crate::dispatch::dead_letter::DeadLetter;
use crate::event::PayloadError;
use crate::matcher::PatternError;
use std::sync::Arc;
use std::vec;
use thiserror::Error;

/// An event or a letter that is no line. Those after it are exported all the same.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Its payload is a Rust value and cannot become JSON.
    #[error("{number}: {cause}")]
    Payload {
        /// The event's sequence number, or the letter's id.
        number: u64,
        /// Why.
        cause: PayloadError,
    },
    /// As a line it would be longer than a reader of lines takes.
    #[error("{number}: {bytes} bytes: a line has at most {LINE_BYTES_MAX}")]
    TooLong {
        /// The event's sequence number, or the letter's id.
        number: u64,
        /// How long it would be.
        bytes: usize,
    },
}

/// A history as lines. Made by [`EventHistory::export`] and [`HistoryQuery::export`].
#[derive(Clone, Debug)]
pub struct HistoryExport(vec::IntoIter<Recorded>);

/// Dead letters as lines. Made by [`DeadLetterQueue::export`].
#[derive(Clone, Debug)]
pub struct LetterExport(vec::IntoIter<Arc<DeadLetter>>);

impl EventHistory<'_> {
    /// What the history holds now as NDJSON, oldest first: each event with its `sequence`, each line with its line feed.
    /// The lines are made as they are taken.
    ///
    /// A [`Replay`](super::Replay) reads it back, onto any bus. A bus numbers what it accepts itself, from 1, so an event keeps
    /// its number only where the history is complete and the other bus is new; the old number is in the mark that a replay
    /// makes.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus, Replay};
    ///
    /// let bus = EventBus::new();
    /// bus.publish(Event::builder("order.placed", "shop").build()?)?;
    /// let text: String = bus.history().export().collect::<Result<_, _>>()?;
    ///
    /// let restored = EventBus::new();
    /// Replay::onto(&restored).unmarked().ndjson(&text);
    /// assert_eq!(restored.history().export().collect::<Result<String, _>>()?, text);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn export(&self) -> HistoryExport {
        // A query without a glob has nothing to fail.
        self.query().export().unwrap_or_else(|_| HistoryExport(Vec::new().into_iter()))
    }
}

impl HistoryQuery<'_> {
    /// The events that were asked for as NDJSON, oldest first whatever the question, each line with its line feed.
    ///
    /// # Errors
    /// A glob that is no pattern.
    pub fn export(self) -> Result<HistoryExport, PatternError> {
        let mut events = self.events()?;
        events.sort_unstable_by_key(Recorded::sequence);
        Ok(HistoryExport(events.into_iter()))
    }
}

impl DeadLetterQueue<'_> {
    /// The letters that are kept now as NDJSON, oldest first, each line with its line feed: a line is a
    /// [letter's JSON](DeadLetter::to_json). They stay in the queue. [`import`](Self::import) reads them back.
    #[must_use]
    pub fn export(&self) -> LetterExport {
        LetterExport(self.letters().into_iter())
    }
}

impl Iterator for HistoryExport {
    type Item = Result<String, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let recorded = self.0.next()?;
        let mut line = String::new();
        let written = recorded.event().write_json_with_sequence(recorded.sequence(), &mut line);
        Some(finished(recorded.sequence(), written.map(|()| line)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl Iterator for LetterExport {
    type Item = Result<String, ExportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let letter = self.0.next()?;
        Some(finished(letter.id(), letter.to_json()))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

fn finished(number: u64, line: Result<String, PayloadError>) -> Result<String, ExportError> {
    let mut line = line.map_err(|cause| ExportError::Payload { number, cause })?;
    if line.len() > LINE_BYTES_MAX {
        return Err(ExportError::TooLong { number, bytes: line.len() });
    }
    line.push('\n');
    Ok(line)
}

//! What the tests of streams of batches share: events with numbers, and a handler that writes them down.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use codomyrmex_events::{Batch, BatchTrigger, Event};
use serde_json::json;
use std::sync::{Arc, Mutex};

pub(crate) fn numbered(number: u64) -> Event {
    Event::builder("metric.update", "test").data(json!(number)).build().unwrap()
}

pub(crate) fn number_of(event: &Event) -> u64 {
    event.data().value().unwrap().as_u64().unwrap()
}

/// A batch that was handled: the numbers of its events, and what made it go.
pub(crate) type Noted = (Vec<u64>, BatchTrigger);

/// Writes down the batches that it is handed.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Noted>>>);

impl Seen {
    pub(crate) fn note(&self, batch: &Batch) {
        let numbers = batch.iter().map(|event| number_of(event)).collect();
        self.0.lock().unwrap().push((numbers, batch.trigger()));
    }

    pub(crate) fn handler(&self) -> impl Fn(&Batch) + Send + Sync + 'static {
        let seen = self.clone();
        move |batch| seen.note(batch)
    }

    pub(crate) fn taken(&self) -> Vec<Noted> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.taken().into_iter().flat_map(|(numbers, _)| numbers).collect()
    }
}

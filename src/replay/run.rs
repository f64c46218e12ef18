//! Replaying everything that a source holds.

use super::lines::{Item, is_torn, read};
use super::stop::give_way;
use super::{Replay, ReplayEnding, ReplayReport, Replayed};
use crate::bus::{EventBus, Recorded};
use crate::event::{EventPublishError, PublishErrorKind};
use std::sync::Arc;

/// After how many events an async run lets other tasks have a turn: inline, publishing alone never waits.
const GIVE_WAY_EVERY: u64 = 32;

impl Replay {
    /// Replays what a bus's history holds when this is called, oldest first. That may be the history of this replay's
    /// own bus: what is published meanwhile, the replayed events too, is not replayed again; and what it overwrites is
    /// replayed all the same. The events are held meanwhile, as `Arc`s.
    pub fn history(&mut self, source: &EventBus) -> ReplayReport {
        self.events(kept(source))
    }

    /// [`history`](Self::history) for async code.
    pub async fn history_async(&mut self, source: &EventBus) -> ReplayReport {
        self.events_async(kept(source)).await
    }

    /// Replays recorded events, in the order given: what a [query](crate::EventHistory::query) answered, say.
    pub fn events(&mut self, events: impl IntoIterator<Item = Recorded>) -> ReplayReport {
        self.report.ending = ReplayEnding::Open;
        for recorded in events {
            let replayed = self.play(item_of(&recorded));
            if self.is_over(&replayed) {
                return self.report.clone();
            }
        }
        self.complete()
    }

    /// [`events`](Self::events) for async code. Dropped, it leaves the exact [report](Replay::report) behind.
    pub async fn events_async(&mut self, events: impl IntoIterator<Item = Recorded>) -> ReplayReport {
        self.report.ending = ReplayEnding::Open;
        for recorded in events {
            let replayed = self.play_async(item_of(&recorded)).await;
            if self.is_over(&replayed) {
                return self.report.clone();
            }
            self.give_way().await;
        }
        self.complete()
    }

    /// Replays the lines of a text in memory. A line that is no event is reported with its number, and the next is
    /// read.
    pub fn ndjson(&mut self, text: impl AsRef<[u8]>) -> ReplayReport {
        self.lines(text.as_ref().split_inclusive(|byte| *byte == b'\n'))
    }

    /// [`ndjson`](Self::ndjson) for async code.
    pub async fn ndjson_async(&mut self, text: impl AsRef<[u8]>) -> ReplayReport {
        self.lines_async(text.as_ref().split_inclusive(|byte| *byte == b'\n')).await
    }

    /// Replays lines, with or without their endings, numbered from 1. For a reader, such as
    /// `std::io::BufRead::split(b'\n')`, whose lines can fail, call [`line`](Replay::line) in a loop of your own.
    pub fn lines<L: AsRef<[u8]>>(&mut self, lines: impl IntoIterator<Item = L>) -> ReplayReport {
        (self.report.ending, self.line) = (ReplayEnding::Open, 0);
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            self.line += 1;
            match read(self.line, line.as_ref()) {
                Ok(None) => {}
                Ok(Some(item)) => {
                    let replayed = self.play(item);
                    if self.is_over(&replayed) {
                        return self.report.clone();
                    }
                }
                Err(error) => drop(self.malformed(error.torn(is_torn(line.as_ref(), &mut lines)))),
            }
        }
        self.complete()
    }

    /// [`lines`](Self::lines) for async code. Dropped, it leaves the exact [report](Replay::report) behind.
    pub async fn lines_async<L: AsRef<[u8]>>(&mut self, lines: impl IntoIterator<Item = L>) -> ReplayReport {
        (self.report.ending, self.line) = (ReplayEnding::Open, 0);
        let mut lines = lines.into_iter().peekable();
        while let Some(line) = lines.next() {
            self.line += 1;
            match read(self.line, line.as_ref()) {
                Ok(None) => {}
                Ok(Some(item)) => {
                    let replayed = self.play_async(item).await;
                    if self.is_over(&replayed) {
                        return self.report.clone();
                    }
                }
                Err(error) => drop(self.malformed(error.torn(is_torn(line.as_ref(), &mut lines)))),
            }
            self.give_way().await;
        }
        self.complete()
    }

    async fn give_way(&self) {
        if self.report.read.is_multiple_of(GIVE_WAY_EVERY) {
            give_way().await;
        }
    }

    /// Whether that was the last event of the run, and why.
    fn is_over(&mut self, replayed: &Result<Replayed, EventPublishError>) -> bool {
        self.report.ending = match replayed {
            Ok(Replayed::Stopped) => ReplayEnding::Stopped,
            Err(error) if matches!(error.kind(), PublishErrorKind::Closed) => ReplayEnding::Closed,
            _ => return false,
        };
        true
    }

    fn complete(&mut self) -> ReplayReport {
        self.report.ending = ReplayEnding::Complete;
        self.report.clone()
    }
}

fn item_of(recorded: &Recorded) -> Item {
    Item { line: None, sequence: Some(recorded.sequence()), event: Arc::clone(recorded.event()) }
}

/// Everything that the history holds, oldest first.
fn kept(source: &EventBus) -> Vec<Recorded> {
    // A query without a glob has nothing to fail.
    source.history().query().since(0).events().unwrap_or_default()
}

//! The way of one event through a replay: is it asked for, when is it due, does the bus take it.

use super::lines::{Item, LineError};
use super::{Refusal, Replay, ReplayError, Replayed};
use crate::bus::Published;
use crate::context::correlation::{unscoped, without};
use crate::event::{Event, EventPublishError};

impl Replay {
    pub(super) fn play(&mut self, item: Item) -> Result<Replayed, EventPublishError> {
        let item = match self.prepare(item) {
            Ok(item) => item,
            Err(replayed) => return Ok(replayed),
        };
        let wait = self.pace.wait(item.event.timestamp(), self.bus.clock().now());
        if !wait.is_zero() {
            self.stop.wait(&self.bus, wait);
            if self.stop.is_stopped() {
                return Ok(Replayed::Stopped);
            }
        }
        let published = without(|| self.bus.publish(item.event));
        self.conclude(published, item.line, item.sequence)
    }

    pub(super) async fn play_async(&mut self, item: Item) -> Result<Replayed, EventPublishError> {
        let item = match self.prepare(item) {
            Ok(item) => item,
            Err(replayed) => return Ok(replayed),
        };
        let wait = self.pace.wait(item.event.timestamp(), self.bus.clock().now());
        if !wait.is_zero() {
            self.stop.wait_async(&self.bus, wait).await;
            if self.stop.is_stopped() {
                return Ok(Replayed::Stopped);
            }
        }
        let published = unscoped(self.bus.publish_async(item.event)).await;
        self.conclude(published, item.line, item.sequence)
    }

    /// The event as it will be published, unless it will not be.
    fn prepare(&mut self, mut item: Item) -> Result<Item, Replayed> {
        if self.stop.is_stopped() {
            return Err(Replayed::Stopped);
        }
        if !self.choice.is_met_by(item.sequence, &item.event) {
            self.report.read += 1;
            self.report.skipped += 1;
            return Err(Replayed::Skipped);
        }
        if !self.is_unmarked {
            Event::mark_replayed(&mut item.event, item.sequence);
        }
        Ok(item)
    }

    fn conclude(
        &mut self,
        published: Result<Published, EventPublishError>,
        line: Option<u64>,
        sequence: Option<u64>,
    ) -> Result<Replayed, EventPublishError> {
        match published {
            Ok(published) => {
                self.report.read += 1;
                self.report.published += 1;
                Ok(Replayed::Published(published))
            }
            Err(error) => {
                self.report.refused(|| Refusal { line, sequence, error: error.clone() });
                Err(error)
            }
        }
    }

    pub(super) fn malformed(&mut self, error: LineError) -> ReplayError {
        self.report.malformed(&error);
        error.into()
    }
}

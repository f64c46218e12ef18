//! [`TracingBridge`]: a bus's events in the program's log.
//!
//! It formats nothing unless somebody takes the level, passes texts on as fields and never as part of the message, and
//! leaves out the payload's end when it is long. What it calls, the `tracing` subscriber, is the program's: it may publish,
//! and so it is called as from the deepest handler that there may be.

use crate::bus::{EventBus, IntoPatterns, Subscription};
use crate::context;
use crate::dispatch::handler::Delivery;
use crate::dispatch::publish::NESTED_PUBLISHES_MAX;
use crate::error::EventSubscriptionError;
use crate::event::EventPriority;
use crate::text::{Printable, push_printable_json};

/// Writes events to `tracing`. See [`attach`](Self::attach).
#[derive(Clone, Copy, Debug)]
pub struct TracingBridge(());

impl TracingBridge {
    /// How much of a payload is written, in bytes of JSON.
    pub const DATA_BYTES_MAX: usize = 1_024;

    /// The target of what is written, for filters.
    pub const TARGET: &'static str = "codomyrmex_events::event";

    /// From now on each event that matches is written to `tracing`, on the thread that delivers it: at level error if its
    /// priority is critical or error, warn if warning, info if normal or info, and debug if debug or monitoring. The message
    /// is `event`; the fields are `event_type`, `source`, `event_id`, `sequence`, `correlation_id` if there is one, and `data`,
    /// the payload as compact JSON, cut after [`DATA_BYTES_MAX`](Self::DATA_BYTES_MAX). Characters that could end a line,
    /// move a cursor or turn the writing around are escaped, whatever writes the log.
    ///
    /// It is a subscription like any other: it ends with [`unsubscribe`](Subscription::unsubscribe), and dropping the handle
    /// changes nothing. Its priority is the lowest, so that what handlers log comes first.
    ///
    /// A `tracing` layer that publishes cannot make it feed itself: while it writes, whatever is published on that
    /// thread, on any bus, is refused as [nested too deep](crate::PublishErrorKind::TooDeep), of queued buses too. A layer
    /// that hands what it hears to another thread, which publishes, has to pass over the [`TARGET`](Self::TARGET).
    ///
    /// ```
    /// use codomyrmex_events::{EventBus, TracingBridge};
    ///
    /// let bus = EventBus::new();
    /// let logged = TracingBridge::attach(&bus, ["*.error", "alert.*"])?;
    /// // As long as it is wanted:
    /// logged.unsubscribe();
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    ///
    /// # Errors
    /// As [`SubscriptionBuilder::handler`](crate::SubscriptionBuilder::handler).
    pub fn attach(
        bus: &EventBus,
        patterns: impl IntoPatterns,
    ) -> Result<Subscription, EventSubscriptionError> {
        let write = |delivery: &Delivery<'_>| context::at_depth(NESTED_PUBLISHES_MAX, || write(delivery));
        bus.subscribe(patterns).priority(i32::MIN).handler(write)
    }
}

fn write(delivery: &Delivery<'_>) {
    macro_rules! write_at {
        ($level:ident) => {
            tracing::event!(
                target: TracingBridge::TARGET,
                tracing::Level::$level,
                event_type = %Printable(delivery.event_type().as_str()),
                source = %Printable(delivery.source()),
                event_id = %Printable(&delivery.event_id().to_string()),
                sequence = delivery.sequence(),
                correlation_id = delivery.correlation_id().map(|id| tracing::field::display(Printable(id))),
                data = %data(delivery),
                "event"
            )
        };
    }
    match delivery.priority() {
        EventPriority::Critical | EventPriority::Error => write_at!(ERROR),
        EventPriority::Warning => write_at!(WARN),
        EventPriority::Normal | EventPriority::Info => write_at!(INFO),
        EventPriority::Debug | EventPriority::Monitoring => write_at!(DEBUG),
    }
}

/// The payload as one line, or why it is none.
fn data(delivery: &Delivery<'_>) -> String {
    let told;
    let whole = match delivery.data().json() {
        Ok(json) => json,
        Err(error) => {
            told = error.to_string();
            &told
        }
    };
    let cut = whole.floor_char_boundary(TracingBridge::DATA_BYTES_MAX);
    let mut data = String::with_capacity(cut);
    push_printable_json(&whole[..cut], &mut data);
    if cut < whole.len() {
        data.push('…');
    }
    data
}

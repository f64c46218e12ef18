//! Who would hear an event, and why: a look along its route, which delivers and counts nothing.
//!
//! `text`: an explanation to be read.

mod text;

use super::EventBus;
use super::counts::SubscriberStats;
use crate::dispatch::look::Looked;
use crate::dispatch::slots::parted;
use crate::event::{Event, EventType};
use crate::ids::InvalidText;
use crate::matcher::Pattern;
use serde::Serialize;

/// Who would hear an event of one type now. Made by [`EventBus::explain`] and [`EventBus::explain_event`].
///
/// `Display` is a text for people, one line for each hearer, fit for a terminal; it serialises to an object with these
/// fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The type.
    pub event_type: String,
    /// Whether it is one of the 53 standard types.
    pub is_standard: bool,
    /// Whether a schema is registered for it.
    pub has_schema: bool,
    /// How many of it were published. Names of one's own are counted while the bus remembers them (16,384 names).
    pub published: u64,
    /// The feeds that take it as soon as it is recorded, before any turn; streams read them.
    pub feeds: Vec<HearingFeed>,
    /// The subscriptions that hear it, in the order of their turns.
    pub subscriptions: Vec<HearingSubscription>,
}

/// A feed that would take an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HearingFeed {
    /// Those of its globs that match the type, in the order given; at least one.
    pub globs: Vec<String>,
}

/// A subscription that would hear an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HearingSubscription {
    /// Its id.
    pub subscriber_id: String,
    /// Higher ones take their turn first; equal ones in the order of subscribing.
    pub priority: i32,
    /// Those of its globs that match the type, in the order given; at least one, and the first would do.
    pub globs: Vec<String>,
    /// Whether a filter is asked in its turn.
    pub has_filter: bool,
    /// What the filter says of the event that was explained: a filter that panics says no. `None` if there is no filter or a
    /// type was explained, and inside 64 filters that explain events.
    pub filter_says: Option<bool>,
    /// Whether its handler is asynchronous.
    pub is_async: bool,
    /// Whether it hears one event and ends.
    pub is_once: bool,
    /// How often a failing handler is tried.
    pub attempts_max: u32,
    /// What became of its deliveries, of whatever type, and, on a bus that measures, how long its attempts took.
    pub stats: SubscriberStats,
}

impl EventBus {
    /// Who would hear an event of this type if it were published now: in which order, by which globs, and how each has fared so
    /// far. Filters cannot be asked without an event: see [`explain_event`](Self::explain_event). For subscriptions that
    /// heard nothing of what there was, see [`unmatched_subscriptions`](Self::unmatched_subscriptions).
    ///
    /// It looks at each subscription that matches and costs publishers nothing. A bus that was shut down still tells who is
    /// subscribed.
    ///
    /// ```
    /// use codomyrmex_events::EventBus;
    ///
    /// let bus = EventBus::new();
    /// bus.subscribe(["*.error", "order.*"]).subscriber_id("pager").priority(10).handler(|_| ())?;
    /// bus.subscribe("*").filter(|event| event.source() == "ci").handler(|_| ())?;
    /// let explanation = bus.explain("order.placed")?;
    /// assert_eq!(explanation.subscriptions[0].globs, ["order.*"]);
    /// print!("{explanation}");
    /// # assert_eq!(explanation.to_string(), "\
    /// # order.placed: name of one's own, 0 published, heard by 2 subscriptions
    /// #   pager, priority 10, by order.*: no delivery yet
    /// #   subscriber_1, priority 0, by *, with a filter: no delivery yet
    /// # ");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// A text that no event can have as its type.
    pub fn explain(
        &self,
        event_type: impl TryInto<EventType, Error: Into<InvalidText>>,
    ) -> Result<Explanation, InvalidText> {
        let event_type = event_type.try_into().map_err(Into::into)?;
        Ok(self.explanation(&event_type, None))
    }

    /// The same of an event, and what the filters say of it: they are asked here as they are in their turns. It is neither
    /// published nor counted.
    #[must_use]
    pub fn explain_event(&self, event: &Event) -> Explanation {
        self.explanation(event.event_type(), Some(event))
    }

    fn explanation(&self, event_type: &EventType, event: Option<&Event>) -> Explanation {
        let route = self.route_to(event_type);
        let (feeds, turns) = parted(&route);
        let globs = |patterns: &[Pattern]| -> Vec<String> {
            let matching = patterns.iter().filter(|pattern| pattern.matches(event_type.as_str()));
            matching.map(Pattern::to_string).collect()
        };
        let feeds = self.bus.engine.ask_along(feeds, None).into_iter();
        let subscriptions = self.bus.engine.ask_along(turns, event).into_iter();
        Explanation {
            event_type: event_type.as_str().to_owned(),
            is_standard: event_type.is_standard(),
            #[cfg(feature = "schema")]
            has_schema: self.bus.schema.has_schema(event_type),
            #[cfg(not(feature = "schema"))]
            has_schema: false,
            published: self.published(event_type),
            feeds: feeds.map(|feed| HearingFeed { globs: globs(&feed.subscriber.patterns) }).collect(),
            subscriptions: subscriptions
                .map(|Looked { subscriber, is_async, has_filter, filter_says }| HearingSubscription {
                    subscriber_id: subscriber.id().to_owned(),
                    priority: subscriber.entry.priority,
                    globs: globs(&subscriber.patterns),
                    has_filter,
                    filter_says,
                    is_async,
                    is_once: subscriber.is_once(),
                    attempts_max: subscriber.attempts_max,
                    stats: self.stats_of(&subscriber),
                })
                .collect(),
        }
    }
}

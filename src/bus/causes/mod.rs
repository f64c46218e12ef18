//! [`CausalTree`]: which event was published in answer to which.
//!
//! It is made of whatever events it is given, in any order, and loses none of them: an event whose cause is not among
//! them is a root that says so, and a circle of causes is cut where it is oldest. Events and ids are the publishers', so
//! nothing here recurses and everything is linear, however deep or odd the causes are.
//!
//! In reading order: here, the tree and its nodes; `build`: who is below whom; `show`: as text and as JSON.

mod build;
mod show;

use super::{EventHistory, Recorded};
use crate::event::Event;
use std::fmt;
use std::sync::Arc;

/// Events, each below the event that caused it. Made by [`EventHistory::trace`], or of any events by
/// [`of`](Self::of).
///
/// The nodes are in the order in which the tree is read from top to bottom: after each node all that is below it, what
/// has the same cause in order of sequence. `Display` draws it, one line a node, fit for a terminal; it serialises to JSON
/// without nesting: `{"events": 2, "roots": 1, "nodes": [{"sequence": 1, "depth": 0, "parent": null, "cause": "none", "event":
/// {...}}, ...]}`, where `parent` is an index into `nodes`.
///
/// ```
/// use codomyrmex_events::{Cause, Event, EventBus};
///
/// let bus = EventBus::new();
/// bus.subscribe("order.placed").handler(|order| {
///     let event = Event::builder("payment.requested", "billing").build()?;
///     order.bus().publish(event).map(drop)
/// })?;
/// bus.publish(Event::builder("order.placed", "shop").correlation_id("order-17").build()?)?;
///
/// let tree = bus.history().trace("order-17");
/// let [order, payment] = tree.nodes() else { panic!("there are two") };
/// assert_eq!((order.cause(), order.depth()), (Cause::None, 0));
/// assert_eq!((payment.cause(), payment.parent()), (Cause::Parent, Some(0)));
/// println!("{tree}");
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CausalTree {
    nodes: Vec<CausalNode>,
}

/// One event of a [`CausalTree`]. Dereferences to the [`Event`].
#[derive(Clone, Debug)]
pub struct CausalNode {
    recorded: Recorded,
    cause: Cause,
    depth: usize,
    parent: Option<usize>,
    /// The index after the last node below this one.
    end: usize,
}

/// What a [`CausalTree`] knows of an event's cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It names none: something began here.
    None,
    /// The node above. Of several publications of that event, replayed ones say, the last one before this; if all came
    /// later, the first.
    Parent,
    /// It names an event that is not in the tree: overwritten, never kept, or of another exchange.
    Unknown,
    /// The chain of its causes leads back to itself. Of such a circle the event with the lowest sequence is the root.
    Circular,
}

impl CausalTree {
    /// The tree of these events, each with its sequence number, or another number that puts them in order.
    pub fn of<E: Into<Arc<Event>>>(events: impl IntoIterator<Item = (u64, E)>) -> Self {
        let recorded = events.into_iter().map(|(sequence, event)| Recorded { sequence, event: event.into() });
        CausalTree { nodes: build::nodes(recorded.collect()) }
    }

    /// All nodes, from top to bottom.
    #[must_use]
    pub fn nodes(&self) -> &[CausalNode] {
        &self.nodes
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The nodes that are below no other, in order of sequence.
    pub fn roots(&self) -> impl Iterator<Item = &CausalNode> {
        self.siblings(0, self.nodes.len())
    }

    /// The nodes directly below the one at `index`, in order of sequence; none if there is no such node.
    pub fn children(&self, index: usize) -> impl Iterator<Item = &CausalNode> {
        let end = self.nodes.get(index).map_or(0, |node| node.end);
        self.siblings(index.saturating_add(1), end)
    }

    /// The nodes side by side from `start` on, before `end`.
    fn siblings(&self, start: usize, end: usize) -> impl Iterator<Item = &CausalNode> {
        let mut next = start;
        std::iter::from_fn(move || {
            let node = self.nodes.get(next).filter(|_| next < end)?;
            next = node.end;
            Some(node)
        })
    }
}

impl CausalNode {
    /// The number of the publication.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.recorded.sequence
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        &self.recorded.event
    }

    /// What is known of its cause.
    #[must_use]
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// How many nodes are above it.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// The index of the node above, its cause.
    #[must_use]
    pub fn parent(&self) -> Option<usize> {
        self.parent
    }
}

impl std::ops::Deref for CausalNode {
    type Target = Event;

    fn deref(&self) -> &Event {
        &self.recorded.event
    }
}

impl Cause {
    /// The word for it in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::None => "none",
            Cause::Parent => "parent",
            Cause::Unknown => "unknown",
            Cause::Circular => "circular",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl EventHistory<'_> {
    /// The events with this correlation id that are kept, each below the one that caused it. The causes are there if the
    /// exchange has one id, as it has if nobody gives another: what a handler publishes carries the handled event's.
    #[must_use]
    pub fn trace(&self, correlation_id: impl AsRef<str>) -> CausalTree {
        let exchange = self.query().correlation_id(correlation_id).since(0).recorded(None);
        CausalTree { nodes: build::nodes(exchange) }
    }
}

//! [`CorrelationLayer`]: the correlation ids of `tracing` spans, for what is published within them.
//!
//! The layer keeps with each span what it says, or inherits, and tells the thread that enters one (`context/spans.rs`). The
//! publisher reads it there. So a span that is entered again at each poll of a future takes its id along from thread to
//! thread. In `value`: the id in whatever a field was given. It never opens a span, and changes nothing that others see.

mod value;

use crate::context::{self, SpanCorrelation};
use crate::quiet::log;
use crate::sync::{AtomicU64, Ordering};
use std::fmt;
use std::sync::Arc;
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, debug};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::{LookupSpan, SpanRef};
use value::Given;

/// The field's name.
const FIELD: &str = "correlation_id";

/// A `tracing` layer by which events get the correlation id of the span that they are published in.
///
/// Install it once and for good, on a registry, with whatever other layers there are: taken away while spans are entered, it
/// would not hear that they are left. Then an event that has no correlation id, and is
/// published where no [scope](crate::correlation) is in force, carries the `correlation_id` of the current span. A span
/// without one inherits that of its parent, entered or not, so it goes along with `#[instrument]`, `Instrument` and explicit
/// parents, across `.await` and into spawned tasks that are instrumented. An id that is recorded later holds from then on, for
/// the spans within too. [`correlation::current`](crate::correlation::current) knows of it.
///
/// Inside a handler the handled event's id is in force, whatever spans its publisher was in. If it has none, spans count that
/// the handler enters itself.
///
/// The field may be of any type: what counts is its text, of a string that is recorded with `Debug` what is between the
/// quotes, and of an `Option` what is in it. A text that is no
/// [`CorrelationId`](crate::CorrelationId) (empty, over 256 bytes, with control characters) is ignored, and said so at level
/// debug when the span is entered. Spans that a filter keeps from this layer have no part in it.
///
/// ```
/// use codomyrmex_events::{CorrelationLayer, Event, EventBus};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// // In a program: `tracing_subscriber::registry().with(CorrelationLayer::new()).init()`, say.
/// let subscriber = tracing_subscriber::registry().with(CorrelationLayer::new());
/// tracing::subscriber::with_default(subscriber, || {
///     let bus = EventBus::new();
///     let request = tracing::info_span!("request", correlation_id = "req-17");
///     request.in_scope(|| bus.publish(Event::builder("order.placed", "shop").build()?))?;
///     assert_eq!(bus.history().latest(1)[0].correlation_id().unwrap(), &"req-17");
///     Ok::<(), codomyrmex_events::EventError>(())
/// })?;
/// # Ok::<(), codomyrmex_events::EventError>(())
/// ```
pub struct CorrelationLayer {
    /// Spans of two subscribers may be called the same; threads know them by this too.
    key: u64,
}

/// What the layer keeps with a span.
struct Kept(Arc<SpanCorrelation>);

impl CorrelationLayer {
    /// The layer.
    #[must_use]
    pub fn new() -> Self {
        static KEYS: AtomicU64 = AtomicU64::new(1);
        CorrelationLayer { key: KEYS.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Default for CorrelationLayer {
    fn default() -> Self {
        CorrelationLayer::new()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CorrelationLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let around = span.parent().and_then(|parent| kept(&parent));
        let correlation = if attributes.metadata().fields().field(FIELD).is_some() {
            // The fields' `Debug` is other people's code, and no lock of the registry is held here.
            let given = Given::read(|visitor| attributes.record(visitor));
            // With an id of its own it needs nobody else's, ever.
            let around = around.filter(|_| !matches!(given, Given::Id(_)));
            let correlation = SpanCorrelation::within(around);
            put(given, &correlation);
            Some(Arc::new(correlation))
        } else {
            around
        };
        if let Some(correlation) = correlation {
            span.extensions_mut().replace(Kept(correlation));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(correlation) = context.span(id).and_then(|span| kept(&span)) {
            // Of a span without such a field this is a parent's; but then it has no value for it either.
            put(Given::read(|visitor| values.record(visitor)), &correlation);
        }
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        let correlation = context.span(id).and_then(|span| kept(&span));
        let is_refused = correlation.as_ref().is_some_and(|correlation| correlation.take_refused());
        context::entered_span((self.key, id.into_u64()), correlation);
        if is_refused {
            // Not said when the span is made: filters of other layers are in the middle of their decision then.
            log(|| debug!("a span's correlation_id is none: 1 to 256 bytes and no control characters"));
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        context::left_span((self.key, id.into_u64()));
    }
}

fn kept<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Arc<SpanCorrelation>> {
    span.extensions().get::<Kept>().map(|Kept(correlation)| Arc::clone(correlation))
}

fn put(given: Given, correlation: &SpanCorrelation) {
    match given {
        Given::Nothing => {}
        Given::Id(id) => correlation.set(id),
        Given::Unusable => correlation.refuse(),
    }
}

impl fmt::Debug for CorrelationLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CorrelationLayer")
    }
}

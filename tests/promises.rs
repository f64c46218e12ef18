//! What the compiler is to hold of the public types: which may be sent to another thread, shared with it, kept.
//! A failure is one of compilation.

use codomyrmex_events as events;
use codomyrmex_events::{CorrelationId, Delivery, Event, EventBus, EventTypeInfo, Stats, Subscription};
use std::error::Error;
use std::fmt::{Debug, Display};
use std::time::Duration;

/// May be sent to any thread, shared with any, and kept as long as one likes.
fn is_free<T: Send + Sync + 'static>() {}

/// The same of a value that borrows.
fn is_shared<T: Send + Sync>() {}

/// Fit for `Box<dyn Error + Send + Sync>`, and so for `?` in anybody's function.
fn is_error<T: Error + Debug + Display + Send + Sync + 'static>() {}

#[test]
fn handles_go_anywhere() {
    is_free::<EventBus>();
    is_free::<events::WeakEventBus>();
    is_free::<events::EventBusBuilder>();
    is_free::<Subscription>();
    is_free::<events::ScopedSubscription>();
    is_free::<events::InterceptorHandle>();
    is_free::<events::ScopedInterceptor>();
    is_free::<events::EventLogger>();
    is_free::<events::Deduplication>();
    is_free::<events::EventMetrics>();
    is_free::<events::RateLimit>();
    is_free::<events::EventMixin>();
    is_free::<events::EventEmitter>();
    is_free::<events::EventListener>();
    is_free::<events::EventWait>();
    is_free::<events::Gate>();
    is_free::<events::KeyedGate>();
    is_free::<events::GateBuilder>();
    is_free::<events::GateBuilder<events::ByCorrelation>>();
    #[cfg(feature = "spans")]
    is_free::<events::CorrelationLayer>();
    is_free::<events::AsyncEventEmitter>();
    is_free::<events::Pattern>();
    is_free::<events::PatternSet>();
    #[cfg(feature = "schema")]
    is_free::<events::EventSchema>();
}

#[test]
fn values_go_anywhere() {
    is_free::<Event>();
    is_free::<events::EventBuilder>();
    is_free::<events::Payload>();
    is_free::<events::EventType>();
    is_free::<events::EventName>();
    is_free::<events::EventPriority>();
    is_free::<events::Domain>();
    is_free::<events::EventId>();
    is_free::<events::Source>();
    is_free::<CorrelationId>();
    is_free::<events::Timestamp>();
    is_free::<events::AlertLevel>();
    is_free::<events::MetricType>();
    is_free::<events::MetricValue>();
    is_free::<events::Published>();
    is_free::<events::ShutdownReport>();
    is_free::<events::Recorded>();
    is_free::<events::GateOpened>();
    is_free::<events::Met>();
    is_free::<events::GateState>();
    is_free::<events::CausalTree>();
    is_free::<events::CausalNode>();
    is_free::<events::Cause>();
    is_free::<events::DeadLetter>();
    is_free::<events::DeadLetterKind>();
    is_free::<events::EarlierFailure>();
    is_free::<events::DeliveryReport>();
    is_free::<events::DeliveryOutcome>();
    is_free::<events::LatencyStats>();
    is_free::<events::DropCounts>();
    is_free::<events::ScheduledEvent>();
    is_free::<events::EventLogEntry>();
    is_free::<events::EventLogStats>();
    is_free::<events::MetadataStamp>();
    is_free::<events::Redaction>();
    is_free::<events::TypeMetrics>();
    #[cfg(feature = "queued")]
    is_free::<events::Driver>();
    #[cfg(feature = "async")]
    is_free::<events::OwnedDelivery>();
    #[cfg(feature = "async")]
    is_free::<events::OwnedTypedDelivery<String>>();
    is_free::<Stats>();
    is_free::<events::SubscriberStats>();
    is_free::<events::DeliveryStats>();
    is_free::<events::HistoryStats>();
    is_free::<EventTypeInfo>();
    #[cfg(feature = "schema")]
    is_free::<events::Validation>();
}

#[test]
fn views_may_be_shared_with_scoped_threads() {
    is_shared::<events::EventHistory<'_>>();
    is_shared::<events::HistoryQuery<'_>>();
    is_shared::<events::DeadLetterQueue<'_>>();
    is_shared::<Delivery<'_>>();
    is_shared::<events::TypedDelivery<'_, String>>();
    is_shared::<events::TypedPayload<'_, String>>();
}

#[test]
fn errors_pass_through_everybodys_functions() {
    is_error::<events::EventError>();
    is_error::<events::EventPublishError>();
    is_error::<events::EventSubscriptionError>();
    is_error::<events::EventHandlerError>();
    is_error::<events::EventDeliveryError>();
    is_error::<events::EventTimeoutError>();
    is_error::<events::EventQueueError>();
    is_error::<events::FlushError>();
    is_error::<events::EventValidationError>();
    is_error::<events::EventParseError>();
    is_error::<events::PayloadError>();
    is_error::<events::PatternError>();
    is_error::<events::ConfigError>();
    is_error::<events::InvalidText>();
    is_error::<events::InvalidTimestamp>();
    is_error::<events::UnknownPriority>();
    is_error::<events::AlreadySet>();
    is_error::<events::StillRunning>();
    is_error::<events::WaitError>();
    is_error::<events::GateError>();
    is_error::<events::InterceptionError>();
    is_error::<events::DuplicateEvent>();
    is_error::<events::RateLimited>();
    is_error::<events::InvalidPointer>();
    is_error::<events::SubscriptionErrorKind>();
    #[cfg(feature = "schema")]
    is_error::<events::EventSchemaError>();
    is_free::<events::PublishErrorKind>();
    is_free::<events::SchemaFailure>();
    is_free::<events::TextRule>();
    #[cfg(feature = "schema")]
    is_free::<events::SchemaFault>();
}

#[test]
fn futures_may_be_sent() {
    fn is_sent<F: Future + Send>(future: F) -> F {
        future
    }
    let bus = EventBus::new();
    let subscription = bus.subscribe("*").handler(|_| ()).expect("valid");
    let event = Event::builder("a.b", "test").build().expect("valid");
    // None is polled, and so none does anything.
    drop(is_sent(bus.publish_async(event.clone())));
    drop(is_sent(bus.publish_and_wait(event.clone())));
    drop(is_sent(bus.flush_async(Duration::ZERO)));
    drop(is_sent(bus.sleep(Duration::ZERO)));
    drop(is_sent(bus.wait_for("*").within_async(Duration::ZERO)));
    let wait = bus.wait_for("*").begin().expect("valid");
    drop(is_sent(wait.within_async(Duration::ZERO)));
    let gate = events::Gate::any_of().require("any", "*").on(&bus).expect("valid");
    drop(is_sent(gate.wait_async(Duration::ZERO)));
    drop((wait, gate));
    drop(is_sent(events::publish_event_async(event)));
    drop(is_sent(subscription.unsubscribe_and_wait_async(Duration::ZERO)));
    assert_eq!((bus.history().len(), bus.get_stats().subscribers_count), (0, 1));
}

//! [`CorrelationLayer`]: events get the correlation id of the span that they are published in, and of no other.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    CorrelationId, CorrelationLayer, Delivery, Event, EventBus, EventMixin, OwnedDelivery, correlation,
};
use serde_json::json;
use std::fmt;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use support::event;
use tracing::subscriber::with_default;
use tracing::{Dispatch, Instrument, Span, dispatcher, field, info_span, instrument, trace_span};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry;

/// Runs `f` under a subscriber with the layer.
fn with_layer<R>(f: impl FnOnce() -> R) -> R {
    with_default(registry().with(CorrelationLayer::new()), f)
}

/// The correlation id that an event gets here.
fn id_here(bus: &EventBus) -> Option<String> {
    let published = bus.publish(event("a.b")).unwrap();
    let id = id_of(bus, published.sequence());
    assert_eq!(correlation::current().map(|id| id.to_string()), id, "current() says the same");
    id
}

fn id_of(bus: &EventBus, sequence: u64) -> Option<String> {
    let found = bus.history().query().since(sequence).limit(1).events().unwrap();
    found[0].correlation_id().map(ToString::to_string)
}

fn some(id: &str) -> Option<String> {
    Some(id.to_owned())
}

#[test]
fn the_events_own_id_comes_first_then_the_scopes_then_the_spans() {
    with_layer(|| {
        let bus = EventBus::new();
        let scope = CorrelationId::from_static("scope");
        assert_eq!(id_here(&bus), None);
        info_span!("s", correlation_id = "span").in_scope(|| {
            assert_eq!(id_here(&bus), some("span"));
            correlation::scope(&scope, || assert_eq!(id_here(&bus), some("scope")));
            let own = Event::builder("a.b", "test").correlation_id("own").build().unwrap();
            let published = bus.publish(own).unwrap();
            assert_eq!(id_of(&bus, published.sequence()), some("own"));
        });
        correlation::scope(&scope, || {
            info_span!("s", correlation_id = "span").in_scope(|| assert_eq!(id_here(&bus), some("scope")));
        });
        assert_eq!(id_here(&bus), None);
        assert_eq!(bus.get_stats().events_copied, 0);
    });
}

#[test]
fn whatever_a_field_holds_its_text_is_the_id_and_what_is_none_is_ignored() {
    struct Shown;
    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("displayed")
        }
    }
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("on purpose")
        }
    }
    let text = "an id".to_owned();
    let long = "x".repeat(256);
    with_layer(|| {
        let bus = EventBus::new();
        let check = |span: Span, expected: Option<&str>| {
            info_span!("outer", correlation_id = "outer").in_scope(|| {
                let expected = expected.unwrap_or("outer");
                span.in_scope(|| assert_eq!(id_here(&bus).as_deref(), Some(expected)));
            });
        };
        let parent = info_span!("outer", correlation_id = "outer");
        macro_rules! check {
            ($expected:expr, $($value:tt)+) => {
                check(info_span!(parent: &parent, "s", correlation_id = $($value)+), $expected)
            };
        }
        check!(Some("an id"), text.as_str());
        check!(Some("an id"), ?text);
        check!(Some("an id"), %text);
        check!(Some("an id"), ?Some(&text));
        check!(Some("an id"), ?CorrelationId::from_static("an id"));
        check!(Some("displayed"), %Shown);
        check!(Some("42"), 42_u64);
        check!(Some("-42"), -42_i128);
        check!(Some("true"), true);
        check!(Some(long.as_str()), long.as_str());
        check!(None, field::Empty);
        check!(None, ?None::<String>);
        check!(None, "");
        check!(None, "a\nb");
        check!(None, ?"a\u{1b}b");
        check!(None, long.repeat(2).as_str());
        check!(None, ?long.repeat(10_000));
        check!(None, ?Panics);
    });
}

#[test]
fn a_span_inherits_from_its_parent_whether_that_is_entered_or_not() {
    with_layer(|| {
        let bus = EventBus::new();
        let parent = info_span!("parent", correlation_id = "p");
        let child = info_span!(parent: &parent, "child");
        let grandchild = child.in_scope(|| info_span!("grandchild", other = 1));
        let orphan = parent.in_scope(|| info_span!(parent: None, "orphan"));
        drop((parent, child));
        grandchild.in_scope(|| {
            assert_eq!(id_here(&bus), some("p"));
            orphan
                .in_scope(|| assert_eq!(id_here(&bus), None, "its parent is nobody, wherever it is entered"));
            info_span!("own", correlation_id = "own").in_scope(|| assert_eq!(id_here(&bus), some("own")));
            assert_eq!(id_here(&bus), some("p"));
        });
    });
}

#[test]
fn an_id_may_be_recorded_later_and_holds_for_the_spans_within() {
    with_layer(|| {
        let bus = EventBus::new();
        let outer = info_span!("outer", correlation_id = field::Empty, other = field::Empty);
        let inner = info_span!(parent: &outer, "inner", correlation_id = field::Empty);
        let plain = info_span!(parent: &inner, "plain");
        let _entered = plain.enter();
        assert_eq!(id_here(&bus), None);
        outer.record("other", "x");
        assert_eq!(id_here(&bus), None);
        outer.record("correlation_id", "outer");
        assert_eq!(id_here(&bus), some("outer"));
        inner.record("correlation_id", "a\nb");
        assert_eq!(id_here(&bus), some("outer"), "what is none is ignored");
        inner.record("correlation_id", 7);
        assert_eq!(id_here(&bus), some("7"));
        inner.record("correlation_id", "again");
        assert_eq!(id_here(&bus), some("again"));
        inner.record("correlation_id", "");
        assert_eq!(id_here(&bus), some("again"));
        plain.record("correlation_id", "it has no such field");
        assert_eq!(id_here(&bus), some("again"));
        outer.in_scope(|| assert_eq!(id_here(&bus), some("outer")));
    });
}

#[test]
fn spans_may_be_left_in_any_order_and_entered_again() {
    with_layer(|| {
        let bus = EventBus::new();
        let [a, b] = ["a", "b"].map(|id| info_span!(parent: None, "s", correlation_id = id));
        let in_a = a.enter();
        let in_b = b.enter();
        let in_a_again = a.enter();
        assert_eq!(id_here(&bus), some("a"));
        drop(in_a);
        drop(in_b);
        assert_eq!(id_here(&bus), some("a"));
        drop(in_a_again);
        assert_eq!(id_here(&bus), None);
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            b.in_scope(|| -> () { panic!("on purpose") });
        }));
        assert!(caught.is_err());
        assert_eq!(id_here(&bus), None);
    });
}

#[test]
fn inside_a_handler_the_handled_event_counts_and_then_the_handlers_own_spans() {
    with_layer(|| {
        let bus = EventBus::new();
        let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
        let sees = Arc::clone(&seen);
        let handler = move |delivery: &Delivery<'_>| {
            let here = || correlation::current().map(|id| id.to_string());
            let within = info_span!(parent: None, "own", correlation_id = "handler").in_scope(here);
            sees.lock().unwrap().extend([here(), within]);
            delivery.bus().publish(event("answer")).map(drop)
        };
        bus.subscribe("ask").handler(handler).unwrap();
        let ask = |id: Option<&str>| {
            let builder = Event::builder("ask", "test");
            match id {
                Some(id) => builder.correlation_id(id).build().unwrap(),
                None => builder.build().unwrap(),
            }
        };
        info_span!("publisher", correlation_id = "publisher").in_scope(|| {
            bus.publish(ask(None)).unwrap();
            bus.publish(ask(Some("own"))).unwrap();
        });
        bus.publish(ask(None)).unwrap();
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let expected =
            [some("publisher"), some("publisher"), some("own"), some("own"), None, some("handler")];
        assert_eq!(seen, expected);
        let answers = bus.history().query().event_type("answer").since(1).events().unwrap();
        let ids: Vec<_> =
            answers.iter().map(|answer| answer.correlation_id().map(ToString::to_string)).collect();
        assert_eq!(ids, [some("publisher"), some("own"), None]);
    });
}

#[test]
fn mixins_and_batches_and_later_events_get_it_too() {
    with_layer(|| {
        let bus = EventBus::new();
        let mixin = EventMixin::init_events_on("mixin", &bus).unwrap();
        info_span!("s", correlation_id = "span").in_scope(|| {
            assert_eq!(mixin.emit("a.b", json!({})).unwrap().correlation_id().unwrap(), &"span");
            drop(bus.publish_batch([event("a.b"), event("a.b")]));
            support::ready(bus.publish_async(event("a.b"))).unwrap();
            let later = bus.publish_later(event("a.b"), std::time::Duration::from_secs(3_600)).unwrap();
            assert_eq!(later.event().correlation_id().unwrap(), &"span");
            assert!(later.cancel());
        });
        let all = bus.history().query().correlation_id("span").events().unwrap();
        assert_eq!(all.len(), 4);
    });
}

#[test]
fn an_event_that_was_made_elsewhere_gets_nothing_from_where_it_is_polled() {
    use codomyrmex_events::AsyncEventEmitter;
    with_layer(|| {
        let bus = EventBus::new();
        let emitter = AsyncEventEmitter::on_bus(&bus);
        let emitting = emitter.emit("a.b", json!({}));
        let emitted = info_span!("s", correlation_id = "span").in_scope(|| support::ready(emitting)).unwrap();
        assert_eq!(id_of(&bus, emitted.sequence()), None);
    });
}

#[test]
fn spans_that_a_filter_keeps_from_the_layer_have_no_part_in_it() {
    let is_ours = filter_fn(|metadata| metadata.name() != "hidden");
    let layer = CorrelationLayer::new().with_filter(is_ours);
    // Another layer sees all, so that the registry keeps them.
    let all = tracing_subscriber::fmt::layer().with_writer(std::io::sink);
    with_default(registry().with(layer).with(all), || {
        let bus = EventBus::new();
        let parent = info_span!("parent", correlation_id = "parent");
        let hidden = info_span!(parent: &parent, "hidden", correlation_id = "hidden");
        let child = info_span!(parent: &hidden, "child");
        hidden.in_scope(|| assert_eq!(id_here(&bus), None));
        child.in_scope(|| assert_eq!(id_here(&bus), some("parent"), "through the hidden one"));
        parent.in_scope(|| hidden.in_scope(|| assert_eq!(id_here(&bus), some("parent"))));
    });
    with_default(registry().with(CorrelationLayer::new()).with(LevelFilter::INFO), || {
        let bus = EventBus::new();
        info_span!("s", correlation_id = "span").in_scope(|| {
            let off = trace_span!("off", correlation_id = "off");
            off.in_scope(|| assert_eq!(id_here(&bus), some("span"), "it does not exist"));
        });
    });
}

#[test]
fn without_the_layer_or_a_subscriber_nothing_is_taken_from_spans() {
    let bus = EventBus::new();
    info_span!("s", correlation_id = "span").in_scope(|| assert_eq!(id_here(&bus), None));
    with_default(registry(), || {
        info_span!("s", correlation_id = "span").in_scope(|| assert_eq!(id_here(&bus), None));
    });
}

#[test]
fn one_span_on_many_threads_and_many_spans_on_each() {
    let dispatch = Dispatch::new(registry().with(CorrelationLayer::new()));
    let bus = EventBus::builder().history(100_000).build().unwrap();
    let shared = dispatcher::with_default(&dispatch, || info_span!("shared", correlation_id = "shared"));
    let start = Barrier::new(8);
    thread::scope(|threads| {
        for thread in 0..8 {
            let (bus, dispatch, shared, start) = (&bus, &dispatch, &shared, &start);
            threads.spawn(move || {
                dispatcher::with_default(dispatch, || {
                    start.wait();
                    for turn in 0..300 {
                        let own = format!("{thread}-{turn}");
                        shared.in_scope(|| {
                            assert_eq!(id_here(bus), some("shared"));
                            let span = info_span!("own", correlation_id = own.as_str());
                            span.in_scope(|| assert_eq!(id_here(bus), Some(own)));
                        });
                        assert_eq!(id_here(bus), None);
                    }
                });
            });
        }
    });
}

#[test]
fn nothing_is_left_when_the_subscriber_is_gone() {
    let bus = EventBus::new();
    let kept = with_layer(|| {
        let span = info_span!("s", correlation_id = "span");
        span.in_scope(|| assert_eq!(id_here(&bus), some("span")));
        span
    });
    assert_eq!(id_here(&bus), None);
    // The span keeps its subscriber; where that is not the current one, it still says what it says.
    kept.in_scope(|| assert_eq!(id_here(&bus), some("span")));
    with_layer(|| {
        let other = info_span!("s");
        other.in_scope(|| {
            assert_eq!(id_here(&bus), None, "another subscriber's spans may have the same number");
        });
    });
    drop(kept);
    assert_eq!(id_here(&bus), None);
}

#[test]
fn a_refused_id_is_said_once_in_the_log() {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<u32>>);
    impl<S: tracing::Subscriber> Layer<S> for Log {
        fn on_event(&self, entry: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            if entry.metadata().target().starts_with("codomyrmex_events::spans") {
                *self.0.lock().unwrap() += 1;
            }
        }
    }
    let log = Log::default();
    with_default(registry().with(CorrelationLayer::new()).with(log.clone()), || {
        let span = info_span!("s", correlation_id = "a\nb");
        (0..3).for_each(|_| span.in_scope(|| ()));
        assert_eq!(*log.0.lock().unwrap(), 1);
        span.record("correlation_id", "");
        (0..3).for_each(|_| span.in_scope(|| ()));
        assert_eq!(*log.0.lock().unwrap(), 2);
    });
}

/// As users write it: the id is an argument that `#[instrument]` records.
#[instrument(skip(bus))]
async fn handle(bus: EventBus, correlation_id: String) -> u64 {
    tokio::task::yield_now().await;
    let first = bus.publish_async(event("first")).await.unwrap().sequence();
    assert_eq!(id_of(&bus, first), Some(correlation_id.clone()));
    let spawned = tokio::spawn(step(bus.clone()).in_current_span());
    tokio::task::yield_now().await;
    let second = spawned.await.unwrap();
    assert_eq!(id_of(&bus, second), Some(correlation_id));
    first
}

#[instrument(skip_all)]
async fn step(bus: EventBus) -> u64 {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    tokio::task::yield_now().await;
    bus.publish(event("second")).unwrap().sequence()
}

#[test]
fn it_goes_along_with_instrumented_tasks_across_awaits_and_threads() {
    // Each of the runtime's threads has it as its default.
    let dispatch = Dispatch::new(registry().with(CorrelationLayer::new()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .on_thread_start(move || std::mem::forget(dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();
    let bus = EventBus::builder().history(100_000).queued().build().unwrap();
    let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
    let sees = Arc::clone(&seen);
    let hears = move |delivery: OwnedDelivery| {
        let sees = Arc::clone(&sees);
        async move {
            tokio::task::yield_now().await;
            let here = correlation::current().map(|id| id.to_string()).unwrap_or_default();
            let event = delivery.correlation_id().map(ToString::to_string).unwrap_or_default();
            sees.lock().unwrap().push((here, event));
        }
    };
    bus.subscribe("first").async_handler(hears).unwrap();
    runtime.block_on(async {
        let tasks: Vec<_> = (0..200)
            .map(|task| {
                let (bus, id) = (bus.clone(), format!("task-{task}"));
                tokio::spawn(async move {
                    handle(bus.clone(), id).await;
                    let outside = bus.publish(event("outside")).unwrap().sequence();
                    assert_eq!(id_of(&bus, outside), None);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    bus.flush(support::WATCHDOG).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 200);
    assert!(seen.iter().all(|(here, event)| here == event && here.starts_with("task-")));
}

#[test]
fn a_future_of_a_handler_may_be_instrumented() {
    let spans = Dispatch::new(registry().with(CorrelationLayer::new()));
    let bus = EventBus::new();
    let answers = move |delivery: OwnedDelivery| {
        let span = dispatcher::with_default(&spans, || info_span!("handler", correlation_id = "handler"));
        let answer = async move {
            tokio::task::yield_now().await;
            delivery.bus().publish_async(event("answer")).await.map(drop)
        };
        answer.instrument(span)
    };
    bus.subscribe("ask").async_handler(answers).unwrap();
    bus.publish(event("ask")).unwrap();
    bus.publish(Event::builder("ask", "test").correlation_id("own").build().unwrap()).unwrap();
    bus.flush(support::WATCHDOG).unwrap();
    let answers = bus.history().query().event_type("answer").since(1).events().unwrap();
    let ids: Vec<_> = answers.iter().map(|answer| answer.correlation_id().map(ToString::to_string)).collect();
    assert_eq!(ids, [some("handler"), some("own")], "an event without an id leaves it to the handler's span");
}

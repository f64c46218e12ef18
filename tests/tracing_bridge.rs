//! [`TracingBridge`]: what it writes, how it is bounded, and that nothing can make it feed itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{Event, EventBus, EventPriority, PublishErrorKind, TracingBridge};
use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

/// A line for each field that was written: `name=value`, after the level and the target.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "|{}={value:?}", field.name()).unwrap();
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields(format!("{} {}", event.metadata().level(), event.metadata().target()));
        event.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
    }
}

fn event(priority: EventPriority, data: &str) -> Event {
    let builder = Event::builder("build.start", "ci").event_id("e-1").priority(priority);
    builder.data(serde_json::from_str::<serde_json::Value>(data).unwrap()).build().unwrap()
}

#[test]
fn each_event_is_one_entry_at_the_level_of_its_priority() {
    let (bus, log) = (EventBus::new(), Log::default());
    let logged = TracingBridge::attach(&bus, "build.*").unwrap();
    tracing::subscriber::with_default(registry().with(log.clone()), || {
        for priority in EventPriority::ALL {
            bus.publish(event(priority, r#"{"x": 1}"#)).unwrap();
        }
        support::publish(&bus, "deploy.start");
        let named = Event::builder("build.own", "ci").event_id("e-2").correlation_id("cid-1");
        bus.publish(named.build().unwrap()).unwrap();
        logged.unsubscribe();
        support::publish(&bus, "build.start");
    });
    let levels = ["DEBUG", "INFO", "INFO", "WARN", "ERROR", "ERROR", "DEBUG"];
    let mut expected: Vec<String> = (1..)
        .zip(levels)
        .map(|(sequence, level)| {
            format!(
                "{level} codomyrmex_events::event|message=event|event_type=build.start|source=ci|event_id=e-1\
                 |sequence={sequence}|data={{\"x\":1}}"
            )
        })
        .collect();
    expected.push(
        "INFO codomyrmex_events::event|message=event|event_type=build.own|source=ci|event_id=e-2|sequence=9\
         |correlation_id=cid-1|data={}"
            .to_owned(),
    );
    assert_eq!(log.lines(), expected);
}

#[test]
fn payloads_are_cut_and_nothing_can_end_a_line() {
    let (bus, log) = (EventBus::new(), Log::default());
    TracingBridge::attach(&bus, "*").unwrap();
    // What the program's own formatting makes of it.
    let written: Arc<Mutex<Vec<u8>>> = Arc::default();
    let writer = Arc::clone(&written);
    let lines =
        tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || Sink(Arc::clone(&writer)));
    tracing::subscriber::with_default(registry().with(log.clone()).with(lines), || {
        let evil = "\u{1b}[2J\n\u{85}\u{9b}\u{2028}\u{202e}end";
        let builder = Event::builder("a\u{2028}b", "evil\u{202e}").event_id("i\u{2029}d");
        let event = builder.correlation_id("c\u{2028}").data(serde_json::json!({ "text": evil }));
        bus.publish(event.build().unwrap()).unwrap();
        let long = serde_json::json!({ "text": "é".repeat(100_000) });
        bus.publish(Event::builder("a.b", "test").data(long).build().unwrap()).unwrap();
    });
    let lines = log.lines();
    assert!(
        !lines.iter().any(|line| line.contains(|c: char| c.is_control() || "\u{2028}\u{202e}".contains(c)))
    );
    assert!(lines[0].ends_with(r#"|data={"text":"\u001b[2J\n\u0085\u009b\u2028\u202eend"}"#), "{}", lines[0]);
    let data = lines[1].split("|data=").nth(1).unwrap();
    assert!(data.len() <= TracingBridge::DATA_BYTES_MAX + '…'.len_utf8() && data.ends_with("é…"), "{data}");
    let written = String::from_utf8(written.lock().unwrap().clone()).unwrap();
    assert_eq!(written.lines().count(), 2, "{written}");
    assert!(!written.contains(['\u{1b}', '\u{85}', '\u{9b}', '\u{2028}', '\u{202e}']));
}

/// A writer into a buffer of the test's.
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_nobody_takes_is_not_formatted() {
    struct Costly(Arc<AtomicU32>);
    impl serde::Serialize for Costly {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            self.0.fetch_add(1, SeqCst);
            serializer.serialize_unit_struct("Costly")
        }
    }
    impl<'de> serde::Deserialize<'de> for Costly {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Costly(Arc::default()))
        }
    }
    impl codomyrmex_events::EventPayload for Costly {
        const EVENT_TYPE: &'static str = "my.costly";
    }
    let (bus, log, serialised) = (EventBus::new(), Log::default(), Arc::new(AtomicU32::new(0)));
    TracingBridge::attach(&bus, "*").unwrap();
    let publish = |priority| {
        let event = Event::typed("test", Costly(Arc::clone(&serialised))).priority(priority);
        bus.publish(event.build().unwrap()).unwrap();
    };
    tracing::subscriber::with_default(registry().with(log.clone()).with(LevelFilter::WARN), || {
        publish(EventPriority::Normal);
        assert_eq!(serialised.load(SeqCst), 0);
        publish(EventPriority::Warning);
    });
    assert_eq!((serialised.load(SeqCst), log.lines().len()), (1, 1));
}

/// A layer that publishes for each entry of the log, and notes the answers.
struct Publishes {
    bus: EventBus,
    refused: Arc<Mutex<Vec<String>>>,
}

impl<S: Subscriber> Layer<S> for Publishes {
    fn on_event(&self, entry: &tracing::Event<'_>, _: Context<'_, S>) {
        if *entry.metadata().level() == Level::INFO {
            let one = self.bus.publish(support::event("log.entry"));
            let later = self.bus.publish_later(support::event("log.entry"), std::time::Duration::ZERO);
            for error in [one.unwrap_err(), later.unwrap_err()] {
                assert!(matches!(error.kind(), PublishErrorKind::TooDeep { .. }), "{error}");
                self.refused.lock().unwrap().push(error.to_string());
            }
        }
    }
}

#[test]
fn a_layer_that_publishes_cannot_make_it_feed_itself() {
    let bus = EventBus::new();
    TracingBridge::attach(&bus, "*").unwrap();
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let layer = Publishes { bus: bus.clone(), refused: Arc::clone(&refused) };
    tracing::subscriber::with_default(registry().with(layer), || support::publish(&bus, "a.b"));
    assert_eq!(refused.lock().unwrap().len(), 2);
    let stats = bus.get_stats();
    assert_eq!((stats.accepted, stats.refused, stats.deliveries.succeeded), (1, 2, 1));
    // The thread is as it was.
    support::publish(&bus, "a.b");
}

#[cfg(feature = "queued")]
#[test]
fn nor_on_a_queued_bus() {
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    TracingBridge::attach(&bus, "*").unwrap();
    let refused: Arc<Mutex<Vec<String>>> = Arc::default();
    let layer = Publishes { bus: bus.clone(), refused: Arc::clone(&refused) };
    tracing::subscriber::with_default(registry().with(layer), || {
        support::publish(&bus, "a.b");
        driver.run_until_idle();
    });
    assert_eq!((refused.lock().unwrap().len(), bus.get_stats().accepted), (2, 1));
}

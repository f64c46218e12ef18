//! The logger: true counts and times on every kind of bus, queries, statistics, exports that are safe to open, and memory
//! that stays flat.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Backoff, Delivery, Event, EventBus, EventLogger, EventType, OwnedDelivery, Payload, Timestamp,
    get_event_bus, get_event_logger,
};
use serde_json::{Value, json};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;
use support::{WATCHDOG, capture, event, is_dropped, publish};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

// SAFETY: every call is passed on unchanged to the system allocator, which keeps the contract; the counter is an atomic.
#[allow(unsafe_code, reason = "an allocator cannot be written without it")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise that `block` came from here with `layout` is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

/// One at a time: one of them counts what all threads allocate.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Publishes and lets everything come to its end.
struct Rig {
    bus: EventBus,
    driver: Option<codomyrmex_events::Driver>,
}

impl Rig {
    fn all() -> [Rig; 3] {
        let builder = || EventBus::builder().max_workers(2);
        let (manual, driver) = builder().manual().build().unwrap();
        [
            Rig { bus: builder().build().unwrap(), driver: None },
            Rig { bus: builder().queued().build().unwrap(), driver: None },
            Rig { bus: manual, driver: Some(driver) },
        ]
    }

    fn settle(&self) {
        if let Some(driver) = &self.driver {
            driver.advance(Duration::from_secs(10));
        }
        self.bus.flush(WATCHDOG).unwrap();
    }
}

#[test]
fn counts_are_true_with_handlers_of_every_kind_on_every_kind_of_bus() {
    let _alone = alone();
    for rig in Rig::all() {
        let bus = &rig.bus;
        publish(bus, "before");
        let logger = EventLogger::attach(bus);
        let soon = Backoff::exponential(Duration::from_millis(1), Duration::from_millis(1));
        bus.subscribe(["sync", "all"]).handler(|_| ()).unwrap();
        bus.subscribe(["sync", "all"]).filter(|_| false).handler(|_| ()).unwrap();
        bus.subscribe("all").handler(|_: &Delivery<'_>| Err::<(), _>("failed")).unwrap();
        bus.subscribe("all")
            .attempts(3)
            .backoff(soon)
            .handler(|delivery: &Delivery<'_>| if delivery.attempt() < 3 { Err("not yet") } else { Ok(()) })
            .unwrap();
        bus.subscribe("all").async_handler(|_| async {}).unwrap();
        bus.subscribe("all")
            .attempts(2)
            .backoff(soon)
            .async_handler(|delivery: OwnedDelivery| async move {
                if delivery.attempt() == 1 {
                    panic!("on purpose")
                }
            })
            .unwrap();
        for name in ["nobody", "sync", "all"] {
            publish(bus, name);
        }
        rig.settle();
        let entries = logger.query().entries().unwrap();
        let seen: Vec<_> = entries
            .iter()
            .map(|entry| {
                let name = entry.event().event_type().as_str();
                (entry.sequence(), name, entry.handler_count(), entry.attempts(), entry.failures())
            })
            .collect();
        assert_eq!(seen, [(2, "nobody", 0, 0, 0), (3, "sync", 1, 1, 0), (4, "all", 5, 8, 4)]);
        let errors = logger.query().errors().entries().unwrap();
        assert_eq!(errors.len(), 1);
        assert!(["failed", "not yet", "panicked: on purpose"].contains(&errors[0].error().unwrap()));
        let stats = logger.statistics();
        assert_eq!((stats.total_events, stats.error_count, stats.by_type["all"].attempts), (3, 1, 8));
        drop(logger);
        publish(bus, "all");
        rig.settle();
    }
}

#[test]
fn times_are_those_of_the_handlers_by_the_bus_clock() {
    let _alone = alone();
    let (bus, driver) = EventBus::builder().manual().build().unwrap();
    let logger = EventLogger::attach(&bus);
    let limit = Duration::from_secs(2);
    bus.subscribe("slow").time_limit(limit).async_handler(|_| std::future::pending::<()>()).unwrap();
    bus.subscribe("slow").time_limit(limit / 2).async_handler(|_| std::future::pending::<()>()).unwrap();
    publish(&bus, "slow");
    driver.advance(limit);
    publish(&bus, "slow");
    assert_eq!(logger.recent(2)[0].processing_time(), limit + limit / 2);
    let slow = logger.statistics().by_type["slow"];
    let took_ns = 3_000_000_000;
    assert_eq!((slow.count, slow.total_ns, slow.maximum_ns), (2, took_ns, took_ns));
    assert_eq!(slow.average_ns, took_ns / 2);
}

#[test]
fn entries_are_asked_for_by_type_time_error_and_number() {
    let _alone = alone();
    let bus = EventBus::new();
    let logger = EventLogger::attach(&bus);
    let at = Timestamp::from_unix_nanos;
    for (name, time) in [("a.one", 10), ("a.error", 20), ("b.two", 30), ("task.failed", 40), ("a.three", 50)]
    {
        bus.publish(Event::builder(name, "test").timestamp(at(time)).build().unwrap()).unwrap();
    }
    let names = |query: codomyrmex_events::EventLogQuery<'_>| -> Vec<String> {
        let entries = query.entries().unwrap();
        entries.iter().map(|entry| entry.event().event_type().to_string()).collect()
    };
    assert_eq!(names(logger.query().event_type("a.*")), ["a.one", "a.error", "a.three"]);
    assert_eq!(
        names(logger.query().from_time(at(20)).until_time(at(40))),
        ["a.error", "b.two", "task.failed"]
    );
    assert_eq!(names(logger.query().errors()), ["a.error", "task.failed"]);
    assert_eq!(names(logger.query().latest(2)), ["task.failed", "a.three"]);
    assert_eq!(names(logger.query().event_type("a.*").latest(1)), ["a.three"]);
    assert!(logger.query().event_type("*".repeat(2_000)).entries().is_err());
    assert_eq!(logger.recent(3).len(), 3);
    assert_eq!(logger.statistics().error_count, 2);
    logger.clear();
    assert!(logger.recent(usize::MAX).is_empty());
    assert_eq!(logger.statistics().total_events, 0);
    publish(&bus, "after");
    assert_eq!(names(logger.query()), ["after"]);
}

#[test]
fn the_newest_are_kept_and_what_made_room_is_counted_and_dropped() {
    let _alone = alone();
    for room in [0, 1, 3, 1_000] {
        let bus = EventBus::builder().history(0).build().unwrap();
        let logger = EventLogger::attach_with_room(&bus, room);
        bus.subscribe("*").handler(|_| ()).unwrap();
        for _ in 0..100 {
            publish(&bus, "x");
        }
        let kept = room.clamp(1, 100) as u64;
        let sequences: Vec<u64> = logger.query().entries().unwrap().iter().map(|e| e.sequence()).collect();
        assert_eq!(sequences, (101 - kept..=100).collect::<Vec<_>>());
        let stats = logger.statistics();
        assert_eq!((stats.total_events, stats.overwritten, stats.late_attempts), (100, 100 - kept, 0));
    }
    let bus = EventBus::builder().history(0).build().unwrap();
    let logger = EventLogger::attach(&bus);
    struct Held(#[allow(dead_code, reason = "it is only held")] Arc<()>);
    impl serde::Serialize for Held {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    let (held, seen) = capture();
    bus.publish(Event::builder("x", "test").data(Payload::typed(Held(held))).build().unwrap()).unwrap();
    assert!(!is_dropped(&seen));
    logger.clear();
    assert!(is_dropped(&seen));
}

#[test]
fn made_up_types_without_end_take_no_more_memory_than_a_few_thousand() {
    let _alone = alone();
    let bus = EventBus::builder().history(0).build().unwrap();
    let logger = EventLogger::attach_with_room(&bus, 1_000);
    bus.subscribe("*").handler(|_| ()).unwrap();
    let publish_some = |from: usize, until: usize| {
        for n in from..until {
            let name = format!("made.up.by.a.stranger.who.likes.long.names.{n}");
            bus.publish(Event::builder(name.as_str(), "stranger").build().unwrap()).unwrap();
        }
    };
    // More than the bus remembers by then.
    publish_some(0, 40_000);
    let before = LIVE.load(Relaxed);
    // Two bytes for each of these would be too many.
    publish_some(40_000, 200_000);
    let growth = LIVE.load(Relaxed) - before;
    assert!(growth < 256 * 1024, "{growth} bytes more");
    let stats = logger.statistics();
    assert_eq!((stats.by_type.len(), stats.total_events), (1_024, 200_000));
    assert_eq!(stats.other_types.count, 200_000 - 1_024);
}

#[test]
fn nothing_is_lost_or_counted_twice_under_fire() {
    let _alone = alone();
    const PUBLISHERS: usize = 4;
    const EVENTS: usize = 2_000;
    for is_queued in [false, true] {
        let builder = EventBus::builder();
        let bus = if is_queued { builder.queued() } else { builder }.build().unwrap();
        let logger = EventLogger::attach(&bus);
        bus.subscribe("*").handler(|_| ()).unwrap();
        bus.subscribe("*").mailbox(10_000).async_handler(|_| async {}).unwrap();
        thread::scope(|threads| {
            for publisher in 0..PUBLISHERS {
                let bus = &bus;
                threads.spawn(move || {
                    for _ in 0..EVENTS {
                        let source = format!("p{publisher}");
                        bus.publish(Event::builder("x", source).build().unwrap()).unwrap();
                    }
                });
            }
            threads.spawn(|| {
                for _ in 0..20 {
                    let entries = logger.recent(100);
                    assert!(entries.is_sorted_by_key(|entry| entry.sequence()));
                }
            });
        });
        bus.flush(WATCHDOG).unwrap();
        let entries = logger.query().entries().unwrap();
        assert_eq!(entries.len(), PUBLISHERS * EVENTS);
        assert!(entries.iter().all(|entry| (entry.handler_count(), entry.attempts()) == (2, 2)));
        let stats = logger.statistics();
        assert_eq!(stats.total_events as usize, PUBLISHERS * EVENTS);
        assert_eq!(stats.by_type["x"].attempts as usize, 2 * PUBLISHERS * EVENTS);
    }
}

#[test]
fn whenever_it_begins_and_is_cleared_of_an_event_every_handler_is_logged_or_none() {
    let _alone = alone();
    let bus = EventBus::new();
    for _ in 0..2 {
        bus.subscribe("*").handler(|_| ()).unwrap();
    }
    for _ in 0..100 {
        let (is_over, kept) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Relaxed) {
                    publish(&bus, "x");
                }
            });
            for _ in 0..20 {
                kept.lock().unwrap().push(EventLogger::attach_with_room(&bus, 8));
                kept.lock().unwrap()[0].clear();
                thread::yield_now();
            }
            is_over.store(true, Relaxed);
        });
        let entries = kept.lock().unwrap().iter().flat_map(|logger| logger.recent(8)).collect::<Vec<_>>();
        assert!(entries.iter().all(|entry| entry.handler_count() == 2));
    }
}

#[test]
fn an_entry_whose_payload_panics_when_it_makes_room_costs_the_next_one_nothing() {
    let _alone = alone();
    struct Panics;
    impl serde::Serialize for Panics {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_unit()
        }
    }
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("on purpose");
        }
    }
    let bus = EventBus::builder().history(0).build().unwrap();
    let logger = EventLogger::attach_with_room(&bus, 1);
    bus.subscribe("*").handler(|_| ()).unwrap();
    for sequence in 1..4 {
        let event = Event::builder("x", "test").data(Payload::typed(Panics));
        bus.publish(event.build().unwrap()).unwrap();
        {
            let entry = &logger.recent(1)[0];
            assert_eq!((entry.sequence(), entry.handler_count(), entry.attempts()), (sequence, 1, 1));
        }
        let stats = logger.statistics();
        assert_eq!((stats.total_events, stats.by_type["x"].attempts), (sequence, sequence));
    }
}

/// What a careful reader makes of a table.
fn read_by_python(csv: &str) -> Vec<Vec<String>> {
    let program = "import csv, io, json, sys\n\
                   text = sys.stdin.buffer.read().decode()\n\
                   print(json.dumps(list(csv.reader(io.StringIO(text, newline=''), strict=True))))";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is on the machine");
    python.stdin.take().unwrap().write_all(csv.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_table_is_read_back_by_python_and_no_cell_is_a_formula_or_a_line() {
    let _alone = alone();
    let bus = EventBus::new();
    let logger = EventLogger::attach(&bus);
    bus.subscribe("fails").handler(|_: &Delivery<'_>| Err::<(), _>("=1\r\nfake,row\n")).unwrap();
    let hostile = [
        "=cmd|' /C calc'!A0",
        "+1",
        "-1+2",
        "@SUM(A1)",
        "a,b;c",
        "say \"so\"",
        " =1",
        "'quoted'",
        "naïve ✓",
        "fails",
    ];
    for name in hostile {
        let data = json!({"text": "line\r\nbreak, \"quoted\"\t=1"});
        let event = Event::builder(name, name).event_id(name).correlation_id(name).data(data);
        bus.publish(event.metadata_entry(name, name).build().unwrap()).unwrap();
    }
    let csv = logger.query().to_csv().unwrap();
    assert_eq!(csv.lines().count(), hostile.len() + 1, "a line for each entry, and the headings");
    assert_eq!(csv.matches('\n').count(), csv.matches("\r\n").count());
    let rows = read_by_python(&csv);
    assert_eq!(rows[0][..4], ["id", "timestamp", "type", "source"]);
    assert_eq!(rows.len(), hostile.len() + 1);
    for (row, name) in rows[1..].iter().zip(hostile) {
        assert_eq!(row.len(), rows[0].len());
        let is_formula = name.trim_start().starts_with(['=', '+', '-', '@']);
        let expected = if is_formula { format!("'{name}") } else { name.to_owned() };
        assert_eq!([&row[0], &row[2], &row[3], &row[11]], [&expected; 4]);
        let data: Value = serde_json::from_str(&row[12]).unwrap();
        assert_eq!(data["text"], "line\r\nbreak, \"quoted\"\t=1");
        assert!(row.iter().all(|cell| !cell.starts_with(['=', '+', '-', '@', '\t', '\r'])));
    }
    assert_eq!(rows[hostile.len()][10], "'=1  fake,row ");
}

#[test]
fn json_has_the_fields_of_the_original_and_survives_what_json_cannot_hold() {
    let _alone = alone();
    let bus = EventBus::new();
    let logger = EventLogger::attach(&bus);
    let good = Event::builder(EventType::BuildStart, "ci")
        .data(json!({"n": 1}))
        .timestamp(Timestamp::from_unix_nanos(0));
    bus.publish(good.correlation_id("cid-1").event_id("e1").build().unwrap()).unwrap();
    bus.publish(Event::builder("x", "ci").data(Payload::typed(f64::NAN)).build().unwrap()).unwrap();
    let parsed: Value = serde_json::from_str(&logger.query().to_json().unwrap()).unwrap();
    let first = json!({
        "event_id": "e1", "event_type": "build.start", "priority": "normal", "timestamp": "1970-01-01T00:00:00Z",
        "handler_count": 0, "processing_time": 0.0, "source": "ci", "data": {"n": 1}, "metadata": {},
        "correlation_id": "cid-1", "sequence": 1, "attempts": 0, "failures": 0, "error": null,
    });
    assert_eq!(parsed[0], first);
    assert_eq!(parsed[1]["data"], Value::Null);
    let exact = r#"{"z":1.10,"a":123456789012345678901234567890}"#;
    let data = Payload::from_json(exact).unwrap();
    bus.publish(Event::builder("x", "ci").data(data).build().unwrap()).unwrap();
    assert!(logger.query().latest(1).to_json().unwrap().contains(exact));
    assert!(parsed[1]["data_error"].is_string());
    serde_json::to_string(&logger.statistics()).unwrap();
}

#[test]
fn the_process_wide_logger_is_one() {
    let _alone = alone();
    assert!(std::ptr::eq(get_event_logger(), get_event_logger()));
    publish(get_event_bus(), "x");
    assert_eq!(get_event_logger().recent(1)[0].event().event_type().as_str(), "x");
    assert!(event("x").to_builder().build().is_ok());
}

//! Metrics folded out of events: what each type makes of its values, what is refused, what has no room, and that nothing
//! is lost when many publish at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/laws.rs"]
mod laws;
#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{
    Delivery, Event, EventBus, EventType, HistogramReading, InvalidBuckets, METRIC_LABELS_MAX,
    METRIC_TEXT_BYTES_MAX, MetricAggregator, MetricReading, MetricRejection, MetricSnapshot, MetricType,
    Payload, SummaryReading, create_metric_event,
};
use proptest::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex};
use std::{fs, thread};
use support::WATCHDOG;

/// A `metric.update` with this payload.
fn metric(data: impl Into<Payload>) -> Event {
    Event::builder(EventType::MetricUpdate, "test").data(data).build().unwrap()
}

fn update(name: &str, value: impl Into<Value>, metric_type: &str) -> Event {
    metric(json!({"metric_name": name, "metric_value": value.into(), "metric_type": metric_type}))
}

fn histogram(snapshot: &MetricSnapshot, name: &str) -> HistogramReading {
    match snapshot.reading(name, &[]) {
        Some(MetricReading::Histogram(reading)) => reading.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

fn summary(snapshot: &MetricSnapshot, name: &str) -> SummaryReading {
    match snapshot.reading(name, &[]) {
        Some(MetricReading::Summary(reading)) => *reading,
        other => panic!("{name} is {other:?}"),
    }
}

fn series(snapshot: &MetricSnapshot) -> usize {
    snapshot.families.iter().map(|family| family.series.len()).sum()
}

/// All that was handled, wherever it went.
fn accounted(snapshot: &MetricSnapshot) -> u64 {
    snapshot.updates() + snapshot.overflowed + snapshot.rejected.values().sum::<u64>()
}

#[test]
fn each_type_folds_its_values_in_its_own_way() {
    let metrics = MetricAggregator::new();
    for value in [1.0, 2.5, 0.0] {
        metrics.add(&update("counter", value, "counter")).unwrap();
        metrics.add(&update("gauge", 10.0 - value, "gauge")).unwrap();
    }
    for value in [0.005, 0.0051, 1.0, 7.0, 11.0, -1.0] {
        metrics.add(&update("histogram", value, "histogram")).unwrap();
    }
    for value in 1..=100 {
        metrics.add(&update("summary", value, "summary")).unwrap();
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.reading("counter", &[]), Some(&MetricReading::Counter(3.5)));
    assert_eq!(snapshot.reading("gauge", &[]), Some(&MetricReading::Gauge(10.0)));
    let told = histogram(&snapshot, "histogram");
    let cumulative: Vec<(f64, u64)> = told.buckets.iter().map(|bucket| (bucket.le, bucket.count)).collect();
    let expected = [
        (0.005, 2),
        (0.01, 3),
        (0.025, 3),
        (0.05, 3),
        (0.1, 3),
        (0.25, 3),
        (0.5, 3),
        (1.0, 4),
        (2.5, 4),
        (5.0, 4),
        (10.0, 5),
    ];
    assert_eq!((cumulative.as_slice(), told.count), (expected.as_slice(), 6));
    assert!((told.sum - 18.0101).abs() < 1e-9);
    let told = summary(&snapshot, "summary");
    assert_eq!((told.count, told.sum, told.min, told.max), (100, 5_050.0, 1.0, 100.0));
    for (quantile, exact) in [(told.p50, 50.0_f64), (told.p90, 90.0), (told.p99, 99.0)] {
        assert!((quantile - exact).abs() <= exact / 16.0, "{quantile} for {exact}");
    }
    let names: Vec<&str> = snapshot.families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names, ["counter", "gauge", "histogram", "summary"]);
    assert_eq!(accounted(&snapshot), 112);
}

#[test]
fn a_summary_of_few_or_odd_values_tells_values_that_were_there() {
    for (values, expected) in [
        (vec![0.137], [0.137, 0.137, 0.137]),
        (vec![0.0, -0.0], [0.0, 0.0, 0.0]),
        (vec![1e-300, 5e-324], [0.0, 0.0, 0.0]),
        (vec![-5.0], [-5.0, -5.0, -5.0]),
        (vec![1e300, 1e200], [1e300, 1e300, 1e300]),
        (vec![-1e300, -1e200, 3.0], [-1e300, 3.0, 3.0]),
    ] {
        let metrics = MetricAggregator::new();
        for value in &values {
            metrics.add(&update("s", *value, "summary")).unwrap();
        }
        let told = summary(&metrics.snapshot(), "s");
        for (quantile, expected) in [told.p50, told.p90, told.p99].into_iter().zip(expected) {
            let error = (quantile - expected).abs();
            assert!(error <= (expected.abs() / 16.0).max(1e-9), "{values:?}: {quantile} for {expected}");
        }
        assert!(told.min <= told.p50 && told.p99 <= told.max, "{values:?}");
    }
}

#[test]
fn values_are_what_a_prometheus_user_expects() {
    use MetricRejection::{NotFinite, Value as NoValue};
    for (value, expected) in [
        (json!(3), Ok(3.0)),
        (json!(-2.5), Ok(-2.5)),
        (json!(u64::MAX), Ok(u64::MAX as f64)),
        (json!(true), Ok(1.0)),
        (json!(false), Ok(0.0)),
        (json!("42"), Ok(42.0)),
        (json!("-1.5e3"), Ok(-1_500.0)),
        (json!("1.2.3"), Err(NoValue)),
        (json!(""), Err(NoValue)),
        (json!(" 1"), Err(NoValue)),
        (json!("0x10"), Err(NoValue)),
        (json!("NaN"), Err(NotFinite)),
        (json!("inf"), Err(NotFinite)),
        (json!("1e999"), Err(NotFinite)),
        (json!([1]), Err(NoValue)),
        (json!({"value": 1}), Err(NoValue)),
        (json!(null), Err(NoValue)),
    ] {
        let metrics = MetricAggregator::new();
        let outcome = metrics.add(&update("m", value.clone(), "gauge"));
        assert_eq!(outcome, expected.map(|_| ()), "{value}");
        let snapshot = metrics.snapshot();
        let reading = expected.ok().map(MetricReading::Gauge);
        assert_eq!(snapshot.reading("m", &[]), reading.as_ref(), "{value}");
    }
}

#[test]
fn an_absent_type_is_a_gauge_as_in_the_constructors() {
    let metrics = MetricAggregator::new();
    metrics.add(&metric(json!({"metric_name": "m", "metric_value": 1}))).unwrap();
    metrics.add(&metric(json!({"metric_name": "m", "metric_value": 2, "metric_type": null}))).unwrap();
    metrics.add(&create_metric_event("m", 3, MetricType::default(), None).unwrap()).unwrap();
    assert_eq!(metrics.snapshot().reading("m", &[]), Some(&MetricReading::Gauge(3.0)));
}

#[test]
fn labels_are_a_set_of_texts() {
    let metrics = MetricAggregator::new();
    for labels in [
        // One series: texts give the order away in which they were written.
        r#"{"a":"x","b":"1","c":"true"}"#,
        r#"{"c":true,"b":1,"a":"x"}"#,
        r#"{"b":1,"none":null,"c":true,"a":"x","empty":""}"#,
        // Others.
        r#"{"a":"x","b":"1"}"#,
        r#"{"a":"x","b":1.0,"c":true}"#,
        r#"{"a":"1","b":"x","c":"true"}"#,
        r#"{"x":"a","b":"1","c":"true"}"#,
        "{}",
        "null",
    ] {
        let data =
            format!(r#"{{"metric_name":"m","metric_value":1,"metric_type":"counter","labels":{labels}}}"#);
        metrics.add(&metric(Payload::from_json(data).unwrap())).unwrap();
    }
    let snapshot = metrics.snapshot();
    let counts: Vec<(String, u64)> = snapshot.families[0]
        .series
        .iter()
        .map(|series| (serde_json::to_string(&series.labels).unwrap(), series.updates))
        .collect();
    let expected = [
        ("{}", 2),
        (r#"{"a":"1","b":"x","c":"true"}"#, 1),
        (r#"{"a":"x","b":"1"}"#, 1),
        (r#"{"a":"x","b":"1","c":"true"}"#, 3),
        (r#"{"a":"x","b":"1.0","c":"true"}"#, 1),
        (r#"{"b":"1","c":"true","x":"a"}"#, 1),
    ];
    assert_eq!(counts, expected.map(|(labels, count)| (labels.to_owned(), count)));
    assert_eq!(snapshot.reading("m", &[("b", "1"), ("a", "x")]), Some(&MetricReading::Counter(1.0)));
    assert_eq!(snapshot.reading("m", &[("a", "x")]), None);
}

/// A payload that JSON cannot hold.
struct Unserialisable;

impl Serialize for Unserialisable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no"))
    }
}

fn labelled(labels: Value) -> Payload {
    json!({"metric_name": "m", "metric_value": 1, "labels": labels}).into()
}

fn labels(count: usize) -> Value {
    (0..count).map(|n| (format!("label{n}"), json!("x"))).collect::<Map<_, _>>().into()
}

#[test]
fn what_is_refused_is_counted_by_reason_and_takes_no_room() {
    let long = "x".repeat(METRIC_TEXT_BYTES_MAX - "m".len() - "l".len());
    for (data, expected) in [
        (Payload::absent(), Err(MetricRejection::Name)),
        (json!([1, 2]).into(), Err(MetricRejection::Payload)),
        (json!("text").into(), Err(MetricRejection::Payload)),
        (Payload::typed(Unserialisable), Err(MetricRejection::Payload)),
        (json!({"metric_value": 1}).into(), Err(MetricRejection::Name)),
        (json!({"metric_name": 7, "metric_value": 1}).into(), Err(MetricRejection::Name)),
        (json!({"metric_name": "", "metric_value": 1}).into(), Err(MetricRejection::Name)),
        (json!({"metric_name": "a\n", "metric_value": 1}).into(), Err(MetricRejection::Name)),
        (json!({"metric_name": "m".repeat(257), "metric_value": 1}).into(), Err(MetricRejection::Name)),
        (json!({"metric_name": "m".repeat(256), "metric_value": 1}).into(), Ok(())),
        (json!({"metric_name": "m"}).into(), Err(MetricRejection::Value)),
        (
            json!({"metric_name": "m", "metric_value": 1, "metric_type": "Gauge"}).into(),
            Err(MetricRejection::Type),
        ),
        (json!({"metric_name": "m", "metric_value": 1, "metric_type": 1}).into(), Err(MetricRejection::Type)),
        (
            json!({"metric_name": "m", "metric_value": -1e-9, "metric_type": "counter"}).into(),
            Err(MetricRejection::Negative),
        ),
        (labelled(json!(["a"])), Err(MetricRejection::Labels)),
        (labelled(json!("a=b")), Err(MetricRejection::Labels)),
        (labelled(json!({"a": ["x"]})), Err(MetricRejection::Labels)),
        (labelled(json!({"a": {}})), Err(MetricRejection::Labels)),
        (labelled(json!({"": "x"})), Err(MetricRejection::Labels)),
        (labelled(json!({"a\u{0}": "x"})), Err(MetricRejection::Labels)),
        (labelled(json!({"a".repeat(257): "x"})), Err(MetricRejection::Labels)),
        (labelled(labels(METRIC_LABELS_MAX)), Ok(())),
        (labelled(labels(METRIC_LABELS_MAX + 1)), Err(MetricRejection::Labels)),
        (labelled(json!({"l": long})), Ok(())),
        (labelled(json!({"l": format!("{long}x")})), Err(MetricRejection::Labels)),
        (labelled(json!({"l": "any \u{0}\n\"\\ text, 日本語"})), Ok(())),
    ] {
        let metrics = MetricAggregator::new();
        let told = format!("{data:?}");
        assert_eq!(metrics.add(&metric(data)), expected, "{told}");
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.overflowed, accounted(&snapshot)), (0, 1), "{told}");
        match expected {
            Ok(()) => assert_eq!((series(&snapshot), snapshot.updates()), (1, 1), "{told}"),
            Err(reason) => {
                assert_eq!((series(&snapshot), snapshot.rejected[&reason]), (0, 1), "{told}");
            }
        }
    }
}

#[test]
fn a_sum_that_would_be_infinite_stays_as_it_was() {
    let metrics = MetricAggregator::new();
    for metric_type in ["counter", "histogram", "summary"] {
        metrics.add(&update(metric_type, f64::MAX, metric_type)).unwrap();
        assert_eq!(metrics.add(&update(metric_type, f64::MAX, metric_type)), Err(MetricRejection::Sum));
    }
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.reading("counter", &[]), Some(&MetricReading::Counter(f64::MAX)));
    assert_eq!(histogram(&snapshot, "histogram").count, 1);
    assert_eq!(summary(&snapshot, "summary").count, 1);
    assert_eq!((snapshot.rejected[&MetricRejection::Sum], accounted(&snapshot)), (3, 6));
}

#[test]
fn the_first_type_of_a_name_is_its_type() {
    let metrics = MetricAggregator::new();
    let with_label = |metric_type: &str| {
        metric(
            json!({"metric_name": "m", "metric_value": 1, "metric_type": metric_type, "labels": {"a": "b"}}),
        )
    };
    metrics.add(&update("m", 5, "counter")).unwrap();
    for metric_type in ["gauge", "histogram", "summary"] {
        assert_eq!(metrics.add(&update("m", 1, metric_type)), Err(MetricRejection::OtherType));
        assert_eq!(metrics.add(&with_label(metric_type)), Err(MetricRejection::OtherType));
    }
    metrics.add(&with_label("counter")).unwrap();
    let snapshot = metrics.snapshot();
    assert_eq!(snapshot.family("m").unwrap().metric_type, MetricType::Counter);
    assert_eq!((series(&snapshot), snapshot.updates()), (2, 2));
    assert_eq!(snapshot.rejected[&MetricRejection::OtherType], 6);
}

#[test]
fn of_threads_that_bring_a_name_with_different_types_one_decides() {
    let types = ["counter", "gauge", "histogram", "summary"];
    for round in 0..200 {
        let metrics = MetricAggregator::builder().series_max(8).build();
        let barrier = Barrier::new(types.len());
        let accepted: u64 = thread::scope(|threads| {
            let each = types.map(|metric_type| {
                let (metrics, barrier) = (&metrics, &barrier);
                threads.spawn(move || {
                    let event = update("m", 1, metric_type);
                    barrier.wait();
                    u64::from(metrics.add(&event).is_ok())
                })
            });
            each.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        let snapshot = metrics.snapshot();
        assert_eq!((accepted, snapshot.updates(), series(&snapshot)), (1, 1, 1), "round {round}");
        assert_eq!(snapshot.rejected[&MetricRejection::OtherType], 3);
    }
}

#[test]
fn updates_of_series_without_room_are_counted_and_known_ones_go_on() {
    let metrics = MetricAggregator::builder().series_max(3).build();
    for round in 0..4 {
        for name in 0..5 {
            let outcome = metrics.add(&update(&format!("m{name}"), 1, "counter"));
            let expected = if name < 3 { Ok(()) } else { Err(MetricRejection::NoRoom) };
            assert_eq!(outcome, expected, "m{name} in round {round}");
        }
    }
    // Its name has another type, whether there is room or not.
    assert_eq!(metrics.add(&update("m0", 1, "gauge")), Err(MetricRejection::OtherType));
    let snapshot = metrics.snapshot();
    assert_eq!((series(&snapshot), snapshot.updates(), snapshot.overflowed), (3, 12, 8));
    assert!(!snapshot.rejected.contains_key(&MetricRejection::NoRoom), "it is in `overflowed`");
    assert_eq!(accounted(&snapshot), 21);
}

const PUBLISHERS: u64 = 4;

#[test]
fn concurrent_publishers_lose_nothing() {
    const EACH: u64 = 2_000;
    for is_queued in [false, true] {
        let builder = EventBus::builder();
        let bus = if is_queued { builder.queued().max_workers(3) } else { builder }.build().unwrap();
        let metrics = MetricAggregator::attach(&bus).unwrap();
        thread::scope(|threads| {
            for publisher in 0..PUBLISHERS {
                let bus = &bus;
                threads.spawn(move || {
                    for n in 1..=EACH {
                        let labels = json!({"half": n % 2, "all": "yes"}).as_object().cloned();
                        let name = ["counter", "histogram", "summary"][(n % 3) as usize];
                        let metric_type = [MetricType::Counter, MetricType::Histogram, MetricType::Summary];
                        let event =
                            create_metric_event(name, n, metric_type[(n % 3) as usize], labels).unwrap();
                        bus.publish(event).unwrap();
                        bus.publish(create_metric_event("last", publisher, MetricType::Gauge, None).unwrap())
                            .unwrap();
                    }
                });
            }
            // A reader beside them: what it sees never goes back, and is whole.
            let mut seen = BTreeMap::new();
            for _ in 0..50 {
                for family in metrics.snapshot().families {
                    for series in family.series {
                        let before = seen.insert((family.name.clone(), series.labels), series.updates);
                        assert!(before.unwrap_or(0) <= series.updates);
                        if let MetricReading::Summary(told) = series.reading {
                            assert!(told.min <= told.p50 && told.p50 <= told.p99 && told.p99 <= told.max);
                        }
                    }
                }
            }
        });
        bus.flush(WATCHDOG).unwrap();
        let snapshot = metrics.snapshot();
        for half in 0..2 {
            let half_text = half.to_string();
            let of = |kind: u64| {
                let values = (1..=EACH).filter(move |n| n % 3 == kind && n % 2 == half);
                let (count, sum) = values.fold((0, 0), |(count, sum), n| (count + 1, sum + n));
                (count * PUBLISHERS, (sum * PUBLISHERS) as f64)
            };
            let reading = |name| snapshot.reading(name, &[("half", &half_text), ("all", "yes")]).unwrap();
            assert_eq!(reading("counter"), &MetricReading::Counter(of(0).1));
            let MetricReading::Histogram(told) = reading("histogram") else { panic!() };
            assert_eq!((told.count, told.sum), of(1));
            let MetricReading::Summary(told) = reading("summary") else { panic!() };
            assert_eq!((told.count, told.sum), of(2));
        }
        let Some(MetricReading::Gauge(last)) = snapshot.reading("last", &[]) else { panic!() };
        assert!((0..PUBLISHERS).any(|publisher| publisher as f64 == *last));
        assert_eq!(
            (accounted(&snapshot), snapshot.updates()),
            (PUBLISHERS * EACH * 2, PUBLISHERS * EACH * 2)
        );
        laws::check(&bus.get_stats());
    }
}

#[test]
fn threads_that_race_for_the_last_room_account_for_every_update() {
    const SERIES: u64 = 64;
    const EACH: u64 = 3_000;
    let metrics = MetricAggregator::builder().series_max(SERIES as usize).build();
    thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let metrics = &metrics;
            threads.spawn(move || {
                for n in 0..EACH {
                    // Twice as many series as there is room for, from each thread in another order.
                    let name = format!("m{}", (n * 7 + publisher * 13) % (SERIES * 2));
                    let _ = metrics.add(&update(&name, 1, "counter"));
                }
            });
        }
    });
    let snapshot = metrics.snapshot();
    assert_eq!(series(&snapshot), SERIES as usize);
    assert_eq!(snapshot.updates() + snapshot.overflowed, PUBLISHERS * EACH);
    let total: f64 = snapshot
        .families
        .iter()
        .map(|family| match family.series[0].reading {
            MetricReading::Counter(total) => total,
            _ => panic!(),
        })
        .sum();
    assert_eq!(total, snapshot.updates() as f64);
}

#[test]
fn a_million_label_sets_take_no_memory_beyond_the_room() {
    const FLOOD: u64 = 1_000_000;
    const ROOM: u64 = 10_000;
    let metrics = MetricAggregator::new();
    let template = json!({"metric_name": "requests", "metric_value": 1, "metric_type": "counter", "labels": {"path": ""}});
    let flood = |paths: std::ops::Range<u64>| {
        let mut data = template.clone();
        for path in paths {
            data["labels"]["path"] = format!("/{path}").into();
            let _ = metrics.add(&metric(data.clone()));
        }
    };
    flood(0..ROOM);
    let each = (FLOOD - ROOM) / PUBLISHERS;
    thread::scope(|threads| {
        for publisher in 0..PUBLISHERS {
            let flood = &flood;
            threads.spawn(move || {
                let first = ROOM + publisher * each;
                flood(first..first + 1);
                let ((), taken) = allocations::during(|| flood(first + 1..first + each));
                assert_eq!(taken.kept_bytes, 0);
                assert!(taken.peak_bytes < 16 * 1024, "{} bytes for one update", taken.peak_bytes);
            });
        }
    });
    let snapshot = metrics.snapshot();
    assert_eq!((series(&snapshot) as u64, snapshot.updates()), (ROOM, ROOM));
    assert_eq!(snapshot.overflowed, FLOOD - ROOM);
    // Those that were there before the flood are served as ever.
    let labels = json!({"path": "/7"}).as_object().cloned();
    metrics.add(&create_metric_event("requests", 1, MetricType::Counter, labels).unwrap()).unwrap();
    let known = metrics.snapshot();
    assert_eq!(known.reading("requests", &[("path", "/7")]), Some(&MetricReading::Counter(2.0)));
}

#[test]
fn an_update_of_a_known_series_allocates_nothing() {
    let bus = EventBus::new();
    let metrics = MetricAggregator::attach(&bus).unwrap();
    let all = [MetricType::Counter, MetricType::Gauge, MetricType::Histogram, MetricType::Summary];
    let events = all.map(|metric_type| {
        let labels = json!({"method": "GET", "code": 200, "cached": false}).as_object().cloned();
        Arc::new(create_metric_event(metric_type.as_str(), 0.25, metric_type, labels).unwrap())
    });
    let publish_all = || {
        for event in &events {
            bus.publish(Arc::clone(event)).unwrap();
        }
    };
    publish_all();
    let (_, taken) = allocations::during(|| (0..100).for_each(|_| publish_all()));
    assert_eq!(taken.calls, 0);
    assert_eq!(metrics.snapshot().updates(), 404);
    // A text has to be read first; a text of the same event is read once, whoever hears it.
    let text = r#"{"metric_name":"counter","metric_value":1,"metric_type":"counter","labels":{"code":200,"cached":false,"method":"GET"}}"#;
    let event = metric(Payload::from_json(text).unwrap());
    event.data().value().unwrap();
    let (outcome, taken) = allocations::during(|| metrics.add(&event));
    assert_eq!((outcome, taken.calls), (Ok(()), 0));
}

#[test]
fn a_series_takes_what_the_documentation_says() {
    // What a thread's first event takes is not theirs.
    drop(update("m", 1, "gauge"));
    for (metric_type, values, bytes) in [
        ("counter", 1, 100..200),
        ("gauge", 1, 100..200),
        ("histogram", 1, 100..300),
        ("summary", 1, 800..1_000),
        ("summary", 10_000, 12_000..13_500),
    ] {
        let metrics = MetricAggregator::builder().series_max(4).build();
        let ((), taken) = allocations::during(|| {
            for n in 0..values {
                // From one end of what is told apart to the other, on both sides of zero.
                let value = 2.0_f64.powf(f64::from(n) / 10_000.0 * 96.0 - 32.0);
                metrics.add(&update("m", if n % 2 == 0 { value } else { -value }, metric_type)).unwrap();
            }
        });
        let own = taken.kept_bytes;
        assert!(bytes.contains(&own), "{own} bytes for a {metric_type} of {values} values");
        if values > 1 {
            // The most texts that there can be, each too long to stand in place.
            let text = |n: usize| format!("{n:031}");
            let labels: Map<String, Value> =
                (0..METRIC_LABELS_MAX).map(|n| (text(n), text(n).into())).collect();
            let event = metric(json!({"metric_name": text(0), "metric_value": 1, "labels": labels}));
            let (outcome, texts) = allocations::during(|| metrics.add(&event));
            assert_eq!(outcome, Ok(()));
            let all = own + texts.kept_bytes;
            assert!((16_000..18_000).contains(&all), "{all} bytes at the worst");
        }
    }
}

#[test]
fn it_hears_its_patterns_until_the_last_clone_is_dropped_and_keeps_no_bus() {
    let bus = EventBus::new();
    let metrics = MetricAggregator::attach(&bus).unwrap();
    let own = MetricAggregator::builder().attach_to(&bus, ["app.*", "metric.update"]).unwrap();
    bus.publish(update("m", 1, "counter")).unwrap();
    let data = json!({"metric_name": "m", "metric_value": 2, "metric_type": "counter"});
    bus.publish(Event::builder("app.metric", "test").data(data).build().unwrap()).unwrap();
    assert_eq!(metrics.snapshot().reading("m", &[]), Some(&MetricReading::Counter(1.0)));
    assert_eq!(own.snapshot().reading("m", &[]), Some(&MetricReading::Counter(3.0)));

    let clone = metrics.clone();
    drop(metrics);
    bus.publish(update("m", 1, "counter")).unwrap();
    assert_eq!(clone.snapshot().updates(), 2);
    drop(clone);
    assert_eq!(bus.subscriptions().len(), 1);
    // Bad metrics are its business and no failure of the bus.
    bus.publish(update("m", "no number", "counter")).unwrap();
    assert_eq!((bus.get_stats().deliveries.dead_lettered, bus.get_stats().deliveries.succeeded), (0, 6));
    let weak = bus.downgrade();
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert_eq!((own.snapshot().updates(), accounted(&own.snapshot())), (3, 4));
    assert!(MetricAggregator::builder().attach_to(&EventBus::new(), [""; 0]).is_err());
}

#[test]
fn bounds_are_checked_and_may_differ_by_name() {
    for bad in [
        vec![1.0, 1.0],
        vec![2.0, 1.0],
        vec![f64::NAN],
        vec![1.0, f64::INFINITY],
        (0..257).map(f64::from).collect(),
    ] {
        let refused: InvalidBuckets = MetricAggregator::builder().buckets(bad.clone()).unwrap_err();
        assert!(refused.to_string().contains("256 finite numbers"), "{bad:?}");
        assert!(MetricAggregator::builder().buckets_of("m", bad).is_err());
    }
    let metrics = MetricAggregator::builder()
        .buckets([-1.0, 1.0])
        .and_then(|builder| builder.buckets_of("bytes", (10..20).map(|power| f64::from(1 << power))))
        .and_then(|builder| builder.buckets_of("plain", []))
        .unwrap()
        .build();
    for name in ["seconds", "bytes", "plain"] {
        metrics.add(&update(name, 1.0, "histogram")).unwrap();
    }
    let snapshot = metrics.snapshot();
    let counts = |name| {
        let told = histogram(&snapshot, name);
        (told.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), told.count)
    };
    assert_eq!(counts("seconds"), (vec![0, 1], 1));
    assert_eq!(counts("bytes"), (vec![1; 10], 1));
    assert_eq!(counts("plain"), (vec![], 1));
}

#[test]
fn a_snapshot_serialises_to_what_a_page_can_use() {
    let metrics = MetricAggregator::builder().buckets([1.0]).unwrap().build();
    let labels = json!({"zone": "b", "a": 1}).as_object().cloned();
    metrics.add(&create_metric_event("up", true, MetricType::Gauge, labels).unwrap()).unwrap();
    metrics.add(&update("took", 0.5, "histogram")).unwrap();
    metrics.add(&update("size", 2, "summary")).unwrap();
    metrics.add(&update("size", 2, "gauge")).unwrap_err();
    let told = serde_json::to_value(metrics.snapshot()).unwrap();
    let expected = json!({
        "families": [
            {"name": "size", "metric_type": "summary", "series": [{"labels": {}, "updates": 1, "value": {
                "count": 1, "sum": 2.0, "min": 2.0, "max": 2.0, "p50": 2.0, "p90": 2.0, "p99": 2.0}}]},
            {"name": "took", "metric_type": "histogram", "series": [{"labels": {}, "updates": 1, "value": {
                "buckets": [{"le": 1.0, "count": 1}], "count": 1, "sum": 0.5}}]},
            {"name": "up", "metric_type": "gauge", "series": [
                {"labels": {"a": "1", "zone": "b"}, "updates": 1, "value": 1.0}]},
        ],
        "overflowed": 0,
        "rejected": {"labels": 0, "name": 0, "negative": 0, "not_finite": 0, "other_type": 1, "payload": 0, "sum": 0,
            "type": 0, "value": 0},
    });
    assert_eq!(told, expected);
}

/// A payload whose conversion publishes and asks, on the bus and of the aggregator that convert it.
struct Meddling {
    bus: EventBus,
    metrics: MetricAggregator,
}

impl Serialize for Meddling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.bus.publish(update("nested", 1, "counter")).unwrap();
        assert_eq!(self.metrics.snapshot().updates(), 1);
        json!({"metric_name": "outer", "metric_value": 1}).serialize(serializer)
    }
}

#[test]
fn a_payload_that_publishes_while_it_is_read_is_folded_too() {
    let (bus, metrics) = support::watched("a nested update", || {
        let bus = EventBus::new();
        let metrics = MetricAggregator::attach(&bus).unwrap();
        let meddling = Meddling { bus: bus.clone(), metrics: metrics.clone() };
        bus.publish(metric(Payload::typed(meddling))).unwrap();
        (bus, metrics)
    });
    assert_eq!(metrics.snapshot().updates(), 2);
    laws::check(&bus.get_stats());
}

proptest! {
    /// Random updates of a few series beside a model of plain maps.
    #[test]
    fn folds_as_a_model_does(
        updates in prop::collection::vec((0..4_usize, 0..3_u8, -1_000_i32..1_000), 1..200),
        series_max in 1..12_usize,
    ) {
        let types = ["counter", "gauge", "histogram", "summary"];
        let metrics = MetricAggregator::builder().series_max(series_max).build();
        let mut model: BTreeMap<(usize, u8), Vec<f64>> = BTreeMap::new();
        let (mut overflowed, mut negative) = (0, 0);
        for (metric_type, label, value) in updates {
            let value = f64::from(value) / 8.0;
            let event = metric(json!({
                "metric_name": types[metric_type], "metric_value": value, "metric_type": types[metric_type],
                "labels": {"n": label, "other": "x"},
            }));
            let outcome = metrics.add(&event);
            if metric_type == 0 && value < 0.0 {
                prop_assert_eq!(outcome, Err(MetricRejection::Negative));
                negative += 1;
            } else if model.contains_key(&(metric_type, label)) || model.len() < series_max {
                prop_assert_eq!(outcome, Ok(()));
                model.entry((metric_type, label)).or_default().push(value);
            } else {
                prop_assert_eq!(outcome, Err(MetricRejection::NoRoom));
                overflowed += 1;
            }
        }
        let snapshot = metrics.snapshot();
        prop_assert_eq!((snapshot.overflowed, snapshot.rejected[&MetricRejection::Negative]), (overflowed, negative));
        prop_assert_eq!(series(&snapshot), model.len());
        for ((metric_type, label), mut values) in model {
            let labels = [("n", &*label.to_string()), ("other", "x")];
            let sum: f64 = values.iter().sum();
            match snapshot.reading(types[metric_type], &labels).unwrap() {
                MetricReading::Counter(total) => prop_assert_eq!(*total, sum),
                MetricReading::Gauge(value) => prop_assert_eq!(Some(value), values.last()),
                MetricReading::Histogram(told) => {
                    prop_assert_eq!((told.count as usize, told.sum), (values.len(), sum));
                    for bucket in &told.buckets {
                        let up_to = values.iter().filter(|value| **value <= bucket.le).count();
                        prop_assert_eq!(bucket.count as usize, up_to);
                    }
                }
                MetricReading::Summary(told) => {
                    prop_assert_eq!((told.count as usize, told.sum), (values.len(), sum));
                    values.sort_by(f64::total_cmp);
                    prop_assert_eq!((Some(&told.min), Some(&told.max)), (values.first(), values.last()));
                    for (quantile, of_100) in [(told.p50, 50), (told.p90, 90), (told.p99, 99)] {
                        let exact = values[(values.len() * of_100).div_ceil(100) - 1];
                        prop_assert!((quantile - exact).abs() <= exact.abs() / 16.0, "{} for {}", quantile, exact);
                    }
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

/// What `tests/support/metrics_oracle.py` makes of a stream.
fn told_by_python(stream: &str) -> Value {
    let oracle = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/metrics_oracle.py");
    let output = Command::new("python3").args([oracle, stream]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Publishes metrics of an event that was heard: how many there were of its type, where it stood, how long after the one before.
fn derive(heard: &Delivery<'_>, before: &Mutex<Option<f64>>) {
    let time = heard.to_dict().unwrap()["timestamp"].as_f64().unwrap();
    let gap = before.lock().unwrap().replace(time).map(|before| time - before);
    let labels = json!({"type": heard.event_type().as_str()}).as_object().cloned();
    let publish = |name: &str, value: f64, metric_type, labels: Option<Map<String, Value>>| {
        heard.bus().publish(create_metric_event(name, value, metric_type, labels).unwrap()).unwrap();
    };
    publish("events", 1.0, MetricType::Counter, labels.clone());
    publish("last_seen", time, MetricType::Gauge, labels.clone());
    if let Some(gap) = gap {
        publish("gap_seconds", gap, MetricType::Histogram, labels);
        publish("gap", gap, MetricType::Summary, None);
    }
}

#[test]
fn metrics_of_real_streams_are_what_somebody_else_counts() {
    for file in ["build.ndjson", "packages.ndjson"] {
        let path = format!("{}/examples/data/{file}", env!("CARGO_MANIFEST_DIR"));
        let bus = EventBus::new();
        let metrics = MetricAggregator::attach(&bus).unwrap();
        let before = Mutex::new(None);
        bus.subscribe("*")
            .filter(|event: &Event| *event.event_type() != EventType::MetricUpdate)
            .handler(move |heard| derive(heard, &before))
            .unwrap();
        for line in fs::read_to_string(&path).unwrap().lines() {
            bus.publish(Event::from_json(line).unwrap()).unwrap();
        }
        let told = serde_json::to_value(metrics.snapshot()).unwrap();
        let mut expected = told_by_python(&path);
        let mut names = BTreeSet::new();
        for family in told["families"].as_array().unwrap() {
            let name = family["name"].as_str().unwrap();
            names.insert(name.to_owned());
            let series = family["series"].as_array().unwrap();
            let expected = expected["families"][name].as_array_mut().unwrap();
            assert_eq!(series.len(), expected.len(), "{file}: {name}");
            for (told, expected) in series.iter().zip(expected) {
                assert_eq!(told["labels"], expected["labels"], "{file}: {name}");
                for quantile in ["p50", "p90", "p99"] {
                    let Some(exact) = expected["value"].get(quantile).and_then(Value::as_f64) else {
                        continue;
                    };
                    let told = told["value"][quantile].as_f64().unwrap();
                    assert!((told - exact).abs() <= exact / 16.0, "{file}: {name}: {told} for {exact}");
                    expected["value"][quantile] = told.into();
                }
                assert_eq!(told["value"], expected["value"], "{file}: {name} {}", told["labels"]);
            }
        }
        assert_eq!(names.len(), expected["families"].as_object().unwrap().len());
        assert_eq!(Value::from(metrics.snapshot().updates()), expected["updates"]);
        laws::check(&bus.get_stats());
    }
}

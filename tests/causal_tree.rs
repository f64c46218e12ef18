//! Causal trees: each event once, below its cause, whatever causes it names.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/bus.rs"]
mod support;

use codomyrmex_events::{CausalTree, Cause, Delivery, Event, EventBus, EventPriority};
use serde_json::{Value, json};

/// An event with an id and a cause; no cause if that is empty.
fn event(id: &str, cause: &str) -> Event {
    let builder = Event::builder("a.b", "test").event_id(id);
    if cause.is_empty() { builder } else { builder.causation_id(cause) }.build().unwrap()
}

/// The tree of events numbered from 1.
fn tree(events: &[(&str, &str)]) -> CausalTree {
    CausalTree::of((1..).zip(events.iter().map(|(id, cause)| event(id, cause))))
}

/// Each node as its sequence, its depth and what is known of its cause.
fn shape(tree: &CausalTree) -> Vec<(u64, usize, Cause)> {
    tree.nodes().iter().map(|node| (node.sequence(), node.depth(), node.cause())).collect()
}

#[test]
fn each_event_is_there_once_whatever_the_causes_are() {
    use Cause::{Circular, None, Parent, Unknown};
    let check = |events: &[(&str, &str)], expected: &[(u64, usize, Cause)]| {
        assert_eq!(shape(&tree(events)), expected, "{events:?}");
    };
    check(&[], &[]);
    check(&[("a", "")], &[(1, 0, None)]);
    // Breadth and depth; siblings in order.
    check(
        &[("a", ""), ("b", "a"), ("c", "a"), ("d", "b"), ("e", "")],
        &[(1, 0, None), (2, 1, Parent), (4, 2, Parent), (3, 1, Parent), (5, 0, None)],
    );
    // A cause that is not there.
    check(&[("b", "gone"), ("c", "b")], &[(1, 0, Unknown), (2, 1, Parent)]);
    // A cause that comes later.
    check(&[("b", "a"), ("a", "")], &[(2, 0, None), (1, 1, Parent)]);
    // Itself; a circle, cut at its oldest; a tail on a circle.
    check(&[("a", "a"), ("b", "a")], &[(1, 0, Circular), (2, 1, Parent)]);
    check(
        &[("x", "c"), ("a", "b"), ("b", "c"), ("c", "a")],
        &[(2, 0, Circular), (4, 1, Parent), (1, 2, Parent), (3, 2, Parent)],
    );
    // Published again: an answer belongs to the last publication before it, and none is lost.
    check(
        &[("a", ""), ("b", "a"), ("a", ""), ("b", "a"), ("b", "a")],
        &[(1, 0, None), (2, 1, Parent), (3, 0, None), (4, 1, Parent), (5, 1, Parent)],
    );
    // A circle through publications of the same event; itself, published again.
    check(&[("a", "b"), ("b", "a"), ("a", "b")], &[(1, 0, Circular), (2, 1, Parent), (3, 2, Parent)]);
    check(&[("a", "a"), ("a", "a")], &[(1, 0, Circular), (2, 0, Circular)]);
}

#[test]
fn the_order_in_which_events_are_given_does_not_matter() {
    let events = [("a", ""), ("b", "a"), ("c", "b"), ("d", "a"), ("e", "nobody"), ("f", "g"), ("g", "f")];
    let expected = shape(&tree(&events));
    let numbered: Vec<(u64, Event)> = (1..).zip(events.iter().map(|(id, cause)| event(id, cause))).collect();
    for turn in 0..events.len() {
        let mut given = numbered.clone();
        given.rotate_left(turn);
        assert_eq!(shape(&CausalTree::of(given.clone())), expected);
        given.reverse();
        assert_eq!(shape(&CausalTree::of(given)), expected);
    }
}

/// Random causes, circles and repeated ids among them: every event once, parents before children, ends that fit.
#[test]
fn no_tree_loses_an_event_or_closes_a_circle() {
    let mut random = 1_u64;
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % bound
    };
    for _ in 0..300 {
        let count = below(40);
        let events: Vec<(u64, Event)> = (0..count)
            .map(|sequence| (sequence, event(&below(12).to_string(), &below(14).to_string())))
            .collect();
        let tree = CausalTree::of(events);
        let mut sequences: Vec<u64> = tree.nodes().iter().map(|node| node.sequence()).collect();
        sequences.sort_unstable();
        assert_eq!(sequences, (0..count).collect::<Vec<_>>());
        let mut reached = tree.roots().count();
        for (index, node) in tree.nodes().iter().enumerate() {
            reached += tree.children(index).count();
            match node.parent() {
                Some(parent) => {
                    let above = &tree.nodes()[parent];
                    assert!(parent < index && node.depth() == above.depth() + 1);
                    assert_eq!((node.causation_id(), node.cause()), (Some(above.event_id()), Cause::Parent));
                    assert!(tree.children(parent).any(|child| child.sequence() == node.sequence()));
                }
                None => assert!(node.depth() == 0 && node.cause() != Cause::Parent),
            }
        }
        assert_eq!(reached, tree.len(), "each is a root or below one other");
    }
}

#[test]
fn a_chain_of_a_hundred_thousand_and_a_fan_are_linear() {
    const MANY: u64 = 100_000;
    let cause = |sequence: u64| if sequence == 0 { String::new() } else { (sequence - 1).to_string() };
    // In the worst order: effects before causes.
    let chain = (0..MANY).map(|at| (MANY - at, event(&at.to_string(), &cause(at))));
    let tree = CausalTree::of(chain);
    assert_eq!((tree.len(), tree.roots().count()), (MANY as usize, 1));
    assert_eq!(tree.nodes().last().unwrap().depth(), MANY as usize - 1);
    let drawn = tree.to_string();
    assert_eq!(drawn.lines().count(), MANY as usize);
    assert!(drawn.lines().last().unwrap().contains("(level 99999) "), "levels beyond 32 are told");
    assert!(drawn.len() < MANY as usize * 300, "and not indented: {} bytes", drawn.len());
    let json: Value = serde_json::from_str(&serde_json::to_string(&tree).unwrap()).unwrap();
    assert_eq!(json["nodes"][99_999]["depth"], 99_999);

    let circle = (0..MANY).map(|at| (at, event(&at.to_string(), &((at + 1) % MANY).to_string())));
    let tree = CausalTree::of(circle);
    assert_eq!((tree.len(), tree.nodes()[0].cause()), (MANY as usize, Cause::Circular));
    let fan = (0..MANY).map(|at| (at, event(&at.to_string(), if at == 0 { "" } else { "0" })));
    assert_eq!(CausalTree::of(fan).children(0).count(), MANY as usize - 1);
}

#[test]
fn a_bus_traces_an_exchange_that_its_handlers_carried_on() {
    let bus = EventBus::new();
    let answer = |name: &'static str| {
        move |delivery: &Delivery<'_>| {
            delivery.bus().publish(Event::builder(name, "handler").build()?).map(drop)
        }
    };
    bus.subscribe("order").handler(answer("payment")).unwrap();
    bus.subscribe("order").handler(answer("packing")).unwrap();
    bus.subscribe("payment").handler(answer("receipt")).unwrap();
    let order = |id: &str| Event::builder("order", "shop").correlation_id(id).build().unwrap();
    bus.publish(order("one")).unwrap();
    bus.publish(order("other")).unwrap();
    let tree = bus.history().trace("one");
    let names: Vec<(&str, usize)> =
        tree.nodes().iter().map(|node| (node.event_type().as_str(), node.depth())).collect();
    assert_eq!(names, [("order", 0), ("payment", 1), ("receipt", 2), ("packing", 1)]);
    assert!(bus.history().trace("nobody").is_empty());
    assert!(EventBus::builder().history(0).build().unwrap().history().trace("one").is_empty());
}

#[test]
fn a_cause_that_was_overwritten_is_unknown() {
    let bus = EventBus::builder().history(2).build().unwrap();
    for (id, cause) in [("a", ""), ("b", "a"), ("c", "b")] {
        let mut builder = Event::builder("a.b", "test").event_id(id).correlation_id("x");
        if !cause.is_empty() {
            builder = builder.causation_id(cause);
        }
        bus.publish(builder.build().unwrap()).unwrap();
    }
    assert_eq!(shape(&bus.history().trace("x")), [(2, 0, Cause::Unknown), (3, 1, Cause::Parent)]);
}

#[test]
fn it_is_drawn_for_people_and_written_for_programs() {
    let epoch = codomyrmex_events::Timestamp::from_unix_nanos(0);
    let make = |id: &str, cause: Option<&str>, source: &str, priority| {
        let mut builder =
            Event::builder("build.start", source).event_id(id).timestamp(epoch).priority(priority);
        if let Some(cause) = cause {
            builder = builder.causation_id(cause);
        }
        builder.data(json!({"x": 1})).build().unwrap()
    };
    let tree = CausalTree::of([
        (1, make("a", None, "ci", EventPriority::Normal)),
        (2, make("b", Some("a"), "evil\u{202e}\u{2028}", EventPriority::Critical)),
        (3, make("c", Some("b"), "ci", EventPriority::Normal)),
        (4, make("d", Some("a"), "ci", EventPriority::Normal)),
        (5, make("e", Some("e"), "ci", EventPriority::Normal)),
        (6, make("f", Some("lost\u{202e}"), "ci", EventPriority::Normal)),
    ]);
    let expected = "\
1 build.start from ci at 1970-01-01T00:00:00Z, a
├─ 2 build.start from evil\\u{202e}\\u{2028} at 1970-01-01T00:00:00Z, b, critical
│  └─ 3 build.start from ci at 1970-01-01T00:00:00Z, c
└─ 4 build.start from ci at 1970-01-01T00:00:00Z, d
5 build.start from ci at 1970-01-01T00:00:00Z, e (its cause e leads back to it)
6 build.start from ci at 1970-01-01T00:00:00Z, f (its cause lost\\u{202e} is unknown)
";
    assert_eq!(tree.to_string(), expected);
    let json = serde_json::to_value(&tree).unwrap();
    assert_eq!((&json["events"], &json["roots"]), (&json!(6), &json!(3)));
    let node = &json["nodes"][2];
    assert_eq!((&node["sequence"], &node["depth"], &node["parent"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!((&node["cause"], &node["event"]["event_id"]), (&json!("parent"), &json!("c")));
    assert_eq!(node["event"]["data"], json!({"x": 1}));
    assert_eq!((&json["nodes"][0]["parent"], &json["nodes"][4]["cause"]), (&Value::Null, &json!("circular")));
}

#[test]
fn an_event_whose_payload_does_not_become_json_is_not_lost() {
    struct Unspeakable;
    impl serde::Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no words"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Unspeakable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Unspeakable)
        }
    }
    impl codomyrmex_events::EventPayload for Unspeakable {
        const EVENT_TYPE: &'static str = "my.unspeakable";
    }
    let tree = CausalTree::of([(7, Event::typed("test", Unspeakable).event_id("a").build().unwrap())]);
    let json = serde_json::to_value(&tree).unwrap();
    let event = &json["nodes"][0]["event"];
    assert_eq!((&event["event_id"], &event["event_type"]), (&json!("a"), &json!("my.unspeakable")));
    assert!(event["error"].as_str().unwrap().contains("no words"), "{event}");
}

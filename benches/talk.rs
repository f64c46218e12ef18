//! What it costs to talk over a bus: a request and its answer, and a message to a mailbox.
//!
//! - `request`: an answer inline, beside the bare event (published, and its handler called), beside the two publishes that a
//!   request and its answer are, and beside a direct call.
//! - `mailbox`: a message sent and received on one thread, beside `crossbeam-channel` with as much room, and beside a publish.
//! - `mailbox, 1 to 1`: the same from thread to thread.

use codomyrmex_events::{Delivery, Event, EventBus, Mailbox, Overflow};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use std::hint::black_box;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROOM: usize = 1_024;
const FOR_EVER: Duration = Duration::from_secs(600);

fn ask() -> Event {
    Event::builder("ask", "bench").build().expect("a valid event")
}

fn bus() -> EventBus {
    EventBus::builder().history(0).build().expect("valid settings")
}

fn requests(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.bench_function("answered", |bencher| {
        let bus = bus();
        bus.subscribe("ask").handler(|asked| asked.reply(json!(1))).expect("a valid subscription");
        bencher.iter(|| {
            let answer = bus.request(ask()).within(FOR_EVER).expect("an answer");
            assert_eq!(answer.event_type().as_str(), "ask.reply");
        });
    });
    group.bench_function("two publishes", |bencher| {
        let bus = bus();
        let answer = |asked: &Delivery<'_>| {
            let answer = Event::builder("ask.reply", "bench").causation_id(asked.event_id().clone());
            asked.bus().publish(answer.data(json!(1)).build().expect("a valid event")).map(drop)
        };
        bus.subscribe("ask").handler(answer).expect("a valid subscription");
        bus.subscribe("*.reply")
            .handler(|answer| assert!(black_box(answer.sequence()) > 0))
            .expect("a valid subscription");
        bencher.iter(|| bus.publish(ask()).expect("an open bus"));
    });
    group.bench_function("one publish", |bencher| {
        let bus = bus();
        bus.subscribe("ask")
            .handler(|asked| assert!(black_box(asked.sequence()) > 0))
            .expect("a valid subscription");
        bencher.iter(|| bus.publish(ask()).expect("an open bus"));
    });
    group.bench_function("a direct call", |bencher| {
        let answer = |asked: &Arc<Event>| {
            let answer = Event::builder("ask.reply", "bench").causation_id(asked.event_id().clone());
            Arc::new(answer.data(json!(1)).build().expect("a valid event"))
        };
        bencher.iter(|| black_box(answer)(&Arc::new(ask())));
    });
    group.finish();
}

fn mailbox(bus: &EventBus) -> Mailbox {
    let wait = Overflow::Block(FOR_EVER);
    bus.mailbox_with("agent").room(ROOM).overflow(wait).open().expect("an open bus")
}

fn message(mailbox: &Mailbox) -> Arc<Event> {
    Arc::new(mailbox.message("bench").build().expect("a valid event"))
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    group.bench_function("send and receive", |bencher| {
        let bus = bus();
        let mailbox = mailbox(&bus);
        let message = message(&mailbox);
        bencher.iter(|| {
            mailbox.send_event(Arc::clone(&message)).expect("there is room");
            mailbox.try_receive().expect("it was sent")
        });
        assert_eq!(mailbox.stats().sent, mailbox.stats().received);
    });
    group.bench_function("publish", |bencher| {
        let bus = bus();
        let message = message(&mailbox(&bus));
        bencher.iter(|| bus.publish(Arc::clone(&message)).expect("an open bus"));
    });
    group.bench_function("crossbeam-channel", |bencher| {
        let bus = bus();
        let message = message(&mailbox(&bus));
        let (sender, receiver) = crossbeam_channel::bounded(ROOM);
        bencher.iter(|| {
            sender.send(Arc::clone(&message)).expect("there is a receiver");
            receiver.try_recv().expect("it was sent")
        });
    });
    group.finish();
}

fn from_thread_to_thread(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox, 1 to 1");
    group.bench_function("send and receive", |bencher| {
        let bus = bus();
        let mailbox = mailbox(&bus);
        let message = message(&mailbox);
        bencher.iter_custom(|messages| {
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..messages {
                        mailbox.send_event(Arc::clone(&message)).expect("there is room in time");
                    }
                });
                (0..messages).for_each(|_| drop(mailbox.receive(FOR_EVER).expect("it is sent")));
            });
            start.elapsed()
        });
    });
    group.bench_function("crossbeam-channel", |bencher| {
        let bus = bus();
        let message = message(&mailbox(&bus));
        let (sender, receiver) = crossbeam_channel::bounded(ROOM);
        bencher.iter_custom(|messages| {
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| {
                    (0..messages)
                        .for_each(|_| sender.send(Arc::clone(&message)).expect("there is a receiver"));
                });
                (0..messages).for_each(|_| drop(receiver.recv().expect("it is sent")));
            });
            start.elapsed()
        });
    });
    group.finish();
}

criterion_group!(benches, requests, messages, from_thread_to_thread);
criterion_main!(benches);

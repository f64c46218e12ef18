//! The operators for streams: exactly, on a clock that stands still, with a reader that comes only when it is woken; and
//! under real concurrency, where what passed and what was counted must add up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use block_on::block_on;
use codomyrmex_events::{Driver, EventBus, StreamOperators};
use futures_util::{Stream, StreamExt, stream};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed};
use support::{WATCHDOG, watched};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What a stream carries: a number, or something about the stream that may not be thinned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    Number(u64),
    Word(&'static str),
}

use Item::{Number, Word};

fn is_number(item: &Item) -> bool {
    matches!(item, Number(_))
}

fn manual() -> (EventBus, Driver) {
    EventBus::builder().manual().build().unwrap()
}

/// A stream, and what feeds it; dropped, the stream ends.
fn fed() -> (UnboundedSender<Item>, impl Stream<Item = Item> + Send) {
    let (feed, mut items) = unbounded_channel();
    (feed, stream::poll_fn(move |context| items.poll_recv(context)))
}

fn feed(to: &UnboundedSender<Item>, items: impl IntoIterator<Item = Item>) {
    items.into_iter().for_each(|item| to.send(item).unwrap());
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

/// Reads a stream as an executor does: only when it was woken.
struct Reader<S> {
    stream: Pin<Box<S>>,
    woken: Arc<Woken>,
    has_ended: bool,
}

impl<S: Stream> Reader<S> {
    fn new(stream: S) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Reader { stream: Box::pin(stream), woken, has_ended: false }
    }

    fn read(&mut self) -> Vec<S::Item> {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut items = Vec::new();
        while !self.has_ended && self.woken.0.swap(false, SeqCst) {
            while let Poll::Ready(next) = self.stream.as_mut().poll_next(&mut Context::from_waker(&waker)) {
                self.has_ended |= next.is_none();
                match next {
                    Some(item) => items.push(item),
                    None => break,
                }
            }
        }
        items
    }
}

#[test]
fn debounce_passes_the_last_of_a_burst_when_it_was_quiet() {
    let (bus, driver) = manual();
    let (to, stream) = fed();
    let mut reader = Reader::new(stream.debounce(&bus, SECOND, is_number));
    assert_eq!(reader.read(), []);
    feed(&to, [Number(1), Number(2)]);
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND * 999);
    feed(&to, [Number(3)]);
    assert_eq!(reader.read(), [], "the quiet begins anew");
    driver.advance(MILLISECOND * 999);
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND);
    assert_eq!(reader.read(), [Number(3)]);
    driver.advance(SECOND * 10);
    assert_eq!(reader.read(), []);
    // One that comes after the quiet does not take the place of the one before, however late the reader is.
    feed(&to, [Number(4)]);
    assert_eq!(reader.read(), []);
    driver.advance(SECOND);
    feed(&to, [Number(5)]);
    assert_eq!(reader.read(), [Number(4)]);
    assert_eq!(reader.stream.skipped(), 2);
    drop(to);
    assert_eq!((reader.read(), reader.has_ended), (vec![Number(5)], true), "the pending one at the end");
}

#[test]
fn throttle_passes_the_first_of_each_interval() {
    let (bus, driver) = manual();
    let (to, stream) = fed();
    let mut reader = Reader::new(stream.throttle(&bus, SECOND, is_number));
    feed(&to, [Number(1), Number(2)]);
    assert_eq!(reader.read(), [Number(1)]);
    driver.advance(MILLISECOND * 999);
    feed(&to, [Number(3)]);
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND);
    assert_eq!(reader.read(), [], "nothing is passed late");
    feed(&to, [Number(4), Number(5)]);
    assert_eq!(reader.read(), [Number(4)]);
    assert_eq!(reader.stream.skipped(), 3);
    drop(to);
    assert_eq!((reader.read(), reader.has_ended), (vec![], true));
}

#[test]
fn sample_passes_the_latest_at_the_end_of_each_interval() {
    let (bus, driver) = manual();
    let (to, stream) = fed();
    let mut reader = Reader::new(stream.sample(&bus, SECOND, is_number));
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND * 600);
    feed(&to, [Number(1), Number(2)]);
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND * 400);
    assert_eq!(reader.read(), [Number(2)], "of the interval that began with the first poll");
    for _ in 0..3 {
        driver.advance(SECOND);
        assert_eq!(reader.read(), [], "an interval without an item");
    }
    driver.advance(MILLISECOND * 999);
    feed(&to, [Number(3)]);
    assert_eq!(reader.read(), []);
    driver.advance(MILLISECOND);
    assert_eq!(reader.read(), [Number(3)]);
    feed(&to, [Number(4)]);
    assert_eq!((reader.read(), reader.stream.skipped()), (vec![], 1));
    drop(to);
    assert_eq!((reader.read(), reader.has_ended), (vec![Number(4)], true), "what came since");
}

#[test]
fn what_an_operator_is_not_for_passes_at_once_and_overtakes_nothing() {
    let (bus, driver) = manual();
    let items =
        [Number(1), Number(2), Word("2 were missed"), Number(3), Word("it begins anew"), Word("again")];
    let passed = [Number(2), Word("2 were missed"), Number(3), Word("it begins anew"), Word("again")];

    let (to, stream) = fed();
    let mut reader = Reader::new(stream.debounce(&bus, SECOND, is_number));
    feed(&to, items);
    assert_eq!(reader.read(), passed);
    driver.advance(SECOND * 2);
    assert_eq!(reader.read(), []);

    let (to, stream) = fed();
    let mut reader = Reader::new(stream.sample(&bus, SECOND, is_number));
    feed(&to, items);
    assert_eq!(reader.read(), passed);
    driver.advance(SECOND * 2);
    assert_eq!(reader.read(), []);

    let (to, stream) = fed();
    let mut reader = Reader::new(stream.throttle(&bus, SECOND, is_number));
    feed(&to, items);
    assert_eq!(reader.read(), [items[0], items[2], items[4], items[5]]);

    let (to, stream) = fed();
    let mut reader = Reader::new(stream.latest_per_key(10, |item| is_number(item).then_some(())));
    feed(&to, items);
    assert_eq!(reader.read(), [items[2], items[3], items[4], items[5]]);
    assert_eq!(reader.stream.replaced(), 2);
}

#[test]
fn without_time_everything_passes() {
    let (bus, driver) = manual();
    let items = [Number(1), Number(2), Number(3)];
    let (to, stream) = fed();
    let mut held = Reader::new(stream.debounce(&bus, SECOND, is_number));
    feed(&to, [Number(0)]);
    assert_eq!(held.read(), []);
    let debounced = stream::iter(items).debounce(&bus, SECOND, is_number);
    let throttled = stream::iter(items).throttle(&bus, SECOND, is_number);
    let sampled = stream::iter(items).sample(&bus, SECOND, is_number);
    bus.shutdown(SECOND);
    drop((bus, driver));
    assert_eq!(held.read(), [Number(0)], "nothing is held back for ever");
    assert_eq!(block_on(debounced.collect::<Vec<_>>()), items);
    assert_eq!(block_on(throttled.collect::<Vec<_>>()), items);
    assert_eq!(block_on(sampled.collect::<Vec<_>>()), items);
}

#[test]
fn without_an_interval_everything_passes_and_nobody_is_woken_for_nothing() {
    let (bus, driver) = manual();
    let (to, stream) = fed();
    let stream = stream.debounce(&bus, Duration::ZERO, is_number).throttle(&bus, Duration::ZERO, is_number);
    let mut reader = Reader::new(stream.sample(&bus, Duration::ZERO, is_number));
    for _ in 0..3 {
        feed(&to, [Number(1), Number(2), Word("w")]);
        assert_eq!(reader.read(), [Number(1), Number(2), Word("w")]);
        driver.advance(SECOND);
        assert!(!reader.woken.0.load(SeqCst));
    }
}

/// Numbers whose key is the tens.
fn tens(item: &Item) -> Option<u64> {
    match item {
        Number(number) => Some(number / 10),
        Word(_) => None,
    }
}

#[test]
fn latest_per_key_passes_the_newest_of_each_in_order() {
    let (to, stream) = fed();
    let mut reader = Reader::new(stream.latest_per_key(10, tens));
    feed(&to, [10, 20, 11, 30, 21].map(Number));
    assert_eq!(reader.read(), [11, 30, 21].map(Number));
    assert_eq!(reader.stream.replaced(), 2);
    drop(to);
    assert_eq!((reader.read(), reader.has_ended), (vec![], true));
}

#[test]
fn latest_per_key_takes_no_more_than_it_may_and_loses_nothing_for_it() {
    let (to, stream) = fed();
    let mut stream = Box::pin(stream.latest_per_key(2, tens));
    feed(&to, [10, 20, 11, 30, 31, 40].map(Number));
    let mut next = || match stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(Number(number))) => Some(number),
        _ => None,
    };
    // 30 finds no room: the round is 20, 11; then 31 and 40, for by then 30 has been replaced.
    let read: Vec<u64> = std::iter::from_fn(&mut next).collect();
    assert_eq!(read, [20, 11, 31, 40]);
    assert_eq!(stream.replaced(), 2);
}

#[test]
fn a_key_that_changes_all_the_time_does_not_wait_for_ever() {
    let (to, stream) = fed();
    let mut stream = Box::pin(stream.latest_per_key(100, tens));
    let mut read = Vec::new();
    for round in 0..100 {
        // Each time the reader comes, three keys have changed, the busiest last.
        feed(&to, [10 + round % 10, 20 + round % 10, 30 + round % 10].map(Number));
        let Poll::Ready(Some(item)) = stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("there is one")
        };
        read.push(tens(&item).unwrap());
    }
    for key in 1..=3 {
        assert!(read.iter().filter(|read| **read == key).count() >= 30, "{read:?}");
    }
}

#[test]
fn a_stream_that_is_always_ready_lets_others_run() {
    let (bus, _driver) = manual();
    let endless = || stream::iter(1..).map(Number);
    let once = |mut stream: Pin<Box<dyn Stream<Item = Item>>>| {
        stream.as_mut().poll_next(&mut Context::from_waker(Waker::noop())).map(drop)
    };
    assert_eq!(once(Box::pin(endless().debounce(&bus, SECOND, is_number))), Poll::Pending);
    assert_eq!(once(Box::pin(endless().sample(&bus, SECOND, is_number))), Poll::Pending);
    let mut throttled = Box::pin(endless().throttle(&bus, SECOND, is_number));
    let mut poll = || throttled.as_mut().poll_next(&mut Context::from_waker(Waker::noop()));
    assert_eq!((poll(), poll()), (Poll::Ready(Some(Number(1))), Poll::Pending));
    assert_eq!(once(Box::pin(endless().latest_per_key(8, tens))), Poll::Ready(()));
}

#[test]
fn operators_keep_no_bus_alive() {
    let (bus, _driver) = manual();
    let weak = bus.downgrade();
    let (to, stream) = fed();
    let mut reader = Reader::new(stream.debounce(&bus, SECOND, is_number).sample(&bus, SECOND, is_number));
    feed(&to, [Number(1)]);
    assert_eq!(reader.read(), []);
    drop(bus);
    assert!(weak.upgrade().is_none());
}

/// A stream's end, its numbers rising and each accounted for.
fn accounted(passed: &[Item], sent: u64, words: usize, skipped: u64) {
    let numbers: Vec<u64> = passed
        .iter()
        .filter_map(|item| if let Number(number) = item { Some(*number) } else { None })
        .collect();
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later));
    assert_eq!((numbers.len() as u64 + skipped, passed.len() - numbers.len()), (sent, words));
}

#[test]
fn under_real_threads_what_passed_and_what_was_skipped_add_up() {
    const ITEMS: u64 = 20_000;
    let seed = Seed::given();
    let bus = EventBus::new();
    let send = |seed: u64, to: UnboundedSender<Item>| {
        thread::spawn(move || {
            let mut random = Random(seed);
            let mut words = 0;
            for number in 0..ITEMS {
                to.send(Number(number)).unwrap();
                if random.below(500) == 0 {
                    to.send(Word("missed")).unwrap();
                    words += 1;
                }
                if random.below(200) == 0 {
                    thread::sleep(MILLISECOND);
                }
            }
            words
        })
    };
    macro_rules! check {
        ($seed:expr, $make:expr, $skipped:ident, $keeps_last:expr) => {{
            let (to, stream) = fed();
            let mut thinned = $make(stream);
            let sender = send($seed, to);
            let passed = block_on((&mut thinned).collect::<Vec<Item>>());
            accounted(&passed, ITEMS, sender.join().unwrap(), thinned.$skipped());
            assert!(!$keeps_last || passed.contains(&Number(ITEMS - 1)));
        }};
    }
    let short = MILLISECOND / 2;
    check!(seed.0, |stream| StreamOperators::debounce(stream, &bus, short, is_number), skipped, true);
    check!(seed.0 + 1, |stream| StreamOperators::throttle(stream, &bus, short, is_number), skipped, false);
    check!(seed.0 + 2, |stream| StreamOperators::sample(stream, &bus, short, is_number), skipped, true);
    let key = |item: &Item| tens(item).map(|tens| tens % 7);
    check!(seed.0 + 3, |stream| StreamOperators::latest_per_key(stream, 16, key), replaced, true);
}

#[test]
fn under_tokio_a_debounced_stream_is_woken_by_the_clock_of_the_bus() {
    watched("the reader", || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let bus = EventBus::new();
        let (to, stream) = fed();
        let debounced = stream.debounce(&bus, MILLISECOND * 5, is_number);
        let reading = runtime.spawn(async move {
            let mut debounced = std::pin::pin!(debounced);
            debounced.next().await
        });
        feed(&to, [Number(1), Number(2)]);
        // The stream has not ended: only the timer can have woken it.
        assert_eq!(runtime.block_on(reading).unwrap(), Some(Number(2)));
        drop(to);
    });
}

#[test]
fn the_newest_of_each_key_comes_whatever_was_replaced() {
    const KEYS: u64 = 50;
    let seed = Seed::given();
    let (to, stream) = fed();
    let key = |item: &Item| if let Number(number) = item { Some(number % KEYS) } else { None };
    let mut latest = stream.latest_per_key(8, key);
    let sender = thread::spawn(move || {
        let mut random = Random(seed.0);
        let mut newest = HashMap::new();
        for round in 0..20_000 {
            let number = round * KEYS + random.below(KEYS);
            newest.insert(number % KEYS, number);
            to.send(Number(number)).unwrap();
        }
        newest
    });
    let deadline = std::time::Instant::now() + WATCHDOG;
    let mut seen = HashMap::new();
    let mut last = None;
    block_on(async {
        while let Some(Number(number)) = latest.next().await {
            assert!(last < Some(number), "in order");
            last = Some(number);
            seen.insert(number % KEYS, number);
            assert!(std::time::Instant::now() < deadline);
        }
    });
    assert_eq!(seen, sender.join().unwrap());
}

//! A stream of batches of its own: what goes into which batch, what becomes of one that fails, stopping and dropping, and
//! the counts, under fire too. What a bus delivers to one is tested in `batching_attached`, on a clock that stands still.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "support/batches.rs"]
mod batches;
#[path = "support/block_on.rs"]
mod block_on;
#[path = "support/stress.rs"]
mod stress;
#[path = "support/bus.rs"]
mod support;

use batches::{Seen, number_of, numbered};
use block_on::block_on;
use codomyrmex_events::{
    Backoff, Batch, BatchAddErrorKind, BatchStats, BatchTrigger, BatchingStream, BatchingStreamBuilder,
    BoxError, EventBus, FlushError, RedriveBatchError, SubscriptionErrorKind,
};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use stress::{Random, Seed};
use support::{WATCHDOG, capture, event, is_dropped, watched};

const NEVER: Duration = Duration::from_secs(100_000);

/// A stream whose batches go when they are full or somebody waits.
fn builder(count: usize) -> BatchingStreamBuilder<'static> {
    BatchingStream::builder().count(count).interval(NEVER)
}

fn at_once() -> Backoff {
    Backoff::exponential(Duration::ZERO, Duration::ZERO)
}

fn flush(stream: &BatchingStream) {
    block_on(stream.flush(WATCHDOG)).unwrap();
}

fn lawful(stats: BatchStats) -> BatchStats {
    assert_eq!(stats.added, stats.delivered + stats.dead + stats.dropped + stats.pending, "{stats:?}");
    stats
}

#[test]
fn batches_go_when_they_are_full_and_the_rest_when_somebody_waits() {
    let seen = Seen::default();
    let noting = seen.clone();
    let stream = builder(3).on_batch(move |batch: &Batch| noting.note(batch)).unwrap();
    for number in 0..8 {
        stream.try_add(numbered(number)).unwrap();
    }
    flush(&stream);
    flush(&stream);
    let (count, flushed) = (BatchTrigger::Count, BatchTrigger::Flush);
    assert_eq!(seen.taken(), [(vec![0, 1, 2], count), (vec![3, 4, 5], count), (vec![6, 7], flushed)]);
    let stats = lawful(stream.stats());
    assert_eq!((stats.added, stats.delivered, stats.batches_delivered, stats.pending), (8, 8, 3, 0));
}

#[test]
fn no_batch_is_larger_than_it_may_be_but_for_one_large_event() {
    let seen = Seen::default();
    let noting = seen.clone();
    let stream = builder(100).bytes(4).on_batch(move |batch: &Batch| noting.note(batch)).unwrap();
    // As JSON: two bytes, two; three; one; seven; one.
    for number in [10, 11, 333, 4, 7_777_777, 5] {
        stream.try_add(numbered(number)).unwrap();
    }
    flush(&stream);
    let bytes = BatchTrigger::Bytes;
    assert_eq!(
        seen.taken(),
        [
            (vec![10, 11], bytes),
            (vec![333, 4], bytes),
            (vec![7_777_777], bytes),
            (vec![5], BatchTrigger::Flush)
        ]
    );
}

#[test]
fn a_batch_goes_after_its_interval_although_nobody_waits() {
    let (sent, handled) = mpsc::channel();
    let stream = BatchingStream::builder()
        .interval(Duration::from_millis(1))
        .on_batch(move |batch: &Batch| sent.send((batch.len(), batch.trigger())).unwrap())
        .unwrap();
    stream.try_add(numbered(1)).unwrap();
    assert_eq!(handled.recv_timeout(WATCHDOG).unwrap(), (1, BatchTrigger::Interval));
}

#[test]
fn a_batch_that_fails_is_tried_again_then_kept_and_can_be_redriven() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let seen = Seen::default();
    let noting = seen.clone();
    let handler = move |batch: Batch| {
        let (broken, noting) = (Arc::clone(&broken), noting.clone());
        async move {
            if broken.load(SeqCst) {
                return Err(std::io::Error::other(format!("full at attempt {}", batch.attempt())));
            }
            noting.note(&batch);
            Ok(())
        }
    };
    let stream = builder(2).attempts(3).backoff(at_once()).on_batch_async(handler).unwrap();
    stream.try_add(numbered(1)).unwrap();
    stream.try_add(numbered(2)).unwrap();
    flush(&stream);

    let dead = stream.dead_batches();
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempts(), dead[0].redrives()), (3, 0));
    assert_eq!(dead[0].error_chain(), ["full at attempt 3"]);
    assert_eq!(dead[0].events().iter().map(|event| number_of(event)).collect::<Vec<_>>(), [1, 2]);
    assert!(dead[0].first_failed_at() <= dead[0].last_failed_at());

    // In vain; what was added before goes first.
    stream.try_add(numbered(3)).unwrap();
    stream.redrive(dead[0].number()).unwrap();
    flush(&stream);
    let again = stream.dead_batches();
    let told: Vec<_> =
        again.iter().map(|dead| (dead.events().len(), dead.attempts(), dead.redrives())).collect();
    assert_eq!(told, [(1, 3, 0), (2, 6, 1)]);
    assert_eq!(again[1].first_failed_at(), dead[0].first_failed_at());

    is_broken.store(false, SeqCst);
    stream.redrive(again[1].number()).unwrap();
    let gone = stream.redrive(again[1].number());
    assert_eq!(gone, Err(RedriveBatchError::NoSuchBatch { number: again[1].number() }));
    flush(&stream);
    assert_eq!(seen.taken(), [(vec![1, 2], BatchTrigger::Redrive)]);
    assert_eq!(stream.take_dead_batches().len(), 1);
    let stats = lawful(stream.stats());
    assert_eq!((stats.added, stats.delivered, stats.dead, stats.retries), (7, 2, 5, 6));
    assert_eq!((stats.batches_dead, stats.dead_kept, stats.dead_evicted), (3, 0, 0));
}

#[test]
fn a_handler_that_panics_fails_in_each_of_its_ways() {
    let panics = |way: &'static str| {
        builder(1).attempts(2).backoff(at_once()).on_batch_async(move |_| {
            assert_ne!(way, "made", "while it is made");
            async move { assert_ne!(way, "polled", "while it is polled") }
        })
    };
    for (way, message) in [("made", "while it is made"), ("polled", "while it is polled")] {
        let stream = panics(way).unwrap();
        stream.try_add(event("a")).unwrap();
        flush(&stream);
        let dead = stream.dead_batches();
        assert!(dead[0].error_chain()[0].starts_with("panicked: "), "{:?}", dead[0]);
        assert!(dead[0].error_chain()[0].contains(message));
        assert_eq!(dead[0].attempts(), 2);
    }

    let stream = builder(1).attempts(1).on_batch(|_: &Batch| -> () { panic!("at once") }).unwrap();
    stream.try_add(event("a")).unwrap();
    stream.try_add(event("b")).unwrap();
    flush(&stream);
    assert_eq!(lawful(stream.stats()).batches_dead, 2, "it goes on");
}

/// A payload that panics when it is dropped inside of the error.
#[derive(Debug)]
struct BadError;

impl std::fmt::Display for BadError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("it cannot say")
    }
}

impl std::error::Error for BadError {}

impl Drop for BadError {
    fn drop(&mut self) {
        panic!("it cannot go")
    }
}

#[test]
fn an_error_that_panics_in_all_it_does_harms_nobody() {
    let stream = builder(1).attempts(1).on_batch(|_: &Batch| Err::<(), _>(BadError)).unwrap();
    stream.try_add(event("a")).unwrap();
    stream.try_add(event("b")).unwrap();
    flush(&stream);
    assert_eq!(lawful(stream.stats()).batches_dead, 2);
}

#[test]
fn as_many_dead_batches_are_kept_as_asked_for_and_the_others_counted() {
    for (limit, kept) in [(0, vec![]), (2, vec![3, 4])] {
        let stream =
            builder(1).attempts(1).dead_batches(limit).on_batch(|_: &Batch| Err::<(), _>("no")).unwrap();
        for number in 0..5 {
            stream.try_add(numbered(number)).unwrap();
        }
        flush(&stream);
        let numbers: Vec<u64> =
            stream.dead_batches().iter().map(|dead| number_of(&dead.events()[0])).collect();
        assert_eq!(numbers, kept);
        let stats = lawful(stream.stats());
        assert_eq!((stats.dead, stats.dead_kept, stats.dead_evicted), (5, limit as u64, 5 - limit as u64));
    }
}

/// A stream whose handler waits to be let go, batch by batch.
fn gated(builder: BatchingStreamBuilder<'static>) -> (BatchingStream, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (began, begins) = mpsc::channel();
    let (let_go, goes) = mpsc::channel();
    let goes = Mutex::new(goes);
    let handler = move |_: &Batch| {
        began.send(()).ok();
        goes.lock().unwrap().recv().ok();
    };
    (builder.on_batch(handler).unwrap(), begins, let_go)
}

#[test]
fn a_full_stream_gives_the_event_back_and_one_who_waits_gets_the_room() {
    let limit = Duration::from_millis(20);
    let (stream, begins, let_go) = gated(builder(2).room(3).add_limit(limit));
    for number in 0..3 {
        stream.try_add(numbered(number)).unwrap();
    }
    begins.recv_timeout(WATCHDOG).unwrap();
    let full = BatchAddErrorKind::Full { room: 3 };
    let refused = stream.try_add(numbered(3)).unwrap_err();
    assert_eq!((refused.kind(), number_of(refused.event())), (full, 3));
    assert_eq!(refused.to_string(), "the stream is full: 3 events wait in it");
    let refused = block_on(stream.add(refused.into_event())).unwrap_err();
    assert_eq!(refused.kind(), full, "after its limit");

    let adding = stream.clone();
    let added = thread::spawn(move || {
        loop {
            if block_on(adding.add(numbered(4))).is_ok() {
                return;
            }
        }
    });
    let_go.send(()).unwrap();
    added.join().unwrap();
    drop(let_go);
    flush(&stream);
    let stats = lawful(stream.stats());
    assert_eq!((stats.added, stats.delivered), (4, 4));
    assert!(stats.refused >= 2);
}

#[test]
fn in_its_own_handler_nobody_waits() {
    let own: Arc<OnceLock<BatchingStream>> = Arc::default();
    let stream_of = Arc::clone(&own);
    let (sent, said) = mpsc::channel();
    let handler = move |batch: Batch| {
        let (stream_of, sent, is_first) = (Arc::clone(&stream_of), sent.clone(), number_of(&batch[0]) == 0);
        async move {
            let stream = stream_of.get().unwrap();
            if is_first {
                let flushed = stream.flush(NEVER).await;
                let added = stream.add(numbered(1)).await.map_err(|error| error.kind());
                let refused = stream.add(numbered(2)).await.map_err(|error| error.kind());
                let stopped = stream.stop(NEVER).await;
                sent.send((flushed, added, refused, stopped.pending(), stopped.undelivered().len())).unwrap();
            }
        }
    };
    let stream = builder(1).room(2).add_limit(NEVER).on_batch_async(handler).unwrap();
    own.set(stream.clone()).unwrap();
    stream.try_add(numbered(0)).unwrap();
    let said = said.recv_timeout(WATCHDOG).unwrap();
    let full = BatchAddErrorKind::Full { room: 2 };
    assert_eq!(said, (Err(FlushError::WouldDeadlock), Ok(()), Err(full), 2, 0));
    flush(&stream);
    assert_eq!(lawful(stream.stats()).delivered, 2, "it goes on with what was added");
    assert!(!stream.is_started());
}

#[test]
fn a_stop_handles_what_was_added_and_a_start_goes_on() {
    let seen = Seen::default();
    let noting = seen.clone();
    let stream = builder(10).on_batch(move |batch: &Batch| noting.note(batch)).unwrap();
    assert!(!stream.start(), "it is started");
    for number in 0..3 {
        stream.try_add(numbered(number)).unwrap();
    }
    let report = block_on(stream.stop(WATCHDOG));
    assert!(report.is_complete());
    assert_eq!(seen.numbers(), [0, 1, 2]);
    for refused in [stream.try_add(numbered(3)), block_on(stream.add(numbered(3)))] {
        assert_eq!(refused.unwrap_err().kind(), BatchAddErrorKind::Stopped);
    }
    assert!(block_on(stream.stop(WATCHDOG)).is_complete());
    assert!(stream.start() && !stream.start());
    stream.try_add(numbered(4)).unwrap();
    drop(stream);
    assert_eq!(seen.numbers(), [4]);
}

#[test]
fn a_stop_whose_limit_is_over_gives_back_what_waits() {
    let (stream, begins, let_go) = gated(builder(2).add_limit(NEVER).room(5));
    for number in 0..5 {
        stream.try_add(numbered(number)).unwrap();
    }
    begins.recv_timeout(WATCHDOG).unwrap();
    let waiting = stream.clone();
    let waits = thread::spawn(move || block_on(waiting.add(numbered(5))));
    let report = block_on(stream.stop(Duration::from_millis(5)));
    let numbers: Vec<u64> = report.undelivered().iter().map(|event| number_of(event)).collect();
    assert_eq!((numbers, report.pending(), report.is_complete()), (vec![2, 3, 4], 2, false));
    assert_eq!(waits.join().unwrap().unwrap_err().kind(), BatchAddErrorKind::Stopped);
    let stats = lawful(stream.stats());
    assert_eq!((stats.dropped, stats.pending, stats.refused), (3, 2, 1));
    drop(let_go);
    assert!(block_on(stream.stop(WATCHDOG)).is_complete());
    assert_eq!(lawful(stream.stats()).delivered, 2);
}

#[test]
fn a_redrive_that_finds_no_room_or_no_open_stream_leaves_the_batch() {
    let (began, begins) = mpsc::channel();
    let (let_go, goes) = mpsc::channel::<()>();
    let goes = Mutex::new(goes);
    let stream = builder(2)
        .room(2)
        .attempts(1)
        .on_batch(move |_: &Batch| {
            began.send(()).ok();
            goes.lock().unwrap().recv().ok();
            Err::<(), _>("no")
        })
        .unwrap();
    let add_two = || (0..2).for_each(|number| stream.try_add(numbered(number)).unwrap());
    add_two();
    begins.recv_timeout(WATCHDOG).unwrap();
    let_go.send(()).unwrap();
    flush(&stream);
    let number = stream.dead_batches()[0].number();
    add_two();
    begins.recv_timeout(WATCHDOG).unwrap();
    assert_eq!(stream.redrive(number), Err(RedriveBatchError::Full { room: 2 }));
    drop(let_go);
    assert!(block_on(stream.stop(WATCHDOG)).is_complete());
    assert_eq!(stream.redrive(number), Err(RedriveBatchError::Stopped));
    assert_eq!(stream.dead_batches().len(), 2);
    assert_eq!(lawful(stream.stats()).dead, 4);
}

#[test]
fn dropping_the_last_handle_handles_what_was_added_and_lets_the_handler_go() {
    let seen = Seen::default();
    let (value, held) = capture();
    let noting = seen.clone();
    let stream = builder(100)
        .on_batch(move |batch: &Batch| {
            let _held = &value;
            noting.note(batch);
        })
        .unwrap();
    let other = stream.clone();
    stream.try_add(numbered(1)).unwrap();
    drop(stream);
    assert_eq!(seen.taken(), []);
    other.try_add(numbered(2)).unwrap();
    drop(other);
    assert_eq!(seen.numbers(), [1, 2]);
    watched("the end", move || {
        while !is_dropped(&held) {
            thread::yield_now();
        }
    });
}

#[test]
fn dropping_the_last_handle_in_async_code_or_in_its_handler_blocks_nobody() {
    let (stream, begins, let_go) = gated(builder(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async move {
        stream.try_add(numbered(1)).unwrap();
        stream.try_add(numbered(2)).unwrap();
        drop(stream);
    });
    // It would not come here if the drop had waited: nobody let a batch go.
    begins.recv_timeout(WATCHDOG).unwrap();
    let_go.send(()).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    let_go.send(()).unwrap();

    let last: Arc<Mutex<Option<BatchingStream>>> = Arc::default();
    let taken = Arc::clone(&last);
    let (sent, handled) = mpsc::channel();
    let stream = builder(1)
        .on_batch(move |batch: &Batch| {
            drop(taken.lock().unwrap().take());
            sent.send(number_of(&batch[0])).unwrap();
        })
        .unwrap();
    let mut held = last.lock().unwrap();
    stream.try_add(numbered(1)).unwrap();
    stream.try_add(numbered(2)).unwrap();
    *held = Some(stream);
    drop(held);
    assert_eq!(handled.recv_timeout(WATCHDOG), Ok(1));
    assert_eq!(handled.recv_timeout(WATCHDOG), Ok(2), "what was added is handled without a handle");
}

#[test]
fn a_stream_on_a_given_runtime_ends_with_it_and_says_so() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (began, begins) = mpsc::channel();
    let stream = builder(1)
        .runtime(runtime.handle().clone())
        .on_batch_async(move |_| {
            began.send(()).unwrap();
            std::future::pending::<()>()
        })
        .unwrap();
    stream.try_add(numbered(1)).unwrap();
    stream.try_add(numbered(2)).unwrap();
    begins.recv_timeout(WATCHDOG).unwrap();
    drop(runtime);
    flush(&stream);
    let stats = lawful(stream.stats());
    assert_eq!((stats.dropped, stats.pending), (2, 0));
    assert_eq!(stream.try_add(numbered(3)).unwrap_err().kind(), BatchAddErrorKind::Stopped);
    assert!(!stream.start());
    watched("the drop", move || drop(stream));
}

#[test]
fn what_is_out_of_range_is_refused_with_its_name() {
    let refused =
        |builder: BatchingStreamBuilder<'_>| builder.on_batch(|_: &Batch| {}).unwrap_err().kind().to_string();
    assert_eq!(refused(builder(0)), "count=0: must be from 1 to 1048576");
    assert_eq!(refused(builder(1).bytes(0)), format!("bytes=0: must be from 1 to {}", usize::MAX));
    assert_eq!(refused(builder(1).room(0)), "room=0: must be from 1 to 1048576");
    assert_eq!(refused(builder(1).attempts(0)), "attempts must be at least 1");
    let bus = EventBus::new();
    assert_eq!(refused(BatchingStream::attach(&bus, "*").count(1_025)), "count=1025: must be from 1 to 1024");
    assert_eq!(refused(BatchingStream::attach(&bus, [""; 0])), "a subscription needs at least one pattern");
    bus.shutdown(WATCHDOG);
    let closed = BatchingStream::attach(&bus, "*").on_batch(|_: &Batch| {}).unwrap_err();
    assert_eq!(closed.kind(), &SubscriptionErrorKind::Closed);
}

#[test]
fn the_law_holds_at_each_moment_and_each_adders_order_is_kept() {
    const ADDERS: u64 = 6;
    const EACH: u64 = 4_000;
    let seen = Seen::default();
    let calls = AtomicU64::new(0);
    let noting = seen.clone();
    let handler = move |batch: Batch| {
        let call = calls.fetch_add(1, SeqCst);
        let noting = noting.clone();
        async move {
            if call.is_multiple_of(5) {
                tokio::task::yield_now().await;
            }
            match call % 7 {
                0 => Err::<(), BoxError>("now and then".into()),
                3 => panic!("now and then"),
                _ => {
                    noting.note(&batch);
                    Ok(())
                }
            }
        }
    };
    let stream = BatchingStream::builder()
        .count(16)
        .room(64)
        .interval(Duration::from_micros(200))
        .add_limit(WATCHDOG)
        .attempts(2)
        .backoff(at_once())
        .dead_batches(1 << 20)
        .on_batch_async(handler)
        .unwrap();
    thread::scope(|scope| {
        for adder in 0..ADDERS {
            let stream = &stream;
            scope.spawn(move || {
                for number in 0..EACH {
                    block_on(stream.add(numbered(adder * EACH + number))).unwrap();
                    if number % 512 == 0 {
                        block_on(stream.flush(WATCHDOG)).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            while stream.stats().added < ADDERS * EACH {
                assert!(lawful(stream.stats()).pending <= 64);
            }
        });
    });
    flush(&stream);
    let stats = lawful(stream.stats());
    assert_eq!((stats.added, stats.pending, stats.dropped), (ADDERS * EACH, 0, 0));
    let delivered = seen.numbers();
    let dead: Vec<u64> = stream
        .dead_batches()
        .iter()
        .flat_map(|dead| dead.events().to_vec())
        .map(|event| number_of(&event))
        .collect();
    assert_eq!((delivered.len() as u64, dead.len() as u64), (stats.delivered, stats.dead));
    for adder in 0..ADDERS {
        let of_adder = |numbers: &[u64]| -> Vec<u64> {
            numbers.iter().copied().filter(|number| number / EACH == adder).collect()
        };
        for numbers in [of_adder(&delivered), of_adder(&dead)] {
            assert!(numbers.is_sorted());
        }
    }
    let mut all = [delivered, dead].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..ADDERS * EACH), "each event once");
}

#[test]
fn an_add_that_is_dropped_before_it_is_done_did_nothing() {
    const THREADS: u64 = 4;
    /// How many each thread tries at least, and gets in.
    const EACH: u64 = 3_000;
    const ADDED: usize = 100;
    let seed = Seed::given();
    let seen = Seen::default();
    let noting = seen.clone();
    let stream = BatchingStream::builder()
        .count(3)
        .room(4)
        .interval(Duration::from_micros(100))
        .add_limit(NEVER)
        .on_batch(move |batch: &Batch| noting.note(batch))
        .unwrap();
    let given_up = AtomicU64::new(0);
    let mut accepted: Vec<u64> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (stream, given_up, mut random) = (&stream, &given_up, Random(seed.0 + thread));
                scope.spawn(move || {
                    let mut added = Vec::new();
                    for tried in 0.. {
                        if tried >= EACH && added.len() >= ADDED {
                            break;
                        }
                        let number = tried * THREADS + thread;
                        match is_added(stream, number, &mut random) {
                            true => added.push(number),
                            false => drop(given_up.fetch_add(1, SeqCst)),
                        }
                    }
                    added
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    flush(&stream);
    let mut handled = seen.numbers();
    handled.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(handled, accepted);
    let stats = lawful(stream.stats());
    assert_eq!((stats.added, stats.refused), (accepted.len() as u64, 0));
    assert!(given_up.load(SeqCst) > 0, "the test tests something");
}

/// Polls an `add` a few times and drops it; whether it was done by then.
fn is_added(stream: &BatchingStream, number: u64, random: &mut Random) -> bool {
    let mut add = pin!(stream.add(numbered(number)));
    for _ in 0..random.below(4) {
        if let Poll::Ready(added) = add.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            added.unwrap();
            return true;
        }
        thread::yield_now();
    }
    false
}

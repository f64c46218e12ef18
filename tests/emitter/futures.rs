//! Operations that end with a future, wherever it is polled and whenever it is dropped.

use crate::scopes::without_duration;
use crate::{block_on, buses, emitter, listen, poll, published};
use codomyrmex_events::{EventBus, EventEmitter, EventPriority, correlation};
use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

type Running<'a> = Pin<Box<dyn Future<Output = Result<usize, String>> + Send + 'a>>;

/// Gives way once.
pub(crate) async fn pause() {
    let mut has_paused = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut has_paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// An operation that publishes `steps` events, one at each poll but the first, which publishes two.
fn operation<'a>(emitter: &'a EventEmitter, tag: usize, steps: usize) -> Running<'a> {
    Box::pin(emitter.operation("o", json!(tag)).run_async(move |operation| async move {
        for step in 0..steps {
            assert_eq!(correlation::current().as_ref(), Some(operation.correlation_id()));
            emitter.emit("step", json!({"tag": tag, "step": step})).unwrap();
            pause().await;
        }
        operation.update_async(100, "done").await.unwrap();
        Ok(tag)
    }))
}

#[test]
fn it_is_the_twin_of_the_closure() {
    for (kind, bus) in buses() {
        let emitter = emitter(&bus);
        assert_eq!(block_on(operation(&emitter, 7, 2)), Ok(7));
        let published = published(&bus);
        assert!(published.iter().all(|event| event.correlation_id() == published[0].correlation_id()));
        let id = published[0].correlation_id().unwrap();
        let start = json!({"operation": "o", "phase": "start", "operation_data": 7});
        assert_eq!(published[0].data().value().unwrap(), &start, "{kind}");
        let done = json!({"phase": "progress", "correlation_id": id, "progress": 100.0, "status": "done"});
        assert_eq!(published[3].data().value().unwrap(), &done, "{kind}");
        let end = json!({"phase": "end", "correlation_id": id, "success": true});
        assert_eq!((published.len(), without_duration(&published[4])), (5, end), "{kind}");

        let failing = emitter.operation("o", json!({})).run_async(|_| async { Err::<(), _>("no") });
        assert_eq!(block_on(failing), Err("no"));
        let end = &crate::published(&bus)[6];
        assert_eq!(
            (&without_duration(end)["error"], end.priority()),
            (&json!("no"), EventPriority::Critical)
        );
    }
}

#[test]
fn dropped_after_any_number_of_polls_it_has_ended_once() {
    for (kind, bus) in buses() {
        let emitter = emitter(&bus);
        for polls in 0..=4 {
            let before = published(&bus).len();
            let mut running = operation(&emitter, 0, 3);
            let is_done = (0..polls).any(|_| poll(&mut running).is_ready());
            assert_eq!(is_done, polls == 4);
            drop(running);
            let events = published(&bus).split_off(before);
            let phases: Vec<_> = events.iter().map(|event| event.data().get("phase").cloned()).collect();
            if polls == 0 {
                assert!(events.is_empty(), "what was never polled has not begun");
                continue;
            }
            assert_eq!(phases.iter().flatten().filter(|phase| *phase == "start").count(), 1, "{kind}");
            assert_eq!(phases.iter().flatten().filter(|phase| *phase == "end").count(), 1, "{kind}");
            let end = without_duration(events.last().unwrap());
            assert_eq!(end["success"], is_done, "{kind}: {polls} polls");
            assert_eq!(end.get("error"), (!is_done).then(|| json!("cancelled")).as_ref());
            assert_eq!(events.len(), if is_done { 6 } else { 2 + polls });
            assert!(events.iter().all(|event| event.correlation_id() == events[0].correlation_id()));
        }
    }
}

/// Many operations, polled in a made-up order, from one thread or another, each dropped at a made-up moment.
#[test]
fn tasks_that_take_turns_never_see_each_others_id() {
    const TASKS: usize = 64;
    for (kind, bus) in buses() {
        let heard = listen(&bus);
        let emitter = emitter(&bus);
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % below
        };
        let mut tasks: Vec<(usize, Running<'_>)> =
            (0..TASKS).map(|tag| (tag, operation(&emitter, tag, 5))).collect();
        let (mut done, mut dropped) = (0, 0);
        while !tasks.is_empty() {
            let at = next(tasks.len());
            let (tag, task) = &mut tasks[at];
            let polled = if next(4) == 0 {
                std::thread::scope(|threads| threads.spawn(|| poll(task)).join().unwrap())
            } else {
                poll(task)
            };
            assert_eq!(correlation::current(), None, "nothing is left on the thread");
            if let Poll::Ready(result) = polled {
                assert_eq!(result, Ok(*tag));
                drop(tasks.swap_remove(at));
                done += 1;
            } else if next(16) == 0 {
                drop(tasks.swap_remove(at));
                dropped += 1;
            }
            assert_eq!(correlation::current(), None);
        }
        assert!(done > 0 && dropped > 0, "both were tried: {done}, {dropped}");
        bus.flush(crate::WATCHDOG).unwrap();
        let operations = crate::operations::by_correlation(&heard.lock().unwrap());
        assert_eq!(operations.len(), TASKS, "{kind}");
        let mut cancelled = 0;
        for events in operations.values() {
            let all =
                |field: &'static str| events.iter().filter_map(move |event| event.data().get(field).cloned());
            let tag = all("operation_data").next().unwrap();
            assert!(all("tag").count() > 0 && all("tag").all(|other| other == tag), "{kind}: {events:?}");
            let ends: Vec<_> = all("success").collect();
            assert_eq!(ends.len(), 1, "{kind}: {events:?}");
            cancelled += usize::from(ends[0] == false);
        }
        assert_eq!(cancelled, dropped, "{kind}");
    }
}

#[test]
fn a_panic_ends_it_as_a_failure_and_goes_on() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    let mut running = Box::pin(emitter.operation("o", json!({})).run_async(|_| async {
        pause().await;
        assert_eq!(1, 2, "on purpose");
        Ok::<_, String>(())
    }));
    assert!(poll(&mut running).is_pending());
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut running))).unwrap_err();
    assert!(panic.downcast_ref::<String>().is_some_and(|text| text.contains("on purpose")));
    assert_eq!(correlation::current(), None);
    drop(running);
    let events = published(&bus);
    let error = without_duration(&events[1])["error"].as_str().unwrap().to_owned();
    assert!(error.starts_with("panicked: ") && error.contains("on purpose"), "{error}");
    assert_eq!(events.len(), 2, "it ended once");
}

#[test]
fn what_the_future_holds_is_dropped_in_its_scope_and_before_the_end() {
    let bus = EventBus::new();
    let emitter = Arc::new(emitter(&bus));
    for polls in [1, 2] {
        let last_words = Arc::clone(&emitter);
        let mut running = Box::pin(emitter.operation("o", json!({})).run_async(|_| async move {
            let _held = crate::support::OnDrop(|| drop(last_words.emit("last.words", json!({}))));
            pause().await;
            Ok::<_, String>(())
        }));
        let _ = (0..polls).map(|_| poll(&mut running)).last();
        drop(running);
        let events = published(&bus).split_off((polls - 1) * 3);
        assert_eq!(events.len(), 3);
        assert_eq!(events[1].event_type().as_str(), "last.words");
        assert!(events.iter().all(|event| event.correlation_id() == events[0].correlation_id()));
        assert_eq!(without_duration(&events[2])["success"], polls == 2);
    }
}

#[test]
fn the_result_is_returned_though_the_bus_hears_nothing_of_it() {
    let bus = EventBus::new();
    let emitter = emitter(&bus);
    bus.shutdown(std::time::Duration::ZERO);
    let run = || emitter.operation("o", json!({})).run_async(|_| async { Ok::<_, String>(7) });
    assert_eq!(block_on(run()), Ok(7));
    assert_eq!(bus.get_stats().refused, 2);
    emitter.disable();
    assert_eq!(block_on(run()), Ok(7));
    assert_eq!(bus.get_stats().offered, 2);
}

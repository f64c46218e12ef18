//! What buses, subscriptions and events weigh: bytes held, counted by the allocator. Fails when a budget is
//! exceeded. Not timed, so run once: `cargo bench --bench memory`.

#![allow(unsafe_code)] // An allocator that counts.

use codomyrmex_events::{Event, EventBus, EventType};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An idle inline bus with its history.
/// Threads' own data, a pool, one lane: the places come on top.
#[cfg(feature = "queued")]
const QUEUED_BYTES_MAX: usize = 64 * 1024;
const IDLE_BYTES_MAX: usize = 256 << 10;
/// One subscription of many, its handle included.
const SUBSCRIPTION_BYTES_MAX: usize = 600;
/// What may still come and go once all that is remembered of made-up names is full.
const FLOOD_SLACK_BYTES: usize = 256 << 10;

struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: hands every call on to the system's allocator, and only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn held_by<T>(make: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.load(Ordering::Relaxed);
    let made = make();
    (HELD.load(Ordering::Relaxed).saturating_sub(before), made)
}

fn event(event_type: &str) -> Event {
    Event::builder(event_type, "bench").build().expect("a valid event")
}

/// An idle queued bus takes what an inline one does, its threads, and its places.
#[cfg(feature = "queued")]
fn queued(inline: usize) {
    let build = |room| {
        let builder = EventBus::builder().queued().max_workers(1).lanes(1).lane_room(room);
        held_by(|| builder.build().expect("valid settings"))
    };
    let (least, bus) = build(1);
    drop(bus);
    let (roomy, bus) = build(10_001);
    drop(bus);
    // A lane has four bands.
    let place = (roomy - least) / 40_000;
    println!(
        "idle queued bus, one worker, one place in each band: {least} bytes, {place} bytes each further place"
    );
    assert!(
        least <= inline + QUEUED_BYTES_MAX,
        "the budget is {QUEUED_BYTES_MAX} bytes beside an inline one's"
    );
}

fn main() {
    // What the process makes once, such as random seeds, is not a bus's.
    drop(EventBus::new());

    let (idle, bus) = held_by(EventBus::new);
    println!("idle inline bus, history 1,000: {idle} bytes");
    assert!(idle <= IDLE_BYTES_MAX, "the budget is {IDLE_BYTES_MAX} bytes");
    assert!(bus.publish(event("build.start")).is_ok());

    #[cfg(feature = "queued")]
    queued(idle);

    const SUBSCRIPTIONS: usize = 10_000;
    let (subscribed, _subscriptions) = held_by(|| {
        (0..SUBSCRIPTIONS)
            .map(|n| {
                let glob = match n % 4 {
                    0 => format!("area{n}.*"),
                    1 => format!("*.leaf{n}"),
                    2 => format!("*part{n}*"),
                    _ => format!("exact.name.{n}"),
                };
                bus.subscribe(glob).handler(|_| ()).expect("a subscription")
            })
            .collect::<Vec<_>>()
    });
    let each = subscribed / SUBSCRIPTIONS;
    println!("a subscription, of {SUBSCRIPTIONS}, its handle included: {each} bytes");
    assert!(each <= SUBSCRIPTION_BYTES_MAX, "the budget is {SUBSCRIPTION_BYTES_MAX} bytes");

    let (event_bytes, _event) = held_by(|| Arc::new(event(EventType::BuildStart.as_str())));
    println!("an event with no payload: {event_bytes} bytes");

    for n in 0..1_000_000 {
        assert!(bus.publish(event(&format!("made.up.{n}"))).is_ok());
    }
    let flooded = HELD.load(Ordering::Relaxed);
    for n in 0..1_000_000 {
        assert!(bus.publish(event(&format!("made.up.too.{n}"))).is_ok());
    }
    let later = HELD.load(Ordering::Relaxed);
    println!("held after 1,000,000 made-up names: {flooded} bytes; after 1,000,000 more: {later} bytes");
    assert!(later <= flooded + FLOOD_SLACK_BYTES, "made-up names add up");
}

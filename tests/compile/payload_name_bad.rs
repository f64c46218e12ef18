use codomyrmex_events::{Event, EventPayload};

#[derive(serde::Serialize, serde::Deserialize)]
struct CacheCleared {
    entries: u64,
}

impl EventPayload for CacheCleared {
    const EVENT_TYPE: &'static str = "";
}

fn main() {
    Event::typed("cache", CacheCleared { entries: 7 }).build().unwrap();
}

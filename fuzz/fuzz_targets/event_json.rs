//! Any bytes: reading never panics; what is accepted can be read in full, and is the same event once written and
//! read again.

#![no_main]

use codomyrmex_events::Event;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = Event::from_json_slice(bytes) else { return };
    assert_same(&event, &Event::from_json(&event.to_json().unwrap()).unwrap());
    assert_same(&event, &Event::from_dict(event.to_dict().unwrap()).unwrap());
    assert_same(&event, &Event::from_json(&event.to_cloudevents_json().unwrap()).unwrap());
});

fn assert_same(left: &Event, right: &Event) {
    assert_eq!(left.event_type(), right.event_type());
    assert_eq!(left.source(), right.source());
    assert_eq!(left.event_id(), right.event_id());
    assert_eq!(left.timestamp(), right.timestamp());
    assert_eq!(left.correlation_id(), right.correlation_id());
    assert_eq!(left.causation_id(), right.causation_id());
    assert_eq!(left.data().value().unwrap().to_string(), right.data().value().unwrap().to_string());
    assert_eq!(left.metadata(), right.metadata());
    assert_eq!(left.priority(), right.priority());
}

//! The laws of accounting, at a quiet moment.

use codomyrmex_events::{DeliveryStats, Stats};

/// Of the bus, and of each of its subscribers.
pub(crate) fn check(stats: &Stats) {
    assert_eq!(stats.offered, stats.accepted + stats.refused);
    assert_eq!((stats.pending, stats.accepted), (0, stats.completed + stats.dropped));
    check_deliveries("the bus", stats.deliveries);
    for (id, subscriber) in &stats.subscribers {
        check_deliveries(id, subscriber.deliveries);
    }
}

fn check_deliveries(whose: &str, deliveries: DeliveryStats) {
    let ends = deliveries.succeeded + deliveries.dead_lettered + deliveries.dropped + deliveries.cancelled;
    assert_eq!((deliveries.pending, deliveries.total), (0, ends), "deliveries of {whose}");
}

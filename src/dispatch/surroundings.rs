//! What surrounds a publisher, put on an event where that says nothing itself.

use crate::context::Frame;
use crate::event::Event;
use crate::ids::CorrelationId;
use std::sync::Arc;

/// Fills in `correlation_id`, and the cause and trace context of what `around` handles. True if the event had to be
/// copied for it, because others hold it too. Doing it again changes nothing.
pub(crate) fn fill_in(
    event: &mut Arc<Event>,
    correlation_id: Option<&CorrelationId>,
    around: Option<&Frame<'_>>,
) -> bool {
    let correlation_id = correlation_id.filter(|_| event.correlation_id().is_none());
    let causation_id = around.and_then(|around| around.causation_id);
    let causation_id = causation_id.filter(|_| event.causation_id().is_none());
    let metadata = around.and_then(|around| around.carried).and_then(|handled| event.continuing(handled));
    if correlation_id.is_none() && causation_id.is_none() && metadata.is_none() {
        return false;
    }
    let is_shared = Arc::get_mut(event).is_none();
    Arc::make_mut(event).fill_context(correlation_id, causation_id, metadata);
    is_shared
}

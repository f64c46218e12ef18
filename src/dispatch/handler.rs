//! What a subscriber hands in, and what it is handed.

use super::engine::Engine;
#[cfg(feature = "stream")]
use super::feed::Feed;
#[cfg(feature = "async")]
use super::mailbox::AsyncCall;
use super::subscriber::Subscriber;
use super::time_limit::EventTimeoutError;
use crate::event::Event;
use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Any error; what a handler may fail with.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What a handler returns: `()`, or a `Result` whose error converts into a [`BoxError`].
#[diagnostic::on_unimplemented(
    message = "a handler returns `()` or a `Result`, not `{Self}`",
    note = "the error of the `Result` must convert into `Box<dyn Error + Send + Sync>`"
)]
pub trait HandlerOutcome {
    /// `Ok`, or why the delivery failed.
    ///
    /// # Errors
    /// The handler's own.
    fn into_result(self) -> Result<(), BoxError>;
}

impl HandlerOutcome for () {
    #[inline]
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<T, E: Into<BoxError>> HandlerOutcome for Result<T, E> {
    #[inline]
    fn into_result(self) -> Result<(), BoxError> {
        self.map(drop).map_err(Into::into)
    }
}

pub(crate) type SyncCall = Box<dyn Fn(&Delivery<'_>) -> Result<(), BoxError> + Send + Sync>;
pub(crate) type RetryIf = Box<dyn Fn(&(dyn Error + 'static)) -> bool + Send + Sync>;
pub(crate) type Filter = Box<dyn Fn(&Event) -> bool + Send + Sync>;

/// What a subscription does with a delivery. PERF: one look says whether a call is all that there is to do
/// (`publish/10 handlers`).
pub(crate) enum Call {
    Plain(SyncCall),
    /// There is more: it is timed, or its claim may need several attempts.
    Attended(SyncCall),
    #[cfg(feature = "async")]
    Async(AsyncCall),
    /// No handler at all: it has no turn.
    #[cfg(feature = "stream")]
    Feed(Arc<Feed>),
}

impl Call {
    pub(crate) fn is_async(&self) -> bool {
        match self {
            Call::Plain(_) | Call::Attended(_) => false,
            #[cfg(feature = "async")]
            Call::Async(_) => true,
            #[cfg(feature = "stream")]
            Call::Feed(_) => false,
        }
    }
}

/// A subscription's closures. The only thing of a subscription that can be taken away while others look.
pub(crate) struct Handler {
    pub(crate) key: u64,
    /// Whether the turn must be asked for: there is a filter, or only one turn.
    pub(crate) is_guarded: bool,
    pub(crate) call: Call,
    pub(crate) filter: Option<Filter>,
    /// Which errors are worth another attempt; `None`: all.
    pub(crate) retry_if: Option<RetryIf>,
    pub(crate) subscriber: Arc<Subscriber>,
}

impl Handler {
    #[inline]
    pub(crate) fn sync_call(&self) -> Option<&SyncCall> {
        match &self.call {
            Call::Plain(call) | Call::Attended(call) => Some(call),
            #[cfg(feature = "async")]
            Call::Async(_) => None,
            #[cfg(feature = "stream")]
            Call::Feed(_) => None,
        }
    }

    #[cfg(feature = "async")]
    pub(crate) fn async_call(&self) -> Option<&AsyncCall> {
        match &self.call {
            Call::Async(call) => Some(call),
            _ => None,
        }
    }

    #[cfg(feature = "stream")]
    pub(super) fn feed(&self) -> Option<&Arc<Feed>> {
        match &self.call {
            Call::Feed(feed) => Some(feed),
            _ => None,
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        self.call.is_async()
    }

    /// Whether the subscription wants another attempt after this. A predicate that panics says no.
    pub(crate) fn is_worth_retrying(&self, failure: &Failure) -> bool {
        let Some(retry_if) = &self.retry_if else { return true };
        let asked = std::panic::AssertUnwindSafe(|| failure.as_error(|error| retry_if(error)));
        std::panic::catch_unwind(asked).unwrap_or_else(|panic| {
            std::mem::forget(panic);
            false
        })
    }
}

/// A handler's or an interceptor's panic, as an error: what the predicate of
/// [`retry_if`](crate::SubscriptionBuilder::retry_if) is asked about then.
#[derive(Clone, Debug, thiserror::Error)]
#[error("panicked: {message}")]
#[non_exhaustive]
pub struct HandlerPanic {
    message: String,
}

impl HandlerPanic {
    /// What the handler panicked with.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Of this panic, whose payload may panic once more if it is dropped.
    pub(super) fn of(payload: Box<dyn std::any::Any + Send>) -> Self {
        let message = bounded(message_of(payload.as_ref()));
        std::mem::forget(payload);
        HandlerPanic { message }
    }
}

/// What a panic says.
pub(crate) fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

/// One event on its way to one subscription. Dereferences to the [`Event`].
pub struct Delivery<'a> {
    pub(crate) event: &'a Arc<Event>,
    pub(crate) sequence: u64,
    pub(crate) attempt: u32,
    pub(crate) subscriber: &'a Arc<Subscriber>,
    pub(crate) engine: &'a Engine,
}

impl Delivery<'_> {
    /// The event, to be kept or passed on by cloning the `Arc`.
    #[must_use]
    pub fn event(&self) -> &Arc<Event> {
        self.event
    }

    /// The publication's number: 1 for the first event that the bus accepted.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// 1 for the first attempt, 2 for the first retry.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The id of the subscription that this delivery is for.
    #[must_use]
    pub fn subscriber_id(&self) -> &str {
        self.subscriber.id()
    }
}

impl Deref for Delivery<'_> {
    type Target = Event;

    fn deref(&self) -> &Event {
        self.event
    }
}

impl fmt::Debug for Delivery<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", self.event)
            .field("sequence", &self.sequence)
            .field("attempt", &self.attempt)
            .field("subscriber_id", &self.subscriber_id())
            .finish()
    }
}

/// Why one attempt at a handler failed.
pub(crate) enum Failure {
    Returned(BoxError),
    Panicked(Box<dyn std::any::Any + Send>),
    #[cfg_attr(not(feature = "async"), allow(dead_code, reason = "only a future can be stopped"))]
    TimedOut(Box<EventTimeoutError>),
}

impl Failure {
    pub(crate) fn is_time_limit(&self) -> bool {
        matches!(self, Failure::TimedOut(_))
    }

    /// Shows `f` the failure as an error.
    pub(super) fn as_error<R>(&self, f: impl FnOnce(&(dyn Error + 'static)) -> R) -> R {
        match self {
            Failure::Returned(error) => f(error.as_ref()),
            Failure::TimedOut(error) => f(error.as_ref()),
            Failure::Panicked(payload) => f(&HandlerPanic { message: message_of(payload.as_ref()) }),
        }
    }

    /// The error and its sources, outermost first; of a panic, its message.
    pub(crate) fn into_chain(self) -> Vec<String> {
        match self {
            Failure::Returned(error) => {
                let mut chain = Vec::new();
                let mut next: Option<&dyn Error> = Some(error.as_ref());
                while let Some(error) = next.filter(|_| chain.len() < CHAIN_LINKS_MAX) {
                    chain.push(bounded(guarded_text(error)));
                    next = error.source();
                }
                chain
            }
            Failure::TimedOut(error) => vec![bounded(error.to_string())],
            Failure::Panicked(payload) => {
                let message = message_of(payload.as_ref());
                vec![bounded(format!("panicked: {message}"))]
            }
        }
    }
}

/// How many links of an error chain are kept, and how many bytes of each.
const CHAIN_LINKS_MAX: usize = 16;
const CHAIN_LINK_BYTES_MAX: usize = 4_096;

/// A user's `Display` may panic; that must not undo the isolation of the handler.
pub(crate) fn guarded_text(error: &dyn Error) -> String {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| error.to_string()))
        .unwrap_or_else(|_| "an error whose Display panicked".to_owned())
}

fn bounded(mut text: String) -> String {
    if text.len() > CHAIN_LINK_BYTES_MAX {
        let end = text.floor_char_boundary(CHAIN_LINK_BYTES_MAX);
        text.truncate(end);
        text.push('…');
    }
    text
}

//! All handlers of a value in one place, beside the methods that they are.
//!
//! A trait with one method, and not a macro: what is written is Rust, errors point at it, patterns may be worked out from
//! the value, and whoever reads it needs to know nothing else.

use crate::bus::{EventBus, IntoPatterns, Kept, Subscription, SubscriptionBuilder};
use crate::dispatch::handler::{BoxError, Delivery, HandlerOutcome};
#[cfg(feature = "async")]
use crate::dispatch::owned::OwnedDelivery;
use crate::error::{EventError, EventSubscriptionError};
use std::fmt;
use std::sync::Arc;

/// A value whose methods hear events.
///
/// ```
/// use codomyrmex_events::{Delivery, Event, EventBus, EventError, EventHandlers, EventListener, Handlers};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// #[derive(Default)]
/// struct Dashboard {
///     builds: AtomicU32,
/// }
///
/// impl EventHandlers for Dashboard {
///     fn handlers(&self, on: &mut Handlers<'_, Self>) {
///         on.on("build.*", Self::on_build);
///         on.once("deploy.complete", Self::on_first_deployment);
///         on.on_with(["*.error", "alert.*"], |to| to.priority(10).attempts(3), Self::on_trouble);
///     }
/// }
///
/// impl Dashboard {
///     fn on_build(&self, _: &Delivery<'_>) {
///         self.builds.fetch_add(1, Ordering::Relaxed);
///     }
///
///     fn on_first_deployment(&self, deployment: &Delivery<'_>) {
///         println!("deployed by {}", deployment.source());
///     }
///
///     fn on_trouble(&self, trouble: &Delivery<'_>) -> Result<(), std::fmt::Error> {
///         println!("{}", trouble.event_type());
///         Ok(())
///     }
/// }
///
/// let bus = EventBus::new();
/// let listener = EventListener::on_bus(&bus);
/// let dashboard = Arc::new(Dashboard::default());
/// listener.register(&dashboard)?;
/// bus.publish(Event::builder("build.start", "ci").build()?)?;
/// assert_eq!(dashboard.builds.load(Ordering::Relaxed), 1);
/// # Ok::<(), EventError>(())
/// ```
pub trait EventHandlers: Send + Sync + Sized + 'static {
    /// Names the methods and what they hear. Called once by each [`EventListener::register`](super::EventListener::register).
    fn handlers(&self, on: &mut Handlers<'_, Self>);
}

/// Subscribes methods of a value, which it holds weakly. An error is kept and told at the end: nothing is subscribed then.
pub struct Handlers<'a, T> {
    value: &'a Arc<T>,
    bus: &'a EventBus,
    /// Ended with this, should a panic come between.
    made: Kept,
    failed: Option<EventSubscriptionError>,
}

impl<'a, T: EventHandlers> Handlers<'a, T> {
    /// Subscribes all of them, or on an error none.
    pub(super) fn of(value: &'a Arc<T>, bus: &'a EventBus) -> Result<Vec<Subscription>, EventError> {
        let mut handlers = Handlers { value, bus, made: Kept::new(None), failed: None };
        value.handlers(&mut handlers);
        match handlers.failed {
            Some(error) => Err(error.into()),
            None => Ok(handlers.made.take_all()),
        }
    }
}

impl<T: Send + Sync + 'static> Handlers<'_, T> {
    /// The method hears every event that matches.
    pub fn on<F, R>(&mut self, patterns: impl IntoPatterns, method: F) -> &mut Self
    where
        F: Fn(&T, &Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.on_with(patterns, |subscription| subscription, method)
    }

    /// The method hears one event that matches, exactly one.
    pub fn once<F, R>(&mut self, patterns: impl IntoPatterns, method: F) -> &mut Self
    where
        F: Fn(&T, &Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        self.on_with(patterns, |subscription| subscription.once(), method)
    }

    /// [`on`](Self::on) with an id, a priority, a filter, retries: whatever a [`SubscriptionBuilder`] can say.
    pub fn on_with<F, R>(
        &mut self,
        patterns: impl IntoPatterns,
        configure: impl FnOnce(SubscriptionBuilder<'_>) -> SubscriptionBuilder<'_>,
        method: F,
    ) -> &mut Self
    where
        F: Fn(&T, &Delivery<'_>) -> R + Send + Sync + 'static,
        R: HandlerOutcome,
    {
        let value = Arc::downgrade(self.value);
        self.subscribe(|bus| {
            let handler = move |delivery: &Delivery<'_>| -> Result<(), BoxError> {
                let Some(value) = value.upgrade() else {
                    delivery.subscription().unsubscribe();
                    return Ok(());
                };
                method(&value, delivery).into_result()
            };
            configure(bus.subscribe(patterns)).handler(handler)
        })
    }

    /// The asynchronous method (`async fn hear(self: Arc<Self>, delivery: OwnedDelivery)`) hears every event that
    /// matches. While it handles one, it keeps the value alive.
    #[cfg(feature = "async")]
    pub fn on_async<F, Fut, R>(&mut self, patterns: impl IntoPatterns, method: F) -> &mut Self
    where
        F: Fn(Arc<T>, OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        self.on_async_with(patterns, |subscription| subscription, method)
    }

    /// The asynchronous method hears one event that matches, exactly one.
    #[cfg(feature = "async")]
    pub fn once_async<F, Fut, R>(&mut self, patterns: impl IntoPatterns, method: F) -> &mut Self
    where
        F: Fn(Arc<T>, OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        self.on_async_with(patterns, |subscription| subscription.once(), method)
    }

    /// [`on_async`](Self::on_async) with whatever a [`SubscriptionBuilder`] can say: a mailbox's room, a time limit.
    #[cfg(feature = "async")]
    pub fn on_async_with<F, Fut, R>(
        &mut self,
        patterns: impl IntoPatterns,
        configure: impl FnOnce(SubscriptionBuilder<'_>) -> SubscriptionBuilder<'_>,
        method: F,
    ) -> &mut Self
    where
        F: Fn(Arc<T>, OwnedDelivery) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = R> + Send + 'static,
        R: HandlerOutcome,
    {
        let value = Arc::downgrade(self.value);
        self.subscribe(|bus| {
            let handler = move |delivery: OwnedDelivery| {
                let value = value.upgrade();
                if value.is_none() {
                    delivery.subscription().unsubscribe();
                }
                let called = value.map(|value| method(value, delivery));
                async move {
                    match called {
                        Some(called) => called.await.into_result(),
                        None => Ok(()),
                    }
                }
            };
            configure(bus.subscribe(patterns)).async_handler(handler)
        })
    }

    fn subscribe(
        &mut self,
        subscribe: impl FnOnce(&EventBus) -> Result<Subscription, EventSubscriptionError>,
    ) -> &mut Self {
        if self.failed.is_none() {
            match subscribe(self.bus) {
                Ok(subscription) => self.made.keep(subscription),
                Err(error) => self.failed = Some(error),
            }
        }
        self
    }
}

impl<T> fmt::Debug for Handlers<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("made", &self.made).finish_non_exhaustive()
    }
}

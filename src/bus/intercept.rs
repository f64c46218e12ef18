//! Installing what surrounds publishing and handling, and taking it away again.

use super::{Bus, EventBus};
use crate::dispatch::attempt::HandlingInterceptor;
use crate::dispatch::chain::{Interceptors, Replaced};
use crate::dispatch::intercept::PublishInterceptor;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// A handle on an installed interceptor. Dropping it changes nothing; see [`scoped`](Self::scoped). It keeps neither the
/// bus nor the interceptor alive.
#[derive(Clone)]
pub struct InterceptorHandle {
    bus: Weak<Bus>,
    id: u64,
}

impl EventBus {
    /// Installs an interceptor around publishing. It is asked after all those that are there, and told before them. It
    /// surrounds every publish that begins after this returned: [`publish`](Self::publish) and its kin, each event of a batch,
    /// a delayed event when its time comes, and what is redriven out of the dead letters to be published again.
    ///
    /// ```
    /// use codomyrmex_events::{BoxError, Event, EventBus, OfferedEvent, PublishErrorKind};
    ///
    /// let bus = EventBus::new();
    /// let checkpoint = bus.intercept_publish(|offered: &mut OfferedEvent<'_>| -> Result<(), BoxError> {
    ///     if offered.source() == "stranger" {
    ///         return Err("strangers may not publish".into());
    ///     }
    ///     offered.add_metadata("host", "runner-7")?;
    ///     Ok(())
    /// });
    /// bus.publish(Event::builder("order.placed", "shop").build()?)?;
    /// let refusal = bus.publish(Event::builder("order.placed", "stranger").build()?).unwrap_err();
    /// assert!(matches!(refusal.kind(), PublishErrorKind::Intercepted(_)));
    /// assert!(checkpoint.remove());
    /// # Ok::<(), codomyrmex_events::EventError>(())
    /// ```
    pub fn intercept_publish(&self, interceptor: impl PublishInterceptor) -> InterceptorHandle {
        self.bus.install(|list| list.add_publishing(Arc::new(interceptor)))
    }

    /// Installs an interceptor around handling. It is asked after all those that are there, and told before them. It surrounds
    /// every attempt at an event whose turns begin after this returned, and every later attempt that waits in a mailbox or
    /// with the timers.
    pub fn intercept_handling(&self, interceptor: impl HandlingInterceptor) -> InterceptorHandle {
        self.bus.install(|list| list.add_handling(Arc::new(interceptor)))
    }

    /// How long the bus has existed, by its own clock; of a manual bus, what its driver says.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.bus.engine.uptime()
    }
}

impl Bus {
    fn install(self: &Arc<Self>, add: impl FnOnce(&Interceptors) -> (u64, Replaced)) -> InterceptorHandle {
        let (id, replaced) = self.registry.intercept(&self.engine, add);
        self.engine.let_go(replaced);
        InterceptorHandle { bus: Arc::downgrade(self), id }
    }

    /// Installs those that were given to the builder.
    pub(super) fn install_first(
        &self,
        publishing: Vec<Arc<dyn PublishInterceptor>>,
        handling: Vec<Arc<dyn HandlingInterceptor>>,
    ) {
        if publishing.is_empty() && handling.is_empty() {
            return;
        }
        let replaced: Vec<Replaced> = self.registry.intercept(&self.engine, |list| {
            let publishing = publishing.into_iter().map(|interceptor| list.add_publishing(interceptor).1);
            let handling = handling.into_iter().map(|interceptor| list.add_handling(interceptor).1);
            publishing.chain(handling).collect()
        });
        drop(replaced);
    }

    /// Removes all interceptors, and drops them unless they are running.
    pub(super) fn remove_interceptors(&self) {
        self.engine.let_go(self.registry.intercept(&self.engine, Interceptors::clear));
    }
}

impl InterceptorHandle {
    /// Takes the interceptor away: no publish that begins after this meets it, and no event whose turns do, except one that is
    /// beginning on another thread at this moment. What has begun ends with the interceptors that it began with: a publish, an
    /// event's turns, an asynchronous handler's attempt. When the last of them is over, what it captured is dropped. False if it
    /// was away already.
    pub fn remove(&self) -> bool {
        let Some(bus) = self.bus.upgrade() else { return false };
        let (was_there, replaced) = bus.registry.intercept(&bus.engine, |list| list.remove(self.id));
        bus.engine.let_go(replaced);
        was_there
    }

    /// Removes the interceptor when the returned guard is dropped.
    pub fn scoped(self) -> ScopedInterceptor {
        ScopedInterceptor { handle: self }
    }
}

impl fmt::Debug for InterceptorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InterceptorHandle").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Removes an interceptor when dropped. Made by [`InterceptorHandle::scoped`].
#[must_use = "the interceptor is removed when this is dropped"]
#[derive(Debug)]
pub struct ScopedInterceptor {
    handle: InterceptorHandle,
}

impl std::ops::Deref for ScopedInterceptor {
    type Target = InterceptorHandle;

    fn deref(&self) -> &InterceptorHandle {
        &self.handle
    }
}

impl Drop for ScopedInterceptor {
    fn drop(&mut self) {
        self.handle.remove();
    }
}

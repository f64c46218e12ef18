//! [`Alarm`]: the next moment at which something has to be done for a client.

use crate::bus::{Host, Timer};
use crate::clock::Moment;
use crate::quiet::panics;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Runs on the bus's clock as long as that has timers, and then on the runtime's, so that the last words of a bus that has
/// ended are waited for, and not for ever.
pub(super) struct Alarm {
    host: Host,
    set: Option<(Moment, Bell)>,
    /// The last moment that it rang for: a bus's clock may stand still, an alarm that rang has rung.
    rung_for: Moment,
}

enum Bell {
    Bus(Timer),
    Runtime(Pin<Box<Sleep>>),
}

impl Alarm {
    pub(super) fn new(host: Host) -> Self {
        Alarm { host, set: None, rung_for: Moment::FIRST }
    }

    pub(super) fn now(&self) -> Moment {
        self.host.now().max(self.rung_for)
    }

    /// Ready once `moment` may have come; `None` if there is nothing that could tell.
    pub(super) fn poll(&mut self, moment: Moment, context: &mut Context<'_>) -> Poll<Option<()>> {
        if self.now() >= moment {
            return Poll::Ready(Some(()));
        }
        if self.set.as_ref().is_none_or(|(set, _)| moment < *set) {
            let Some(bell) = self.bell(moment.since(self.now())) else { return Poll::Ready(None) };
            self.set = Some((moment, bell));
        }
        let Some((set, bell)) = &mut self.set else { return Poll::Pending };
        match bell {
            Bell::Bus(timer) => {
                if Pin::new(timer).poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
            Bell::Runtime(sleep) => {
                if sleep.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                self.rung_for = *set;
            }
        }
        self.set = None;
        Poll::Ready(Some(()))
    }

    fn bell(&self, time: Duration) -> Option<Bell> {
        if let Some(timer) = self.host.timer(time) {
            return Some(Bell::Bus(timer));
        }
        let mut sleep = None;
        // A runtime without timers panics here.
        panics(|| sleep = Some(Box::pin(tokio::time::sleep(time))));
        sleep.map(Bell::Runtime)
    }
}

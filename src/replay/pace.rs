//! When a replayed event is due: the gaps between recorded times, as they were, scaled, or none.
//!
//! Time is counted from the beginning of the replay, not from event to event, so what handling takes adds no delay: an
//! event that is late is published at once, and the next is due when it would have been.
//!
//! Recorded clocks jump. An event that is a little older than the one before (two threads, two machines) is due at
//! once, and the gaps go on from the newest so far, so that the whole takes as long as it took. One that is much older
//! means that the clock was set back; then the gaps go on from it.

use crate::clock::{Moment, Timestamp};
use std::str::FromStr;
use std::time::Duration;
use thiserror::Error;

/// How much older than the newest so far an event may be before the recorded clock counts as set back.
const SKEW_MAX: Duration = Duration::from_secs(1);

/// How fast a replay goes. As a text (`FromStr`): `full`, `original`, or a factor: `10`, `0.5`, also `x10` and `10x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplaySpeed(Speed);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Full,
    Original,
    Times(f64),
}

impl ReplaySpeed {
    /// One event right after the other.
    pub const FULL: ReplaySpeed = ReplaySpeed(Speed::Full);

    /// With the gaps that the events' times have.
    pub const ORIGINAL: ReplaySpeed = ReplaySpeed(Speed::Original);

    /// So many times the original speed: with 10 the gaps are a tenth, with 0.5 twice as long.
    ///
    /// # Errors
    /// A factor that is zero, negative, infinite or no number.
    pub fn times(factor: f64) -> Result<Self, InvalidReplaySpeed> {
        if !factor.is_finite() || factor <= 0.0 {
            return Err(InvalidReplaySpeed);
        }
        Ok(ReplaySpeed(if factor == 1.0 { Speed::Original } else { Speed::Times(factor) }))
    }
}

/// [`ReplaySpeed::FULL`].
impl Default for ReplaySpeed {
    fn default() -> Self {
        ReplaySpeed::FULL
    }
}

/// A text or a number that is no speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a speed is `full`, `original`, or a factor greater than 0")]
#[non_exhaustive]
pub struct InvalidReplaySpeed;

impl FromStr for ReplaySpeed {
    type Err = InvalidReplaySpeed;

    fn from_str(text: &str) -> Result<Self, InvalidReplaySpeed> {
        match text {
            "full" => Ok(ReplaySpeed::FULL),
            "original" => Ok(ReplaySpeed::ORIGINAL),
            _ => {
                let factor = text.strip_prefix('x').or_else(|| text.strip_suffix('x')).unwrap_or(text);
                ReplaySpeed::times(factor.parse().map_err(|_| InvalidReplaySpeed)?)
            }
        }
    }
}

/// Where a replay is on its way through time.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    pub(super) speed: ReplaySpeed,
    pub(super) gap_max: Option<Duration>,
    run: Option<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    began: Moment,
    newest: Timestamp,
    /// How long after its beginning the latest event was due.
    due: Duration,
}

impl Pace {
    /// How long it is from `now` until an event of this time is due.
    pub(super) fn wait(&mut self, time: Timestamp, now: Moment) -> Duration {
        if self.speed == ReplaySpeed::FULL {
            return Duration::ZERO;
        }
        let Some(run) = &mut self.run else {
            self.run = Some(Run { began: now, newest: time, due: Duration::ZERO });
            return Duration::ZERO;
        };
        let gap = between(run.newest, time);
        if time >= run.newest || gap > SKEW_MAX {
            let gap = if time >= run.newest { scaled(gap, self.speed) } else { Duration::ZERO };
            run.due = run.due.saturating_add(self.gap_max.map_or(gap, |most| gap.min(most)));
            run.newest = time;
        }
        run.due.saturating_sub(now.since(run.began))
    }

    /// Begins anew: the next event is due at once.
    pub(super) fn restart(&mut self) {
        self.run = None;
    }
}

fn between(one: Timestamp, other: Timestamp) -> Duration {
    Duration::from_nanos(one.as_unix_nanos().abs_diff(other.as_unix_nanos()))
}

fn scaled(gap: Duration, speed: ReplaySpeed) -> Duration {
    match speed.0 {
        Speed::Full => Duration::ZERO,
        Speed::Original => gap,
        // To the nanosecond for gaps up to 104 days; casts of floats saturate.
        Speed::Times(factor) => Duration::from_nanos((gap.as_nanos() as f64 / factor).round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each event waits for if all are taken as soon as they are due.
    #[track_caller]
    fn check(speed: &str, gap_max: Option<u64>, times: &[i64], waits: &[u64]) {
        let speed = speed.parse().unwrap();
        let mut pace = Pace { speed, gap_max: gap_max.map(Duration::from_nanos), run: None };
        let mut now = Moment::FIRST;
        let mut waited = Vec::new();
        for time in times {
            let wait = pace.wait(Timestamp::from_unix_nanos(*time), now);
            waited.push(u64::try_from(wait.as_nanos()).unwrap());
            now = now.after(wait);
        }
        assert_eq!(waited, waits, "{speed:?} {times:?}");
    }

    #[test]
    fn gaps_are_kept_scaled_capped_and_never_negative() {
        const S: i64 = 1_000_000_000;
        let (s, most) = (1_000_000_000, u64::MAX);
        check("full", None, &[0, 100 * S, 5], &[0, 0, 0]);
        check("original", None, &[7, 10, 10, 11], &[0, 3, 0, 1]);
        check("10", None, &[0, 100, 1_005], &[0, 10, 91]);
        check("0.5x", None, &[0, 3], &[0, 6]);
        check("x2", Some(4), &[0, 6, 100, 104], &[0, 3, 4, 2]);
        // A little back: the whole takes as long as it took.
        check("original", None, &[10, 9, 11, 8, 12], &[0, 0, 1, 0, 1]);
        // Set back: on from there.
        check("original", None, &[10 * S, 2 * S, 3 * S], &[0, 0, s]);
        check("original", None, &[i64::MIN, i64::MAX, i64::MIN], &[0, most, 0]);
        check("1e-300", None, &[0, 1], &[0, most]);
        check("1e300", None, &[i64::MIN, i64::MAX], &[0, 0]);
        check("original", Some(0), &[0, S, 9 * S], &[0, 0, 0]);
    }

    #[test]
    fn what_is_late_is_due_at_once_and_catches_up() {
        let mut pace = Pace { speed: ReplaySpeed::ORIGINAL, ..Pace::default() };
        let at = |nanos| Moment::FIRST.after(Duration::from_nanos(nanos));
        let time = Timestamp::from_unix_nanos;
        assert_eq!(pace.wait(time(0), at(0)), Duration::ZERO);
        assert_eq!(pace.wait(time(10), at(25)), Duration::ZERO);
        assert_eq!(pace.wait(time(30), at(26)), Duration::from_nanos(4));
        pace.restart();
        assert_eq!(pace.wait(time(90), at(31)), Duration::ZERO);
    }

    #[test]
    fn a_speed_is_full_original_or_a_factor() {
        assert_eq!("1".parse(), Ok(ReplaySpeed::ORIGINAL));
        assert_eq!("x10".parse(), ReplaySpeed::times(10.0));
        for text in ["", "x", "fast", "0", "-1", "nan", "inf", "x1x", "1e999", "FULL"] {
            assert_eq!(text.parse::<ReplaySpeed>(), Err(InvalidReplaySpeed), "{text:?}");
        }
    }
}

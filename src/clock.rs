//! Time: when an event happened, and how that is written.
//!
//! A timestamp is a whole number of nanoseconds, because the wire carries decimal seconds and a `f64` cannot hold
//! both the seconds and the nanoseconds of our century. Its texts are read and written digit by digit and never pass
//! through a float. This file and its folder alone ask the operating system for the time.

mod deadline;
mod monotonic;
mod rfc3339;
mod seconds;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use thiserror::Error;

pub(crate) use deadline::Deadline;
pub(crate) use monotonic::{Clock, Moment, Stopwatch};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, between the years 1677 and 2262.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// This long before; `None` before the year 1677.
    pub fn checked_sub(self, duration: Duration) -> Option<Self> {
        self.0.checked_sub(i64::try_from(duration.as_nanos()).ok()?).map(Self)
    }

    /// This long after; `None` after the year 2262.
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        self.0.checked_add(i64::try_from(duration.as_nanos()).ok()?).map(Self)
    }

    /// The present, in whole microseconds, so that Python and JavaScript, which read seconds into a `f64`, name the
    /// same instant. A wall clock: it can be set back.
    #[inline]
    pub fn now() -> Self {
        let nanos = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos),
        };
        Self(nanos - nanos % 1_000)
    }

    /// From nanoseconds since the epoch.
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// As nanoseconds since the epoch.
    pub const fn as_unix_nanos(self) -> i64 {
        self.0
    }

    /// Reads seconds since the epoch, written as a JSON number, to the nanosecond. More than nine decimals are
    /// rounded, halves up. The work is bounded by the length of the text, whatever its exponent says.
    ///
    /// # Errors
    /// A text that is not a JSON number, or a time that nanoseconds in 64 bits cannot hold.
    pub fn parse_seconds(text: &str) -> Result<Self, InvalidTimestamp> {
        seconds::parse(text).map(Self)
    }

    /// Appends the seconds since the epoch as the shortest exact decimal with a point: `1763810000.137`,
    /// `1750775785.0`. [`Self::parse_seconds`] reads the same instant back.
    pub fn write_seconds(self, out: &mut String) {
        seconds::write(self.0, out);
    }

    /// Reads an RFC 3339 date and time: `2025-11-22T11:13:20.137Z`, `2025-11-22T12:13:20+01:00`. Digits beyond the
    /// ninth decimal are dropped; a leap second (`:60`) is read as the last nanosecond before it ends the minute.
    ///
    /// # Errors
    /// A text of another form, a date or time of day that does not exist, or one outside the range of the type.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTimestamp> {
        rfc3339::parse(text).map(Self)
    }

    /// As an RFC 3339 date and time in UTC, with as many decimals as needed: `2025-11-22T11:13:20.137Z`.
    pub fn to_rfc3339(self) -> String {
        rfc3339::format(self.0)
    }
}

/// Seconds since the epoch, as [`Timestamp::write_seconds`] writes them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(20);
        self.write_seconds(&mut text);
        f.pad(&text)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// A text that names no [`Timestamp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidTimestamp {
    /// Not a JSON number.
    #[error("not a number of seconds")]
    NotANumber,
    /// Not an RFC 3339 date and time.
    #[error("not an RFC 3339 date and time")]
    NotRfc3339,
    /// A date or time of day that does not exist, such as 30 February.
    #[error("no such date or time of day")]
    NoSuchTime,
    /// Before 1677-09-21 or after 2262-04-11.
    #[error("outside the years 1677 to 2262")]
    OutOfRange,
}

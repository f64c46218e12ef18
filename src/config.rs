//! Settings, and the only place that reads the environment.

use std::env::{self, VarError};
use std::fmt;
use thiserror::Error;

/// How many threads a worker pool may have.
pub const WORKERS_MAX: usize = 1_024;
/// How many events a history may keep.
pub const HISTORY_MAX: usize = 1 << 24;
/// How many letters a dead-letter queue may keep.
pub const DEAD_LETTERS_MAX: usize = 1 << 20;
/// How many lanes a queued bus may have.
pub const LANES_MAX: usize = 1 << 16;
/// How many events each band of a lane may hold.
pub const LANE_ROOM_MAX: usize = 1 << 20;

/// How many events all lanes of a bus together may hold.
pub const QUEUE_ROOM_MAX: usize = 1 << 24;

/// How many bands a lane has.
pub(crate) const BANDS: usize = 4;

const LANES_PER_WORKER: usize = 4;

const WORKERS: &str = "CODOMYRMEX_EVENT_WORKERS";
const ASYNC: &str = "CODOMYRMEX_EVENT_ASYNC";
const HISTORY_LIMIT: &str = "CODOMYRMEX_EVENT_HISTORY_LIMIT";
const DLQ_MAX: &str = "CODOMYRMEX_EVENT_DLQ_MAX";

/// A setting that cannot be used: which, its value, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting}={value:?}: {reason}")]
#[non_exhaustive]
pub struct ConfigError {
    setting: String,
    value: String,
    reason: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        ConfigError { setting: setting.to_owned(), value: value.to_string(), reason: reason.into() }
    }

    /// The environment variable, or the builder's method.
    #[must_use]
    pub fn setting(&self) -> &str {
        &self.setting
    }

    /// The value as it was given.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What was asked for explicitly or by the environment; `None` means the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) workers: Option<usize>,
    pub(crate) queued: Option<bool>,
    pub(crate) lanes: Option<usize>,
    pub(crate) lane_room: Option<usize>,
    pub(crate) history: Option<usize>,
    pub(crate) dead_letters: Option<usize>,
}

/// What a bus is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) workers: usize,
    pub(crate) queued: bool,
    pub(crate) lanes: usize,
    /// Events in each band of each lane.
    pub(crate) lane_room: usize,
    pub(crate) history: usize,
    pub(crate) dead_letters: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let workers = 4;
        Settings {
            workers,
            queued: false,
            lanes: LANES_PER_WORKER * workers,
            lane_room: 1_024,
            history: 1_000,
            dead_letters: 100,
        }
    }
}

impl Asked {
    /// The documented variables of the environment that are set.
    pub(crate) fn from_env() -> Result<Self, ConfigError> {
        let queued = variable(ASYNC, |text| match flag(text)? {
            true if !cfg!(feature = "queued") => Err("this build has no queued dispatch".to_owned()),
            queued => Ok(queued),
        })?;
        Ok(Asked {
            queued,
            lanes: None,
            lane_room: None,
            workers: variable(WORKERS, |text| number(text, 1, WORKERS_MAX))?,
            history: variable(HISTORY_LIMIT, |text| number(text, 0, HISTORY_MAX))?,
            dead_letters: variable(DLQ_MAX, |text| number(text, 0, DEAD_LETTERS_MAX))?,
        })
    }

    /// What is asked for here, else there.
    pub(crate) fn or(self, other: Asked) -> Self {
        Asked {
            workers: self.workers.or(other.workers),
            queued: self.queued.or(other.queued),
            lanes: self.lanes.or(other.lanes),
            lane_room: self.lane_room.or(other.lane_room),
            history: self.history.or(other.history),
            dead_letters: self.dead_letters.or(other.dead_letters),
        }
    }

    pub(crate) fn settings(self) -> Result<Settings, ConfigError> {
        let default = Settings::default();
        let checked = |setting: &str, asked: Option<usize>, default: usize, least, most| {
            let value = asked.unwrap_or(default);
            in_range(value, least, most).map_err(|reason| ConfigError::new(setting, value, reason))
        };
        let workers = checked("max_workers", self.workers, default.workers, 1, WORKERS_MAX)?;
        let lanes = LANES_PER_WORKER * workers;
        let lanes = checked("lanes", self.lanes, lanes, 1, LANES_MAX)?;
        let lane_room = checked("lane_room", self.lane_room, default.lane_room, 1, LANE_ROOM_MAX)?;
        if lanes * BANDS * lane_room > QUEUE_ROOM_MAX {
            let reason = format!(
                "{lanes} lanes of {BANDS} bands with so much room each: over {QUEUE_ROOM_MAX} in all"
            );
            return Err(ConfigError::new("lane_room", lane_room, reason));
        }
        Ok(Settings {
            workers,
            queued: self.queued.unwrap_or(default.queued),
            lanes,
            lane_room,
            history: checked("history", self.history, default.history, 0, HISTORY_MAX)?,
            dead_letters: checked(
                "dead_letters",
                self.dead_letters,
                default.dead_letters,
                0,
                DEAD_LETTERS_MAX,
            )?,
        })
    }
}

fn variable<T>(name: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, ConfigError> {
    match env::var(name) {
        Ok(text) => read(text.trim()).map(Some).map_err(|reason| ConfigError::new(name, &text, reason)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(text)) => {
            Err(ConfigError::new(name, text.to_string_lossy(), "is not UTF-8"))
        }
    }
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let value = text.parse().map_err(|_| format!("must be a whole number from {least} to {most}"))?;
    in_range(value, least, most)
}

fn in_range(value: usize, least: usize, most: usize) -> Result<usize, String> {
    if (least..=most).contains(&value) { Ok(value) } else { Err(format!("must be from {least} to {most}")) }
}

fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

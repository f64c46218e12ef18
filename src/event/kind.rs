//! What kind of event it is: one of the 53 standard types, or a name of the user's own.
//!
//! One table below drives the variants, the wire names, the domains and the dense index that routes standard events
//! through an array. A standard name and the variant are the same thing: parsing never makes a `Named` of it.

use serde::{Serialize, Serializer};
use std::{fmt, hash::Hash, str::FromStr};

use super::Domain;
use crate::ids::{EventName, InvalidText};

/// Turns the table of standard types into the enum and everything that follows the table.
macro_rules! standard_types {
    ($($variant:ident $name:literal $domain:ident;)*) => {
        /// The type of an event: what handlers subscribe to.
        ///
        /// ```
        /// use codomyrmex_events::{Domain, EventType};
        ///
        /// assert_eq!(EventType::parse("build.start")?, EventType::BuildStart);
        /// assert_eq!(EventType::BuildStart.domain(), Domain::Build);
        /// assert_eq!(EventType::parse("my.own")?.as_str(), "my.own");
        /// # Ok::<(), codomyrmex_events::InvalidText>(())
        /// ```
        #[derive(Clone, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum EventType {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
            /// A name that is not one of the standard ones. [`EventType::parse`] makes it.
            Named(EventName),
        }

        impl EventType {
            /// The standard types, in the order of the table: by domain.
            pub const STANDARD: &'static [EventType; STANDARD_COUNT] = &[$(EventType::$variant,)*];

            /// The name on the wire, such as `"build.start"`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(EventType::$variant => $name,)*
                    EventType::Named(name) => name,
                }
            }

            /// The part of the system that it belongs to; [`Domain::Custom`] for names of the user's own.
            pub fn domain(&self) -> Domain {
                match self {
                    $(EventType::$variant => Domain::$domain,)*
                    EventType::Named(_) => Domain::Custom,
                }
            }

            /// The place of a standard type in [`EventType::STANDARD`].
            #[inline]
            pub(crate) fn standard_index(&self) -> Option<usize> {
                // PERF: one byte, so that it is arithmetic on the tag and not a jump (`publish/1 handlers`).
                let index: u8 = match self {
                    $(EventType::$variant => const { index_of($name) as u8 },)*
                    EventType::Named(_) => u8::MAX,
                };
                (index != u8::MAX).then_some(usize::from(index))
            }
        }

        const NAMES: [&str; STANDARD_COUNT] = [$($name,)*];
    };
}

/// How many standard types there are.
pub(crate) const STANDARD_COUNT: usize = 53;

standard_types! {
    SystemStartup          "system.startup"          System;
    SystemShutdown         "system.shutdown"         System;
    SystemError            "system.error"            System;
    SystemConfigChange     "system.config_change"    System;
    ModuleLoad             "module.load"             Module;
    ModuleUnload           "module.unload"           Module;
    ModuleError            "module.error"            Module;
    ModuleConfigUpdate     "module.config_update"    Module;
    PluginLoad             "plugin.load"             Plugin;
    PluginUnload           "plugin.unload"           Plugin;
    PluginExecute          "plugin.execute"          Plugin;
    PluginError            "plugin.error"            Plugin;
    AnalysisStart          "analysis.start"          Analysis;
    AnalysisProgress       "analysis.progress"       Analysis;
    AnalysisComplete       "analysis.complete"       Analysis;
    AnalysisError          "analysis.error"          Analysis;
    BuildStart             "build.start"             Build;
    BuildProgress          "build.progress"          Build;
    BuildComplete          "build.complete"          Build;
    BuildError             "build.error"             Build;
    DeployStart            "deploy.start"            Deploy;
    DeployProgress         "deploy.progress"         Deploy;
    DeployComplete         "deploy.complete"         Deploy;
    DeployError            "deploy.error"            Deploy;
    DeployRollback         "deploy.rollback"         Deploy;
    MetricUpdate           "metric.update"           Monitoring;
    AlertTriggered         "alert.triggered"         Monitoring;
    HealthCheck            "health.check"            Monitoring;
    PerformanceDegradation "performance.degradation" Monitoring;
    UserAction             "user.action"             UserInteraction;
    UserLogin              "user.login"              UserInteraction;
    UserLogout             "user.logout"             UserInteraction;
    UserError              "user.error"              UserInteraction;
    DataReceived           "data.received"           Data;
    DataProcessed          "data.processed"          Data;
    DataStored             "data.stored"             Data;
    DataError              "data.error"              Data;
    SecurityViolation      "security.violation"      Security;
    SecurityScanComplete   "security.scan_complete"  Security;
    SecurityAlert          "security.alert"          Security;
    TrustLevelChanged      "trust.level_changed"     Security;
    WorkflowStarted        "workflow.started"        Workflow;
    WorkflowCompleted      "workflow.completed"      Workflow;
    WorkflowFailed         "workflow.failed"         Workflow;
    TaskStarted            "task.started"            Workflow;
    TaskCompleted          "task.completed"          Workflow;
    TaskFailed             "task.failed"             Workflow;
    TaskRetrying           "task.retrying"           Workflow;
    JobScheduled           "job.scheduled"           Scheduler;
    JobStarted             "job.started"             Scheduler;
    JobCompleted           "job.completed"           Scheduler;
    JobFailed              "job.failed"              Scheduler;
    Custom                 "custom"                  Custom;
}

impl EventType {
    /// Reads a name; a standard name is that standard type.
    ///
    /// # Errors
    /// A name that is empty, over 256 bytes, or has a control character.
    pub fn parse(name: &str) -> Result<Self, InvalidText> {
        match standard_named(name) {
            Some(standard) => Ok(standard),
            None => EventName::new(name).map(EventType::Named),
        }
    }

    /// Reads a name written in the program, without copying it.
    pub(crate) fn parse_static(name: &'static str) -> Result<Self, InvalidText> {
        match standard_named(name) {
            Some(standard) => Ok(standard),
            None => EventName::new(smol_str::SmolStr::new_static(name)).map(EventType::Named),
        }
    }

    /// Whether it is one of the 53.
    pub fn is_standard(&self) -> bool {
        !matches!(self, EventType::Named(_))
    }
}

/// A perfect hash over the standard names: every event read from text is looked up here.
const SLOTS: usize = 512;
const FREE: u8 = u8::MAX;

struct PerfectHash {
    multiplier: u64,
    slots: [u8; SLOTS],
}

static BY_NAME: PerfectHash = PerfectHash::build();

impl PerfectHash {
    /// Tries multipliers until no two names share a slot.
    const fn build() -> Self {
        let mut multiplier: u64 = 0x9e37_79b9_7f4a_7c15;
        loop {
            if let Some(slots) = Self::place(multiplier) {
                return Self { multiplier, slots };
            }
            multiplier = multiplier.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
        }
    }

    const fn place(multiplier: u64) -> Option<[u8; SLOTS]> {
        let mut slots = [FREE; SLOTS];
        let mut index = 0;
        while index < STANDARD_COUNT {
            let slot = Self::slot(NAMES[index].as_bytes(), multiplier);
            if slots[slot] != FREE {
                return None;
            }
            // There are fewer than 255 names, so the cast keeps the index.
            slots[slot] = index as u8;
            index += 1;
        }
        Some(slots)
    }

    /// Mixes the length with the first and last eight bytes. Of the standard names only `custom` is shorter.
    const fn slot(name: &[u8], multiplier: u64) -> usize {
        let (first, last) = match (name.first_chunk(), name.last_chunk()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (0, 0),
        };
        let mixed = (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(multiplier);
        (mixed >> (64 - SLOTS.trailing_zeros())) as usize
    }
}

fn standard_named(name: &str) -> Option<EventType> {
    let slot = PerfectHash::slot(name.as_bytes(), BY_NAME.multiplier);
    let index = usize::from(BY_NAME.slots[slot]);
    (*NAMES.get(index)? == name).then(|| EventType::STANDARD[index].clone())
}

const fn index_of(name: &str) -> usize {
    let mut index = 0;
    while !same(NAMES[index].as_bytes(), name.as_bytes()) {
        index += 1;
    }
    index
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    let mut at = 0;
    while at < left.len() && at < right.len() && left[at] == right[at] {
        at += 1;
    }
    at == left.len() && at == right.len()
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for EventType {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for EventType {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for EventType {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl From<&EventType> for EventType {
    fn from(ready: &EventType) -> Self {
        ready.clone()
    }
}

impl FromStr for EventType {
    type Err = InvalidText;
    fn from_str(name: &str) -> Result<Self, InvalidText> {
        Self::parse(name)
    }
}

impl TryFrom<&str> for EventType {
    type Error = InvalidText;
    fn try_from(name: &str) -> Result<Self, InvalidText> {
        Self::parse(name)
    }
}

impl TryFrom<String> for EventType {
    type Error = InvalidText;
    fn try_from(name: String) -> Result<Self, InvalidText> {
        Self::parse(&name)
    }
}

impl TryFrom<&String> for EventType {
    type Error = InvalidText;
    fn try_from(name: &String) -> Result<Self, InvalidText> {
        Self::parse(name)
    }
}

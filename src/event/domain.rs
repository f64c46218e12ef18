//! The parts of the system that event types are grouped by.
//!
//! For people and listings only: subscriptions go by name, and a domain is not always the first word of one.

use std::fmt;

/// The part of the system that an event type belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Domain {
    /// The program as a whole.
    System,
    /// Its modules.
    Module,
    /// Its plugins.
    Plugin,
    /// Code analysis.
    Analysis,
    /// Builds.
    Build,
    /// Deployments.
    Deploy,
    /// Metrics, alerts, health and performance.
    Monitoring,
    /// Security and trust.
    Security,
    /// Workflows and their tasks.
    Workflow,
    /// Scheduled jobs.
    Scheduler,
    /// What people do.
    UserInteraction,
    /// Data on its way.
    Data,
    /// Everything else.
    Custom,
}

impl Domain {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Domain; 13] = [
        Domain::System,
        Domain::Module,
        Domain::Plugin,
        Domain::Analysis,
        Domain::Build,
        Domain::Deploy,
        Domain::Monitoring,
        Domain::Security,
        Domain::Workflow,
        Domain::Scheduler,
        Domain::UserInteraction,
        Domain::Data,
        Domain::Custom,
    ];

    /// Its name: `"system"`, `"user_interaction"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Domain::System => "system",
            Domain::Module => "module",
            Domain::Plugin => "plugin",
            Domain::Analysis => "analysis",
            Domain::Build => "build",
            Domain::Deploy => "deploy",
            Domain::Monitoring => "monitoring",
            Domain::Security => "security",
            Domain::Workflow => "workflow",
            Domain::Scheduler => "scheduler",
            Domain::UserInteraction => "user_interaction",
            Domain::Data => "data",
            Domain::Custom => "custom",
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

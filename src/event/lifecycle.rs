//! The orchestrator's life cycle: what a workflow and its tasks tell the others about themselves.
//!
//! The source of each is `orchestrator.<workflow>`. These types have no standard schema.

use std::time::Duration;

use super::{Event, EventPriority, EventPublishError, EventType, create::Fields};

/// An event of a workflow, with the fields that follow its name.
fn of_workflow(
    event_type: EventType,
    workflow_name: &str,
    priority: EventPriority,
    more: impl FnOnce(Fields) -> Fields,
) -> Result<Event, EventPublishError> {
    let source = format!("orchestrator.{workflow_name}");
    more(Fields::default().put("workflow_name", workflow_name)).event(event_type, source, priority)
}

/// `workflow.started`: a workflow begins, with so many tasks to do.
///
/// # Errors
/// A workflow name that makes no valid source: over 243 bytes, or with control characters.
pub fn workflow_started(workflow_name: &str, total_tasks: u64) -> Result<Event, EventPublishError> {
    of_workflow(EventType::WorkflowStarted, workflow_name, EventPriority::Normal, |fields| {
        fields.put("total_tasks", total_tasks)
    })
}

/// `workflow.completed`: all tasks are done with; `success` is that none failed.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn workflow_completed(
    workflow_name: &str,
    completed: u64,
    failed: u64,
    skipped: u64,
    elapsed: Duration,
) -> Result<Event, EventPublishError> {
    of_workflow(EventType::WorkflowCompleted, workflow_name, EventPriority::Normal, |fields| {
        fields
            .put("completed", completed)
            .put("failed", failed)
            .put("skipped", skipped)
            .put_seconds("elapsed", elapsed)
            .put("success", failed == 0)
    })
}

/// `workflow.failed`, at critical priority: the workflow gave up.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn workflow_failed(workflow_name: &str, error_message: &str) -> Result<Event, EventPublishError> {
    of_workflow(EventType::WorkflowFailed, workflow_name, EventPriority::Critical, |fields| {
        fields.put("error_message", error_message)
    })
}

/// `task.started`.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn task_started(workflow_name: &str, task_name: &str) -> Result<Event, EventPublishError> {
    of_workflow(EventType::TaskStarted, workflow_name, EventPriority::Normal, |fields| {
        fields.put("task_name", task_name)
    })
}

/// `task.completed`, after so many attempts.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn task_completed(
    workflow_name: &str,
    task_name: &str,
    execution_time: Duration,
    attempts: u32,
) -> Result<Event, EventPublishError> {
    of_workflow(EventType::TaskCompleted, workflow_name, EventPriority::Normal, |fields| {
        fields
            .put("task_name", task_name)
            .put_seconds("execution_time", execution_time)
            .put("attempts", attempts)
    })
}

/// `task.failed`, at critical priority: no attempt is left.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn task_failed(
    workflow_name: &str,
    task_name: &str,
    error_message: &str,
) -> Result<Event, EventPublishError> {
    of_workflow(EventType::TaskFailed, workflow_name, EventPriority::Critical, |fields| {
        fields.put("task_name", task_name).put("error_message", error_message)
    })
}

/// `task.retrying`: this attempt failed, the next one comes after a delay.
///
/// # Errors
/// A workflow name that makes no valid source.
pub fn task_retrying(
    workflow_name: &str,
    task_name: &str,
    attempt: u32,
    delay: Duration,
    error_message: &str,
) -> Result<Event, EventPublishError> {
    of_workflow(EventType::TaskRetrying, workflow_name, EventPriority::Normal, |fields| {
        fields
            .put("task_name", task_name)
            .put("attempt", attempt)
            .put_seconds("delay", delay)
            .put("error_message", error_message)
    })
}

//! An orchestrator that knows its workers by their events alone: it keeps each workflow's progress, has a failed task tried
//! again, calls a person after the third failure, and lets a deployment begin once everything before it was seen.
//!
//! `cargo run --example orchestrator`

use codomyrmex_events::{
    AlertLevel, CorrelationId, Delivery, Event, EventBus, EventType, Gate, KeyedGate, Projection, Recorded,
    correlation, create_alert_event, task_completed, task_failed, task_retrying, task_started,
    workflow_failed, workflow_started,
};
use serde_json::{Value, json};
use std::error::Error;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// How often a task is tried.
const ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY: Duration = Duration::from_millis(20);

fn text<'a>(event: &'a Event, field: &str) -> &'a str {
    event.data().get(field).and_then(Value::as_str).unwrap_or("?")
}

/// Asks for a task, now or later. Whoever hears it and can do it does it.
fn request(workflow: &str, task: &str, attempt: u32) -> Result<Event, Box<dyn Error + Send + Sync>> {
    let data = json!({"workflow_name": workflow, "task_name": task, "attempt": attempt});
    Ok(Event::builder("task.requested", "orchestrator").data(data).build()?)
}

/// A worker: it does what is asked for, and tells how it went.
fn work(asked: &Delivery<'_>) -> Outcome {
    let (bus, workflow, task) = (asked.bus(), text(asked, "workflow_name"), text(asked, "task_name"));
    let attempt = asked.data().get("attempt").and_then(Value::as_u64).unwrap_or(1) as u32;
    bus.publish(task_started(workflow, task)?)?;
    let trouble = match (workflow, task) {
        ("release-1", "test") if attempt < ATTEMPTS_MAX => Some("a port is in use"),
        ("release-2", "sign") => Some("the key has expired"),
        _ => None,
    };
    bus.publish(match trouble {
        Some(trouble) => task_failed(workflow, task, trouble)?,
        None => task_completed(workflow, task, Duration::from_millis(1), attempt)?,
    })?;
    Ok(())
}

/// Retries and escalation. The count of failures is a projection, so there is nothing to keep here.
fn escalate(failed: &Delivery<'_>, failures: u32) -> Outcome {
    let (bus, workflow, task) = (failed.bus(), text(failed, "workflow_name"), text(failed, "task_name"));
    let trouble = text(failed, "error_message");
    if failures < ATTEMPTS_MAX {
        bus.publish(task_retrying(workflow, task, failures, RETRY_DELAY, trouble)?)?;
        bus.publish_later(request(workflow, task, failures + 1)?, RETRY_DELAY)?;
    } else {
        let message = format!("{task} of {workflow} failed {failures} times: {trouble}");
        let (most, now) = (Some(ATTEMPTS_MAX.into()), Some(failures.into()));
        bus.publish(create_alert_event("task-failed", AlertLevel::Critical, message, most, now)?)?;
        bus.publish(workflow_failed(workflow, trouble)?)?;
    }
    Ok(())
}

/// What has to be seen before a deployment, of each workflow by itself.
fn deploy_gate(bus: &EventBus) -> Result<KeyedGate, Box<dyn Error>> {
    let is_done = |task: &'static str| move |event: &Event| text(event, "task_name") == task;
    let gate = Gate::all_of()
        .named("deploy")
        .require_if("build", EventType::TaskCompleted, is_done("build"))
        .require_if("test", EventType::TaskCompleted, is_done("test"))
        .require_if("sign", EventType::TaskCompleted, is_done("sign"))
        .keyed_by_correlation()
        .on(bus)?;
    Ok(gate)
}

/// Of each workflow: tasks done, failures so far.
fn progress(bus: &EventBus) -> Result<impl Fn(&str) -> String, Box<dyn Error>> {
    let workflow = |event: &Recorded| text(event, "workflow_name").to_owned();
    let states =
        Projection::of(bus, "task.*").group_by(workflow, (0, 0), |(done, failed), event| {
            match event.event_type() {
                EventType::TaskCompleted => (done + 1, *failed),
                EventType::TaskFailed => (*done, failed + 1),
                _ => (*done, *failed),
            }
        })?;
    Ok(move |workflow: &str| {
        let (done, failed) = states.get(workflow).map_or((0, 0), |state| *state);
        format!("{done} tasks done, {failed} failures")
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new();
    bus.subscribe(["task.[!r]*", "task.retrying", "workflow.*", "alert.*", "gate.*", "deploy.*"])
        .priority(100)
        .handler(|event| {
            let what = [text(event, "task_name"), text(event, "message"), text(event, "gate")];
            let what = what.into_iter().find(|text| *text != "?").unwrap_or("");
            println!("{}", format!("  {} {what}", event.event_type()).trim_end());
        })?;
    let progress = progress(&bus)?;
    let gate = deploy_gate(&bus)?;

    bus.subscribe("task.requested").handler(work)?;
    let task = |event: &Recorded| format!("{}/{}", text(event, "workflow_name"), text(event, "task_name"));
    // Folded before it is asked.
    let failures =
        Projection::of(&bus, EventType::TaskFailed).priority(10).group_by(task, 0, |n, _| n + 1)?;
    bus.subscribe(EventType::TaskFailed).handler(move |failed| {
        let task = format!("{}/{}", text(failed, "workflow_name"), text(failed, "task_name"));
        escalate(failed, failures.get(&task).map_or(1, |failures| *failures))
    })?;
    bus.subscribe("gate.opened").handler(|gate| -> Outcome {
        gate.bus().publish(Event::builder(EventType::DeployStart, "orchestrator").build()?)?;
        Ok(())
    })?;

    for (workflow, tasks) in
        [("release-1", ["build", "sign", "test"]), ("release-2", ["build", "test", "sign"])]
    {
        println!("{workflow}");
        let ended = bus.wait_for([EventType::DeployStart, EventType::WorkflowFailed]).begin()?;
        // All that follows from this carries the workflow's name as its correlation id.
        correlation::scope(&CorrelationId::new(workflow)?, || -> Outcome {
            bus.publish(workflow_started(workflow, tasks.len() as u64)?)?;
            tasks
                .iter()
                .try_for_each(|task| bus.publish(request(workflow, task, 1)?).map(drop).map_err(Into::into))
        })
        .map_err(|error| error.to_string())?;
        let ended = ended.within(Duration::from_secs(30))?;
        println!("  {}, {}", progress(workflow), ended.event_type());
        println!("  the gate is open: {}, missing: {:?}", gate.is_open(workflow), gate.missing(workflow));
    }
    Ok(())
}

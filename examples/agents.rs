//! Two agents that coordinate without knowing each other's code: a coder sends its work to a reviewer's mailbox and waits for
//! the verdict in its own, an oracle answers questions, and a gate opens when the review and the tests are both done.
//!
//! `cargo run --example agents`

use codomyrmex_events::{Event, EventBus, Gate};
use serde_json::{Value, json};
use std::error::Error;
use std::thread;
use std::time::Duration;

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Nobody here waits for long; a message that does not come is a fault.
const LIMIT: Duration = Duration::from_secs(30);

fn text<'a>(event: &'a Event, field: &str) -> &'a str {
    event.data().get(field).and_then(Value::as_str).unwrap_or("?")
}

/// Sends a change to the reviewer, mends it until there is nothing to say against it, and has it tested.
fn coder(bus: &EventBus) -> Outcome {
    let inbox = bus.mailbox("coder")?;
    let style = bus.request(Event::builder("style.ask", "coder").data(json!({"of": "a name"})).build()?);
    let style = style.within(LIMIT)?;
    for change in ["let x = 1;", "let line_count = 1;"] {
        let change = json!({"change": change, "style": text(&style, "answer")});
        bus.mailbox("reviewer")?.send("coder", change)?;
        let answer = inbox.receive(LIMIT)?;
        if text(&answer, "verdict") == "approved" {
            break;
        }
    }
    bus.publish(Event::builder("test.passed", "coder").data(json!({"tests": 212})).build()?)?;
    Ok(())
}

/// Looks at whatever is sent, until there is nothing more to be looked at.
fn reviewer(bus: &EventBus) -> Outcome {
    let inbox = bus.mailbox("reviewer")?;
    loop {
        let message = inbox.receive(LIMIT)?;
        let is_good = text(&message, "change").contains("line_count");
        let verdict = if is_good { "approved" } else { "a name should say what it is" };
        if is_good {
            bus.publish(Event::builder("review.approved", "reviewer").build()?)?;
        }
        bus.mailbox(message.source().as_str())?.send("reviewer", json!({"verdict": verdict}))?;
        if is_good {
            return Ok(());
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let bus = EventBus::new();
    bus.subscribe("style.ask").handler(|question| {
        question.reply(json!({"answer": format!("{} says the thing, not its kind", text(question, "of"))}))
    })?;
    let merge = Gate::all_of()
        .named("merge")
        .require("review", "review.approved")
        .require("tests", "test.passed")
        .on(&bus)?;

    thread::scope(|agents| {
        let started = [agents.spawn(|| reviewer(&bus)), agents.spawn(|| coder(&bus))];
        started.into_iter().try_for_each(|agent| agent.join().expect("an agent does not panic"))
    })
    .map_err(|error| error.to_string())?;

    let opened = merge.wait(LIMIT)?;
    for met in opened.seen() {
        println!("{}: {}", met.name(), met.event_type());
    }
    // Every message is an event too: what was said can be read afterwards, by anybody.
    for said in bus.history().query().event_type("agent.inbox.*").since(0).events()? {
        println!("{} to {}: {}", said.source(), said.event_type(), said.data().json().unwrap_or("?"));
    }
    Ok(())
}

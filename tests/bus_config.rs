//! Where settings come from: explicit beats the environment beats the default, and what cannot be used is named.
//!
//! The environment belongs to a process, so each row asks a child: this same test binary, running `child`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{
    ConfigError, DEAD_LETTERS_MAX, Event, EventBus, EventBusBuilder, HISTORY_MAX, WORKERS_MAX, get_event_bus,
    init_event_bus, try_get_event_bus,
};
use std::ffi::OsString;
use std::panic::catch_unwind;
use std::process::Command;

const WORKERS: &str = "CODOMYRMEX_EVENT_WORKERS";
const ASYNC: &str = "CODOMYRMEX_EVENT_ASYNC";
const HISTORY: &str = "CODOMYRMEX_EVENT_HISTORY_LIMIT";
const DLQ: &str = "CODOMYRMEX_EVENT_DLQ_MAX";
/// Tells the child what to do.
const ASK: &str = "EVENTS_TEST_ASK";

/// Events and letters that the bus keeps.
fn limits(bus: &EventBus) -> String {
    let failing = bus.subscribe("fails").handler(|_| Err::<(), _>("no")).expect("valid");
    for _ in 0..300 {
        bus.publish(Event::builder("fails", "test").build().expect("valid")).expect("open");
    }
    bus.flush(std::time::Duration::from_secs(30)).expect("it gets quiet");
    failing.unsubscribe();
    let queued = if bus.get_stats().async_enabled { " queued" } else { "" };
    format!("history {} letters {}{queued}", bus.history().capacity(), bus.dead_letter_queue().len())
}

fn told(bus: Result<EventBus, ConfigError>) -> String {
    match bus {
        Ok(bus) => limits(&bus),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(error.setting()) && text.contains(error.reason()), "{text}");
            format!("{} refuses {:?}", error.setting(), error.value())
        }
    }
}

fn answer(ask: &str) -> String {
    let build =
        |builder: Result<EventBusBuilder, ConfigError>| told(builder.and_then(EventBusBuilder::build));
    let explicit = || EventBus::builder().history(7).dead_letters(3).max_workers(2);
    match ask {
        "new" => limits(&EventBus::new()),
        "builder" => told(EventBus::builder().build()),
        "from_env" => build(EventBus::builder().from_env()),
        "explicit, from_env" => build(explicit().from_env()),
        "inline, from_env" => build(EventBus::builder().inline().from_env()),
        "from_env, explicit" => build(EventBus::builder().from_env().map(|builder| builder.history(7))),
        "try_get" => told(try_get_event_bus().cloned()),
        "get" => match catch_unwind(|| limits(get_event_bus())) {
            Ok(limits) => limits,
            Err(panic) => format!("panics: {}", panic.downcast_ref::<String>().expect("a message")),
        },
        "init" => {
            let own = EventBus::builder().history(5).build().expect("valid");
            assert!(init_event_bus(own).is_ok(), "nobody has used it");
            let late = init_event_bus(EventBus::new()).expect_err("set already");
            format!("{late}; {}", limits(get_event_bus()))
        }
        "get, init" => {
            let first = get_event_bus();
            let late = init_event_bus(EventBus::new()).expect_err("in use");
            assert!(std::ptr::eq(first, get_event_bus()), "it stays");
            format!("{late}; {}", limits(first))
        }
        other => panic!("asked for {other}"),
    }
}

#[test]
#[ignore = "the other tests run it, in a process of its own"]
fn child() {
    println!("ANSWER {}", answer(&std::env::var(ASK).unwrap()));
}

#[track_caller]
fn check(ask: &str, environment: &[(&str, OsString)], expected: &str) {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"]);
    for name in [WORKERS, ASYNC, HISTORY, DLQ] {
        command.env_remove(name);
    }
    command.env(ASK, ask).envs(environment.iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let answer = text.lines().find_map(|line| line.split_once("ANSWER ")).map(|(_, answer)| answer);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(answer, Some(expected), "{ask} with {environment:?}\n{text}\n{complaint}");
}

fn set(name: &'static str, value: &str) -> (&'static str, OsString) {
    (name, value.into())
}

#[test]
fn explicit_beats_the_environment_beats_the_default() {
    let env = || [set(HISTORY, "50"), set(DLQ, "20"), set(WORKERS, "8"), set(ASYNC, "false")];
    let rows: &[(&str, bool, &str)] = &[
        ("new", false, "history 1000 letters 100"),
        ("new", true, "history 1000 letters 100"),
        ("builder", true, "history 1000 letters 100"),
        ("from_env", false, "history 1000 letters 100"),
        ("from_env", true, "history 50 letters 20"),
        ("explicit, from_env", true, "history 7 letters 3"),
        ("from_env, explicit", true, "history 7 letters 20"),
        ("try_get", false, "history 1000 letters 100"),
        ("try_get", true, "history 50 letters 20"),
        ("get", true, "history 50 letters 20"),
        ("init", true, "the process-wide bus is in use already; history 5 letters 100"),
        ("get, init", true, "the process-wide bus is in use already; history 50 letters 20"),
    ];
    for (ask, with_env, expected) in rows {
        check(ask, if *with_env { env() } else { Default::default() }.as_slice(), expected);
    }
}

#[test]
fn each_variable_is_read() {
    let rows = [
        (HISTORY, "0", "history 0 letters 100"),
        (HISTORY, "1", "history 1 letters 100"),
        (HISTORY, " 25 ", "history 25 letters 100"),
        (DLQ, "0", "history 1000 letters 0"),
        (DLQ, "250", "history 1000 letters 250"),
        (WORKERS, "1", "history 1000 letters 100"),
        (WORKERS, "1024", "history 1000 letters 100"),
        (ASYNC, "False", "history 1000 letters 100"),
        (ASYNC, "0", "history 1000 letters 100"),
    ];
    for (name, value, expected) in rows {
        check("from_env", &[set(name, value)], expected);
    }
}

#[test]
fn what_does_not_parse_is_named_with_its_value() {
    let rows = [
        (WORKERS, "0"),
        (WORKERS, "-1"),
        (WORKERS, "four"),
        (WORKERS, "1025"),
        (WORKERS, "4.0"),
        (WORKERS, ""),
        (WORKERS, "99999999999999999999999"),
        (HISTORY, "many"),
        (HISTORY, "-1"),
        (HISTORY, "16777217"),
        (DLQ, "x"),
        (DLQ, "1048577"),
        (ASYNC, "maybe"),
        (ASYNC, ""),
    ];
    for (name, value) in rows {
        check("from_env", &[set(name, value)], &format!("{name} refuses {value:?}"));
    }
    for value in ["true", "1", "TRUE"] {
        // A build without queued dispatch does not pretend to have it.
        let expected = match cfg!(feature = "queued") {
            true => "history 1000 letters 100 queued".to_owned(),
            false => format!("{ASYNC} refuses {value:?}"),
        };
        check("from_env", &[set(ASYNC, value)], &expected);
    }
    check(
        "inline, from_env",
        &[set(ASYNC, "true")],
        match cfg!(feature = "queued") {
            true => "history 1000 letters 100",
            false => "CODOMYRMEX_EVENT_ASYNC refuses \"true\"",
        },
    );
    for ask in ["explicit, from_env", "try_get"] {
        check(ask, &[set(HISTORY, "many")], &format!("{HISTORY} refuses \"many\""));
    }
    let reason = format!("must be a whole number from 1 to {WORKERS_MAX}");
    check("get", &[set(WORKERS, "four")], &format!("panics: {WORKERS}=\"four\": {reason}"));
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        let not_text = OsString::from_vec(vec![b'4', 0xff]);
        check("from_env", &[(WORKERS, not_text)], &format!("{WORKERS} refuses \"4\u{fffd}\""));
    }
}

#[test]
fn a_setting_out_of_range_is_named_by_its_method() {
    let builder = EventBus::builder;
    let rows = [
        (builder().max_workers(0), "max_workers", "0"),
        (builder().max_workers(WORKERS_MAX + 1), "max_workers", "1025"),
        (builder().history(HISTORY_MAX + 1), "history", "16777217"),
        (builder().dead_letters(DEAD_LETTERS_MAX + 1), "dead_letters", "1048577"),
        (builder().history(usize::MAX), "history", "18446744073709551615"),
    ];
    for (builder, setting, value) in rows {
        let error = builder.build().unwrap_err();
        assert_eq!((error.setting(), error.value()), (setting, value));
    }
    assert!(builder().max_workers(WORKERS_MAX).history(0).dead_letters(0).build().is_ok());
}

#[cfg(feature = "queued")]
#[test]
fn lanes_and_their_room_are_bounded_together() {
    let error = EventBus::builder().queued().lanes(65_536).lane_room(1 << 20).build().unwrap_err();
    assert_eq!((error.setting(), error.value()), ("lane_room", "1048576"));
    assert!(error.reason().contains("65536 lanes") && error.reason().contains("16777216"), "{error}");
}

//! The examples on the Python module's page, from which this crate grew, in Rust: the same values, the same answers.
//!
//! Each module here is named after a heading there. Examples of what this version does not have (the MCP tools) have no test
//! here; `WebSocketStream` has its own, since it takes a server.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use codomyrmex_events::{Event, EventBus, EventType};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

/// What a handler heard, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn release_build() -> Value {
    json!({"build_type": "release", "target": "codomyrmex"})
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

/// "`AsyncStream` provides backpressure-aware streaming with per-subscriber buffers, dispatcher loop, and async iterator
/// consumption via `async for event in stream.consume(sub_id)`".
#[cfg(feature = "stream")]
mod async_streams {
    use super::*;
    use codomyrmex_events::{AsyncStream, FeedOverflow, StreamItem};
    use std::time::Duration;

    #[test]
    fn events_are_consumed_one_after_another_and_a_full_buffer_holds_the_publisher_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let stream = AsyncStream::new();
            let patient = FeedOverflow::Block(Duration::from_secs(30));
            let id = stream.subscribe("task.*").buffer(2).overflow(patient).open().unwrap();
            let publishing = stream.clone();
            let publisher = tokio::spawn(async move {
                for number in 1..=10 {
                    let task = json!({"task_id": format!("t-{number}")});
                    let event =
                        Event::builder(EventType::TaskCompleted, "worker").data(task).build().unwrap();
                    publishing.publish(event).await.unwrap();
                }
                publishing.stop();
            });
            let mut items = stream.consume(id).unwrap();
            let mut seen = Vec::new();
            while let Some(item) = items.next().await {
                let StreamItem::Event(event) = item else { continue };
                let buffered = stream.stats(id).unwrap().buffered;
                assert!(buffered <= 2, "{buffered} events where there is room for two");
                seen.push(event.data().get("task_id").unwrap().as_str().unwrap().to_owned());
            }
            publisher.await.unwrap();
            assert_eq!(seen, (1..=10).map(|number| format!("t-{number}")).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_dashboard_follows_a_bus_without_slowing_it() {
        let bus = EventBus::new();
        let dashboard = AsyncStream::attach(&bus);
        let id = dashboard.subscribe("*").buffer(10).open().unwrap();
        for _ in 0..25 {
            bus.publish(Event::builder(EventType::BuildProgress, "ci").build().unwrap()).unwrap();
        }
        let stats = dashboard.stats(id).unwrap();
        assert_eq!((stats.buffered, stats.dropped), (10, 15));
    }
}

#[cfg(all(feature = "async", feature = "queued"))]
mod async_event_support {
    use super::*;
    use codomyrmex_events::{AsyncEventEmitter, OwnedDelivery};
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(30);

    #[test]
    fn the_emitter_emits_now_and_later() {
        let bus = EventBus::builder().max_workers(8).queued().build().unwrap();
        let heard = Heard::default();
        let log = heard.clone();
        let log_it = move |delivery: OwnedDelivery| {
            log.note(format!("{} {}", delivery.event_type(), delivery.data().json().unwrap()));
            async {}
        };
        bus.subscribe(["task.*", "alert.*"]).async_handler(log_it).unwrap();
        let emitter = AsyncEventEmitter::on_bus(&bus);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            emitter.emit(EventType::TaskCompleted, json!({"task_id": "t-42"})).await.unwrap();
            let later = Duration::from_millis(5);
            emitter
                .emit_later(EventType::AlertTriggered, json!({"alert_name": "memory_high"}), later)
                .unwrap();
            bus.flush_async(LIMIT).await.unwrap();
        });
        assert_eq!(heard.all()[0], r#"task.completed {"task_id":"t-42"}"#);
        while bus.get_stats().accepted < 2 {
            std::thread::yield_now();
        }
        bus.flush(LIMIT).unwrap();
        assert_eq!(heard.all()[1..], [r#"alert.triggered {"alert_name":"memory_high"}"#]);
        let stats = serde_json::to_value(bus.get_stats()).unwrap();
        assert_eq!((&stats["async_enabled"], &stats["events_processed"]), (&json!(true), &json!(2)));
        assert_eq!(stats["subscribers"]["subscriber_1"]["is_async"], true);
    }
}

#[cfg(feature = "stream")]
mod batching_stream {
    use super::*;
    use codomyrmex_events::{Batch, BatchTrigger, BatchingStream};
    use std::sync::mpsc;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(30);

    fn event() -> Event {
        Event::builder(EventType::MetricUpdate, "probe").build().unwrap()
    }

    #[test]
    fn it_accumulates_events_and_flushes_by_count_or_time_interval() {
        let (sent, batches) = mpsc::channel();
        let builder = || {
            let sent = sent.clone();
            let handler = move |batch: &Batch| sent.send((batch.len(), batch.trigger())).unwrap();
            (BatchingStream::builder().count(100), handler)
        };
        let (by_count, handler) = builder();
        let by_count = by_count.interval(LIMIT * 100).on_batch(handler).unwrap();
        for _ in 0..100 {
            by_count.try_add(event()).unwrap();
        }
        assert_eq!(batches.recv_timeout(LIMIT).unwrap(), (100, BatchTrigger::Count));

        let (by_time, handler) = builder();
        let by_time = by_time.interval(Duration::from_millis(5)).on_batch(handler).unwrap();
        by_time.try_add(event()).unwrap();
        assert_eq!(batches.recv_timeout(LIMIT).unwrap(), (1, BatchTrigger::Interval));
    }
}

mod event_bus {
    use super::*;

    #[test]
    fn a_handler_hears_by_glob_and_sees_the_data() {
        let bus = EventBus::builder().max_workers(4).build().unwrap();
        let heard = Heard::default();
        let on_build = heard.clone();
        let watcher = bus
            .subscribe(["build.*"])
            .subscriber_id("build_watcher")
            .priority(10)
            .handler(move |event| on_build.note(format!("Build event: {}", event.data().json().unwrap())))
            .unwrap();
        let event =
            Event::builder(EventType::BuildStart, "ci_pipeline").data(release_build()).build().unwrap();
        bus.publish(event).unwrap();
        bus.publish(Event::builder(EventType::DeployStart, "ci_pipeline").build().unwrap()).unwrap();

        assert_eq!(heard.all(), [format!("Build event: {}", release_build())]);
        assert_eq!((watcher.id(), watcher.priority()), ("build_watcher", 10));
        let stats = serde_json::to_value(bus.get_stats()).unwrap();
        assert_eq!(stats["async_enabled"], false);
        assert_eq!(stats["events_published"], 2);
        assert_eq!(stats["events_processed"], 2);
        assert_eq!(stats["events_failed"], 0);
        assert_eq!(stats["dead_letter_count"], 0);
        assert_eq!(stats["subscribers_count"], 1);
        let subscriber = &stats["subscribers"]["build_watcher"];
        assert_eq!(subscriber["event_patterns"], json!(["build.*"]));
        assert_eq!(subscriber["is_async"], false);
        assert_eq!(subscriber["priority"], 10);
        assert!(bus.unsubscribe("build_watcher"));
        assert!(!bus.unsubscribe("build_watcher"));
    }

    #[test]
    fn dispatch_is_in_priority_order() {
        let bus = EventBus::new();
        let heard = Heard::default();
        for (id, priority) in [("low", 0), ("high", 10), ("low too", 0), ("below", -1)] {
            let heard = heard.clone();
            bus.subscribe("*").subscriber_id(id).priority(priority).handler(move |_| heard.note(id)).unwrap();
        }
        bus.publish(Event::builder("any.thing", "test").build().unwrap()).unwrap();
        assert_eq!(heard.all(), ["high", "low", "low too", "below"]);
    }

    #[test]
    fn there_is_one_global_bus_and_as_many_private_ones_as_wanted() {
        use codomyrmex_events::{
            get_event_bus, get_event_stats, init_event_bus, publish_event, subscribe_to_events,
            try_get_event_bus, unsubscribe_from_events,
        };
        let heard = Heard::default();
        let global = heard.clone();
        let subscription = subscribe_to_events("seed.global", move |_| global.note("global")).unwrap();
        let event = || Event::builder("seed.global", "test").build().unwrap();
        publish_event(event()).unwrap();
        get_event_bus().publish(event()).unwrap();
        try_get_event_bus().unwrap().publish(event()).unwrap();
        EventBus::new().publish(event()).unwrap();
        assert_eq!(heard.all().len(), 3);
        assert_eq!(get_event_stats().subscribers[subscription.id()].deliveries.total, 3);
        assert!(init_event_bus(EventBus::new()).is_err(), "it is in use already");
        assert!(unsubscribe_from_events(subscription.id()));
    }

    #[test]
    fn code_analyzer_emits_through_its_mixin() {
        use codomyrmex_events::{EventError, EventMixin};
        struct CodeAnalyzer {
            events: EventMixin,
        }
        impl CodeAnalyzer {
            fn analyze(&self, path: &str) -> Result<(), EventError> {
                self.events.emit(EventType::AnalysisStart, json!({"target": path}))?;
                self.events.emit(EventType::AnalysisComplete, json!({"target": path, "success": true}))?;
                Ok(())
            }
        }
        let bus = EventBus::new();
        let analyzer = CodeAnalyzer { events: EventMixin::init_events_on("code_analyzer", &bus).unwrap() };
        analyzer.analyze("src/lib.rs").unwrap();
        let published = bus.history().query().source("code_analyzer").since(1).events().unwrap();
        let told: Vec<(&str, &Value)> = published
            .iter()
            .map(|event| (event.event_type().as_str(), event.data().value().unwrap()))
            .collect();
        assert_eq!(
            told,
            [
                ("analysis.start", &json!({"target": "src/lib.rs"})),
                ("analysis.complete", &json!({"target": "src/lib.rs", "success": true})),
            ]
        );
    }
}

mod typed_event_definitions {
    use super::*;
    use codomyrmex_events::{Domain, EventPriority};
    use std::collections::BTreeMap;

    #[test]
    fn there_are_over_fifty_types_by_domain() {
        let mut types = BTreeMap::new();
        for event_type in EventType::STANDARD {
            *types.entry(event_type.domain().as_str()).or_insert(0) += 1;
        }
        let expected = [
            (Domain::System, 4),
            (Domain::Module, 4),
            (Domain::Plugin, 4),
            (Domain::Analysis, 4),
            (Domain::Build, 4),
            (Domain::Deploy, 5),
            (Domain::Monitoring, 4),
            (Domain::Security, 4),
            (Domain::Workflow, 7),
            (Domain::Scheduler, 4),
            (Domain::UserInteraction, 4),
            (Domain::Data, 4),
            (Domain::Custom, 1),
        ];
        assert_eq!(types, expected.map(|(domain, count)| (domain.as_str(), count)).into());
        assert_eq!(EventType::STANDARD.len(), 53);
        let listed = EventBus::new().list_event_types();
        let listed: Vec<&str> = listed.iter().map(|info| info.event_type.as_str()).collect();
        assert_eq!(listed, EventType::STANDARD.each_ref().map(EventType::as_str));
    }

    #[test]
    fn the_priorities_are_seven() {
        let names = EventPriority::ALL.map(EventPriority::as_str);
        assert_eq!(names, ["debug", "info", "normal", "warning", "error", "critical", "monitoring"]);
        let event = Event::builder(EventType::Custom, "test").priority(EventPriority::Monitoring).build();
        assert_eq!(event.unwrap().to_dict().unwrap()["priority"], "monitoring");
    }

    #[test]
    fn constructors_make_structured_events() {
        use codomyrmex_events::{
            MetricType, create_analysis_start_event, create_error_event, create_metric_event,
        };
        let start = create_analysis_start_event("security_scan", "codomyrmex", None).unwrap();
        assert_eq!(
            start.data().value().unwrap(),
            &json!({"analysis_type": "security_scan", "target": "codomyrmex"})
        );
        let error = create_error_event(EventType::BuildError, "ci", "no target", None, None).unwrap();
        assert_eq!(error.data().value().unwrap(), &json!({"error_message": "no target"}));
        assert_eq!(error.priority(), EventPriority::Critical);
        let metric = create_metric_event("queue_depth", 7_u64, MetricType::Gauge, None).unwrap();
        assert_eq!(
            metric.data().value().unwrap(),
            &json!({"metric_name": "queue_depth", "metric_value": 7, "metric_type": "gauge"})
        );
        #[cfg(feature = "schema")]
        for event in [start, error, metric] {
            codomyrmex_events::EventSchema::new().validate_event(&event).unwrap();
        }
    }

    #[test]
    fn serialization_goes_round_with_the_same_identity() {
        let event = Event::builder(EventType::BuildStart, "ci_pipeline")
            .data(release_build())
            .correlation_id("cid-0123456789ab")
            .metadata_entry("attempt", 2)
            .priority(EventPriority::Warning)
            .build()
            .unwrap();
        let dict = event.to_dict().unwrap();
        assert_eq!(dict["event_type"], "build.start");
        assert_eq!(dict["event_id"], event.event_id().to_string());
        let back = Event::from_dict(dict.clone()).unwrap();
        assert_eq!(back.to_dict().unwrap(), dict);
        let text = event.to_json().unwrap();
        assert_eq!(Event::from_json(&text).unwrap().to_json().unwrap(), text);
        assert_eq!(object(serde_json::from_str(&text).unwrap()), dict);
    }
}

mod environment_variables {
    use super::*;
    use std::process::{Command, Output};

    /// Set where this test runs itself again, to see another environment.
    const CHILD: &str = "SEED_ENVIRONMENT_CHILD";

    fn with(variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "environment_variables::they_are_read", "--nocapture"]).env(CHILD, "1");
        for name in ["WORKERS", "ASYNC", "HISTORY_LIMIT", "DLQ_MAX"] {
            command.env_remove(format!("CODOMYRMEX_EVENT_{name}"));
        }
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// Says what a bus from this environment keeps.
    fn tell() {
        match EventBus::builder().from_env().and_then(|builder| builder.build()) {
            Err(error) => println!("told: {error}"),
            Ok(bus) => {
                bus.subscribe("*").handler(|_| Err::<(), _>("always")).unwrap();
                for _ in 0..150 {
                    bus.publish(Event::builder("a.b", "test").build().unwrap()).unwrap();
                }
                bus.flush(std::time::Duration::from_secs(30)).unwrap();
                let (history, letters) = (bus.history().capacity(), bus.dead_letter_queue().len());
                let queued = if bus.get_stats().async_enabled { ", queued" } else { "" };
                println!("told: history {history}, dead letters {letters}{queued}");
            }
        }
    }

    fn check(variables: &[(&str, &str)], expected: &str) {
        let output = with(variables);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains(&format!("told: {expected}\n")), "{variables:?}: {told}");
    }

    #[test]
    fn they_are_read() {
        if std::env::var_os(CHILD).is_some() {
            return tell();
        }
        check(&[], "history 1000, dead letters 100");
        check(
            &[
                ("CODOMYRMEX_EVENT_WORKERS", "4"),
                ("CODOMYRMEX_EVENT_ASYNC", "false"),
                ("CODOMYRMEX_EVENT_HISTORY_LIMIT", "1000"),
                ("CODOMYRMEX_EVENT_DLQ_MAX", "100"),
            ],
            "history 1000, dead letters 100",
        );
        check(
            &[("CODOMYRMEX_EVENT_HISTORY_LIMIT", "5"), ("CODOMYRMEX_EVENT_DLQ_MAX", "3")],
            "history 5, dead letters 3",
        );
        check(&[("CODOMYRMEX_EVENT_WORKERS", "0")], "CODOMYRMEX_EVENT_WORKERS=\"0\": must be from 1 to 1024");
        check(
            &[("CODOMYRMEX_EVENT_DLQ_MAX", "many")],
            "CODOMYRMEX_EVENT_DLQ_MAX=\"many\": must be a whole number from 0 to 1048576",
        );
        let queued = match cfg!(feature = "queued") {
            true => "history 1000, dead letters 100, queued",
            false => "CODOMYRMEX_EVENT_ASYNC=\"true\": this build has no queued dispatch",
        };
        check(&[("CODOMYRMEX_EVENT_ASYNC", "true")], queued);
    }
}

mod programmatic_configuration {
    use super::*;

    #[test]
    fn what_is_said_beats_the_environment() {
        let bus = EventBus::builder().max_workers(8).history(7).dead_letters(2).from_env().unwrap();
        assert_eq!(bus.build().unwrap().history().capacity(), 7);
        assert_eq!(EventBus::builder().max_workers(0).build().unwrap_err().setting(), "max_workers");
    }

    #[test]
    #[cfg(feature = "schema")]
    fn a_custom_schema_holds_from_its_registration_on() {
        use codomyrmex_events::EventSchema;
        let schema = EventSchema::new();
        let rules = json!({
            "type": "object",
            "properties": {
                "action": {"type": "string"},
                "target": {"type": "string"},
            },
            "required": ["action"],
        });
        assert_eq!(schema.register_event_schema(EventType::Custom, rules.clone()).unwrap(), None);
        assert_eq!(schema.get_event_schema(&EventType::Custom).as_deref(), Some(&rules));
        assert!(schema.list_registered_schemas().contains(&EventType::Custom));

        let bus = EventBus::builder().schemas(schema).build().unwrap();
        let custom = |data| Event::builder(EventType::Custom, "test").data(data).build().unwrap();
        bus.emit_typed(custom(json!({"action": "restart", "target": "web"}))).unwrap();
        bus.emit_typed(custom(json!({"action": "restart"}))).unwrap();
        assert!(bus.emit_typed(custom(json!({"target": "web"}))).is_err());
        assert!(bus.emit_typed(custom(json!({"action": 7}))).is_err());
        assert_eq!(bus.get_stats().accepted, 2);
    }
}

mod use_typed_events_over_raw_strings {
    use super::*;

    #[test]
    fn a_raw_string_that_names_a_standard_type_is_that_type() {
        let event = Event::builder("build.start", "ci").build().unwrap();
        assert_eq!(event.event_type(), &EventType::BuildStart);
    }

    #[test]
    #[cfg(feature = "schema")]
    fn typed_emission_validates_and_publish_does_not() {
        let bus = EventBus::new();
        let heard = Heard::default();
        let hearing = heard.clone();
        bus.subscribe("build.start").handler(move |event| hearing.note(event.source().as_str())).unwrap();
        let event = |source, data| Event::builder(EventType::BuildStart, source).data(data).build().unwrap();

        bus.emit_typed(event("typed", release_build())).unwrap();
        let refused = bus.emit_typed(event("typed and wrong", json!({"target": "codomyrmex"}))).unwrap_err();
        assert!(refused.to_string().contains("build_type"), "{refused}");
        bus.publish(event("raw and wrong", json!({"target": "codomyrmex"}))).unwrap();

        assert_eq!(heard.all(), ["typed", "raw and wrong"]);
        assert_eq!(bus.dead_letter_queue().len(), 1);
    }
}

mod propagate_correlation_ids {
    use super::*;
    use codomyrmex_events::{CorrelationId, correlation};

    #[test]
    fn the_bus_fills_in_what_the_publisher_left_out() {
        let bus = EventBus::new();
        bus.subscribe("first")
            .handler(|event| {
                assert_eq!(correlation::current().as_ref(), event.correlation_id());
                event.bus().publish(Event::builder("second", "handler").build()?).map(drop)
            })
            .unwrap();
        let id = CorrelationId::new("cid-0123456789ab").unwrap();
        let first = |own: Option<&str>| {
            let builder = Event::builder("first", "test");
            match own {
                Some(own) => builder.correlation_id(own).build().unwrap(),
                None => builder.build().unwrap(),
            }
        };
        bus.publish(first(None)).unwrap();
        correlation::scope(&id, || {
            bus.publish(first(None)).unwrap();
            bus.publish(first(Some("my-own"))).unwrap();
        });
        let seen = bus.history().query().since(1).events().unwrap();
        let ids: Vec<Option<&str>> =
            seen.iter().map(|event| event.correlation_id().map(CorrelationId::as_str)).collect();
        let cid = Some("cid-0123456789ab");
        assert_eq!(ids, [None, None, cid, cid, Some("my-own"), Some("my-own")]);
        for pair in seen.chunks(2) {
            assert_eq!(pair[0].causation_id(), None);
            assert_eq!(pair[1].causation_id(), Some(pair[0].event_id()));
        }
        let chain = bus.history().query().correlation_id("my-own").events().unwrap();
        assert_eq!(chain.len(), 2);
    }
}

#[cfg(feature = "spans")]
mod propagate_correlation_ids_from_the_logging_context {
    use super::*;
    use codomyrmex_events::CorrelationLayer;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_bus_fills_in_the_spans_id_and_an_exchange_is_traced_end_to_end() {
        let subscriber = tracing_subscriber::registry().with(CorrelationLayer::new());
        let bus = EventBus::new();
        bus.subscribe("observe")
            .handler(|event| event.bus().publish(Event::builder("think", "algorithm").build()?).map(drop))
            .unwrap();
        tracing::subscriber::with_default(subscriber, || {
            let request = tracing::info_span!("request", correlation_id = "cid-0123456789ab");
            request
                .in_scope(|| bus.publish(Event::builder("observe", "algorithm").build().unwrap()))
                .unwrap();
        });
        let exchange = bus.history().trace("cid-0123456789ab");
        let phases: Vec<(&str, usize)> =
            exchange.nodes().iter().map(|node| (node.event_type().as_str(), node.depth())).collect();
        assert_eq!(phases, [("observe", 0), ("think", 1)]);
    }
}

mod use_event_mixin_for_module_integration {
    use super::*;
    use codomyrmex_events::{Delivery, EventError, EventMixin};

    struct SecurityScanner {
        events: EventMixin,
    }

    impl SecurityScanner {
        fn new(bus: &EventBus) -> Arc<Self> {
            let events = EventMixin::init_events_on("security_scanner", bus).unwrap();
            let scanner = Arc::new(SecurityScanner { events });
            scanner.events.on_method(&scanner, [EventType::BuildComplete], Self::on_build_complete).unwrap();
            scanner
        }

        fn on_build_complete(&self, event: &Delivery<'_>) -> Result<(), EventError> {
            let target = event.data().get("target").cloned().unwrap_or_else(|| json!("unknown"));
            let data = json!({"analysis_type": "security_scan", "target": target});
            self.events.emit(EventType::AnalysisStart, data).map(drop)
        }
    }

    #[test]
    fn security_scanner_scans_after_every_build_until_it_is_gone() {
        let bus = EventBus::new();
        let scanner = SecurityScanner::new(&bus);
        let complete = |data| Event::builder(EventType::BuildComplete, "ci").data(data).build().unwrap();
        bus.publish(complete(json!({"target": "codomyrmex"}))).unwrap();
        bus.publish(complete(json!({}))).unwrap();
        drop(scanner);
        assert_eq!(bus.subscriptions().len(), 0);
        bus.publish(complete(json!({}))).unwrap();

        let scans = bus.history().query().event_type("analysis.start").since(1).events().unwrap();
        let data: Vec<&Value> = scans.iter().map(|scan| scan.data().value().unwrap()).collect();
        assert_eq!(
            data,
            [
                &json!({"analysis_type": "security_scan", "target": "codomyrmex"}),
                &json!({"analysis_type": "security_scan", "target": "unknown"}),
            ]
        );
        assert!(scans.iter().all(|scan| scan.source().as_str() == "security_scanner"));
    }

    #[test]
    fn a_mixin_without_a_bus_uses_the_global_one() {
        let module = EventMixin::init_events("seed_module").unwrap();
        let heard = Heard::default();
        let hearing = heard.clone();
        let subscription =
            module.on("seed.mixin", move |event| hearing.note(event.source().as_str())).unwrap();
        module.emit("seed.mixin", json!({})).unwrap();
        assert_eq!(heard.all(), ["seed_module"]);
        assert!(codomyrmex_events::get_event_bus().subscription(subscription.id()).is_some());
        assert!(module.off(subscription.id()));
        assert!(codomyrmex_events::get_event_bus().subscription(subscription.id()).is_none());
    }
}

mod integrate_with_the_orchestrator_via_events {
    use super::*;
    use codomyrmex_events::{task_completed, task_failed, workflow_started};
    use std::time::Duration;

    #[test]
    fn it_follows_workflows_and_tasks_without_polling() {
        let bus = EventBus::new();
        let progress = Heard::default();
        let following = progress.clone();
        bus.subscribe(["workflow.*", "task.*"])
            .subscriber_id("orchestrator")
            .handler(move |event| following.note(event.event_type().as_str()))
            .unwrap();
        bus.publish(workflow_started("nightly", 2).unwrap()).unwrap();
        bus.publish(task_completed("nightly", "fetch", Duration::from_secs(1), 1).unwrap()).unwrap();
        bus.publish(task_failed("nightly", "build", "no space").unwrap()).unwrap();
        assert_eq!(progress.all(), ["workflow.started", "task.completed", "task.failed"]);
        assert_eq!(bus.history().latest(1)[0].source(), &"orchestrator.nightly");
    }
}

mod monitor_the_dead_letter_queue {
    use super::*;

    #[test]
    fn events_that_fail_all_handler_attempts_land_there() {
        let bus = EventBus::new();
        bus.subscribe("task.*")
            .subscriber_id("broken")
            .attempts(3)
            .handler(|_| Err::<(), _>("no database"))
            .unwrap();
        bus.publish(Event::builder(EventType::TaskFailed, "test").build().unwrap()).unwrap();
        let stats = bus.get_stats();
        assert_eq!((stats.events_published, stats.events_failed, stats.dead_letter_count), (1, 1, 1));
        let letters = bus.dead_letter_queue().letters();
        assert_eq!(letters[0].subscriber_id(), Some("broken"));
        assert_eq!(letters[0].attempts(), 3);
        assert_eq!(letters[0].error_chain(), ["no database"]);
        assert_eq!(letters[0].event().event_type(), &EventType::TaskFailed);
    }
}

/// "LEARN: Event history provides a structured audit trail; replay events for post-mortem analysis; aggregate metrics via
/// `metric.update` events".
mod learn {
    use super::*;
    use codomyrmex_events::{MetricType, Replay, create_metric_event};

    #[test]
    fn the_history_is_an_audit_trail_that_is_replayed_to_find_out_what_happened() {
        let bus = EventBus::new();
        for latency in [3, 40, 7] {
            bus.publish(create_metric_event("latency", latency, MetricType::Gauge, None).unwrap()).unwrap();
        }
        bus.publish(Event::builder(EventType::TaskFailed, "orchestrator.nightly").build().unwrap()).unwrap();
        let trail: String = bus.history().export().collect::<Result<_, _>>().unwrap();

        // Afterwards, somewhere else.
        let post_mortem = EventBus::new();
        let values: Arc<Mutex<Vec<Value>>> = Arc::default();
        let aggregated = Arc::clone(&values);
        let aggregate = move |metric: &codomyrmex_events::Delivery<'_>| {
            aggregated.lock().unwrap().push(metric.data().get("metric_value").cloned().unwrap());
        };
        post_mortem.subscribe(EventType::MetricUpdate).handler(aggregate).unwrap();
        let failures = Heard::default();
        let failing = failures.clone();
        let note = move |event: &codomyrmex_events::Delivery<'_>| {
            failing.note(format!("{} was {}", event.event_type(), event.metadata()["replayed_sequence"]));
        };
        post_mortem.subscribe("*.failed").handler(note).unwrap();
        assert_eq!(Replay::onto(&post_mortem).ndjson(trail).published, 4);
        assert_eq!(*values.lock().unwrap(), [json!(3), json!(40), json!(7)]);
        assert_eq!(failures.all(), ["task.failed was 4"]);
    }
}

//! Folded metrics as a scrape sees them: the text is read by a parser that shares nothing with what writes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use codomyrmex_events::{Event, EventType, MetricAggregator, MetricRejection};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

fn add(metrics: &MetricAggregator, data: Value) -> Result<(), MetricRejection> {
    metrics.add(&Event::builder(EventType::MetricUpdate, "test").data(data).build().unwrap())
}

fn update(name: &str, value: impl Into<Value>, metric_type: &str, labels: Value) -> Value {
    json!({"metric_name": name, "metric_value": value.into(), "metric_type": metric_type, "labels": labels})
}

fn scrape(metrics: &MetricAggregator) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics.clone()));
    let mut scraped = String::new();
    text::encode(&mut scraped, &registry).unwrap();
    scraped
}

/// The families in a text, or what is wrong with it.
fn read(text: &str) -> Result<Vec<Value>, String> {
    let parser = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/openmetrics.py");
    let python = Command::new("python3")
        .arg(parser)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut python = python.unwrap();
    // It reads everything before it says anything.
    python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

/// A scrape's samples as `name{label=value,...}`, without those of the aggregator itself.
fn samples(metrics: &MetricAggregator) -> BTreeMap<String, f64> {
    let text = scrape(metrics);
    let families = read(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let all = families.iter().flat_map(|family| family["samples"].as_array().unwrap());
    all.map(|sample| {
        let labels: BTreeMap<String, String> = serde_json::from_value(sample[1].clone()).unwrap();
        let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
        (format!("{}{{{}}}", sample[0].as_str().unwrap(), labels.join(",")), sample[2].as_f64().unwrap())
    })
    .filter(|(name, _)| !name.starts_with("metric_updates_"))
    .collect()
}

fn expect(metrics: &MetricAggregator, expected: &[(&str, f64)]) {
    let expected: BTreeMap<String, f64> =
        expected.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    assert_eq!(samples(metrics), expected);
}

#[test]
fn the_parser_refuses_what_is_no_exposition() {
    let good = "# HELP a x\n# TYPE a gauge\na{b=\"c\\n\\\"\\\\\"} 1.0\na 2\n# EOF\n";
    assert_eq!(read(good).unwrap()[0]["samples"], json!([["a", {"b": "c\n\"\\"}, 1.0], ["a", {}, 2.0]]));
    for bad in [
        "# TYPE a gauge\na 1\n",
        "# TYPE a gauge\na.b 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"c\",b=\"d\"} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"c\"} 1\na{b=\"c\"} 2\n# EOF\n",
        "# TYPE a gauge\na{1b=\"c\"} 1\n# EOF\n",
        "# TYPE a gauge\na{__name__=\"c\"} 1\n# EOF\n",
        "# TYPE a gauge\na{b=\"\"\"} 1\n# EOF\n",
        "# TYPE a gauge\na NaN\n# EOF\n",
        "# TYPE a counter\na 1\n# EOF\n",
        "# TYPE a counter\na_total 1\n# TYPE a_total gauge\na_total 1\n# EOF\n",
        "# TYPE a gauge\na 1\n# TYPE a gauge\na 1\n# EOF\n",
        "# HELP a \\x\n# TYPE a gauge\na 1\n# EOF\n",
        "# TYPE a histogram\na_sum 1\na_count 2\na_bucket{le=\"+Inf\"} 1\n# EOF\n",
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}

#[test]
fn each_type_is_told_as_prometheus_knows_it() {
    let metrics = MetricAggregator::builder().buckets([0.5, 2.0]).unwrap().build();
    for value in [0.25, 1.0, 4.0] {
        add(&metrics, update("requests_total", value, "counter", json!({"method": "GET"}))).unwrap();
        add(&metrics, update("level", -value, "gauge", json!({}))).unwrap();
        add(&metrics, update("took.seconds", value, "histogram", json!({"le": "own", "code": 200}))).unwrap();
        add(&metrics, update("size", 8, "summary", json!({"quantile": "own"}))).unwrap();
    }
    expect(
        &metrics,
        &[
            ("requests_total{method=GET}", 5.25),
            ("level{}", -4.0),
            ("took_seconds_bucket{code=200,le=0.5,le_2=own}", 1.0),
            ("took_seconds_bucket{code=200,le=2.0,le_2=own}", 2.0),
            ("took_seconds_bucket{code=200,le=+Inf,le_2=own}", 3.0),
            ("took_seconds_count{code=200,le_2=own}", 3.0),
            ("took_seconds_sum{code=200,le_2=own}", 5.25),
            ("size{quantile=0.5,quantile_2=own}", 8.0),
            ("size{quantile=0.9,quantile_2=own}", 8.0),
            ("size{quantile=0.99,quantile_2=own}", 8.0),
            ("size_count{quantile_2=own}", 3.0),
            ("size_sum{quantile_2=own}", 24.0),
        ],
    );
}

#[test]
fn what_was_not_folded_is_told_beside_it() {
    let metrics = MetricAggregator::builder().series_max(1).build();
    // Strangers cannot take the names that tell of it.
    add(&metrics, update("metric_updates_overflowed", 7, "counter", json!({}))).unwrap();
    add(&metrics, update("other", 1, "gauge", json!({}))).unwrap_err();
    add(&metrics, json!({"metric_name": "x"})).unwrap_err();
    let text = scrape(&metrics);
    read(&text).unwrap();
    for line in [
        "metric_updates_overflowed_total 1\n",
        "metric_updates_overflowed_2_total 7.0\n",
        "metric_updates_rejected_total{reason=\"value\"} 1\n",
        "metric_updates_rejected_total{reason=\"labels\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn names_that_become_the_same_stay_apart_and_keep_the_name_they_had() {
    let metrics = MetricAggregator::new();
    let gauge = |name: &str, labels| add(&metrics, update(name, 1, "gauge", labels)).unwrap();
    gauge("b.c", json!({"x.y": "1"}));
    expect(&metrics, &[("b_c{x_y=1}", 1.0)]);
    // All of these come before it in any other order than that of arrival.
    gauge("b_c", json!({}));
    gauge("b-c", json!({}));
    gauge("b.c", json!({"x-y": "1"}));
    gauge("b.c", json!({"x-y": "1", "x.y": "2"}));
    let stays = [
        ("b_c{x_y=1}", 1.0),
        ("b_c_2{}", 1.0),
        ("b_c_3{}", 1.0),
        ("b_c{x_y_2=1}", 1.0),
        ("b_c{x_y=2,x_y_2=1}", 1.0),
    ];
    expect(&metrics, &stays);
    // A family must not be called as another's samples are.
    gauge("n_total", json!({}));
    add(&metrics, update("n", 1, "counter", json!({}))).unwrap();
    add(&metrics, update("h", 1, "histogram", json!({}))).unwrap();
    gauge("h_count", json!({}));
    let samples = samples(&metrics);
    for name in ["n_total{}", "n_2_total{}", "h_count{}", "h_count_2{}"] {
        assert_eq!(samples[name], 1.0, "{name}");
    }
}

#[test]
fn whatever_strangers_call_their_metrics_the_text_can_be_read() {
    let metrics = MetricAggregator::new();
    let texts = [
        "a",
        "a.b",
        "a_b",
        "a_b_2",
        "1",
        "_1",
        "__",
        "日本",
        "é",
        "\"",
        "\\",
        "\\\"",
        "{",
        "}",
        "#",
        " ",
        "a b",
        "le",
        "quantile",
        "__name__",
        "a_total",
        "a_sum",
        "a_count",
        "a_bucket",
        "a_created",
        "# EOF",
        "\u{2028}",
        "🦀",
    ];
    let types = ["counter", "gauge", "histogram", "summary"];
    let mut values = 0;
    for (n, name) in texts.iter().enumerate() {
        for (m, label) in texts.iter().enumerate() {
            let labels = json!({*label: format!("line\nbreak\r{name}\"\\"), "a b": "\u{0}", "a.b": m});
            add(&metrics, update(name, m, types[n % types.len()], labels)).unwrap();
            values += 1;
        }
    }
    assert_eq!(metrics.snapshot().updates(), values);
    let families = read(&scrape(&metrics)).unwrap();
    let series: usize = metrics.snapshot().families.iter().map(|family| family.series.len()).sum();
    let told: usize = families
        .iter()
        .filter(|family| !family["name"].as_str().unwrap().starts_with("metric_updates_"))
        .map(|family| {
            let samples = family["samples"].as_array().unwrap();
            let is_histogram = family["TYPE"] == "histogram";
            samples
                .iter()
                .filter(|sample| !is_histogram || sample[1].get("le") == Some(&json!("+Inf")))
                .count()
        })
        .sum();
    let summaries = metrics
        .snapshot()
        .families
        .iter()
        .filter(|family| serde_json::to_value(family.metric_type).unwrap() == "summary")
        .map(|family| family.series.len())
        .sum::<usize>();
    // A summary has three quantiles, a sum and a count.
    assert_eq!(told, series + 4 * summaries);
}

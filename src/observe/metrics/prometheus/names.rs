//! Names that Prometheus can read, for names that anybody made up.

use crate::event::MetricType;
use std::collections::{HashMap, HashSet};

/// Names that no two have.
#[derive(Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    /// The number that the next one gets that wants a name, so that a flood of them is no search.
    next: HashMap<String, u64>,
}

impl Names {
    pub(super) fn take(&mut self, name: &str) {
        self.taken.insert(name.to_owned());
    }

    /// The name wanted, or that with a number, which is free with each of the suffixes.
    pub(super) fn give(&mut self, wanted: String, suffixes: &[&str]) -> String {
        let mut name = wanted.clone();
        let next = self.next.entry(wanted).or_insert(2);
        let wanted = name.clone();
        while suffixes.iter().any(|suffix| self.taken.contains(&format!("{name}{suffix}"))) {
            name = format!("{wanted}_{next}");
            *next += 1;
        }
        self.taken.extend(suffixes.iter().map(|suffix| format!("{name}{suffix}")));
        name
    }
}

/// What a family's samples are called after its name, by OpenMetrics; no other family may be called that.
pub(super) fn suffixes(metric_type: MetricType) -> &'static [&'static str] {
    match metric_type {
        MetricType::Counter => &["", "_total", "_created"],
        MetricType::Gauge => &[""],
        MetricType::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        MetricType::Summary => &["", "_count", "_sum"],
    }
}

/// A name of the form `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub(super) fn metric_name(name: &str, metric_type: MetricType) -> String {
    let name = plain(name, |char| char.is_ascii_alphanumeric() || char == '_' || char == ':');
    let is_counter = metric_type == MetricType::Counter;
    match name.strip_suffix("_total").filter(|stem| is_counter && !stem.is_empty()) {
        Some(stem) => stem.to_owned(),
        None => name,
    }
}

/// A name of the form `[a-zA-Z_][a-zA-Z0-9_]*` that does not begin with two underscores: those are Prometheus' own.
pub(super) fn label_name(label: &str) -> String {
    let name = plain(label, |char| char.is_ascii_alphanumeric() || char == '_');
    // A lone underscore would have two before its number.
    if name == "_" || name.starts_with("__") { format!("label{name}") } else { name }
}

fn plain(name: &str, is_known: impl Fn(char) -> bool) -> String {
    let known = name.chars().map(|char| if is_known(char) { char } else { '_' });
    let first = name.starts_with(|first: char| first.is_ascii_digit()).then_some('_');
    first.into_iter().chain(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_prometheus_reads() {
        for (name, metric_type, expected) in [
            ("http.requests", MetricType::Gauge, "http_requests"),
            ("a:b_9", MetricType::Gauge, "a:b_9"),
            ("9 lives", MetricType::Gauge, "_9_lives"),
            ("日本", MetricType::Gauge, "__"),
            ("requests_total", MetricType::Counter, "requests"),
            ("requests.total", MetricType::Counter, "requests"),
            ("requests_total", MetricType::Gauge, "requests_total"),
            ("_total", MetricType::Counter, "_total"),
        ] {
            assert_eq!(metric_name(name, metric_type), expected, "{name}");
        }
        for (label, expected) in [
            ("a.b", "a_b"),
            ("a:b", "a_b"),
            ("__name__", "label__name__"),
            ("é_", "label__"),
            ("1", "_1"),
            ("-", "label_"),
        ] {
            assert_eq!(label_name(label), expected, "{label}");
        }
    }

    #[test]
    fn what_becomes_the_same_is_numbered_and_no_sample_is_called_as_another() {
        let mut names = Names::default();
        let mut give = |name: &str, metric_type| names.give(name.to_owned(), suffixes(metric_type));
        assert_eq!(give("a", MetricType::Gauge), "a");
        assert_eq!(give("a", MetricType::Gauge), "a_2");
        assert_eq!(give("a_2", MetricType::Gauge), "a_2_2");
        assert_eq!(give("a", MetricType::Gauge), "a_3");
        assert_eq!(give("x_sum", MetricType::Gauge), "x_sum");
        assert_eq!(give("x", MetricType::Histogram), "x_2");
        assert_eq!(give("x_2_bucket", MetricType::Gauge), "x_2_bucket_2");
        assert_eq!(give("n", MetricType::Counter), "n");
        assert_eq!(give("n_total", MetricType::Gauge), "n_total_2");
    }
}

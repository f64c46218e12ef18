//! Which end belongs to which start, and so how long operations took and which never ended.

use super::durations::Durations;
use super::told::{Fields, Phase};
use super::waiting::{Key, Waiting};
use super::{
    ENDS_WAITING_MAX, NEVER_COMPLETED_KEPT_MAX, NeverCompleted, OPEN_OPERATIONS_MAX, OPERATIONS_MAX,
    OpenOperation, OperationStats, Operations, OtherOperations,
};
use crate::clock::Timestamp;
use crate::event::Event;
use crate::ids::{CorrelationId, EventId, Source};
use smol_str::SmolStr;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::RandomState;

#[derive(Debug)]
pub(super) struct Pairs {
    rows: Vec<Row>,
    row_of: HashMap<SmolStr, usize>,
    others: OtherOperations,
    starts: Waiting<Start>,
    ends: Waiting<End>,
    /// Ends without a start, by the type without its last part.
    lone_ends: HashMap<SmolStr, u64>,
    arrivals: u64,
    hasher: RandomState,
}

/// One kind of operation.
#[derive(Debug, Default)]
struct Row {
    stats: OperationStats,
    durations: Durations,
}

#[derive(Debug)]
struct Start {
    row: usize,
    at: Timestamp,
    source: Source,
    event_id: EventId,
    names: Box<[(u64, u64)]>,
}

#[derive(Debug)]
struct End {
    at: Timestamp,
    is_failed: bool,
    causation_id: Option<EventId>,
    names: Box<[(u64, u64)]>,
}

impl Pairs {
    pub(super) fn new() -> Self {
        Pairs {
            rows: Vec::new(),
            row_of: HashMap::new(),
            others: OtherOperations::default(),
            starts: Waiting::new(OPEN_OPERATIONS_MAX),
            ends: Waiting::new(ENDS_WAITING_MAX),
            lone_ends: HashMap::new(),
            arrivals: 0,
            hasher: RandomState::new(),
        }
    }

    pub(super) fn add(&mut self, event: &Event, fields: &Fields) {
        self.arrivals += 1;
        match &fields.phase {
            Some(Phase::Start { stem, name }) => self.start(event, fields, stem, name),
            Some(Phase::End { stem, is_failed }) => self.end(event, fields, stem, *is_failed),
            None => {}
        }
    }

    fn start(&mut self, event: &Event, fields: &Fields, stem: &SmolStr, name: &SmolStr) {
        let Some(row) = self.row(name) else {
            self.others.starts += 1;
            return;
        };
        self.rows[row].stats.starts += 1;
        let Some(key) = key(stem, event) else {
            self.rows[row].stats.uncorrelated += 1;
            return;
        };
        let start = Start {
            row,
            at: event.timestamp(),
            source: event.source().clone(),
            event_id: event.event_id().clone(),
            names: fields.names(&self.hasher),
        };
        // An end that came already has to be later than this: of one time, what came first is the earlier.
        let ends = self.ends.alike(&key).iter().enumerate().filter(|(_, (_, end))| start.at < end.at);
        let fitting = ends.filter_map(|(position, (arrival, end))| {
            Some((closeness(&start, end)?, Reverse((end.at, *arrival)), position))
        });
        if let Some((_, _, position)) = fitting.max()
            && let Some(end) = self.ends.take(&key, position)
        {
            self.pair(&start, &end);
        } else if let Some((_, gone)) = self.starts.put(key, self.arrivals, start) {
            self.rows[gone.row].stats.let_go += 1;
        }
    }

    fn end(&mut self, event: &Event, fields: &Fields, stem: &SmolStr, is_failed: bool) {
        let Some(key) = key(stem, event) else {
            self.count_lone_end(stem.clone());
            return;
        };
        let end = End {
            at: event.timestamp(),
            is_failed,
            causation_id: event.causation_id().cloned(),
            names: fields.names(&self.hasher),
        };
        let starts = self.starts.alike(&key).iter().enumerate().filter(|(_, (_, start))| start.at <= end.at);
        let fitting = starts.filter_map(|(position, (arrival, start))| {
            Some((closeness(start, &end)?, (start.at, *arrival), position))
        });
        if let Some((_, _, position)) = fitting.max()
            && let Some(start) = self.starts.take(&key, position)
        {
            self.pair(&start, &end);
        } else if let Some(((stem, _), _)) = self.ends.put(key, self.arrivals, end) {
            self.count_lone_end(stem);
        }
    }

    /// The row of a kind of operation, if there is room for one.
    fn row(&mut self, name: &SmolStr) -> Option<usize> {
        if let Some(row) = self.row_of.get(name) {
            return Some(*row);
        }
        if self.rows.len() == OPERATIONS_MAX {
            return None;
        }
        let stats = OperationStats { operation: name.to_string(), ..OperationStats::default() };
        self.row_of.insert(name.clone(), self.rows.len());
        self.rows.push(Row { stats, durations: Durations::default() });
        Some(self.rows.len() - 1)
    }

    fn pair(&mut self, start: &Start, end: &End) {
        let row = &mut self.rows[start.row];
        row.stats.completed += 1;
        row.stats.failed += u64::from(end.is_failed);
        row.durations.add(nanos_between(start.at, end.at));
    }

    fn count_lone_end(&mut self, stem: SmolStr) {
        if let Some(count) = self.lone_ends.get_mut(&stem) {
            *count += 1;
        } else if self.lone_ends.len() < OPERATIONS_MAX {
            self.lone_ends.insert(stem, 1);
        } else {
            self.others.ends += 1;
        }
    }

    /// `latest`: the time of the latest event.
    pub(super) fn finish(mut self, latest: Timestamp) -> (Operations, NeverCompleted) {
        let ends = std::mem::replace(&mut self.ends, Waiting::new(0));
        ends.into_all().for_each(|((stem, _), _, _)| self.count_lone_end(stem));
        for (stem, ends) in std::mem::take(&mut self.lone_ends) {
            match self.row_of.get(&stem) {
                Some(row) => self.rows[*row].stats.ends_alone += ends,
                None => self.others.ends += ends,
            }
        }
        let mut open: Vec<(Key, u64, Start)> =
            std::mem::replace(&mut self.starts, Waiting::new(0)).into_all().collect();
        open.iter().for_each(|(_, _, start)| self.rows[start.row].stats.open += 1);
        open.sort_by_key(|(_, arrival, start)| (start.at, *arrival));
        let total = open.len() as u64;
        open.truncate(NEVER_COMPLETED_KEPT_MAX);
        let told = |((_, correlation_id), _, start): (Key, u64, Start)| OpenOperation {
            operation: self.rows[start.row].stats.operation.clone(),
            correlation_id,
            event_id: start.event_id,
            source: start.source,
            since: start.at,
            age_ns: nanos_between(start.at, latest),
        };
        let kept = open.into_iter().map(told).collect();
        let let_go = self.rows.iter().map(|row| row.stats.let_go).sum();

        let filled = |mut row: Row| {
            row.durations.tell(&mut row.stats);
            row.stats
        };
        let mut rows: Vec<OperationStats> = self.rows.into_iter().map(filled).collect();
        rows.sort_by(|one, other| (other.starts, &one.operation).cmp(&(one.starts, &other.operation)));
        (Operations { kept: rows, others: self.others }, NeverCompleted { total, let_go, kept })
    }
}

/// Without a correlation id nothing says what belongs together.
fn key(stem: &SmolStr, event: &Event) -> Option<Key> {
    event.correlation_id().map(|id: &CorrelationId| (stem.clone(), id.clone()))
}

/// Whether an end may belong to a start, and if the end names the start as its cause, that it does.
fn closeness(start: &Start, end: &End) -> Option<bool> {
    if end.causation_id.as_ref() == Some(&start.event_id) {
        return Some(true);
    }
    let differs = |(field, value): &(u64, u64)| {
        end.names.iter().any(|(other, of_other)| other == field && of_other != value)
    };
    (!start.names.iter().any(differs)).then_some(false)
}

/// From one time to a later one. The years 1677 and 2262 are less than 2^64 ns apart.
fn nanos_between(start: Timestamp, end: Timestamp) -> u64 {
    end.as_unix_nanos().wrapping_sub(start.as_unix_nanos()).cast_unsigned()
}

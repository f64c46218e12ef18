//! From events in any order to nodes from top to bottom. Without recursion, in linear time but for the sorting.

use super::{CausalNode, Cause};
use crate::bus::Recorded;
use crate::ids::EventId;
use std::collections::HashMap;

/// Of each event, by position: what is known of its cause, and where that is.
struct Links {
    causes: Vec<Cause>,
    parents: Vec<Option<usize>>,
}

pub(super) fn nodes(mut events: Vec<Recorded>) -> Vec<CausalNode> {
    events.sort_by_key(Recorded::sequence);
    let mut links = Links::of(&events);
    links.cut_circles();
    let order = order(&links.parents);
    let mut indexes = vec![0; events.len()];
    for (index, position) in order.iter().enumerate() {
        indexes[*position] = index;
    }
    let mut events: Vec<Option<Recorded>> = events.into_iter().map(Some).collect();
    let mut nodes: Vec<CausalNode> = Vec::with_capacity(events.len());
    for (index, position) in order.into_iter().enumerate() {
        let Some(recorded) = events[position].take() else { continue };
        let parent = links.parents[position].map(|parent| indexes[parent]);
        let depth = parent.map_or(0, |parent| nodes[parent].depth + 1);
        nodes.push(CausalNode { recorded, cause: links.causes[position], depth, parent, end: index + 1 });
    }
    // What is below a node comes after it, so from the last to the first each end is known before it is handed up.
    for index in (0..nodes.len()).rev() {
        let CausalNode { parent, end, .. } = nodes[index];
        if let Some(parent) = parent {
            nodes[parent].end = nodes[parent].end.max(end);
        }
    }
    nodes
}

impl Links {
    fn of(events: &[Recorded]) -> Self {
        let mut places: HashMap<&EventId, Vec<usize>> = HashMap::with_capacity(events.len());
        for (position, event) in events.iter().enumerate() {
            places.entry(event.event_id()).or_default().push(position);
        }
        let link = |(position, event): (usize, &Recorded)| {
            let Some(cause) = event.causation_id() else { return (Cause::None, None) };
            if cause == event.event_id() {
                return (Cause::Circular, None);
            }
            match places.get(cause).map(|places| nearest(places, position)) {
                Some(parent) => (Cause::Parent, Some(parent)),
                None => (Cause::Unknown, None),
            }
        };
        let (causes, parents) = events.iter().enumerate().map(link).unzip();
        Links { causes, parents }
    }

    /// Makes the first of each circle a root.
    fn cut_circles(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Seen {
            Never,
            OnThisWay,
            Before,
        }
        let mut seen = vec![Seen::Never; self.parents.len()];
        let mut way = Vec::new();
        for start in 0..self.parents.len() {
            let mut next = Some(start);
            while let Some(position) = next.filter(|position| seen[*position] == Seen::Never) {
                seen[position] = Seen::OnThisWay;
                way.push(position);
                next = self.parents[position];
            }
            if let Some(closing) = next.filter(|position| seen[*position] == Seen::OnThisWay) {
                let circle = way.iter().rev().take_while(|position| **position != closing);
                let first = circle.fold(closing, |first, position| first.min(*position));
                self.parents[first] = None;
                self.causes[first] = Cause::Circular;
            }
            way.drain(..).for_each(|position| seen[position] = Seen::Before);
        }
    }
}

/// The last place before `position`, or if there is none the first after it.
fn nearest(places: &[usize], position: usize) -> usize {
    let before = places.partition_point(|place| *place < position);
    places[before.saturating_sub(1)]
}

/// The positions from top to bottom.
fn order(parents: &[Option<usize>]) -> Vec<usize> {
    // Each node's first child and next sibling; gone through backwards, so that lists are in ascending order.
    let mut first_child = vec![None; parents.len()];
    let mut next_sibling = vec![None; parents.len()];
    let mut first_root = None;
    for (position, parent) in parents.iter().enumerate().rev() {
        let list = parent.map_or(&mut first_root, |parent| &mut first_child[parent]);
        next_sibling[position] = list.replace(position);
    }
    let mut order = Vec::with_capacity(parents.len());
    let mut waiting: Vec<usize> = first_root.into_iter().collect();
    while let Some(position) = waiting.pop() {
        order.push(position);
        waiting.extend(next_sibling[position]);
        waiting.extend(first_child[position]);
    }
    order
}

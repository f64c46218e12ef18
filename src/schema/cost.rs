//! What validating with a schema may cost at worst, and the refusal of what cannot be afforded.
//!
//! The validator's recursion, its time and its memory are set by the schema: a chain of references is a chain of
//! calls, and subschemas that refer to each other twice double the work at each step. So the price is worked out
//! once, when a schema is registered, over the deepest payload that there can be. Nothing here looks at an instance.

use std::collections::{HashMap, HashSet};

use super::error::SchemaFault;
use super::graph::{Graph, Node};

/// How many values nest in a payload at most: the event object around it takes the first of 128 levels.
const LEVELS: usize = 127;
/// Subschemas inside one another while one payload is validated: each is a few calls on the stack.
const NESTED_MAX: u64 = 1_024;
/// Subschemas applied to a value and to its ancestors.
const VISITS_MAX: u64 = 1 << 20;
/// Subschemas compiled, counting one again each time that it is compiled anew. A schema may have four times as many
/// as it has subschemas if that is more.
const COMPILED_MAX: u64 = 1 << 10;

/// The subschemas that may be applied to one value, by the value's level; the last entry holds from there on.
pub(super) struct Cost {
    by_level: Box<[u64]>,
}

impl Cost {
    /// How many times a subschema may be applied in a payload with so many values on each level.
    pub(super) fn of(&self, values_by_level: &[u64]) -> u64 {
        let last = self.by_level.len() - 1;
        let each = |(level, count): (usize, &u64)| count.saturating_mul(self.by_level[level.min(last)]);
        values_by_level.iter().enumerate().map(each).fold(0, u64::saturating_add)
    }
}

/// A refusal and the node that it is about.
pub(super) type Refused = (usize, SchemaFault);

/// The cost of the schema, if it can be bounded.
pub(super) fn measure(graph: &Graph) -> Result<Cost, Refused> {
    let order = same_value_order(graph)?;
    visits(graph)?;
    compilations(graph, &order)?;
    by_level(graph, &order)
}

/// Every node after those that it applies to the same value; an error if one applies itself to the same value.
fn same_value_order(graph: &Graph) -> Result<Vec<usize>, Refused> {
    let mut order = Vec::with_capacity(graph.nodes.len());
    let mut state = vec![State::New; graph.nodes.len()];
    for root in 0..graph.nodes.len() {
        let mut path = vec![(root, 0)];
        while let Some((index, position)) = path.last_mut() {
            let (node, step) = (*index, *position);
            *position += 1;
            if step == 0 && state[node] != State::New {
                path.pop();
                continue;
            }
            state[node] = State::Open;
            let Some(&child) = graph.nodes[node].same.get(step) else {
                state[node] = State::Done;
                order.push(node);
                path.pop();
                continue;
            };
            match state[child] {
                State::New => path.push((child, 0)),
                // Which candidate a `$dynamicRef` takes is known only while validating, and the validator stops
                // at a subschema that it is in the middle of applying to the same value.
                State::Open if graph.nodes[node].is_choice => {}
                State::Open => return Err((child, SchemaFault::ReferenceLoop)),
                State::Done => {}
            }
        }
    }
    Ok(order)
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

/// Refuses a schema with too many subschemas for one value and its ancestors.
///
/// A cycle counts once: where a reference closes one, the validator remembers the answer for each value.
fn visits(graph: &Graph) -> Result<(), Refused> {
    let successors: Vec<Vec<usize>> =
        graph.nodes.iter().map(|node| node.same.iter().copied().chain(node.children()).collect()).collect();
    let mut sums: Vec<Option<u64>> = vec![None; graph.nodes.len()];
    let mut path = vec![(0, 0)];
    let mut open = vec![false; graph.nodes.len()];
    while let Some((index, position)) = path.last_mut() {
        let (node, step) = (*index, *position);
        *position += 1;
        open[node] = true;
        if let Some(&child) = successors[node].get(step) {
            if sums[child].is_none() && !open[child] {
                path.push((child, 0));
            }
            continue;
        }
        let of = |child: usize| sums[child].unwrap_or(0);
        let sum = combine(&graph.nodes[node], 1, of, of);
        if sum > VISITS_MAX {
            return Err((node, SchemaFault::TooManyVisits { limit: VISITS_MAX }));
        }
        sums[node] = Some(sum);
        open[node] = false;
        path.pop();
    }
    Ok(())
}

/// The visits that a visit of `node` brings: `own`, those to the same value and those to one of its children.
fn combine(node: &Node, own: u64, same: impl Fn(usize) -> u64, child: impl Fn(usize) -> u64) -> u64 {
    let total = |nodes: &[usize]| nodes.iter().map(|&node| child(node)).fold(0, u64::saturating_add);
    let most = |nodes: &[usize]| nodes.iter().map(|&node| child(node)).max().unwrap_or(0);
    let members = total(&node.members.every).saturating_add(most(&node.members.one));
    let elements = total(&node.elements.every).saturating_add(most(&node.elements.one));
    let here = node.same.iter().map(|&node| same(node));
    if node.is_choice {
        return here.max().unwrap_or(0);
    }
    // A keyword that asks what was evaluated has its neighbours asked whether they hold and again what they saw.
    let again = if node.asks_again { 3 } else { 1 };
    here.fold(own, u64::saturating_add).saturating_mul(again).saturating_add(members.max(elements))
}

/// The visits on each level, and the refusal of too deep a recursion.
fn by_level(graph: &Graph, order: &[usize]) -> Result<Cost, Refused> {
    let count = graph.nodes.len();
    let (mut visits, mut nested) = (vec![0; count], vec![0; count]);
    let mut by_level = Vec::new();
    for level in 0..=LEVELS {
        let (mut next_visits, mut next_nested) = (vec![0; count], vec![0; count]);
        let own = u64::from(level == 0);
        for &index in order {
            let node = &graph.nodes[index];
            next_visits[index] = combine(node, own, |same| next_visits[same], |child| visits[child]);
            let same = node.same.iter().map(|&same| next_nested[same]);
            let children = node.children().map(|child| nested[child]);
            next_nested[index] = 1 + same.chain(children).max().unwrap_or(0);
        }
        let settled = level > 0 && next_nested == nested && next_visits.iter().all(|&visits| visits == 0);
        (visits, nested) = (next_visits, next_nested);
        by_level.push(visits[0]);
        if nested[0] > NESTED_MAX {
            return Err((0, SchemaFault::TooNested { limit: NESTED_MAX }));
        }
        if settled {
            break;
        }
    }
    Ok(Cost { by_level: by_level.into() })
}

/// Refuses a schema that would be compiled in too many pieces.
///
/// A reference into another resource opens a dynamic scope, and a subschema is compiled once in each. A keyword that
/// asks what was evaluated compiles once more whatever its neighbours apply to the same value.
fn compilations(graph: &Graph, order: &[usize]) -> Result<(), Refused> {
    let mut pieces = vec![0; graph.nodes.len()];
    for &index in order {
        pieces[index] = combine(&graph.nodes[index], 1, |same| pieces[same], |_| 0);
    }
    let limit = COMPILED_MAX.max(4 * graph.nodes.len() as u64);
    let mut compiled = 0_u64;
    let mut scopes = HashMap::new();
    let mut seen = HashSet::from([(0, 0)]);
    let mut open = vec![false; graph.nodes.len()];
    let mut path = vec![Step { node: 0, scope: 0, leaving: false }];
    while let Some(Step { node: index, scope, leaving }) = path.pop() {
        let was_open = std::mem::replace(&mut open[index], !leaving);
        if leaving || was_open {
            continue;
        }
        let node = &graph.nodes[index];
        compiled = compiled.saturating_add(if node.asks_again { pieces[index] } else { 1 });
        if compiled > limit {
            return Err((index, SchemaFault::TooManyPieces { limit }));
        }
        path.push(Step { node: index, scope, leaving: true });
        for child in node.same.iter().copied().chain(node.children()) {
            let enters = node.references.contains(&child) && graph.nodes[child].resource != node.resource;
            let fresh = scopes.len() + 1;
            let scope = if enters { *scopes.entry((scope, node.resource)).or_insert(fresh) } else { scope };
            if !open[child] && seen.insert((child, scope)) {
                path.push(Step { node: child, scope, leaving: false });
            }
        }
    }
    Ok(())
}

struct Step {
    node: usize,
    scope: usize,
    leaving: bool,
}

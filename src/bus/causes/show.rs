//! A causal tree as text, and as JSON.
//!
//! Both are flat where the tree is deep: lines are indented for so many levels and then tell their level, and JSON names
//! the node above by its index. A drawing of a chain of a hundred thousand would else be gigabytes of indentation, and its JSON
//! more than any reader takes.

use super::{CausalNode, CausalTree, Cause};
use crate::event::EventPriority;
use crate::text::Printable;
use serde::ser::{Error, Serialize, SerializeStruct, Serializer};
use serde_json::json;
use serde_json::value::RawValue;
use std::fmt;

/// How many levels are drawn.
const DRAWN_LEVELS_MAX: usize = 32;

impl fmt::Display for CausalTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Of each drawn level, whether the branch goes on below the line.
        let mut goes_on = [false; DRAWN_LEVELS_MAX];
        for node in &self.nodes {
            if let (Some(parent), Some(level)) = (node.parent, node.depth.checked_sub(1)) {
                let has_sibling_below = node.end < self.nodes[parent].end;
                if level < DRAWN_LEVELS_MAX {
                    goes_on[level] = has_sibling_below;
                }
                for goes_on in &goes_on[..level.min(DRAWN_LEVELS_MAX - 1)] {
                    f.write_str(if *goes_on { "│  " } else { "   " })?;
                }
                f.write_str(if has_sibling_below { "├─ " } else { "└─ " })?;
                if level >= DRAWN_LEVELS_MAX {
                    write!(f, "(level {}) ", node.depth)?;
                }
            }
            writeln!(f, "{node}")?;
        }
        Ok(())
    }
}

/// One line: sequence, type, source, time, id, a priority that is not normal, and what is odd about its cause.
impl fmt::Display for CausalNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (event_type, source) = (Printable(self.event_type().as_str()), Printable(self.source()));
        write!(f, "{} {event_type} from {source} at {}", self.sequence(), self.timestamp().to_rfc3339())?;
        write!(f, ", {}", Printable(&self.event_id().to_string()))?;
        if self.priority() != EventPriority::Normal {
            write!(f, ", {}", self.priority())?;
        }
        let said = match self.cause {
            Cause::Unknown => "is unknown",
            Cause::Circular => "leads back to it",
            Cause::None | Cause::Parent => return Ok(()),
        };
        let cause = self.causation_id().map(ToString::to_string).unwrap_or_default();
        write!(f, " (its cause {} {said})", Printable(&cause))
    }
}

impl Serialize for CausalTree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tree = serializer.serialize_struct("CausalTree", 3)?;
        tree.serialize_field("events", &self.nodes.len())?;
        tree.serialize_field("roots", &self.roots().count())?;
        tree.serialize_field("nodes", &self.nodes)?;
        tree.end()
    }
}

/// An event whose payload does not become JSON is told without it, with the reason as `error`.
impl Serialize for CausalNode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.to_json().unwrap_or_else(|error| {
            json!({
                "event_type": self.event_type(),
                "source": self.source(),
                "event_id": self.event_id(),
                "correlation_id": self.correlation_id(),
                "causation_id": self.causation_id(),
                "error": error.to_string(),
            })
            .to_string()
        });
        let event = RawValue::from_string(json).map_err(S::Error::custom)?;
        let mut node = serializer.serialize_struct("CausalNode", 5)?;
        node.serialize_field("sequence", &self.sequence())?;
        node.serialize_field("depth", &self.depth)?;
        node.serialize_field("parent", &self.parent)?;
        node.serialize_field("cause", self.cause.as_str())?;
        node.serialize_field("event", &event)?;
        node.end()
    }
}

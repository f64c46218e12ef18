//! Why a schema was not registered.

use std::{error::Error, fmt};

use thiserror::Error as ThisError;

use crate::event::EventType;
use crate::ids::InvalidText;

/// A schema that was not registered; whatever was registered before stays.
#[derive(Debug, Clone)]
pub struct EventSchemaError(Box<Refused>);

#[derive(Debug, Clone)]
struct Refused {
    event_type: Option<EventType>,
    pointer: String,
    fault: SchemaFault,
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
#[non_exhaustive]
pub enum SchemaFault {
    /// It is for a type whose name may not be one.
    #[error("{0}")]
    Name(InvalidText),
    /// Its `$schema` is none of drafts 4, 6, 7, 2019-09 and 2020-12.
    #[error("`$schema` {found:?} is none of drafts 4, 6, 7, 2019-09 and 2020-12")]
    UnknownDraft {
        /// What it says.
        found: String,
    },
    /// It is not a valid schema: a keyword of the wrong shape, a reference to nothing or to somewhere else, a
    /// pattern that cannot be matched in linear time or is too large.
    #[error("{message}")]
    Invalid {
        /// What the validator says, at most about 1 KiB.
        message: String,
    },
    /// Its values nest too deep.
    #[error("nests deeper than {limit} levels")]
    TooDeep {
        /// How deep they may nest.
        limit: usize,
    },
    /// It has too many values.
    #[error("has more than {limit} values")]
    TooLarge {
        /// How many it may have.
        limit: usize,
    },
    /// A subschema applies itself to the value that it is being applied to, for ever.
    #[error("refers to itself without going into the value")]
    ReferenceLoop,
    /// Its subschemas would recurse too deep in a payload of the greatest depth.
    #[error("may recurse through more than {limit} subschemas")]
    TooNested {
        /// How many may be inside one another.
        limit: u64,
    },
    /// Its subschemas multiply: one value and its ancestors would be looked at too often.
    #[error("may apply more than {limit} subschemas to one value")]
    TooManyVisits {
        /// How many may be applied.
        limit: u64,
    },
    /// Its embedded resources refer to each other in too many ways, or its `unevaluated` keywords see too much.
    #[error("would be compiled in more than {limit} pieces")]
    TooManyPieces {
        /// How many there may be.
        limit: u64,
    },
    /// The system gave no thread to compile it on.
    #[error("no thread to compile on: {message}")]
    NoThread {
        /// What the system says.
        message: String,
    },
}

impl EventSchemaError {
    pub(super) fn new(event_type: Option<EventType>, pointer: String, fault: SchemaFault) -> Self {
        Self(Box::new(Refused { event_type, pointer, fault }))
    }

    /// The type that the schema was for; none if its name may not be one.
    pub fn event_type(&self) -> Option<&EventType> {
        self.0.event_type.as_ref()
    }

    /// Where in the schema: a JSON pointer; empty is the schema itself.
    pub fn pointer(&self) -> &str {
        &self.0.pointer
    }

    /// What is wrong with it.
    pub fn fault(&self) -> &SchemaFault {
        &self.0.fault
    }
}

impl From<InvalidText> for EventSchemaError {
    fn from(invalid: InvalidText) -> Self {
        Self::new(None, String::new(), SchemaFault::Name(invalid))
    }
}

impl fmt::Display for EventSchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { event_type, pointer, fault } = &*self.0;
        if let Some(event_type) = event_type {
            write!(f, "schema of {event_type}: ")?;
        }
        if !pointer.is_empty() {
            write!(f, "{pointer}: ")?;
        }
        fault.fmt(f)
    }
}

impl Error for EventSchemaError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.fault {
            SchemaFault::Name(invalid) => Some(invalid),
            _ => None,
        }
    }
}

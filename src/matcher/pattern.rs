//! One glob pattern: the public face.
//!
//! Parse, don't validate: a `Pattern` in hand is known to be within its bound, so nothing that takes one has to
//! look again. It is shared, not copied, because the same pattern sits in a subscription, in the set compiled from
//! it and in the next set too. It never fails to match for any reason but the name.

use super::glob::Glob;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// The longest pattern that [`Pattern::parse`] takes, in bytes of UTF-8.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// A glob pattern, with the meaning that Python's `fnmatch.fnmatchcase` gives it.
///
/// | in the pattern | in the name |
/// |---|---|
/// | `*` | any characters, none too; dots and newlines are not special |
/// | `?` | one Unicode scalar value |
/// | `[abc]`, `[a-z]` | one of these; ranges are by code point |
/// | `[!abc]` | one character that is none of these |
/// | anything else | itself, an unclosed `[` and `\` too |
///
/// The whole name must match, and case matters. To match a special character put it in brackets: `[*]`. The empty
/// pattern matches the empty name.
///
/// Cloning is cheap: clones share one parsed pattern. Patterns are equal when their texts are.
///
/// ```
/// use codomyrmex_events::Pattern;
///
/// let pattern = Pattern::parse("build.*")?;
/// assert!(pattern.matches("build.start"));
/// assert!(pattern.matches("build.step.compile"));
/// assert!(!pattern.matches("rebuild.start"));
/// # Ok::<(), codomyrmex_events::PatternError>(())
/// ```
#[derive(Clone)]
pub struct Pattern(Arc<Glob>);

impl Pattern {
    /// Reads a pattern. Every text is one; only its length is bounded.
    ///
    /// # Errors
    ///
    /// [`PatternError`] if the text is longer than [`PATTERN_BYTES_MAX`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError { bytes: text.len() });
        }
        Ok(Self(Arc::new(Glob::parse(text))))
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.text()
    }

    /// Whether the whole of `name` matches.
    ///
    /// Takes at most time proportional to the pattern's length times the name's, and allocates nothing. For many
    /// patterns at once use a [`PatternSet`](super::PatternSet).
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    pub(super) fn glob(&self) -> &Glob {
        &self.0
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_str() == other.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl AsRef<str> for Pattern {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl TryFrom<&str> for Pattern {
    type Error = PatternError;

    fn try_from(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

/// Why a text is not a [`Pattern`]: it is too long.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pattern must be at most {PATTERN_BYTES_MAX} bytes, not {bytes}")]
#[non_exhaustive]
pub struct PatternError {
    bytes: usize,
}

impl PatternError {
    /// How long the text was, in bytes of UTF-8.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How long it may be: [`PATTERN_BYTES_MAX`].
    pub fn bytes_max(&self) -> usize {
        PATTERN_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    #[test]
    fn every_row_of_the_table_holds() {
        let rows = table::rows();
        assert!(rows.len() > 500);
        for row in rows {
            assert_eq!(Pattern::parse(&row.pattern).unwrap().matches(&row.name), row.matches, "{row}");
        }
    }
}

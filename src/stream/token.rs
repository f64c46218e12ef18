//! [`ResumeToken`]: the last thing that a reader saw, told to whoever serves it next.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// How long the id of a bus in a token may be, in bytes.
const BUS_ID_BYTES_MAX: usize = 64;

/// The number of a publication, and the [id](crate::EventBus::id) of the bus that gave it: `<bus id>-<sequence>` as a text.
/// A stream that [starts after](crate::StreamStart::After) it goes on where its reader stopped, or says that it cannot.
///
/// ```
/// use codomyrmex_events::ResumeToken;
///
/// let token: ResumeToken = "00c0ffee00c0ffee-42".parse()?;
/// assert_eq!((token.bus_id(), token.sequence()), ("00c0ffee00c0ffee", 42));
/// assert_eq!(token.to_string(), "00c0ffee00c0ffee-42");
/// # Ok::<(), codomyrmex_events::InvalidToken>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResumeToken {
    bus_id: String,
    sequence: u64,
}

/// A text that is no [`ResumeToken`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a resume token: the id of a bus, a hyphen, and the number of a publication")]
#[non_exhaustive]
pub struct InvalidToken {}

impl ResumeToken {
    pub(super) fn new(bus_id: &str, sequence: u64) -> Self {
        ResumeToken { bus_id: bus_id.to_owned(), sequence }
    }

    /// The bus that gave the number.
    #[must_use]
    pub fn bus_id(&self) -> &str {
        &self.bus_id
    }

    /// The number of the last publication that the reader saw; 0 before the first.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }
}

impl fmt::Display for ResumeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.bus_id, self.sequence)
    }
}

impl FromStr for ResumeToken {
    type Err = InvalidToken;

    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (bus_id, sequence) = text.rsplit_once('-').ok_or(InvalidToken {})?;
        let is_id = (1..=BUS_ID_BYTES_MAX).contains(&bus_id.len())
            && bus_id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_number = !sequence.is_empty() && sequence.bytes().all(|byte| byte.is_ascii_digit());
        let sequence = sequence.parse().ok().filter(|_| is_id && is_number).ok_or(InvalidToken {})?;
        Ok(ResumeToken { bus_id: bus_id.to_owned(), sequence })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_nothing_else_is_one() {
        for text in ["a-0", "0123456789abcdef-18446744073709551615", "a-b-7"] {
            assert_eq!(text.parse::<ResumeToken>().unwrap().to_string(), text);
        }
        let long = format!("{}-1", "a".repeat(65));
        for text in
            ["", "-", "a-", "-1", "a", "7", "a-+1", "a-1 ", "a-18446744073709551616", "ä-1", "a\n-1", &long]
        {
            assert_eq!(text.parse::<ResumeToken>(), Err(InvalidToken {}), "{text:?}");
        }
    }
}

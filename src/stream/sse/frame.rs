//! [`SseFrame`]: one event of a `text/event-stream`, as the HTML standard wants it.

use std::fmt::Write as _;
use std::time::Duration;
use thiserror::Error;

/// Writes one server-sent event. Needs no server.
///
/// What it says ends with an empty line, without which a browser never hands an event on; data has as many lines as its
/// text, and is there even if it is empty, `0`, `null` or `false`.
///
/// ```
/// use codomyrmex_events::SseFrame;
///
/// let frame = SseFrame::new().id("bus-7")?.event("message")?.data("two\nlines");
/// assert_eq!(frame.finish(), "id: bus-7\nevent: message\ndata: two\ndata: lines\n\n");
/// assert_eq!(SseFrame::new().data("").finish(), "data: \n\n");
/// assert!(SseFrame::new().event("message\ndata: forged").is_err());
/// # Ok::<(), codomyrmex_events::InvalidSseField>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a frame is written by `finish`"]
pub struct SseFrame {
    text: String,
}

/// A text that cannot be an id or the name of an event: it has a line break or a NUL in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the {field} of a server-sent event has no line breaks and no NUL")]
#[non_exhaustive]
pub struct InvalidSseField {
    /// Which it would have been.
    pub field: &'static str,
}

impl SseFrame {
    /// A frame that says nothing yet.
    pub fn new() -> Self {
        SseFrame::default()
    }

    /// What a client sends as `Last-Event-ID` when it comes back.
    ///
    /// # Errors
    /// A line break or a NUL in it.
    pub fn id(self, id: &str) -> Result<Self, InvalidSseField> {
        self.field("id", id)
    }

    /// Which listeners of a client hear of it; `message` if nothing is said.
    ///
    /// # Errors
    /// A line break or a NUL in it.
    pub fn event(self, name: &str) -> Result<Self, InvalidSseField> {
        self.field("event", name)
    }

    fn field(mut self, field: &'static str, value: &str) -> Result<Self, InvalidSseField> {
        if value.contains(['\n', '\r', '\0']) {
            return Err(InvalidSseField { field });
        }
        self.line(field, value);
        Ok(self)
    }

    /// How long a client waits before it comes back, in whole milliseconds.
    pub fn retry(mut self, wait: Duration) -> Self {
        self.line("retry", &wait.as_millis().to_string());
        self
    }

    /// What it says. Readers get `\n` for each line break, be it `\n`, `\r\n` or `\r`: with those as JSON's escapes nothing
    /// is changed.
    pub fn data(mut self, text: &str) -> Self {
        let mut rest = text;
        while let Some(end) = rest.find(['\n', '\r']) {
            self.line("data", &rest[..end]);
            let width = if rest[end..].starts_with("\r\n") { 2 } else { 1 };
            rest = &rest[end + width..];
        }
        self.line("data", rest);
        self
    }

    /// What nobody hears, and keeps the connection alive.
    pub fn comment(mut self, text: &str) -> Self {
        for line in text.split(['\n', '\r']) {
            self.line("", line);
        }
        self
    }

    fn line(&mut self, field: &str, value: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{field}: {value}");
    }

    /// The frame with its closing empty line.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.text.push('\n');
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_kept_whatever_it_is() {
        let rows = [
            ("null", "data: null\n\n"),
            ("0", "data: 0\n\n"),
            ("false", "data: false\n\n"),
            ("", "data: \n\n"),
            ("\"\"", "data: \"\"\n\n"),
            ("{}", "data: {}\n\n"),
            (" a", "data:  a\n\n"),
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"),
            ("\n\n", "data: \ndata: \ndata: \n\n"),
            ("a\n\nid: forged", "data: a\ndata: \ndata: id: forged\n\n"),
        ];
        for (data, expected) in rows {
            assert_eq!(SseFrame::new().data(data).finish(), expected, "{data:?}");
        }
    }

    #[test]
    fn nothing_breaks_out_of_its_line() {
        for text in ["a\nb", "a\rb", "a\r\nb", "\n", "a\0"] {
            assert_eq!(SseFrame::new().id(text), Err(InvalidSseField { field: "id" }), "{text:?}");
            assert_eq!(SseFrame::new().event(text), Err(InvalidSseField { field: "event" }), "{text:?}");
        }
        assert_eq!(SseFrame::new().comment("a\r\nb").finish(), ": a\n: \n: b\n\n");
        assert_eq!(SseFrame::new().retry(Duration::from_millis(1_500)).finish(), "retry: 1500\n\n");
    }
}

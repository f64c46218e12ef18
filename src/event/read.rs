//! Events as JSON text: reading.
//!
//! One pass of the scanner checks the whole text and notes where the known fields are; then only the envelope is
//! read. Payload and metadata are copied out as text and parsed when somebody asks. The timestamp is read from its
//! own characters, never from a float.

use std::{borrow::Cow, ops::Range, str};

use super::{
    Event, EventParseError, EventPriority, EventType, Payload,
    metadata::Metadata,
    parse_error::Reason,
    payload,
    scan::{self, EVENT_DEPTH_MAX, PAYLOAD_DEPTH_MAX, RawStr, Refusal, Scanner},
    shared::SharedStr,
};
use crate::{
    clock::{InvalidTimestamp, Timestamp},
    ids::{CorrelationId, EventId, InvalidText, Source},
};

impl Event {
    /// Reads an event from JSON.
    ///
    /// `event_type` and `source` are required. A missing id is made, a missing time is the present. Null means absent;
    /// unknown fields are ignored. An object with a `specversion` is read as a CloudEvent (feature `cloudevents`).
    ///
    /// ```
    /// use codomyrmex_events::Event;
    ///
    /// let event = Event::from_json(r#"{"event_type": "build.start", "source": "ci", "timestamp": 1763810000.137}"#)?;
    /// assert_eq!(event.timestamp().to_rfc3339(), "2025-11-22T11:13:20.137Z");
    ///
    /// let error = Event::from_json(r#"{"event_type": "build.start"}"#).unwrap_err();
    /// assert_eq!(error.field(), Some("source"));
    /// # Ok::<(), codomyrmex_events::EventParseError>(())
    /// ```
    ///
    /// # Errors
    /// Malformed JSON, whatever JSON readers disagree about (lone surrogates, numbers outside `f64`, nesting over 128,
    /// trailing bytes), a repeated or missing field, a value that its field cannot have.
    pub fn from_json(text: &str) -> Result<Event, EventParseError> {
        let mut fields = Fields::default();
        fields.scan(text)?;
        if fields.specversion.is_some_and(|field| !field.is_null()) {
            return read_cloudevent(text);
        }
        fields.event(text)
    }

    /// Reads an event from the bytes of a JSON text.
    ///
    /// # Errors
    /// Bytes that are not UTF-8, and all that [`Self::from_json`] refuses.
    pub fn from_json_slice(bytes: &[u8]) -> Result<Event, EventParseError> {
        match str::from_utf8(bytes) {
            Ok(text) => Self::from_json(text),
            Err(error) => Err(EventParseError::at(Reason::NotUtf8, bytes, error.valid_up_to())),
        }
    }
}

/// The `sequence` that a door wrote beside an event's fields, which readers of events ignore: a whole number, or it is none.
pub(crate) fn sequence_of(text: &str) -> Option<u64> {
    let mut sequence = None;
    let walked = each_field(text, |key, scanner| {
        let value = RawField::scan(scanner);
        let value = value.map_err(|refusal| EventParseError::refused(text.as_bytes(), refusal))?;
        if key.unescaped() == "sequence" {
            sequence = value.text.parse().ok();
        }
        Ok(())
    });
    walked.ok().and(sequence)
}

#[cfg(feature = "cloudevents")]
fn read_cloudevent(text: &str) -> Result<Event, EventParseError> {
    super::cloudevents::from_json(text)
}

#[cfg(not(feature = "cloudevents"))]
fn read_cloudevent(_text: &str) -> Result<Event, EventParseError> {
    Err(super::dict::cloudevents_are_off())
}

/// A field's value as it stands in the text.
#[derive(Clone, Copy)]
pub(super) struct RawField<'a> {
    pub(super) text: &'a str,
    pub(super) has_line_breaks: bool,
    has_escapes: bool,
}

impl<'a> RawField<'a> {
    /// The value that is next, and its extent.
    #[inline(always)]
    pub(super) fn scan(scanner: &mut Scanner<'a>) -> Result<Self, Refusal> {
        let (offset, line_breaks, escapes) = (scanner.offset(), scanner.line_breaks(), scanner.escapes());
        scanner.value(PAYLOAD_DEPTH_MAX)?;
        Ok(Self {
            text: scanner.since(offset),
            has_line_breaks: scanner.line_breaks() > line_breaks,
            has_escapes: scanner.escapes() > escapes,
        })
    }

    /// Where it stands in the whole text, of which it is a part.
    fn range_in(&self, text: &str) -> Range<usize> {
        let start = self.text.as_ptr().addr() - text.as_ptr().addr();
        start..start + self.text.len()
    }

    fn is_null(&self) -> bool {
        self.text == "null"
    }

    fn is_filled_object(&self) -> bool {
        self.text.strip_prefix('{').is_some_and(|rest| rest.trim_ascii_start() != "}")
    }

    /// The text between the quotes, if the value is a string.
    fn string(&self) -> Option<Cow<'a, str>> {
        let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
        Some(scan::unescaped(inner, self.has_escapes))
    }

    pub(super) fn payload(&self) -> Payload {
        if self.is_null() {
            return Payload::absent();
        }
        if self.has_line_breaks {
            Payload::from_checked(payload::on_one_line(self.text))
        } else {
            Payload::from_checked(self.text)
        }
    }
}

/// Walks the top level of an object, calling `field` for each key with the value next; then nothing may follow.
#[inline(always)]
pub(super) fn each_field<'a>(
    text: &'a str,
    mut field: impl FnMut(RawStr<'a>, &mut Scanner<'a>) -> Result<(), EventParseError>,
) -> Result<(), EventParseError> {
    let refused = |refusal| EventParseError::refused(text.as_bytes(), refusal);
    let mut scanner = Scanner::new(text);
    scanner.skip_space();
    let start = scanner.offset();
    if !scanner.take(b'{') {
        scanner.value(EVENT_DEPTH_MAX).map_err(refused)?;
        scanner.finish().map_err(refused)?;
        return Err(EventParseError::at(Reason::NotAnObject, text.as_bytes(), start));
    }
    scanner.skip_space();
    if !scanner.take(b'}') {
        loop {
            let key = scanner.key().map_err(refused)?;
            field(key, &mut scanner)?;
            scanner.skip_space();
            if scanner.take(b'}') {
                break;
            }
            if !scanner.take(b',') {
                return Err(refused(scanner.refusal(scan::Reason::CommaOrEnd)));
            }
            scanner.skip_space();
        }
    }
    scanner.finish().map_err(refused)
}

/// The known fields of an event, as they stand in the text.
#[derive(Default)]
struct Fields<'a> {
    event_type: Option<RawField<'a>>,
    source: Option<RawField<'a>>,
    event_id: Option<RawField<'a>>,
    timestamp: Option<RawField<'a>>,
    correlation_id: Option<RawField<'a>>,
    causation_id: Option<RawField<'a>>,
    data: Option<RawField<'a>>,
    metadata: Option<RawField<'a>>,
    priority: Option<RawField<'a>>,
    specversion: Option<RawField<'a>>,
}

impl<'a> Fields<'a> {
    fn scan(&mut self, text: &'a str) -> Result<(), EventParseError> {
        each_field(text, |key, scanner| {
            let place =
                if key.escaped { self.named(key.unescaped().as_bytes()) } else { self.named(key.inner()) };
            if place.as_ref().is_some_and(|place| place.is_some()) {
                let reason = Reason::Repeated(key.unescaped().into_owned());
                return Err(EventParseError::at(reason, text.as_bytes(), key.offset));
            }
            let value = RawField::scan(scanner);
            let value = value.map_err(|refusal| EventParseError::refused(text.as_bytes(), refusal))?;
            if let Some(place) = place {
                *place = Some(value);
            }
            Ok(())
        })
    }

    #[inline(always)]
    fn named(&mut self, name: &[u8]) -> Option<&mut Option<RawField<'a>>> {
        Some(match name {
            b"event_type" => &mut self.event_type,
            b"source" => &mut self.source,
            b"event_id" => &mut self.event_id,
            b"timestamp" => &mut self.timestamp,
            b"correlation_id" => &mut self.correlation_id,
            b"causation_id" => &mut self.causation_id,
            b"data" => &mut self.data,
            b"metadata" => &mut self.metadata,
            b"priority" => &mut self.priority,
            b"specversion" => &mut self.specversion,
            _ => return None,
        })
    }

    fn event(&self, text: &str) -> Result<Event, EventParseError> {
        let reader = Reader { text };
        let missing = |field| EventParseError::new(Reason::Missing(field));
        let event_type = reader.text("event_type", self.event_type, EventType::parse)?;
        let (data, metadata) = reader.contents(self.data, self.metadata)?;
        let source = reader.text("source", self.source, |source| Source::new(source))?;
        Ok(Event {
            event_type: event_type.ok_or_else(|| missing("event_type"))?,
            source: source.ok_or_else(|| missing("source"))?,
            event_id: reader.text("event_id", self.event_id, EventId::parse)?.unwrap_or_else(EventId::new),
            timestamp: reader.timestamp(self.timestamp)?.unwrap_or_else(Timestamp::now),
            correlation_id: reader
                .text("correlation_id", self.correlation_id, |id| CorrelationId::new(id))?,
            causation_id: reader.text("causation_id", self.causation_id, |id| {
                EventId::parse(id).map_err(|invalid| invalid.for_field("causation_id"))
            })?,
            data,
            metadata,
            priority: reader.priority(self.priority)?,
        })
    }
}

/// Makes values of fields; knows the whole text, to tell where one is wrong.
struct Reader<'a> {
    text: &'a str,
}

impl Reader<'_> {
    fn error(&self, reason: Reason, field: RawField<'_>) -> EventParseError {
        EventParseError::at(reason, self.text.as_bytes(), field.range_in(self.text).start)
    }

    fn wrong_type(&self, name: &str, expected: &'static str, field: RawField<'_>) -> EventParseError {
        self.error(Reason::WrongType { field: name.to_owned(), expected }, field)
    }

    fn text<T>(
        &self,
        name: &'static str,
        field: Option<RawField<'_>>,
        parse: impl FnOnce(&str) -> Result<T, InvalidText>,
    ) -> Result<Option<T>, EventParseError> {
        let Some(field) = field.filter(|field| !field.is_null()) else { return Ok(None) };
        let text = field.string().ok_or_else(|| self.wrong_type(name, "a string", field))?;
        let value = parse(&text).map_err(|invalid| self.error(Reason::Text(invalid), field))?;
        Ok(Some(value))
    }

    fn timestamp(&self, field: Option<RawField<'_>>) -> Result<Option<Timestamp>, EventParseError> {
        let Some(field) = field.filter(|field| !field.is_null()) else { return Ok(None) };
        // A string in quotes is no number, whatever it holds; only a dictionary, whose numbers are `f64`, has such.
        match Timestamp::parse_seconds(field.text) {
            Ok(timestamp) => Ok(Some(timestamp)),
            Err(InvalidTimestamp::NotANumber) => {
                Err(self.wrong_type("timestamp", "a number of seconds since the epoch", field))
            }
            Err(cause) => Err(self.error(Reason::Timestamp { field: "timestamp", cause }, field)),
        }
    }

    /// Payload and metadata: in one allocation, if both stand there on one line and side by side.
    fn contents(
        &self,
        data: Option<RawField<'_>>,
        metadata: Option<RawField<'_>>,
    ) -> Result<(Payload, Metadata), EventParseError> {
        if let (Some(data), Some(metadata)) = (data, metadata) {
            let plain = !data.is_null() && !data.has_line_breaks && !metadata.has_line_breaks;
            if plain && metadata.is_filled_object() {
                let pieces =
                    SharedStr::both(self.text, data.range_in(self.text), metadata.range_in(self.text));
                if let Some((data, metadata)) = pieces {
                    return Ok((Payload::from_checked(data), Metadata::from_checked(metadata)));
                }
            }
        }
        let payload = data.map_or_else(Payload::absent, |data| data.payload());
        Ok((payload, self.metadata(metadata)?))
    }

    fn metadata(&self, field: Option<RawField<'_>>) -> Result<Metadata, EventParseError> {
        let Some(field) = field.filter(|field| !field.is_null()) else { return Ok(Metadata::default()) };
        match field.text.strip_prefix('{') {
            None => Err(self.wrong_type("metadata", "an object", field)),
            Some(rest) if rest.trim_ascii_start() == "}" => Ok(Metadata::default()),
            Some(_) if field.has_line_breaks => Ok(Metadata::from_checked(payload::on_one_line(field.text))),
            Some(_) => Ok(Metadata::from_checked(field.text)),
        }
    }

    fn priority(&self, field: Option<RawField<'_>>) -> Result<EventPriority, EventParseError> {
        let Some(field) = field.filter(|field| !field.is_null()) else {
            return Ok(EventPriority::default());
        };
        let priority = match field.string() {
            Some(name) => name.parse().ok(),
            None => field.text.parse().ok().and_then(priority_numbered),
        };
        priority.ok_or_else(|| self.error(Reason::Priority, field))
    }
}

/// The priority that a JSON number stands for; `1`, `1.0` and `1e0` are one number.
pub(super) fn priority_numbered(number: f64) -> Option<EventPriority> {
    let whole = (0_u32..=2).find(|&whole| number == f64::from(whole))?;
    EventPriority::from_number(whole.into())
}

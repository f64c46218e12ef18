//! What clients of a stream are told, as JSON objects on one line, each with its `kind`.
//!
//! The parts that are JSON already are copied: an event is written from its text, never parsed.

use super::token::ResumeToken;
use crate::bus::Recorded;
use serde_json::to_string;

/// How long a reason may be in a frame, in bytes.
const REASON_BYTES_MAX: usize = 512;

/// Why an event cannot be told to a client.
pub(super) enum Unsendable {
    /// Its payload is a Rust value that cannot become JSON.
    Payload(String),
    /// It takes more bytes than a frame may have.
    TooLarge { bytes: usize },
}

impl Unsendable {
    pub(super) fn reason(&self, bytes_max: usize) -> String {
        match self {
            Unsendable::Payload(error) => format!("the payload cannot become JSON: {error}"),
            Unsendable::TooLarge { bytes } => {
                format!("it takes {bytes} bytes, and a frame {bytes_max} at most")
            }
        }
    }
}

fn quoted(text: &str) -> String {
    to_string(text).expect("every text is a JSON string")
}

/// The beginning of a text that somebody else may have written, cut so that it fits into every frame.
fn briefly_quoted(text: &str) -> String {
    let mut bytes = 0;
    let too_long = text.char_indices().find(|(_, letter)| {
        bytes += match letter {
            '"' | '\\' => 2,
            letter if letter.is_ascii_control() => 6,
            letter => letter.len_utf8(),
        };
        bytes > REASON_BYTES_MAX
    });
    quoted(&text[..too_long.map_or(text.len(), |(at, _)| at)])
}

pub(super) fn connect(client: &str, token: &ResumeToken) -> String {
    let client = quoted(client);
    let bus = quoted(token.bus_id());
    format!("{{\"kind\":\"connect\",\"client\":{client},\"bus\":{bus},\"token\":\"{token}\"}}")
}

pub(super) fn message(event: &Recorded, token: &ResumeToken, bytes_max: usize) -> Result<String, Unsendable> {
    let sequence = event.sequence();
    let mut frame =
        format!("{{\"kind\":\"message\",\"sequence\":{sequence},\"token\":\"{token}\",\"event\":");
    event.write_json(&mut frame).map_err(|error| Unsendable::Payload(error.to_string()))?;
    frame.push('}');
    let bytes = frame.len();
    if bytes > bytes_max { Err(Unsendable::TooLarge { bytes }) } else { Ok(frame) }
}

pub(super) fn heartbeat(token: Option<&ResumeToken>) -> String {
    match token {
        Some(token) => format!("{{\"kind\":\"heartbeat\",\"token\":\"{token}\"}}"),
        None => "{\"kind\":\"heartbeat\"}".to_owned(),
    }
}

pub(super) fn lagged(missed: u64) -> String {
    format!("{{\"kind\":\"lagged\",\"missed\":{missed}}}")
}

pub(super) fn reset() -> String {
    "{\"kind\":\"reset\"}".to_owned()
}

pub(super) fn skipped(sequence: u64, token: &ResumeToken, reason: &str) -> String {
    let reason = briefly_quoted(reason);
    format!("{{\"kind\":\"skipped\",\"sequence\":{sequence},\"token\":\"{token}\",\"reason\":{reason}}}")
}

pub(super) fn subscribed<'a>(globs: impl Iterator<Item = &'a str>) -> String {
    let globs: Vec<String> = globs.map(quoted).collect();
    format!("{{\"kind\":\"subscribed\",\"globs\":[{}]}}", globs.join(","))
}

pub(super) fn error(error: &str) -> String {
    format!("{{\"kind\":\"error\",\"error\":{}}}", briefly_quoted(error))
}

/// `ping` is JSON.
pub(super) fn pong(ping: &str) -> String {
    format!("{{\"kind\":\"pong\",\"ping\":{ping}}}")
}

/// `value` is JSON.
pub(super) fn application(value: &str) -> String {
    format!("{{\"kind\":\"application\",\"value\":{value}}}")
}

pub(super) fn disconnect(reason: &str) -> String {
    format!("{{\"kind\":\"disconnect\",\"reason\":{}}}", briefly_quoted(reason))
}

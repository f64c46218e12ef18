//! Errors that come again: counted by type and by what is the same in their messages.

use super::told::Told;
use super::{ERRORS_MAX, ErrorCounts, RecurringError};
use crate::clock::Timestamp;
use crate::event::EventType;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Event type, error type and message template.
type Key = (EventType, String, String);

#[derive(Debug, Default)]
pub(super) struct Errors {
    kept: HashMap<Key, Seen>,
    total: u64,
    others: u64,
}

#[derive(Debug)]
struct Seen {
    events: u64,
    first: Timestamp,
    last: Timestamp,
    /// The message that came first, as it was.
    example: String,
}

impl Errors {
    pub(super) fn add(&mut self, event_type: &EventType, told: Told, at: Timestamp) {
        self.total += 1;
        let has_room = self.kept.len() < ERRORS_MAX;
        match self.kept.entry((event_type.clone(), told.error_type, template(&told.message))) {
            Entry::Occupied(mut seen) => {
                let seen = seen.get_mut();
                seen.events += 1;
                seen.first = seen.first.min(at);
                seen.last = seen.last.max(at);
            }
            Entry::Vacant(place) if has_room => {
                place.insert(Seen { events: 1, first: at, last: at, example: told.message });
            }
            Entry::Vacant(_) => self.others += 1,
        }
    }

    pub(super) fn finish(self) -> ErrorCounts {
        let told = |((event_type, error_type, message), seen): (Key, Seen)| RecurringError {
            event_type,
            error_type,
            message,
            example: seen.example,
            events: seen.events,
            first: seen.first,
            last: seen.last,
        };
        let mut kept: Vec<RecurringError> = self.kept.into_iter().map(told).collect();
        kept.sort_by(|one, other| {
            let name = |error: &RecurringError| {
                (error.event_type.as_str().to_owned(), error.error_type.clone(), error.message.clone())
            };
            other.events.cmp(&one.events).then_with(|| name(one).cmp(&name(other)))
        });
        ErrorCounts { total: self.total, kept, others: self.others }
    }
}

/// A message without what differs from one time to the next: `#` stands for a number, a UUID, or a word of hexadecimal
/// digits that is at least eight long and has a digit in it, or that begins with `0x`. A word is a run of ASCII letters and
/// digits, so `E0308` and `x86` stay as they are.
fn template(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        let uuid = rest.get(..36).filter(|text| is_uuid(text) && !rest[36..].starts_with(is_word));
        let end = match uuid {
            Some(uuid) => uuid.len(),
            None if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            None => rest.find(is_word).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        out.push_str(if uuid.is_some() || differs(word) { "#" } else { word });
        rest = after;
    }
    out
}

fn differs(word: &str) -> bool {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    is_number || (word.len() >= 8 && has_digit && is_hex(word)) || word.strip_prefix("0x").is_some_and(is_hex)
}

fn is_uuid(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_each_time_is_taken_out() {
        for (message, expected) in [
            ("", ""),
            ("no numbers", "no numbers"),
            ("timeout after 3021 ms", "timeout after # ms"),
            ("error[E0308] on x86_64 in v2", "error[E0308] on x86_# in v2"),
            ("10.0.0.1:8080", "#.#.#.#:#"),
            ("order-17, cid-0123456789ab", "order-#, cid-#"),
            ("at 0x7FFE, 0x, 0xg", "at #, 0x, 0xg"),
            ("deadbeef is a word, deadbee1 is not", "deadbeef is a word, # is not"),
            ("550e8400-e29b-41d4-a716-446655440000!", "#!"),
            ("abcdefab-cdef-abcd-efab-cdefabcdefab", "#"),
            ("550e8400-e29b-41d4-a716-4466554400001", "#-e29b-41d4-a716-#"),
            ("日本 42 語é7", "日本 # 語é#"),
        ] {
            assert_eq!(template(message), expected, "{message}");
        }
    }
}

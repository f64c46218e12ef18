//! Dead letters from lines.

use super::lines::{LineError, LineErrorKind, is_torn, text_of};
use crate::bus::DeadLetterQueue;
use crate::dispatch::dead_letter::DeadLetter;

/// How many lines that are no letters an import tells of: the first. All are counted.
pub const LETTER_ERRORS_MAX: usize = 16;

/// What became of the lines of an import: `read = imported + malformed`.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LettersImported {
    /// Lines that are not blank.
    pub read: u64,
    /// Letters that the queue took in.
    pub imported: u64,
    /// Lines that are no letters.
    pub malformed: u64,
    /// The first 16 of them.
    pub malformed_lines: Vec<LineError>,
}

impl DeadLetterQueue<'_> {
    /// Takes in the letters of an NDJSON text in memory: what [`export`](Self::export) wrote, or what `dispatch
    /// --dead-letters` kept of rejected lines that were events. A line that is no letter is reported with its number, and
    /// the next is read.
    ///
    /// Each letter becomes the newest of this queue, under a new id; see [`adopt`](Self::adopt). Its subscription is looked up
    /// by its id at each redrive; while there is none, the letter stays. Where the queue is full, the oldest letters go, and
    /// are counted as evicted. What is imported twice is there twice.
    ///
    /// ```
    /// use codomyrmex_events::{Event, EventBus};
    ///
    /// let bus = EventBus::new();
    /// bus.subscribe("*").subscriber_id("ledger").handler(|_| Err::<(), _>("no database"))?;
    /// bus.publish(Event::builder("order.paid", "shop").build()?)?;
    /// let text: String = bus.dead_letter_queue().export().collect::<Result<_, _>>()?;
    ///
    /// let next = EventBus::new();
    /// next.subscribe("*").subscriber_id("ledger").handler(|event| println!("{} is booked", event.event_id()))?;
    /// assert_eq!(next.dead_letter_queue().import(&text).imported, 1);
    /// let redriven = next.dead_letter_queue().redrive_all(|_| true);
    /// assert!(redriven.iter().all(|(_, outcome)| outcome.is_ok()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn import(&self, text: impl AsRef<[u8]>) -> LettersImported {
        self.import_lines(text.as_ref().split_inclusive(|byte| *byte == b'\n'))
    }

    /// [`import`](Self::import) of lines, with or without their endings.
    pub fn import_lines<L: AsRef<[u8]>>(&self, lines: impl IntoIterator<Item = L>) -> LettersImported {
        let mut report = LettersImported::default();
        let mut lines = lines.into_iter().peekable();
        let mut number = 0;
        while let Some(line) = lines.next() {
            number += 1;
            match read(number, line.as_ref()) {
                Ok(None) => {}
                Ok(Some(letter)) => {
                    self.adopt(letter);
                    report.read += 1;
                    report.imported += 1;
                }
                Err(error) => {
                    report.read += 1;
                    report.malformed += 1;
                    if report.malformed_lines.len() < LETTER_ERRORS_MAX {
                        report.malformed_lines.push(error.torn(is_torn(line.as_ref(), &mut lines)));
                    }
                }
            }
        }
        report
    }
}

/// The letter on a line; none if the line is blank.
fn read(number: u64, line: &[u8]) -> Result<Option<DeadLetter>, LineError> {
    let read = text_of(number, line).and_then(|text| {
        text.map(|text| DeadLetter::from_json(text).map_err(LineErrorKind::Letter)).transpose()
    });
    read.map_err(|kind| LineError::new(number, kind))
}

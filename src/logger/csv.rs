//! Entries as a table, by RFC 4180, that is safe to open in a spreadsheet.
//!
//! A cell is the publisher's text. One that begins like a formula would be run by a spreadsheet, so it gets an apostrophe, as
//! OWASP advises; and one with a line break would be a line of its own to a reader that is not careful, so control
//! characters become spaces.

use super::EventLogEntry;
use std::borrow::Cow;

const HEADINGS: &str = "id,timestamp,type,source,sequence,priority,handler_count,processing_time,attempts,failures,error,\
                        correlation_id,data,metadata\r\n";

/// What makes a cell a formula, in their wide forms as well.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

pub(super) fn write(entries: &[EventLogEntry]) -> String {
    let mut out = HEADINGS.to_owned();
    for entry in entries {
        write_row(&mut out, entry);
    }
    out
}

fn write_row(out: &mut String, entry: &EventLogEntry) {
    let event = entry.event();
    let data = event.data().json().map_or_else(|error| Cow::Owned(error.to_string()), Cow::Borrowed);
    let metadata = serde_json::to_string(event.metadata()).unwrap_or_default();
    let processing_time = format!("{:.9}", entry.processing_time().as_secs_f64());
    let cells: [&str; 14] = [
        &event.event_id().to_string(),
        &event.timestamp().to_rfc3339(),
        event.event_type().as_str(),
        event.source(),
        &entry.sequence().to_string(),
        event.priority().as_str(),
        &entry.handler_count().to_string(),
        &processing_time,
        &entry.attempts().to_string(),
        &entry.failures().to_string(),
        entry.error().unwrap_or_default(),
        event.correlation_id().map_or("", |id| id.as_str()),
        &data,
        &metadata,
    ];
    for (index, cell) in cells.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_cell(out, cell);
    }
    out.push_str("\r\n");
}

fn write_cell(out: &mut String, cell: &str) {
    let is_formula = cell.trim_start().starts_with(FORMULA) || cell.starts_with(char::is_control);
    let is_quoted = cell.starts_with(' ')
        || cell.ends_with(' ')
        || cell.contains(|char: char| matches!(char, '"' | ',' | ';') || is_break(char));
    if is_quoted {
        out.push('"');
    }
    if is_formula {
        out.push('\'');
    }
    for char in cell.chars() {
        match char {
            '"' => out.push_str("\"\""),
            char if is_break(char) => out.push(' '),
            char => out.push(char),
        }
    }
    if is_quoted {
        out.push('"');
    }
}

/// Whether some reader takes it for the end of a line, or for something else than text.
fn is_break(char: char) -> bool {
    char.is_control() || matches!(char, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_and_defused_as_need_be() {
        let rows = [
            ("", ""),
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "\"' =1\""),
            ("\r=1", "\"' =1\""),
            ("\n=1", "\"' =1\""),
            ("  =1", "\"'  =1\""),
            ("＝1", "'＝1"),
            ("=\"a\",b", "\"'=\"\"a\"\",b\""),
            ("a\r\nb", "\"a  b\""),
            ("a\u{2028}b\u{85}c", "\"a b c\""),
            ("a=b", "a=b"),
        ];
        for (cell, expected) in rows {
            let mut out = String::new();
            write_cell(&mut out, cell);
            assert_eq!(out, expected, "{cell:?}");
        }
    }
}

//! The rows of `tests/data/patterns.txt`, read for whoever checks an engine against them.
#![allow(clippy::panic, reason = "in a test a panic is the report")]

use std::fmt;

/// One row of the table.
pub(crate) struct Row {
    line: usize,
    pub(crate) pattern: String,
    pub(crate) name: String,
    pub(crate) matches: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.matches { "matches" } else { "misses" };
        write!(f, "patterns.txt:{}: {:?} {verdict} {:?}", self.line, self.pattern, self.name)
    }
}

/// Every row, in the order written.
pub(crate) fn rows() -> Vec<Row> {
    let table = include_str!("../data/patterns.txt");
    let lines = table.lines().enumerate().map(|(at, line)| (at + 1, line));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(at, line)| row(at, line))
        .collect()
}

fn row(line: usize, text: &str) -> Row {
    let fields: Vec<&str> = text.split('\t').collect();
    let &[verdict, pattern, name] = &fields[..] else {
        panic!("patterns.txt:{line}: not three fields: {text:?}")
    };
    let matches = match verdict {
        "match" => true,
        "miss" => false,
        other => panic!("patterns.txt:{line}: neither match nor miss: {other:?}"),
    };
    Row { line, pattern: unescape(line, pattern), name: unescape(line, name), matches }
}

fn unescape(line: usize, field: &str) -> String {
    let mut text = String::new();
    if field == "\\e" {
        return text;
    }
    let mut chars = field.chars();
    while let Some(c) = chars.next() {
        text.push(match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('\\')) => '\\',
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('u')) => {
                let digits: String =
                    chars.by_ref().skip_while(|&c| c == '{').take_while(|&c| c != '}').collect();
                u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or_else(|| panic!("patterns.txt:{line}: not a code point: {digits:?}"))
            }
            ('\\', other) => panic!("patterns.txt:{line}: unknown escape: {other:?}"),
            (plain, _) => plain,
        });
    }
    text
}

//! Numbers, times and foreign texts as people read them.

use super::told::cut;
use crate::clock::Timestamp;
use crate::text::Printable;

/// `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 event`, `1,234 events`.
pub(super) fn counted(number: u64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", grouped(number))
}

/// A length of time, to about three digits: `512 ns`, `1.5 ms`, `20.6 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn length(ns: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let (second, minute, hour) = (ns / SECOND, ns / SECOND / 60, ns / SECOND / 3_600);
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{} {large_unit}", grouped(large)),
        _ => format!("{} {large_unit} {small} {small_unit}", grouped(large)),
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => three_digits(ns as f64 / 1e3, "µs"),
        1_000_000..SECOND => three_digits(ns as f64 / 1e6, "ms"),
        _ if second < 60 => three_digits(ns as f64 / 1e9, "s"),
        _ if minute < 60 => two(minute, "min", second % 60, "s"),
        _ if hour < 24 => two(hour, "h", minute % 60, "min"),
        _ => two(hour / 24, "d", hour % 24, "h"),
    }
}

fn three_digits(value: f64, unit: &str) -> String {
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

/// A time in UTC, to the second.
pub(super) fn second(time: Timestamp) -> String {
    let mut text = time.to_rfc3339();
    text.truncate("0000-00-00T00:00:00".len());
    text.replace('T', " ")
}

/// A foreign text that can do nothing on a terminal, as at most so many characters.
pub(super) fn shown(text: &str, chars_max: usize) -> String {
    // What is escaped becomes longer, not shorter, so no more than this is needed.
    let escaped = Printable(cut(text, chars_max.saturating_mul(4).saturating_add(4))).to_string();
    shortened(&escaped, chars_max)
}

/// The text, or its beginning and `…`.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain(['…']).collect()
}

/// A bar for each count, in proportion to the largest; `┊` for none.
pub(super) fn sparkline(counts: &[Option<u64>]) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = counts.iter().flatten().copied().max().unwrap_or(0);
    let bar = |count: &Option<u64>| match count {
        None => '┊',
        Some(0) => ' ',
        // From 1 to 8 eighths, rounded up, so that what is there is seen.
        Some(count) => BARS[((u128::from(*count) * 8).div_ceil(u128::from(most)) as usize).clamp(1, 8) - 1],
    };
    counts.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lengths_are_as_people_write_them() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (ns, text) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_500, "1.5 µs"),
            (999_999, "1000 µs"),
            (12_340_000, "12.3 ms"),
            (20_550_000_000, "20.6 s"),
            (60_000_000_000, "1 min"),
            (7_500_000_000_000, "2 h 5 min"),
            (86_400_000_000_000, "1 d"),
            (u64::MAX, "213,503 d 23 h"),
        ] {
            assert_eq!(length(ns), text);
        }
    }

    #[test]
    fn foreign_texts_are_harmless_and_short() {
        for (text, chars_max, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 2, "日…"),
            ("a\u{1b}[2J", 20, "a\\u{1b}[2J"),
            ("\u{202e}\u{202e}", 5, "\\u{2…"),
        ] {
            assert_eq!(shown(text, chars_max), expected);
        }
    }

    #[test]
    fn what_is_there_is_seen() {
        let counts = [Some(0), Some(1), None, Some(1_000), Some(500), Some(u64::MAX / 16)];
        assert_eq!(sparkline(&counts[..5]), " ▁┊█▄");
        assert_eq!(sparkline(&counts[5..]), "█");
        assert_eq!(sparkline(&[Some(0)]), " ");
    }
}

//! RFC 3339 dates and times, in the proleptic Gregorian calendar.
//!
//! Small enough not to need a calendar library: nothing here knows time zones by name, and nothing is lenient.

use super::{InvalidTimestamp, NANOS_PER_SECOND, seconds};

const SECONDS_PER_DAY: i64 = 86_400;

/// The nanoseconds that a date and time names.
pub(super) fn parse(text: &str) -> Result<i64, InvalidTimestamp> {
    use InvalidTimestamp::{NoSuchTime, NotRfc3339, OutOfRange};

    let mut rest = Fields(text.as_bytes());
    let written = (|| {
        let year = rest.number(4)?;
        let month = rest.separator(b"-")?.number(2)?;
        let day = rest.separator(b"-")?.number(2)?;
        let hour = rest.separator(b"Tt ")?.number(2)?;
        let minute = rest.separator(b":")?.number(2)?;
        let second = rest.separator(b":")?.number(2)?;
        let nanos = rest.fraction()?;
        let offset = rest.offset()?;
        rest.0.is_empty().then_some(([year, month, day], [hour, minute, second], nanos, offset))
    })();
    let ([year, month, day], [hour, minute, mut second], mut nanos, [sign, hours, minutes]) =
        written.ok_or(NotRfc3339)?;

    let exists = (1..=12).contains(&month) && (1..=days_in_month(year, month)).contains(&day);
    if !exists || hour > 23 || minute > 59 || second > 60 || hours > 23 || minutes > 59 {
        return Err(NoSuchTime);
    }
    if second == 60 {
        (second, nanos) = (59, 999_999_999);
    }
    let seconds = days_from_civil(year, month, day) * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second
        - sign * (hours * 3_600 + minutes * 60);
    let total = i128::from(seconds) * i128::from(NANOS_PER_SECOND) + i128::from(nanos);
    i64::try_from(total).map_err(|_| OutOfRange)
}

/// What is still unread.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn number(&mut self, width: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    }

    fn separator(&mut self, any_of: &[u8]) -> Option<&mut Self> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        any_of.contains(first).then_some(self)
    }

    /// Nanoseconds, when there is a fraction; finer ones are rounded half up, as in decimal seconds.
    fn fraction(&mut self) -> Option<i64> {
        let [b'.', rest @ ..] = self.0 else { return Some(0) };
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let (digits, rest) = rest.split_at(end);
        self.0 = rest;
        let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(9);
        let round_up = i64::from(digits.get(9).is_some_and(|digit| *digit >= b'5'));
        (!digits.is_empty()).then(|| padded.fold(0, |sum, byte| sum * 10 + i64::from(byte - b'0')) + round_up)
    }

    /// Sign, hours and minutes ahead of UTC.
    fn offset(&mut self) -> Option<[i64; 3]> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match first {
            b'Z' | b'z' => return Some([0, 0, 0]),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.number(2)?;
        Some([sign, hours, self.separator(b":")?.number(2)?])
    }
}

/// A date and time in UTC.
pub(super) fn format(nanos: i64) -> String {
    let per_second = NANOS_PER_SECOND.cast_signed();
    let (seconds, fraction) = (nanos.div_euclid(per_second), nanos.rem_euclid(per_second));
    let (year, month, day) = civil_from_days(seconds.div_euclid(SECONDS_PER_DAY));
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let mut out = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        out.push('.');
        seconds::push_digits(seconds::trimmed(format!("{fraction:09}").as_bytes()), &mut out);
    }
    out.push('Z');
    out
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days before 1 January of `year`, counted from 1 January of the year 0.
fn days_before_year(year: i64) -> i64 {
    let past = year - 1;
    // The year 0 is a leap year that the divisions by 4, 100 and 400 of `past` do not count.
    year * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) + 1
}

/// Days from 1970-01-01 to a date.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let in_year: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    days_before_year(year) - days_before_year(1970) + in_year + day - 1
}

/// The date that is so many days from 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + days_before_year(1970);
    // 400 Gregorian years have 146,097 days: a guess that is off by a year at most.
    let mut year = days * 400 / 146_097;
    if days_before_year(year + 1) <= days {
        year += 1;
    }
    if days_before_year(year) > days {
        year -= 1;
    }
    let (mut month, mut day) = (1, days - days_before_year(year));
    while day >= days_in_month(year, month) {
        day -= days_in_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
}

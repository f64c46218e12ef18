//! Seconds since the epoch as an exact decimal text.
//!
//! Works on the digits themselves: the text says `digits x 10^n`, and the nanoseconds are those digits cut at the
//! right place.

use super::{InvalidTimestamp, NANOS_PER_SECOND};

/// The nanoseconds that a JSON number of seconds names.
pub(super) fn parse(text: &str) -> Result<i64, InvalidTimestamp> {
    if let Some(nanos) = common(text.as_bytes()) {
        return Ok(nanos);
    }
    let number = Decimal::read(text.as_bytes()).ok_or(InvalidTimestamp::NotANumber)?;
    let nanos = number.nanos().ok_or(InvalidTimestamp::OutOfRange)?;
    i64::try_from(nanos).map_err(|_| InvalidTimestamp::OutOfRange)
}

/// What nearly every timestamp is: nine or ten digits, a point, one to nine digits.
fn common(text: &[u8]) -> Option<i64> {
    let point = [9, 10].into_iter().find(|&at| text.get(at) == Some(&b'.'))?;
    let decimals = text.len() - point - 1;
    if text[0] == b'0' || !(1..=9).contains(&decimals) {
        return None;
    }
    let whole = digits_value(&text[..point])?;
    let fraction = digits_value(&text[point + 1..])?;
    // At most 10^10 seconds, which in nanoseconds may need more than 64 bits.
    whole.checked_mul(NANOS_PER_SECOND.cast_signed())?.checked_add(fraction * 10_i64.pow(9 - decimals as u32))
}

fn digits_value(digits: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(byte - b'0');
    }
    Some(value)
}

/// A JSON number taken apart.
struct Decimal<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> Decimal<'a> {
    /// Takes a JSON number apart; `None` where the grammar of RFC 8259 says no.
    fn read(text: &'a [u8]) -> Option<Self> {
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            _ => (false, text),
        };
        let (whole, rest) = digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole[0] == b'0') {
            return None;
        }
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => digits(rest),
            _ => (&[][..], rest),
        };
        if fraction.is_empty() && text.contains(&b'.') {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => exponent(rest)?,
            _ => return None,
        };
        Some(Self { negative, whole, fraction, exponent })
    }

    /// The value in nanoseconds, rounded half up; `None` when it needs more than 64 bits.
    fn nanos(&self) -> Option<i128> {
        let all = self.whole.iter().chain(self.fraction);
        // How many of the digits stand before the point once the unit is the nanosecond.
        let kept = i64::try_from(self.whole.len()).ok()?.saturating_add(self.exponent).saturating_add(9);
        let mut nanos: i128 = 0;
        let mut place = 0_i64;
        let (mut up, mut exact_half) = (false, false);
        for digit in all.map(|byte| i128::from(byte - b'0')) {
            if place < kept {
                nanos = in_range(nanos * 10 + digit)?;
            } else if place == kept {
                (up, exact_half) = (digit >= 5, digit == 5);
            } else if digit != 0 {
                exact_half = false;
            }
            place += 1;
        }
        // The exponent may ask for more zeros than the text has digits; zero stays zero and anything else
        // leaves the range after a few steps.
        while place < kept && nanos != 0 {
            nanos = in_range(nanos * 10)?;
            place += 1;
        }
        // Half up is towards the greater value, so a negative exact half drops its digit.
        if up && !(exact_half && self.negative) {
            nanos += 1;
        }
        Some(if self.negative { -nanos } else { nanos })
    }
}

/// Gives up as soon as no later digit could bring the value back into 64 bits.
fn in_range(nanos: i128) -> Option<i128> {
    (nanos <= 1 << 63).then_some(nanos)
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// An exponent, clamped to where any value but zero is out of range anyway.
fn exponent(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (all, []) = digits(text) else { return None };
    if all.is_empty() {
        return None;
    }
    let clamped = all.iter().fold(0_i64, |sum, byte| (sum * 10 + i64::from(byte - b'0')).min(1 << 40));
    Some(if negative { -clamped } else { clamped })
}

/// Appends nanoseconds as seconds: no needless zeros, but always a decimal, so that typed readers see a float.
pub(super) fn write(nanos: i64, out: &mut String) {
    if nanos < 0 {
        out.push('-');
    }
    let nanos = nanos.unsigned_abs();
    let mut text = [b'0'; 20];
    let mut start = text.len();
    let mut rest = nanos;
    // At least one digit before the nine decimals.
    while rest != 0 || start > text.len() - 10 {
        start -= 1;
        // The remainder is below ten, so the cast keeps it.
        text[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let (whole, fraction) = text[start..].split_at(text.len() - start - 9);
    push_digits(whole, out);
    out.push('.');
    push_digits(trimmed(fraction), out);
}

/// Decimals without trailing zeros, save one.
pub(super) fn trimmed(fraction: &[u8]) -> &[u8] {
    let end = fraction.iter().rposition(|&byte| byte != b'0').map_or(1, |last| last + 1);
    &fraction[..end]
}

pub(super) fn push_digits(digits: &[u8], out: &mut String) {
    out.push_str(str::from_utf8(digits).expect("digits are ASCII"));
}
